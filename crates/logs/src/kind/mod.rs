//! What a record is about: its kind, told by SQLSTATE, message and severity, as data in `data/kinds.toml`.
//!
//! The order of decision:
//! 1. who wrote it: PgBouncer and lines outside of records have rules of their own;
//! 2. what code of a user raised (SQLSTATE `P0001`, or a CONTEXT that ends in `at RAISE`), whatever its text says;
//! 3. a CONTEXT that alone tells the kind: the worker of a subscription;
//! 4. the patterns of messages, of which the one with the most literal text wins (those that begin with `*` last);
//! 5. the SQLSTATE, or, in a log that does not say it, the one that PostgreSQL's source gives to this message;
//! 6. the class of the SQLSTATE: an ERROR with a code that no kind names gets the kind of its class, such as `data-exception` for 22;
//! 7. `unclassified`.
//!
//! So a log whose prefix has no `%e` gives the same kinds as one that has it, for all messages of the server itself.

mod catalogue;
mod classify;
mod matcher;
mod pattern;

pub use classify::{classify, classify_raw};

use std::collections::HashMap;
use std::sync::LazyLock;

use pawang_core::Level;
use serde::{Deserialize, Serialize};

use crate::severity::Severity;

/// Position of a kind in [`kinds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindId(pub u16);

/// What part of the server a kind is about; the report has a section for most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

impl Group {
    /// All groups, in the order of a report.
    pub const ALL: [Group; 11] = [
        Group::Server,
        Group::Resources,
        Group::Wal,
        Group::Replication,
        Group::Connections,
        Group::Locks,
        Group::Statements,
        Group::Maintenance,
        Group::Sql,
        Group::Pgbouncer,
        Group::Unclassified,
    ];

    /// Returns its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Group::Server => "server",
            Group::Resources => "resources",
            Group::Wal => "wal",
            Group::Replication => "replication",
            Group::Connections => "connections",
            Group::Locks => "locks",
            Group::Statements => "statements",
            Group::Maintenance => "maintenance",
            Group::Sql => "sql",
            Group::Pgbouncer => "pgbouncer",
            Group::Unclassified => "unclassified",
        }
    }
}

/// Whose records the patterns of a kind apply to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum From {
    /// The server's.
    #[default]
    Server,
    /// PgBouncer's.
    Pgbouncer,
    /// Lines outside of records.
    Raw,
}

/// A kind of event, with the rules that tell it.
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
    /// Patterns of the primary message, any of which is enough.
    #[serde(default)]
    pub message: Vec<String>,
    /// Severities that the patterns apply to; all when empty.
    #[serde(default)]
    pub severity: Vec<Severity>,
    /// Pattern that DETAIL must match as well.
    #[serde(default)]
    pub detail: Option<String>,
    /// Pattern of CONTEXT that alone tells this kind, for errors.
    #[serde(default)]
    pub context: Option<String>,
    /// Codes that alone tell this kind.
    #[serde(default)]
    pub sqlstate: Vec<String>,
    /// Classes of codes that no kind names.
    #[serde(default)]
    pub class: Vec<String>,
    /// Whose records the patterns apply to.
    #[serde(default)]
    pub origin: From,
    /// The patterns lose against those of other kinds, which tell more than that a file could not be read.
    #[serde(default)]
    pub weak: bool,
    /// Messages of this kind, as `SEVERITY SQLSTATE: message`.
    #[serde(default)]
    pub example: Vec<String>,
    /// The message is free text, so that only the code tells the kind.
    #[serde(default)]
    pub sqlstate_only: bool,
    /// No message tells the kind: its context does, or whoever reads the log finds it.
    #[serde(default)]
    pub context_only: bool,
}

static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    #[derive(Deserialize)]
    struct File {
        kind: Vec<Kind>,
    }
    toml::from_str::<File>(include_str!("../../data/kinds.toml"))
        .unwrap_or_else(|error| unreachable!("kinds.toml: {error}"))
        .kind
});

/// Returns all kinds in the order of the file; `unclassified` is the last.
pub fn kinds() -> &'static [Kind] {
    &KINDS
}

/// Returns the kind of an id.
pub fn find(id: &str) -> Option<KindId> {
    static IDS: LazyLock<HashMap<&str, KindId>> = LazyLock::new(|| {
        let ids = (0_u16..).zip(kinds());
        ids.map(|(index, kind)| (kind.id.as_str(), KindId(index)))
            .collect()
    });
    IDS.get(id).copied()
}

impl KindId {
    /// Returns the kind itself.
    pub fn kind(self) -> &'static Kind {
        &kinds()[usize::from(self.0)]
    }
}

#[cfg(test)]
mod tests;
