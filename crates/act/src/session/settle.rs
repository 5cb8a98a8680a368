//! What an earlier run left when it was killed between a signal and its end: was the session ended?

use pawang_core::Timestamp;
use pawang_core::plan::{SessionKey, State};
use pawang_postgres::Session;
use tokio::time::{Instant, sleep};

use super::look::look;
use super::signal::{about, worked};
use crate::Error;
use crate::journal::{Intent, Journal};
use crate::settle::{SESSION_INTERVAL, SESSION_PATIENCE, Settled, entry, same_server};

/// Settles what was begun about sessions of this server and never ended; the session must hold the lock of the area.
///
/// # Errors
/// The server or the journal cannot be read.
pub(crate) async fn open(
    session: &Session,
    journal: &dyn Journal,
    clock: fn() -> Timestamp,
) -> Result<Vec<Settled>, Error> {
    let mut settled = Vec::new();
    for intent in journal.open_intents()? {
        let ours = about(&intent.task) && same_server(&intent, &session.server, session.address());
        if !ours || !ended(session, &intent).await? {
            continue;
        }
        let one = one(session, intent).await?;
        journal.write(&entry(&one, clock()))?;
        settled.push(one);
    }
    Ok(settled)
}

/// Waits until the session that signalled is gone; says whether it is.
async fn ended(session: &Session, intent: &Intent) -> Result<bool, Error> {
    let key = SessionKey {
        pid: intent.backend,
        backend_start: intent.backend_start,
    };
    let deadline = Instant::now() + SESSION_PATIENCE;
    loop {
        let view = look(session).await?;
        let process = view.process(i64::from(key.pid));
        if process.is_none_or(|process| process.key().is_some_and(|found| found != key)) {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        sleep(SESSION_INTERVAL).await;
    }
}

async fn one(session: &Session, intent: Intent) -> Result<Settled, Error> {
    let view = look(session).await?;
    let (state, found) = match worked(&intent.task, &view) {
        Some(true) => (State::Done, "it had been done"),
        Some(false) => (
            State::Cancelled,
            "it had not been done, and nothing is left of it",
        ),
        None => (
            State::Cancelled,
            "nobody can tell whether it had been done; it leaves nothing behind",
        ),
    };
    Ok(Settled {
        intent,
        state,
        found: found.to_owned(),
        sql: Vec::new(),
    })
}
