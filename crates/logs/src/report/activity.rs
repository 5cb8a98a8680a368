//! The parts of the report about sessions: locks, logins, audit, PgBouncer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Counted, Durations, Series, Top};

/// Lock waits and deadlocks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Locks {
    /// Waits that the server told of after `deadlock_timeout`.
    pub waits: u64,
    /// How long they took; of those that never ended in the log, what was told last.
    pub waited: Durations,
    /// Waits that never ended in the log: cancelled, or still waiting at its end.
    pub unended: u64,
    /// Who made others wait, the most waited-for first.
    pub blockers: Top<Blocker>,
    /// Waits by what was locked: `relation 16384 of database 5`, `transaction`, `tuple`, `advisory lock`.
    pub objects: Top<Counted>,
    /// Waits by the statement that waited.
    pub statements: Top<Counted>,
    /// Deadlocks, latest first.
    pub deadlocks: Top<Deadlock>,
    /// `lock_timeout` and NOWAIT, by statement.
    pub refused: Top<Counted>,
    /// Waits per bucket of time.
    pub series: Series,
}

/// A process that others waited for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Blocker {
    /// The process.
    pub pid: u32,
    /// When it was first told as a holder.
    pub at: Option<i64>,
    /// How long others waited for it, in all; a wait for several holders counts for the one that waited for nobody itself.
    pub cost: u64,
    /// How many processes waited for it, directly or through others.
    pub victims: u64,
    /// Whether it waited for nobody itself as far as the log tells.
    pub root: bool,
    /// The last statement that the log has of it, normalised; empty when it has none.
    pub statement: String,
    /// Its role, database and application, as far as the log tells.
    pub who: String,
}

/// A deadlock: who waited for whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deadlock {
    /// When.
    pub at: Option<i64>,
    /// The process that was chosen to fail.
    pub victim: u32,
    /// Who waits for whom, in the server's order.
    pub edges: Vec<Edge>,
}

/// One process waits for another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Edge {
    /// Who waits.
    pub waiter: u32,
    /// For whom.
    pub holder: u32,
    /// Lock mode: `ShareLock`.
    pub mode: String,
    /// What is locked: `transaction 734`.
    pub object: String,
    /// What the waiter was running, normalised.
    pub statement: String,
}

/// Sessions and logins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sessions {
    /// `connection received`.
    pub received: u64,
    /// `connection authorized`.
    pub authorized: u64,
    /// `disconnection`, with the time that sessions lasted.
    pub lasted: Durations,
    /// Most sessions open at once, as far as the log tells; none without both `log_connections` and `log_disconnections`.
    pub open_max: Option<u64>,
    /// When that was.
    pub open_max_at: Option<i64>,
    /// Logins per bucket of time.
    pub series: Series,
    /// Most logins within one minute, and when: a storm of connections when it is far above the median.
    pub minute_max: u64,
    /// Start of that minute.
    pub minute_max_at: Option<i64>,
    /// Median of the logins per minute over the whole log.
    pub minute_median: u64,
    /// Logins by role.
    pub users: BTreeMap<String, u64>,
    /// Logins by database.
    pub databases: BTreeMap<String, u64>,
    /// Logins by host.
    pub hosts: BTreeMap<String, u64>,
    /// Logins by application.
    pub applications: BTreeMap<String, u64>,
    /// Refused logins by reason (kind), role and host, most frequent first.
    pub refused: Top<Refused>,
}

/// Refused logins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refused {
    /// Kind of the refusal.
    pub kind: String,
    /// Role.
    pub user: String,
    /// Database.
    pub database: String,
    /// Host.
    pub host: String,
    /// How often.
    pub count: u64,
    /// First.
    pub first_at: Option<i64>,
    /// Last.
    pub last_at: Option<i64>,
}

/// pgaudit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Audit {
    /// Records.
    pub count: u64,
    /// By class: `READ`, `WRITE`, `DDL`, `ROLE`, `FUNCTION`, `MISC`.
    pub classes: BTreeMap<String, u64>,
    /// By command: `SELECT`, `ALTER TABLE`.
    pub commands: BTreeMap<String, u64>,
    /// By role.
    pub users: BTreeMap<String, u64>,
    /// By object, most frequent first; the text is `TABLE public.orders`.
    pub objects: Top<Counted>,
    /// Statements of class DDL and ROLE, latest first.
    pub changes: Top<AuditChange>,
}

/// A change that pgaudit told of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditChange {
    /// When.
    pub at: Option<i64>,
    /// Role.
    pub user: String,
    /// Database.
    pub database: String,
    /// Command.
    pub command: String,
    /// Object.
    pub object: String,
    /// The statement, secrets redacted.
    pub statement: String,
}

/// PgBouncer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PgBouncer {
    /// Records.
    pub records: u64,
    /// Clients that logged in.
    pub logins: u64,
    /// Server connections that were opened.
    pub server_connections: u64,
    /// Why connections were closed, by reason.
    pub closings: BTreeMap<String, u64>,
    /// Errors told to clients, by reason.
    pub errors: BTreeMap<String, u64>,
    /// The statistics that it writes once a minute, in order of time.
    pub stats: Vec<PoolerStats>,
}

/// PgBouncer and the server on one time line: all series have the same buckets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timeline {
    /// Clients that logged in to PgBouncer.
    pub pooler_logins: Series,
    /// Connections of clients that PgBouncer closed, or that ended.
    pub pooler_closings: Series,
    /// Errors that PgBouncer told clients.
    pub pooler_errors: Series,
    /// The highest mean wait for a server connection that PgBouncer's statistics tell, in microseconds.
    pub pooler_waits: Series,
    /// Connections to the server that PgBouncer opened.
    pub pooler_connections: Series,
    /// Sessions that the server let in, where it logs them.
    pub server_logins: Series,
    /// Records of the server of severity ERROR and worse.
    pub server_errors: Series,
}

/// One line of PgBouncer's statistics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolerStats {
    /// When.
    pub at: Option<i64>,
    /// Transactions per second.
    pub xacts: u64,
    /// Queries per second.
    pub queries: u64,
    /// Mean microseconds of a query.
    pub query_time: u64,
    /// Mean microseconds that clients waited for a server.
    pub wait_time: u64,
}
