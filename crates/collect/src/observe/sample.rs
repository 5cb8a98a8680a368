//! The second-by-second sample of active sessions, and the texts of statements, over the session that is open.

use std::collections::BTreeMap;
use std::time::Instant;

use pawang_core::{Blind, Cost, Missing, Snapshot, Value};
use pawang_postgres::{Error, Rows, Session};

use super::answer::{self, Extension, arrange, extensions};
use super::{Observer, Open, Request};
use crate::Collector;
use crate::activity::SAMPLES;

/// Statements whose texts are asked for at a time; further ids are left for the next call.
pub const TEXTS_MAX: usize = 500;
/// Characters of a statement that are read.
pub const TEXT_CHARACTERS_MAX: usize = 8192;

const STATEMENTS: &str = "pg_stat_statements";
/// What the server shows instead of a text that the role may not see.
const HIDDEN: &str = "<insufficient privilege>";

const SEES_ALL: &str = "\
SELECT pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')";

impl Observer {
    /// Takes one sample of the active sessions: collector `activity-samples`.
    ///
    /// It uses the session that [`Observer::look`] opened and never opens one itself, so that a server in trouble is
    /// not connected to every second.
    ///
    /// # Errors
    /// Why nothing was seen: no session is open, it broke, or the role does not see other roles' sessions.
    pub async fn sample(&mut self, request: &Request<'_>) -> Result<Snapshot, Blind> {
        let collector = request.catalog.collector(SAMPLES);
        let mut open = self.take()?;
        let sampled = open.sample(collector, request).await;
        self.put_back(open);
        sampled
    }

    /// Returns the texts of statements by their `queryid`, from pg_stat_statements, at most 500 at a time.
    ///
    /// A statement that is no longer there, or whose text the role may not see, has no entry. Texts are as the server
    /// has them, and end after 8,192 characters.
    ///
    /// # Errors
    /// Why no text was seen: no session is open, the extension is not known to be anywhere, the role may not read it.
    pub async fn texts(
        &mut self,
        request: &Request<'_>,
        ids: &[i64],
    ) -> Result<Vec<(i64, String)>, Blind> {
        let ids = &ids[..ids.len().min(TEXTS_MAX)];
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let open = self.take()?;
        let here = extensions(&open.session).await;
        let rows = match (here.get(STATEMENTS), self.memory.homes.get(STATEMENTS)) {
            (Some(extension), _) => read_texts(&open.session, extension, ids).await,
            (None, Some(home)) => elsewhere(request, home, ids).await,
            (None, None) => Err(missing_extension(&open.session.server.database)),
        };
        let server = open.session.server.clone();
        self.put_back(open);
        let (texts, hidden) = texts(rows?);
        if texts.is_empty() && hidden {
            return Err(Blind::NoPrivilege {
                what: "reading the texts of other roles' statements".to_owned(),
                grant: answer::granting(request.catalog.collector("statements"), &server),
            });
        }
        Ok(texts)
    }

    /// Takes the session, so that a future that is dropped half-way drops it too.
    fn take(&mut self) -> Result<Open, Blind> {
        self.open.take().ok_or_else(|| Blind::Unreachable {
            what: "no session is open".to_owned(),
            hint: None,
        })
    }

    fn put_back(&mut self, open: Open) {
        if open.session.alive() {
            self.open = Some(open);
        }
    }
}

impl Open {
    async fn sample(
        &mut self,
        collector: &Collector,
        request: &Request<'_>,
    ) -> Result<Snapshot, Blind> {
        if !self.sees_all().await? {
            return Err(Blind::NoPrivilege {
                what: "reading what other roles' sessions do".to_owned(),
                grant: answer::granting(collector, &self.session.server),
            });
        }
        let server = &self.session.server;
        let sql = answer::statement(collector, server, &BTreeMap::new()).map_err(blind)?;
        let started = Instant::now();
        let answer = self.session.read(&sql).await;
        let rows = answer.map_err(|error| answer::refusal(collector, server, &error))?;
        let mut snapshot = Snapshot {
            collector: collector.name.clone(),
            database: None,
            at: request.now,
            epoch: Some(server.epoch.clone()),
            cost: Cost {
                elapsed: started.elapsed().saturating_sub(self.round_trip),
                rows: rows.rows.len(),
            },
            columns: collector.header.columns.clone(),
            rows: Vec::new(),
        };
        snapshot.rows = arrange(&snapshot, rows).map_err(blind)?;
        Ok(snapshot)
    }

    async fn sees_all(&mut self) -> Result<bool, Blind> {
        let server = &self.session.server;
        if server.monitor || server.superuser {
            return Ok(true);
        }
        if let Some(known) = self.sees_all {
            return Ok(known);
        }
        let rows = self.session.read(SEES_ALL).await;
        let rows = rows.map_err(|error| error.blind())?;
        let sees = matches!(rows.rows.as_slice(), [row] if row[0] == Value::Bool(true));
        self.sees_all = Some(sees);
        Ok(sees)
    }
}

/// A statement for samples exists for every server, so what is not applicable is a user's own collector's fault.
fn blind(missing: Missing) -> Blind {
    match missing {
        Missing::Blind(blind) => blind,
        Missing::NotApplicable(what) => Blind::Failed { what },
    }
}

async fn elsewhere(request: &Request<'_>, home: &str, ids: &[i64]) -> Result<Rows, Blind> {
    let target = request.target.with_database(home);
    let session = Session::connect(&target, request.purpose).await;
    let session =
        session.map_err(|error| answer::connect_blind(&error, home, &request.target.user))?;
    match extensions(&session).await.get(STATEMENTS) {
        Some(extension) => read_texts(&session, extension, ids).await,
        None => Err(missing_extension(home)),
    }
}

fn missing_extension(database: &str) -> Blind {
    Blind::MissingExtension {
        name: STATEMENTS.to_owned(),
        database: database.to_owned(),
    }
}

async fn read_texts(session: &Session, extension: &Extension, ids: &[i64]) -> Result<Rows, Blind> {
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    let sql = format!(
        "SELECT DISTINCT ON (p.queryid)
       p.queryid,
       pg_catalog.left(p.query, {TEXT_CHARACTERS_MAX}) AS query
  FROM {}.pg_stat_statements(true) AS p
 WHERE p.queryid OPERATOR(pg_catalog.=) ANY ('{{{}}}'::pg_catalog.int8[])
 ORDER BY p.queryid, p.query OPERATOR(pg_catalog.=) '{HIDDEN}'",
        extension.schema,
        ids.join(",")
    );
    let rows = session.read(&sql).await;
    rows.map_err(|error: Error| error.blind())
}

/// Returns the texts that may be seen, and whether there were others.
fn texts(rows: Rows) -> (Vec<(i64, String)>, bool) {
    let mut texts = Vec::new();
    let mut hidden = false;
    for row in rows.rows {
        match row.as_slice() {
            [Value::Int(_), Value::Text(text)] if **text == *HIDDEN => hidden = true,
            [Value::Int(id), Value::Text(text)] => texts.push((*id, text.to_string())),
            _ => {}
        }
    }
    (texts, hidden)
}
