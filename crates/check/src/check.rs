//! What a check is.

use pawang_core::{Level, Limits, Missing, Timestamp, Unit};

use crate::View;

/// The chapter of the catalogue that a check belongs to, in the order in which a DBA looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Does it answer, and as whom.
    Availability,
    /// Slots, sessions and their limits.
    Connections,
    /// Long transactions, XID age, what holds the horizon back.
    Transactions,
    /// Who waits for whom.
    Locks,
    /// Vacuum, statistics and bloat.
    Vacuum,
    /// Indexes, keys, sequences, partitions.
    Schema,
    /// WAL, archiving and checkpoints.
    Wal,
    /// Standbys, slots, logical replication.
    Replication,
    /// Cache, temporary files, I/O time.
    Io,
    /// Statements by cost.
    Statements,
    /// Settings and access that put data at risk.
    Security,
    /// Backups and what they can restore.
    Backup,
    /// Disk, memory, CPU of the server's machine.
    Host,
    /// The pooler.
    Pgbouncer,
    /// The failover agent.
    Patroni,
    /// Hypertables, chunks and jobs.
    Timescaledb,
    /// Loads, freshness, data quality.
    Warehouse,
}

impl Group {
    /// Every group with its kebab-case name and its title, in the order of the catalogue.
    pub const ALL: [(Group, &'static str, &'static str); 17] = [
        (Group::Availability, "availability", "Availability"),
        (Group::Connections, "connections", "Connections"),
        (
            Group::Transactions,
            "transactions",
            "Transactions and the horizon",
        ),
        (Group::Locks, "locks", "Locks and waits"),
        (Group::Vacuum, "vacuum", "Vacuum, statistics and bloat"),
        (Group::Schema, "schema", "Indexes and schema"),
        (Group::Wal, "wal", "WAL, archiving and checkpoints"),
        (Group::Replication, "replication", "Replication"),
        (Group::Io, "io", "Cache, I/O and temporary files"),
        (Group::Statements, "statements", "Statements"),
        (Group::Security, "security", "Settings and security"),
        (Group::Backup, "backup", "Backups"),
        (Group::Host, "host", "Host"),
        (Group::Pgbouncer, "pgbouncer", "PgBouncer"),
        (Group::Patroni, "patroni", "Patroni"),
        (Group::Timescaledb, "timescaledb", "TimescaleDB"),
        (Group::Warehouse, "warehouse", "Warehouse loads"),
    ];

    /// Returns the kebab-case name.
    pub fn name(self) -> &'static str {
        let found = Group::ALL.iter().find(|(group, ..)| *group == self);
        found.map_or("", |(_, name, _)| name)
    }
}

/// How often a check is evaluated per run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Once.
    Server,
    /// Once in every database, with that database's facts.
    Database,
}

/// Which side of a limit is the wrong one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// At or above the limit is a finding.
    Above,
    /// At or below the limit is a finding.
    Below,
}

/// A named number below which an object is not judged, so that small things stay quiet.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    /// Its name in `pawang.toml`.
    pub name: &'static str,
    /// Its default.
    pub value: f64,
    /// Its unit.
    pub unit: Unit,
    /// What it leaves out, as the rest of the sentence "Ignores ...".
    pub ignores: &'static str,
}

/// One check: texts, limits and a pure function.
#[derive(Debug)]
pub struct Check<'a> {
    /// Kebab-case, never changes.
    pub id: &'a str,
    /// Its chapter.
    pub group: Group,
    /// A few words for tables.
    pub title: &'a str,
    /// How often it is evaluated.
    pub scope: Scope,
    /// The collectors whose snapshots it reads.
    pub needs: &'a [&'a str],
    /// The unit of its values.
    pub unit: Unit,
    /// Which side of a limit is the wrong one.
    pub direction: Direction,
    /// Default warning limit.
    pub warning: Option<f64>,
    /// Default critical limit.
    pub critical: Option<f64>,
    /// Default floors.
    pub floors: &'a [Floor],
    /// What it looks at, and how.
    pub what: &'a str,
    /// Why it matters.
    pub why: &'a str,
    /// What to do about a finding.
    pub fix: &'a str,
    /// Measures every object; grading is done by the caller.
    pub observe: fn(&View<'_>) -> Result<Vec<Observation>, Missing>,
}

/// One measured object.
///
/// An empty list from `observe` means "nothing to find": ok.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// What was measured, such as `public.orders` or `slot "s1"`; empty for the server (or database) as a whole.
    pub object: String,
    /// The value in the check's unit.
    pub value: f64,
    /// The level, when the check says it itself instead of being graded by limits.
    pub level: Option<Level>,
    /// One sentence for people, without full stop: number and circumstances; shown when it is a finding.
    pub title: String,
    /// Since when, where the server tells.
    pub since: Option<Timestamp>,
    /// Named facts that prove it.
    pub evidence: Vec<(String, String)>,
    /// The statement or command for this very object; the check's `fix` when `None`.
    pub remedy: Option<String>,
}

impl Check<'_> {
    /// Returns the limits as shipped.
    pub fn defaults(&self) -> Limits {
        Limits {
            warning: self.warning,
            critical: self.critical,
            floors: self
                .floors
                .iter()
                .map(|floor| (floor.name.to_owned(), floor.value))
                .collect(),
        }
    }

    /// Returns the limits in words, such as `warning from 80 %, critical from 90 %`.
    pub fn limits_in_words(&self, limits: &Limits) -> String {
        let side = match self.direction {
            Direction::Above => "from",
            Direction::Below => "down from",
        };
        let word = |name: &str, limit: Option<f64>| {
            limit.map(|limit| format!("{name} {side} {}", self.unit.show(limit)))
        };
        let words: Vec<String> = [
            word("warning", limits.warning),
            word("critical", limits.critical),
        ]
        .into_iter()
        .flatten()
        .collect();
        if words.is_empty() {
            "the level is part of the finding".to_owned()
        } else {
            words.join(", ")
        }
    }
}
