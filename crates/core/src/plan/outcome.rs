//! What became of a plan.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What became of one action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Done and verified.
    Done,
    /// Everything up to the change was done, and the change itself left out on purpose.
    DryRun,
    /// It was already as wanted.
    Needless,
    /// The world is not that of the plan any more.
    Stale,
    /// Not begun: window, governor, e-stop, or an earlier action that it needs.
    Skipped,
    /// A safety rule refused it.
    Refused,
    /// Begun and stopped by us: the window closed, a hard limit, an interrupt.
    Cancelled,
    /// The server refused or it could not be verified.
    Failed,
}

impl State {
    /// Says whether what was planned is now so.
    pub fn good(self) -> bool {
        matches!(self, State::Done | State::DryRun | State::Needless)
    }
}

/// How long others waited for us, by sampling `pg_blocking_pids`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Impact {
    /// The longest wait of one session.
    pub longest: Duration,
    /// All waits of all sessions together.
    pub total: Duration,
    /// How many sessions waited.
    pub sessions: u32,
    /// The distance between two samples: shorter waits may have been missed.
    pub resolution: Duration,
}

/// What became of one action, with the numbers before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// [`super::Action::id`].
    pub id: String,
    /// What became of it.
    pub state: State,
    /// Why, as a sentence; empty when it is simply done.
    pub detail: String,
    /// What to do about it, where something can be done.
    pub hint: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How often it was tried.
    pub tries: u32,
    /// Sizes and other numbers before.
    pub before: BTreeMap<String, String>,
    /// The same afterwards.
    pub after: BTreeMap<String, String>,
    /// What it cost others.
    pub impact: Impact,
}

/// What became of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The hash of the plan.
    pub plan: String,
    /// One for each action of the plan, in its order.
    pub actions: Vec<Done>,
}

impl Outcome {
    /// Says whether everything that was planned is now so.
    pub fn good(&self) -> bool {
        self.actions.iter().all(|done| done.state.good())
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::Done => "done",
            State::DryRun => "dry-run",
            State::Needless => "needless",
            State::Stale => "stale",
            State::Skipped => "skipped",
            State::Refused => "refused",
            State::Cancelled => "cancelled",
            State::Failed => "failed",
        })
    }
}
