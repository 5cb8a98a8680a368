//! What a record is about: its kind, told by SQLSTATE, message and severity, as data in `data/kinds.toml`.

use std::sync::LazyLock;

use pawang_core::Level;
use serde::{Deserialize, Serialize};

use crate::record::Record;

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
    #[derive(Deserialize)]
    struct File {
        kind: Vec<Kind>,
    }
    static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
        toml::from_str::<File>(include_str!("../../data/kinds.toml"))
            .unwrap_or_else(|error| unreachable!("kinds.toml: {error}"))
            .kind
    });
    &KINDS
}

/// Returns the kind of an id.
pub fn find(id: &str) -> Option<KindId> {
    let index = kinds().iter().position(|kind| kind.id == id)?;
    u16::try_from(index).ok().map(KindId)
}

/// Tells the kind of a record of an English log, or of one that the `language` module translated.
///
/// A sketch until the real rules come: it knows the kinds that the report's sections live on.
pub fn classify(record: &Record<'_>) -> KindId {
    const STARTS: [(&str, &str); 26] = [
        ("duration: ", "duration"),
        ("statement: ", "statement"),
        ("temporary file: ", "temp-file"),
        ("connection received: ", "connection-received"),
        ("connection authenticated: ", "connection-authenticated"),
        ("connection authorized: ", "connection-authorized"),
        ("disconnection: ", "disconnection"),
        ("checkpoint starting: ", "checkpoint-start"),
        ("checkpoint complete: ", "checkpoint-done"),
        ("restartpoint starting: ", "restartpoint-start"),
        ("restartpoint complete: ", "restartpoint-done"),
        (
            "checkpoints are occurring too frequently",
            "checkpoint-too-frequent",
        ),
        ("automatic vacuum of ", "autovacuum-done"),
        ("automatic aggressive vacuum ", "autovacuum-done"),
        ("automatic analyze of ", "autoanalyze-done"),
        ("canceling autovacuum task", "autovacuum-cancelled"),
        ("deadlock detected", "deadlock"),
        ("canceling statement due to lock timeout", "lock-timeout"),
        (
            "canceling statement due to statement timeout",
            "statement-timeout",
        ),
        ("canceling statement due to user request", "user-cancel"),
        ("could not obtain lock on ", "lock-nowait"),
        ("server process (PID ", "backend-crash"),
        ("AUDIT: ", "audit"),
        ("out of memory", "out-of-memory"),
        ("starting PostgreSQL ", "server-starting"),
        (
            "database system is ready to accept connections",
            "server-ready",
        ),
    ];
    let message = record.message;
    let mut id = STARTS
        .iter()
        .find(|(start, _)| message.starts_with(start.as_bytes()))
        .map_or("unclassified", |(_, id)| id);
    if id == "duration" && memchr::memmem::find(message, b"  plan:").is_some() {
        id = "plan";
    }
    if message.starts_with(b"process ") {
        let has = |text: &[u8]| memchr::memmem::find(message, text).is_some();
        if has(b" still waiting for ") {
            id = "lock-waiting";
        } else if has(b" acquired ") {
            id = "lock-acquired";
        }
    }
    find(id).unwrap_or_else(|| unreachable!("{id} is in kinds.toml"))
}
