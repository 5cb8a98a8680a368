//! The session in which the server is in backup mode: it ends with the session, however that ends.

use std::time::Duration;

use pawang_core::Lsn;
use pawang_postgres::Session;

use super::super::TakeRequest;
use super::super::preflight::Known;
use super::place::functions;
use crate::Error;
use crate::repository::Position;
use crate::wal::Timeline;

/// How long the checkpoint before a backup may take, spread as `checkpoint_timeout` allows.
const CHECKPOINT_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long the server may take to leave backup mode.
const STOP_MAX: Duration = Duration::from_secs(600);

/// A server in backup mode.
pub(super) struct BackupMode {
    session: Session,
    major: u32,
}

/// What the server says at the end.
#[derive(Debug)]
pub(super) struct Stopped {
    pub(super) start: Position,
    pub(super) stop: Position,
    /// The content of `backup_label`.
    pub(super) label: String,
    /// The content of `tablespace_map`; empty without tablespaces.
    pub(super) map: String,
}

impl BackupMode {
    /// Brings the server into backup mode, and returns where replay will begin.
    pub(super) async fn begin(
        session: Session,
        request: &TakeRequest,
        known: &Known,
    ) -> Result<(BackupMode, Lsn), Error> {
        let major = known.cluster.major;
        let (start, _) = functions(major);
        let exclusive = if major < 15 { ", false" } else { "" };
        let (backup, fast) = (&request.backup, request.checkpoint_fast);
        let sql = format!(
            "SELECT pg_catalog.{start}('pawang {backup}', {fast}{exclusive})::pg_catalog.text"
        );
        let rows = session.read_within(&sql, CHECKPOINT_MAX).await?;
        let text = rows.rows.first().and_then(|row| row.first()?.as_text());
        let Some(start) = text.and_then(|text| text.parse().ok()) else {
            return Err(wrong(&session, "it does not say where it begins"));
        };
        Ok((BackupMode { session, major }, start))
    }

    /// Returns `host:port` of the server.
    pub(super) fn address(&self) -> &str {
        self.session.address()
    }

    /// Asks whether the session still stands: with it the backup would end.
    pub(super) async fn alive(&self) -> Result<(), Error> {
        self.session.round_trip().await?;
        Ok(())
    }

    /// Ends backup mode. WAL is waited for elsewhere.
    pub(super) async fn stop(self) -> Result<Stopped, Error> {
        let (_, stop) = functions(self.major);
        let exclusive = if self.major < 15 { "false, " } else { "" };
        let sql = format!(
            "SELECT b.lsn::pg_catalog.text, b.labelfile, b.spcmapfile FROM pg_catalog.{stop}({exclusive}false) AS b"
        );
        let rows = self.session.read_within(&sql, STOP_MAX).await?;
        let texts = rows.rows.first().map(|row| {
            let texts = row.iter().map(|value| value.as_text().unwrap_or_default());
            texts.collect::<Vec<_>>()
        });
        let Some([stop, label, map]) = texts.as_deref() else {
            return Err(wrong(&self.session, "it does not say where it ends"));
        };
        let position = stop.parse().ok().zip(began(label));
        let Some((stop, start)) = position else {
            return Err(wrong(
                &self.session,
                "its label does not say where it began",
            ));
        };
        Ok(Stopped {
            start,
            stop: Position { lsn: stop, ..start },
            label: (*label).to_owned(),
            map: (*map).to_owned(),
        })
    }
}

/// Reads where a backup began from its label.
fn began(label: &str) -> Option<Position> {
    let field = |name: &str| {
        let mut lines = label.lines();
        lines.find_map(|line| line.strip_prefix(name)?.split_whitespace().next())
    };
    Some(Position {
        timeline: Timeline(field("START TIMELINE: ")?.parse().ok()?),
        lsn: field("START WAL LOCATION: ")?.parse().ok()?,
    })
}

fn wrong(session: &Session, problem: &str) -> Error {
    Error::Incomplete {
        address: session.address().to_owned(),
        problem: problem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_says_where_the_backup_began() {
        let label = "START WAL LOCATION: 16/2000028 (file 000000030000001600000002)\nCHECKPOINT LOCATION: 16/2000060\n\
                     BACKUP METHOD: streamed\nBACKUP FROM: primary\nSTART TIME: 2026-11-22 08:00:00 UTC\nLABEL: pawang x\n\
                     START TIMELINE: 3\n";
        let expected = Position {
            timeline: Timeline(3),
            lsn: Lsn(0x16_0200_0028),
        };
        assert_eq!(began(label), Some(expected));
        assert_eq!(began("LABEL: x\n"), None);
    }
}
