//! Writes into the journal what is about to be done and what became of it.

use std::sync::atomic::{AtomicU64, Ordering};

use pawang_core::plan::{Action, Done, Plan, State};
use pawang_core::{Server, Timestamp};
use pawang_postgres::Writer;
use pawang_store::state::Entry;
use serde_json::json;

use crate::Error;
use crate::journal::{BEGUN, Intent, Journal};
use crate::task::Facts;

/// Reasons are cut here, so that the journal never leaves an intent out for its size.
const REASON_BYTES_MAX: usize = 2 << 10;

/// Whoever writes into the journal, and why.
#[derive(Clone, Copy)]
pub(crate) struct Teller<'a> {
    pub(crate) journal: &'a dyn Journal,
    pub(crate) clock: fn() -> Timestamp,
    pub(crate) actor: &'a str,
    pub(crate) why: &'a str,
}

/// The session that is about to do something.
#[derive(Clone, Copy)]
pub(crate) struct Doer<'a> {
    pub(crate) server: &'a Server,
    pub(crate) address: &'a str,
    pub(crate) backend: i32,
    pub(crate) backend_start: Timestamp,
}

impl<'a> From<&'a Writer> for Doer<'a> {
    fn from(writer: &'a Writer) -> Doer<'a> {
        Doer {
            server: &writer.server,
            address: writer.address(),
            backend: writer.backend,
            backend_start: writer.backend_start,
        }
    }
}

/// The journal of one application of one plan.
pub(crate) struct Record<'a> {
    teller: Teller<'a>,
    plan: &'a Plan,
    hash: &'a str,
    area: &'a str,
    /// Names this application, and with a number each of its intents.
    name: String,
    count: AtomicU64,
}

impl<'a> Record<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        teller: Teller<'a>,
        hash: &'a str,
        area: &'a str,
    ) -> Record<'a> {
        let begun_at = (teller.clock)().as_nanosecond();
        Record {
            teller,
            plan,
            hash,
            area,
            name: format!("{}-{begun_at}", &hash[..12]),
            count: AtomicU64::new(0),
        }
    }

    /// Writes what is about to be done; nothing may be done when that does not work out.
    pub(crate) fn begin(
        &self,
        action: &Action,
        doer: Option<Doer<'_>>,
        before: &Facts,
        indexes: Vec<u32>,
    ) -> Result<Intent, Error> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let system = doer.map(|doer| doer.server.epoch.system_identifier.to_string());
        let intent = Intent {
            intent: format!("{}-{number}", self.name),
            plan: self.hash.to_owned(),
            area: self.area.to_owned(),
            action: action.id.clone(),
            instance: self.plan.world.instance.clone(),
            system_identifier: system.or_else(|| self.plan.world.system_identifier.clone()),
            address: doer.map_or_else(String::new, |doer| doer.address.to_owned()),
            database: action.database.clone(),
            task: action.task.clone(),
            sql: action.sql.clone(),
            reason: cut(&action.reason),
            why: cut(self.teller.why),
            before: before.clone(),
            indexes,
            backend: doer.map_or(0, |doer| doer.backend),
            backend_start: doer.map_or(Timestamp::UNIX_EPOCH, |doer| doer.backend_start),
        };
        self.write(action, BEGUN, json!(intent))?;
        Ok(intent)
    }

    /// Writes what became of an action, begun or not.
    pub(crate) fn end(
        &self,
        action: &Action,
        intent: Option<&Intent>,
        done: &Done,
    ) -> Result<(), Error> {
        let outcome = match done.state {
            State::Done | State::DryRun | State::Needless => "done",
            State::Refused | State::Stale | State::Skipped => "refused",
            State::Cancelled | State::Failed => "failed",
        };
        let detail = json!({
            "intent": intent.map(|intent| &intent.intent),
            "plan": self.hash,
            "action": action.id,
            "state": done.state,
            "detail": cut(&done.detail),
            "hint": done.hint,
            "sql": action.sql,
            "why": cut(self.teller.why),
            "reason": cut(&action.reason),
            "undo": cut(&action.undo),
            "tries": done.tries,
            "started_at": done.started_at,
            "before": done.before,
            "after": done.after,
            "blocked_ms_longest": done.impact.longest.as_millis() as u64,
            "blocked_ms_total": done.impact.total.as_millis() as u64,
            "blocked_sessions": done.impact.sessions,
            "blocked_resolution_ms": done.impact.resolution.as_millis() as u64,
        });
        self.write(action, outcome, detail)
    }

    fn write(
        &self,
        action: &Action,
        outcome: &str,
        detail: serde_json::Value,
    ) -> Result<(), Error> {
        self.teller.journal.write(&Entry {
            at: (self.teller.clock)(),
            actor: self.teller.actor.to_owned(),
            action: format!("{}.apply", action.task.name()),
            object: format!(
                "{}/{}/{}",
                self.plan.world.instance, action.database, action.object
            ),
            outcome: outcome.to_owned(),
            detail,
        })
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(REASON_BYTES_MAX)].to_owned()
}
