//! What statements do now, without a history: two looks at pg_stat_statements over one connection, or one look at its totals.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pawang_core::{Kind, Report};
use pawang_logs::looks::{self, Counters, Doubts, Growth};
use pawang_postgres::Target;
use pawang_store::history::{Statement, StatementSums, Workload};
use serde::Serialize;

use crate::cli::statements::Statements;
use crate::when;

/// Between two looks, unless told otherwise.
const BETWEEN: Duration = Duration::from_secs(10);
/// Nobody waits longer; `pawang serve` remembers for days.
const BETWEEN_MAX: Duration = Duration::from_secs(3_600);
const BETWEEN_MIN: Duration = Duration::from_secs(1);
/// Statements whose texts are fetched, by each of the orders in which they can be shown.
const TEXTS_MAX: usize = 200;

/// How a server is asked now.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Asked {
    /// Ask the server now, two looks so far apart, such as 30s or 5m; the default where there is no history: 10s
    #[arg(long = "for", value_name = "LENGTH", conflicts_with = "total")]
    length: Option<String>,
    /// Ask the server now, for everything since the last reset, without waiting
    #[arg(long)]
    total: bool,
}

/// How a server was asked, beside what it answered.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Seen {
    /// Seconds that are counted.
    seconds: f64,
    /// Whether it is everything since the last reset, or what was done between two looks.
    total: bool,
    /// Entries that were not there at the first look.
    fresh: u64,
    /// What entries took that the role may not tell apart, in milliseconds.
    hidden_ms: f64,
    /// What cannot be told.
    doubts: Doubts,
    /// The same in words, and what else there is to say.
    notes: Vec<String>,
}

impl Asked {
    /// Says whether the server itself is meant.
    pub(super) fn wanted(&self) -> bool {
        self.total || self.length.is_some()
    }

    /// Returns how far apart two looks are; `None` means one look.
    ///
    /// # Errors
    /// The length cannot be read, or is out of bounds.
    pub(super) fn between(&self) -> Result<Option<Duration>, Report> {
        if self.total {
            return Ok(None);
        }
        let Some(text) = &self.length else {
            return Ok(Some(BETWEEN));
        };
        let length = Duration::try_from(when::length(text)?).unwrap_or_default();
        if (BETWEEN_MIN..=BETWEEN_MAX).contains(&length) {
            return Ok(Some(length));
        }
        Err(Report::new(
            Kind::Usage,
            format!("cannot look for \"{text}\": from 1s to 1h is possible"),
        )
        .with_hint("pawang serve remembers for longer"))
    }
}

/// What one server answered.
pub(super) struct Answered {
    /// What was done.
    pub growth: Growth,
    /// Everything since the reset, when two looks were taken.
    pub total: Option<Growth>,
    /// Texts by query identifier.
    pub texts: BTreeMap<i64, String>,
    /// How it was asked.
    pub seen: Seen,
}

/// Asks one server; `only` is the one statement that is wanted.
///
/// # Errors
/// It does not answer, or pg_stat_statements is not there for the role.
pub(super) async fn ask(
    target: &Target,
    between: Option<Duration>,
    only: Option<i64>,
) -> Result<Answered, Report> {
    let statements = Statements::open(target, "query").await?;
    let first = statements.look().await?;
    let (mut growth, mut total, hidden) = match between {
        None => {
            let hidden = first.hidden;
            (looks::totals(first), None, hidden)
        }
        Some(between) => {
            tokio::time::sleep(between).await;
            let second = statements.look().await?;
            let hidden = second.hidden;
            let total = only.map(|_| looks::totals(second.clone()));
            (looks::growth(&first, second), total, hidden)
        }
    };
    let mut notes = growth.doubts();
    if hidden > 0 {
        let role = statements.session.server.user.replace('"', "\"\"");
        notes.push(format!(
            "{hidden} entries of other roles cannot be told apart: GRANT pg_read_all_stats TO \"{role}\";"
        ));
    }
    if growth.entries.is_empty() {
        notes.extend(statements.quiet.clone());
    }
    let seen = Seen {
        seconds: growth.seconds,
        total: between.is_none(),
        fresh: growth.fresh,
        hidden_ms: growth.hidden_ms,
        doubts: growth.doubts,
        notes,
    };
    if let Some(only) = only {
        growth.entries.retain(|entry| entry.key.queryid == only);
        if let Some(total) = &mut total {
            total.entries.retain(|entry| entry.key.queryid == only);
        }
    }
    let ids = match only {
        Some(only) => vec![only],
        None => costliest(&growth),
    };
    let texts = statements.texts(&ids).await?;
    Ok(Answered {
        growth,
        total,
        texts,
        seen,
    })
}

/// Returns the statements whose texts are worth fetching, by time, calls, and what they read and wrote.
fn costliest(growth: &Growth) -> Vec<i64> {
    let mut wanted = BTreeSet::new();
    let values: [fn(&Counters) -> f64; 8] = [
        |sums| sums.total_ms,
        |sums| sums.total_ms / sums.calls.max(1.0),
        |sums| sums.calls,
        |sums| sums.rows,
        |sums| sums.read,
        |sums| sums.temp,
        |sums| sums.wal_bytes,
        |sums| sums.plan_ms,
    ];
    for value in values {
        let mut entries: Vec<_> = growth.entries.iter().collect();
        entries.sort_by(|a, b| value(&b.counters).total_cmp(&value(&a.counters)));
        let ids = entries
            .iter()
            .take(TEXTS_MAX)
            .map(|entry| entry.key.queryid);
        wanted.extend(ids);
    }
    wanted.into_iter().collect()
}

impl Answered {
    /// Returns it in the form of the history: one entry per statement, all databases and roles together.
    pub(super) fn workload(&self) -> Workload {
        let mut found: BTreeMap<i64, Statement> = BTreeMap::new();
        for entry in &self.growth.entries {
            let queryid = entry.key.queryid;
            let statement = found.entry(queryid).or_insert_with(|| Statement {
                queryid: queryid.to_string(),
                databases: BTreeSet::new(),
                roles: BTreeSet::new(),
                sums: StatementSums {
                    seconds: self.seen.seconds,
                    ..StatementSums::default()
                },
                before: None,
                share: 0.0,
                text: self.texts.get(&queryid).cloned(),
            });
            statement.databases.insert(entry.database.clone());
            statement.roles.insert(entry.role.clone());
            let (sums, more) = (&mut statement.sums, &entry.counters);
            sums.calls += more.calls;
            sums.total_ms += more.total_ms;
            sums.rows += more.rows;
            sums.hit += more.hit;
            sums.read += more.read;
            sums.temp += more.temp;
            sums.wal_bytes += more.wal_bytes;
            sums.plan_ms += more.plan_ms;
        }
        let mut statements: Vec<Statement> = found.into_values().collect();
        let total_ms =
            statements.iter().map(|one| one.sums.total_ms).sum::<f64>() + self.seen.hidden_ms;
        for statement in statements.iter_mut().filter(|_| total_ms > 0.0) {
            statement.share = 100.0 * statement.sums.total_ms / total_ms;
        }
        Workload {
            statements,
            total_ms,
            evicted: self.seen.doubts.evictions as f64,
        }
    }
}

impl Seen {
    /// Says what was counted, in words.
    pub(super) fn span(&self) -> String {
        let seconds = self.seconds;
        let length = match seconds {
            seconds if seconds >= 172_800.0 => format!("{:.1} days", seconds / 86_400.0),
            seconds if seconds >= 7_200.0 => format!("{:.1} h", seconds / 3_600.0),
            seconds if seconds >= 120.0 => format!("{:.0} min", seconds / 60.0),
            seconds => format!("{seconds:.0} s"),
        };
        match self.total {
            true => format!("everything since the reset {length} ago"),
            false => format!("{length} between two looks"),
        }
    }

    /// Returns what is to be said beside the table.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_between_looks_is_bounded() {
        let asked = |length: &str| Asked {
            length: Some(length.to_owned()),
            total: false,
        };
        assert_eq!(Asked::default().between().unwrap(), Some(BETWEEN));
        assert_eq!(
            asked("5m").between().unwrap(),
            Some(Duration::from_secs(300))
        );
        assert!(asked("2h").between().is_err() && asked("0s").between().is_err());
        let total = Asked {
            length: None,
            total: true,
        };
        assert_eq!(total.between().unwrap(), None);
    }
}
