//! A plan: typed actions that would change a server, with everything a person needs to agree to them.
//!
//! A duty makes [`Proposal`]s; `act` alone turns them into a [`Plan`], with the exact statements, and applies it.

mod copied;
mod cost;
mod outcome;
mod task;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use copied::{
    ColumnDefault, ColumnShape, IndexShape, MergeSeen, MergeShape, RowSource, SequenceOptions,
    SequenceShape, TableShape,
};
pub use cost::{BuildRate, Cost, Risk};
pub use outcome::{Done, Impact, Outcome, State};
pub use task::{
    GuardProfile, IndexCleanup, LockLevel, Relation, RewriteMethod, SessionKey, StatisticsKind,
    Task, VacuumOptions, VacuumPace,
};

/// The version of the plan's format on disk.
pub const PLAN_FORMAT: u32 = 1;

/// Something that a duty wants to be done, before `act` made it exact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// The database that it is done in.
    pub database: String,
    /// What.
    pub task: Task,
    /// Why, as a sentence with numbers.
    pub reason: String,
    /// The facts behind the reason, as name and value.
    pub evidence: Vec<(String, String)>,
    /// What it is thought to cost.
    pub cost: Cost,
}

/// Something that was looked at and is left alone, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The database.
    pub database: String,
    /// What.
    pub object: String,
    /// Why, as a sentence.
    pub why: String,
    /// Whether this is because something could not be seen: then nobody may call the object healthy.
    pub blind: bool,
}

/// Which server a plan is for; a plan is refused everywhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct World {
    /// The name of the instance.
    pub instance: String,
    /// The system identifier, where the role may see it.
    pub system_identifier: Option<String>,
    /// The timeline, where the role may see it.
    pub timeline: Option<i64>,
    /// `server_version_num`.
    pub version: u32,
}

/// Typed actions on one instance, exact enough to be agreed to, kept, and refused when the world changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`PLAN_FORMAT`] of the program that made it.
    pub format: u32,
    /// What it is for, such as `maintain vacuum`.
    pub title: String,
    /// Which server.
    pub world: World,
    /// When it was made.
    pub made_at: Timestamp,
    /// Who made it: `cli:postgres`, `account:alice`, `daemon`.
    pub made_by: String,
    /// What will be done, in this order where two touch the same object.
    pub actions: Vec<Action>,
    /// What will not be done, and why.
    pub left: Vec<Left>,
}

/// One typed action of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// Its name in the plan and the journal, such as `reindex:sales:dw.fact_idx`; unique in a plan.
    pub id: String,
    /// The database that it is done in.
    pub database: String,
    /// What it is done to, as people write it.
    pub object: String,
    /// What is done.
    pub task: Task,
    /// The exact statements, in order. They are made of `task` again at apply and must be the same.
    pub sql: Vec<String>,
    /// Why, as a sentence with numbers.
    pub reason: String,
    /// The facts behind the reason, as name and value.
    pub evidence: Vec<(String, String)>,
    /// The strongest lock that it takes on a relation that others use.
    pub lock: LockLevel,
    /// How it waits, retries and gives up.
    pub guard: GuardProfile,
    /// How much can go wrong.
    pub risk: Risk,
    /// What it is thought to cost.
    pub cost: Cost,
    /// What was true of the object when the plan was made; apply reads it again and refuses when it differs.
    pub expected: BTreeMap<String, String>,
    /// What must hold afterwards, in words.
    pub verify: String,
    /// How to take it back, as a statement, or what mitigates it where nothing does.
    pub undo: String,
}
