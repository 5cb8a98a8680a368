//! Sessions: what runs is cancelled, or they are ended; which ones may be is judged by the kill guard.

use pawang_core::plan::{SessionKey, Task};

use super::{Probe, Proof, Recipe};
use crate::{quote, session};

pub(super) fn recipe(task: &Task) -> Recipe {
    let sql = session::statement(task).expect("only tasks of sessions come here");
    Recipe {
        sql: vec![sql],
        verify: session::verify(task).to_owned(),
        undo: session::undo(task).to_owned(),
    }
}

pub(super) fn probe(task: &Task) -> Probe {
    let (Task::CancelBackend { session, .. } | Task::TerminateBackend { session }) = task else {
        unreachable!("only tasks of sessions come here");
    };
    Probe {
        facts: Some(format!(
            "SELECT a.pid::pg_catalog.text AS pid, a.usename AS role, a.datname AS database,
    a.application_name AS application, a.backend_type\n{}",
            seen(session)
        )),
        numbers: None,
        // The kill guard looks at the effect itself.
        proof: Proof::Success,
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
