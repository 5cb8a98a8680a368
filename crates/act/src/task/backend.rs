//! Sessions: what runs is cancelled, or they are ended; which ones may be is judged by the kill guard.

use pawang_core::plan::{SessionKey, Task};

use super::{Probe, Proof, Recipe};
use crate::quote;

pub(super) fn recipe(task: &Task) -> Recipe {
    match task {
        Task::CancelBackend {
            session,
            query_start,
        } => {
            let query = match query_start {
                Some(at) => format!(" AND a.query_start = {}", quote::text(&at.to_string())),
                None => String::new(),
            };
            Recipe {
                sql: vec![format!(
                    "SELECT pg_catalog.pg_cancel_backend(a.pid)::pg_catalog.text AS done\n{}{query}",
                    seen(session)
                )],
                verify: "the server told the session to cancel what it runs".to_owned(),
                undo: "nothing to take back: the client may run the statement again".to_owned(),
            }
        }
        Task::TerminateBackend { session } => Recipe {
            sql: vec![format!(
                "SELECT pg_catalog.pg_terminate_backend(a.pid)::pg_catalog.text AS done\n{}",
                seen(session)
            )],
            verify: "the session is gone".to_owned(),
            undo: "none: the client must reconnect".to_owned(),
        },
        _ => unreachable!("only tasks of sessions come here"),
    }
}

pub(super) fn probe(task: &Task) -> Probe {
    let (Task::CancelBackend { session, .. } | Task::TerminateBackend { session }) = task else {
        unreachable!("only tasks of sessions come here");
    };
    let gone = format!(
        "SELECT (NOT EXISTS (SELECT\n{}))::pg_catalog.text",
        seen(session)
    );
    let proof = match task {
        Task::TerminateBackend { .. } => Proof::Holds(gone),
        _ => Proof::Success,
    };
    Probe {
        facts: Some(format!(
            "SELECT a.pid::pg_catalog.text AS pid, a.usename AS role, a.datname AS database,
    a.application_name AS application, a.backend_type\n{}",
            seen(session)
        )),
        numbers: None,
        proof,
        privilege: None,
    }
}

/// A process id alone is used again by others: the beginning of the session tells that it is the one that was seen.
fn seen(session: &SessionKey) -> String {
    format!(
        "FROM pg_catalog.pg_stat_activity AS a
WHERE a.pid = {} AND a.backend_start = {} AND a.backend_type = 'client backend'",
        session.pid,
        quote::text(&session.backend_start.to_string())
    )
}
