//! What a record is about: its kind, told by SQLSTATE, message and severity, as data in `data/kinds.toml`.

use pawang_core::Level;
use serde::{Deserialize, Serialize};

use crate::record::Record;

/// Position of a kind in [`kinds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindId(pub u16);

/// What part of the server a kind is about; the report has a section for most.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// Start, stop, crash, settings.
    Server,
    /// Memory, disk, files, corruption.
    Resources,
    /// Checkpoints, WAL, archive, recovery.
    Wal,
    /// Streaming and logical replication.
    Replication,
    /// Logins and sessions.
    Connections,
    /// Waits, deadlocks, serialisation.
    Locks,
    /// Durations, plans, audit.
    Statements,
    /// Vacuum, analyze, wraparound.
    Maintenance,
    /// Statements that failed for what they say.
    Sql,
    /// PgBouncer.
    Pgbouncer,
    /// What no rule knows.
    Unclassified,
}

/// A kind of event.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Kind {
    /// Kebab-case name that never changes, such as `checkpoint-done`.
    pub id: String,
    /// What part of the server it is about.
    pub group: Group,
    /// How bad one such record is by itself.
    pub level: Level,
    /// What it means, in one sentence.
    pub meaning: String,
    /// What usually causes it.
    pub cause: String,
    /// What to do, a command where there is one.
    pub remedy: String,
}

/// Returns all kinds; `unclassified` is the last.
pub fn kinds() -> &'static [Kind] {
    &[]
}

/// Returns the kind of an id.
pub fn find(id: &str) -> Option<KindId> {
    let index = kinds().iter().position(|kind| kind.id == id)?;
    u16::try_from(index).ok().map(KindId)
}

/// Tells the kind of a record of an English log, or of one that the `language` module translated.
pub fn classify(_record: &Record<'_>) -> KindId {
    KindId(0)
}
