//! Looks at all sessions of a server in one statement.

use pawang_core::{Timestamp, Value};
use pawang_postgres::{Error, Rows, Session};

use super::view::{PREPARED, Prepared, Process, View, Wait};

const LOOK: &str = include_str!("look.sql");
const OWN: &str = "SELECT a.pid,
       a.backend_start
  FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) AS a";
const PREPARED_BLOCKERS: &str = include_str!("prepared.sql");

/// Looks at a server: all sessions, what they wait for, and for whom.
///
/// # Errors
/// The server does not answer.
pub async fn look(session: &Session) -> Result<View, Error> {
    let rows = session.read(LOOK).await?;
    let mut view = view(&rows);
    let blocked_by_prepared = view.processes.iter().any(|process| {
        let blockers = process.wait.iter().flat_map(|wait| &wait.blockers);
        blockers.flatten().any(|blocker| *blocker == PREPARED)
    });
    if blocked_by_prepared {
        view.prepared = prepared(&session.read(PREPARED_BLOCKERS).await?);
    }
    Ok(view)
}

/// Returns process id and beginning of the session that looks.
pub(super) async fn own(session: &Session) -> Result<(i32, Timestamp), Error> {
    let rows = session.read(OWN).await?;
    let row = lines(&rows).next();
    let pid = row.as_ref().and_then(|row| row.value("pid").as_int());
    let pid = pid.and_then(|pid| i32::try_from(pid).ok());
    let start = row.and_then(|row| row.time("backend_start"));
    pid.zip(start).ok_or_else(|| Error::Lost {
        address: session.address().to_owned(),
        message: "the server said nothing about the session".to_owned(),
    })
}

/// One row, by the names of its columns.
struct Line<'a> {
    names: &'a [String],
    values: &'a [Value],
}

impl<'a> Line<'a> {
    fn value(&self, name: &str) -> &'a Value {
        let index = self.names.iter().position(|known| known == name);
        index.map_or(&Value::Null, |index| &self.values[index])
    }

    fn text(&self, name: &str) -> Option<String> {
        self.value(name).as_text().map(str::to_owned)
    }

    fn time(&self, name: &str) -> Option<Timestamp> {
        match self.value(name) {
            Value::Time(at) => Some(*at),
            _ => None,
        }
    }

    fn flag(&self, name: &str) -> bool {
        *self.value(name) == Value::Bool(true)
    }

    fn process(&self) -> Process {
        let class = self.text("wait_event_type");
        let event = class.and_then(|class| Some(format!("{class}:{}", self.text("wait_event")?)));
        Process {
            pid: self.value("pid").as_int().unwrap_or_default(),
            backend_start: self.time("backend_start"),
            query_start: self.time("query_start"),
            xact_start: self.time("xact_start"),
            state_change: self.time("state_change"),
            leader_pid: self.value("leader_pid").as_int(),
            database: self.text("datname"),
            user: self.text("usename"),
            application: self.text("application_name").unwrap_or_default(),
            client: self.text("client_addr"),
            backend_type: self.text("backend_type"),
            state: self.text("state"),
            wait_event: event,
            query: self.text("query").unwrap_or_default(),
            superuser: self.flag("superuser"),
            wait: self.flag("waiting").then(|| self.wait()),
        }
    }

    fn wait(&self) -> Wait {
        let blockers = match self.value("blockers") {
            Value::List(blockers) => {
                let mut pids: Vec<i64> =
                    blockers.iter().filter_map(|pid| pid.parse().ok()).collect();
                pids.sort_unstable();
                pids.dedup();
                Some(pids)
            }
            _ => None,
        };
        Wait {
            blockers,
            mode: self.text("mode").unwrap_or_default(),
            kind: self.text("locktype").unwrap_or_default(),
            relation: self.text("relation"),
            since: self.time("waitstart"),
        }
    }
}

fn lines(rows: &Rows) -> impl Iterator<Item = Line<'_>> {
    rows.rows.iter().map(|values| Line {
        names: &rows.names,
        values,
    })
}

fn view(rows: &Rows) -> View {
    View {
        at: lines(rows)
            .next()
            .and_then(|line| line.time("now"))
            .unwrap_or_default(),
        processes: lines(rows).map(|line| line.process()).collect(),
        prepared: Vec::new(),
    }
}

fn prepared(rows: &Rows) -> Vec<Prepared> {
    let text = |line: &Line<'_>, name| line.text(name).unwrap_or_default();
    lines(rows)
        .map(|line| Prepared {
            gid: text(&line, "gid"),
            owner: text(&line, "owner"),
            database: text(&line, "database"),
            prepared_at: line.time("prepared"),
        })
        .collect()
}
