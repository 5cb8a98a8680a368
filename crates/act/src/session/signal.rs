//! Cancels and terminates: one statement reads the session again and signals it only if it is still the one that was seen.

use std::collections::BTreeMap;

use pawang_core::plan::{SessionKey, Task};
use pawang_core::{Timestamp, Value};
use pawang_postgres::{Error, Session};

use super::view::{CLIENT_BACKEND, View};

/// What came of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signalled {
    /// The server sent it.
    Sent,
    /// There is no such session any more, or not that statement: nothing was sent.
    Gone,
    /// The session ended while the server looked for it.
    Missed,
}

/// Returns the statement of a task about a session; `None` for any other task.
///
/// The number of a process is used again by others, and its statement may be the next one: both are compared within the
/// statement that signals, so that nobody else is hit however long ago the session was seen.
pub fn statement(task: &Task) -> Option<String> {
    let (function, session, query_start) = match task {
        Task::CancelBackend {
            session,
            query_start,
        } => ("pg_cancel_backend", session, *query_start),
        Task::TerminateBackend { session } => ("pg_terminate_backend", session, None),
        _ => return None,
    };
    let SessionKey { pid, backend_start } = session;
    let at = |at: Timestamp| format!("'{at}'::pg_catalog.timestamptz");
    let mut sql = format!(
        "SELECT pg_catalog.{function}(a.pid) AS signalled\n  FROM pg_catalog.pg_stat_activity AS a\n WHERE a.pid = {pid}\n   \
         AND a.backend_start = {}\n   AND a.backend_type = '{CLIENT_BACKEND}'\n   AND a.pid <> pg_catalog.pg_backend_pid()",
        at(*backend_start)
    );
    if matches!(task, Task::CancelBackend { .. }) {
        // An idle session keeps the time of its last statement, and a cancel would hit its next one.
        sql.push_str("\n   AND a.state IN ('active', 'fastpath function call')");
    }
    if let Some(query_start) = query_start {
        sql.push_str(&format!("\n   AND a.query_start = {}", at(query_start)));
    }
    Some(sql)
}

/// Says whether a task is about a session.
pub(crate) fn about(task: &Task) -> bool {
    key_of(task).is_some()
}

/// Returns the session of a task.
pub(super) fn key_of(task: &Task) -> Option<&SessionKey> {
    match task {
        Task::CancelBackend { session, .. } | Task::TerminateBackend { session } => Some(session),
        _ => None,
    }
}

/// Says whether a session is as a task wants it: ended, or its statement is; `None` when the role may not see it.
pub(super) fn worked(task: &Task, view: &View) -> Option<bool> {
    let key = key_of(task)?;
    let Some(process) = view.process(i64::from(key.pid)) else {
        return Some(true);
    };
    let found = process.key()?;
    Some(match task {
        _ if found != *key => true,
        Task::CancelBackend { query_start, .. } => {
            !process.running() || (query_start.is_some() && process.query_start != *query_start)
        }
        _ => false,
    })
}

/// Returns what is known of the session of a task, as apply reads it again; `None` when there is no such session.
pub fn expected(view: &View, task: &Task) -> Option<BTreeMap<String, String>> {
    let session = key_of(task)?;
    let process = view.process(i64::from(session.pid))?;
    if process.key().as_ref() != Some(session) {
        return None;
    }
    let facts = [
        ("pid", Some(session.pid.to_string())),
        ("role", process.user.clone()),
        ("database", process.database.clone()),
        ("application", Some(process.application.clone())),
        ("backend_type", process.backend_type.clone()),
    ];
    let facts = facts.into_iter();
    Some(
        facts
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect(),
    )
}

/// Signals the session of a task, if it is still the one that was seen.
///
/// # Errors
/// The role may not signal it, or the server does not answer.
pub async fn signal(session: &Session, sql: &str) -> Result<Signalled, Error> {
    let rows = session.read(sql).await?;
    Ok(match rows.rows.first().and_then(|row| row.first()) {
        None => Signalled::Gone,
        Some(Value::Bool(true)) => Signalled::Sent,
        Some(_) => Signalled::Missed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> SessionKey {
        SessionKey {
            pid: 4711,
            backend_start: "2026-11-22T01:02:03.456789Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_signal_compares_process_start_and_statement_itself() {
        let cancel = Task::CancelBackend {
            session: session(),
            query_start: Some("2026-11-22T02:00:00Z".parse().unwrap()),
        };
        let sql = statement(&cancel).unwrap();
        for part in [
            "pg_catalog.pg_cancel_backend(a.pid)",
            "a.pid = 4711",
            "a.backend_start = '2026-11-22T01:02:03.456789Z'::pg_catalog.timestamptz",
            "a.query_start = '2026-11-22T02:00:00Z'::pg_catalog.timestamptz",
            "a.backend_type = 'client backend'",
            "a.state IN ('active', 'fastpath function call')",
        ] {
            assert!(sql.contains(part), "{part}\n{sql}");
        }
        let sql = statement(&Task::TerminateBackend { session: session() }).unwrap();
        assert!(sql.contains("pg_catalog.pg_terminate_backend(a.pid)"));
        assert!(!sql.contains("query_start") && !sql.contains("a.state"));
        assert_eq!(
            statement(&Task::RunJob {
                extension_schema: "public".to_owned(),
                job: 1
            }),
            None
        );
    }
}
