//! WAL and histories of timelines as files of the server, for a role that may not use the replication protocol.

use pawang_core::{Kind, Lsn, Report};
use pawang_postgres::{Session, Target};

use super::{STATEMENT_MAX, sql_of_path};
use crate::Error;
use crate::wal::{SegmentName, Timeline};

/// So much is read by one statement.
pub(crate) const WAL_READ_BYTES: u32 = 1 << 20;

const WRITTEN: &str = "\
SELECT CASE
           WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
           ELSE pg_catalog.pg_current_wal_flush_lsn()
       END::pg_catalog.text";

/// A session that reads `pg_wal`.
pub(crate) struct WalFiles {
    session: Session,
}

impl WalFiles {
    /// Connects; a backup may have taken for so long that no session of before stands.
    pub(crate) async fn open(target: &Target) -> Result<WalFiles, Error> {
        let target = Target {
            statement_timeout: STATEMENT_MAX,
            ..target.clone()
        };
        let session = Session::connect(&target, "backup-wal").await?;
        match session.pooled() {
            false => Ok(WalFiles { session }),
            true => Err(Error::Incomplete {
                address: session.address().to_owned(),
                problem: "a pooler stands between, so that its WAL cannot be read".to_owned(),
            }),
        }
    }

    /// Returns up to where WAL is there.
    pub(crate) async fn written(&self) -> Result<Lsn, Error> {
        let rows = self.session.read(WRITTEN).await?;
        let text = rows.rows.first().and_then(|row| row.first()?.as_text());
        let written = text.and_then(|text| text.parse().ok());
        written.ok_or_else(|| Error::Incomplete {
            address: self.session.address().to_owned(),
            problem: "it does not say how much WAL it has".to_owned(),
        })
    }

    /// Reads the history of a timeline.
    pub(crate) async fn history(&self, timeline: Timeline) -> Result<Vec<u8>, Error> {
        let path = format!("pg_wal/{:08X}.history", timeline.0);
        let bytes = self.read(&path, 0, WAL_READ_BYTES).await?;
        bytes.ok_or_else(|| self.gone(&path))
    }

    /// Reads bytes of a segment, which must be there; with the last ones it must still be.
    pub(crate) async fn piece(
        &self,
        name: &SegmentName,
        from: u32,
        bytes: u32,
        last: bool,
    ) -> Result<Vec<u8>, Error> {
        let path = format!("pg_wal/{name}");
        let read = self.read(&path, from, bytes).await?;
        let whole = read.filter(|read| read.len() == bytes as usize);
        let whole = whole.ok_or_else(|| self.gone(&path))?;
        // A segment that the server needs no more is renamed, and then written anew: what was read until it had its name is right.
        if last && self.read(&path, 0, 1).await?.is_none() {
            return Err(self.gone(&path));
        }
        Ok(whole)
    }

    async fn read(&self, path: &str, from: u32, bytes: u32) -> Result<Option<Vec<u8>>, Error> {
        let path = sql_of_path(path.as_bytes());
        let sql =
            format!("SELECT 0, pg_catalog.pg_read_binary_file({path}, {from}, {bytes}, true)");
        let mut found = None;
        let mut each = |_, bytes: Option<&[u8]>| found = bytes.map(<[u8]>::to_vec);
        self.session.read_bytes(&sql, &mut each).await?;
        Ok(found)
    }

    fn gone(&self, path: &str) -> Error {
        let primary = format!("\"{}\" has no \"{path}\" any more", self.session.address());
        let report = Report::new(Kind::Target, primary)
            .with_detail("the backup needs this WAL; a role with REPLICATION makes the server keep it for as long as a backup takes")
            .with_hint("archive_command = 'pawang wal push %p', or raise wal_keep_size");
        Error::Refused(Box::new(report))
    }
}
