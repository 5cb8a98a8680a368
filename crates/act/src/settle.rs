//! What an earlier run left when it was killed: looked at, cleaned where it is ours, and written down.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use pawang_core::Server;
use pawang_core::plan::{Relation, RewriteMethod, State, Task};
use pawang_postgres::{Session, Target, Writer};
use pawang_store::state::Entry;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::apply::{at_work, clean, leftovers, sweep};
use crate::journal::{Intent, Journal};
use crate::task::{self, Proof};
use crate::{Error, hold, look, session};

/// How long the session of a killed run may take to notice; the server looks every second.
pub(crate) const SESSION_PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether it has.
pub(crate) const SESSION_INTERVAL: Duration = Duration::from_millis(100);

/// What became of something that was begun and never ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// The action that was begun.
    pub intent: Intent,
    /// What it turned out to be: done, failed without effect, or cleaned up.
    pub state: State,
    /// What was found, as a sentence.
    pub found: String,
    /// What was done about it.
    pub sql: Vec<String>,
}

/// Looks what became of everything that was begun on this server and never ended, cleans what is certainly ours, and
/// writes it down.
///
/// What another Pawang is doing right now, or a session of a killed one still does, is left for later.
///
/// # Errors
/// The server or the journal cannot be read.
pub async fn settle(
    target: &Target,
    journal: &dyn Journal,
    clock: fn() -> Timestamp,
) -> Result<Vec<Settled>, Error> {
    let mut rooms: BTreeMap<(String, String), Vec<Intent>> = BTreeMap::new();
    let (sessions, others): (Vec<Intent>, Vec<Intent>) = journal
        .open_intents()?
        .into_iter()
        .partition(|intent| session::about(&intent.task));
    for intent in others {
        let room = (intent.database.clone(), intent.area.clone());
        rooms.entry(room).or_default().push(intent);
    }
    let mut settled = match sessions.is_empty() {
        true => Vec::new(),
        false => of_sessions(target, journal, clock).await?,
    };
    for ((database, area), intents) in rooms {
        let hold = match hold::take(target, &database, &area).await {
            Ok(hold) => hold,
            // Whoever holds it may be the one who began these.
            Err(Error::AnotherPawang { .. }) => continue,
            Err(Error::Server(pawang_postgres::Error::NoDatabase { .. })) => continue,
            Err(error) => return Err(error),
        };
        let writer = Writer::connect(&target.with_database(&database), "settle").await?;
        for intent in intents {
            let same = same_server(&intent, &writer.server, writer.address());
            if !same || !ended(&writer, &intent).await? {
                continue;
            }
            let one = one(&writer, intent).await?;
            journal.write(&entry(&one, clock()))?;
            settled.push(one);
        }
        drop(hold);
    }
    Ok(settled)
}

/// Settles what is about sessions: on a standby too, and in whatever database the role may connect to.
async fn of_sessions(
    target: &Target,
    journal: &dyn Journal,
    clock: fn() -> Timestamp,
) -> Result<Vec<Settled>, Error> {
    let session = Session::connect(target, "settle").await?;
    match session::alone(&session).await {
        Ok(()) => session::open(&session, journal, clock).await,
        Err(Error::AnotherPawang { .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Says whether an intent is about this server.
pub(crate) fn same_server(intent: &Intent, server: &Server, address: &str) -> bool {
    let found = server.epoch.system_identifier;
    match &intent.system_identifier {
        Some(known) if found != 0 && known != "0" => *known == found.to_string(),
        _ => intent.address == address,
    }
}

/// Waits until the session that began it is gone, and its program; says whether they are.
///
/// A program of pg_repack outlives Pawang: it may still do what it was asked to.
async fn ended(writer: &Writer, intent: &Intent) -> Result<bool, Error> {
    let session = session_ended(intent);
    let deadline = Instant::now() + SESSION_PATIENCE;
    loop {
        let program = match repacked(&intent.task) {
            Some(table) => look::holds(writer, &at_work(table, &intent.action)).await?,
            None => false,
        };
        if !program && look::holds(writer, &session).await? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        sleep(SESSION_INTERVAL).await;
    }
}

/// Returns the table that a program of pg_repack works on.
fn repacked(task: &Task) -> Option<&Relation> {
    match task {
        Task::Rewrite {
            table,
            method: RewriteMethod::PgRepack,
        } => Some(table),
        _ => None,
    }
}

fn session_ended(intent: &Intent) -> String {
    format!(
        "SELECT (NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity AS a
    WHERE a.pid = {} AND a.backend_start = {}))::pg_catalog.text",
        intent.backend,
        crate::quote::text(&intent.backend_start.to_string())
    )
}

async fn one(writer: &Writer, intent: Intent) -> Result<Settled, Error> {
    let mut sql = clean(writer, &intent.task, &intent.indexes).await?;
    if let Some(table) = repacked(&intent.task) {
        sql.extend(sweep(writer, table).await?);
    }
    let proof = task::probe(&intent.task, writer.server.version).proof;
    let done = match &proof {
        Proof::Holds(sql) | Proof::Became(sql) => Some(look::holds(writer, sql).await?),
        Proof::Grew(what) => {
            let count = |facts: &task::Facts| facts.get(*what).and_then(|n| n.parse::<u64>().ok());
            let now = look::numbers(writer, &intent.task).await;
            match (count(&intent.before), count(&now)) {
                (Some(before), Some(now)) => Some(now > before),
                _ => None,
            }
        }
        Proof::Changed(what) => {
            let now = look::numbers(writer, &intent.task).await;
            let (before, now) = (intent.before.get(*what), now.get(*what));
            before.zip(now).map(|(before, now)| before != now)
        }
        Proof::Success => match &intent.task {
            Task::DeleteFile { path, .. } => Some(task::describe(path).ok().flatten().is_none()),
            _ => None,
        },
    };
    let rest = match &intent.task {
        Task::Reindex { index, table } => leftovers(writer, index, table, &intent.indexes)
            .await?
            .len(),
        _ => 0,
    };
    let (state, found) = match (done, sql.is_empty(), rest) {
        (_, _, 1..) => (State::Failed, "something is left that somebody else uses"),
        (Some(true), true, _) => (State::Done, "it had been done"),
        (Some(true), false, _) => (
            State::Done,
            "it had been done, and what was left over is gone",
        ),
        (Some(false), true, _) => (
            State::Cancelled,
            "it had not been done, and nothing is left of it",
        ),
        (Some(false), false, _) => (
            State::Cancelled,
            "it had not been done, and what was left over is gone",
        ),
        (None, ..) => (
            State::Cancelled,
            "nobody can tell whether it had been done; it leaves nothing behind",
        ),
    };
    Ok(Settled {
        intent,
        state,
        found: found.to_owned(),
        sql,
    })
}

/// Returns the end of an intent as the journal keeps it.
pub(crate) fn entry(settled: &Settled, at: Timestamp) -> Entry {
    let intent = &settled.intent;
    Entry {
        at,
        actor: "settle".to_owned(),
        action: format!("{}.settle", intent.task.name()),
        object: format!(
            "{}/{}/{}",
            intent.instance,
            intent.database,
            intent.task.object()
        ),
        outcome: match settled.state {
            State::Done => "done",
            _ => "failed",
        }
        .to_owned(),
        detail: json!({
            "intent": intent.intent,
            "plan": intent.plan,
            "action": intent.action,
            "state": settled.state,
            "detail": settled.found,
            "sql": settled.sql,
        }),
    }
}
