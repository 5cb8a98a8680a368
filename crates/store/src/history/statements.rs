//! What became of the statements of an instance over a span, from collectors `statements` and `statements-info`
//! (pg_stat_statements), the same for the dashboard and for the command line.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use super::{Growth, GrowthQuery, Reader, Span};
use crate::Error;

/// What is read of every statement, in the order of [`StatementSums::add`].
pub const STATEMENT_COLUMNS: [&str; 9] = [
    "calls",
    "total_exec_time",
    "rows",
    "shared_blks_hit",
    "shared_blks_read",
    "temp_blks_read",
    "temp_blks_written",
    "wal_bytes",
    "total_plan_time",
];
/// A rate from less time than this is not compared with another.
const COMPARED_SECONDS_MIN: f64 = 300.0;
const DAY: Duration = Duration::from_secs(86_400);

/// What the calls of a statement did over a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct StatementSums {
    /// Calls.
    pub calls: f64,
    /// Execution time.
    pub total_ms: f64,
    /// Rows returned or changed.
    pub rows: f64,
    /// Blocks found in shared buffers.
    pub hit: f64,
    /// Blocks read.
    pub read: f64,
    /// Temporary blocks, read and written.
    pub temp: f64,
    /// WAL.
    pub wal_bytes: f64,
    /// Planning time, where it is tracked.
    pub plan_ms: f64,
    /// Seconds of the span that were seen.
    pub seconds: f64,
}

/// One statement, all its databases and roles together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statement {
    /// PostgreSQL's query identifier.
    pub queryid: String,
    /// Where it was called.
    pub databases: BTreeSet<String>,
    /// Who called it.
    pub roles: BTreeSet<String>,
    /// What its calls did.
    pub sums: StatementSums,
    /// Its total milliseconds per second a day before, where that was seen.
    pub before: Option<f64>,
    /// Share of the time of all statements, in percent.
    pub share: f64,
    /// The normalised text, once it was read.
    pub text: Option<String>,
}

/// All statements of a span.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Workload {
    /// The statements that were among the costliest, in no order.
    pub statements: Vec<Statement>,
    /// Milliseconds that all statements of the server took, also those that are not listed.
    pub total_ms: f64,
    /// Statements that the extension had to forget in the span (`dealloc`): what they did is in the total only.
    pub evicted: f64,
}

impl StatementSums {
    /// Adds a row of growth over [`STATEMENT_COLUMNS`]: one per database, role and nesting.
    pub fn add(&mut self, row: &Growth) {
        let of = |column: &str| {
            let index = STATEMENT_COLUMNS.iter().position(|known| *known == column);
            let value = index.and_then(|index| row.growth.get(index).copied().flatten());
            value.unwrap_or(0.0)
        };
        self.calls += of("calls");
        self.total_ms += of("total_exec_time");
        self.rows += of("rows");
        self.hit += of("shared_blks_hit");
        self.read += of("shared_blks_read");
        self.temp += of("temp_blks_read") + of("temp_blks_written");
        self.wal_bytes += of("wal_bytes");
        self.plan_ms += of("total_plan_time");
        self.seconds = self.seconds.max(row.seconds);
    }
}

impl Statement {
    /// Returns milliseconds per call.
    pub fn mean_ms(&self) -> Option<f64> {
        (self.sums.calls > 0.0).then(|| self.sums.total_ms / self.sums.calls)
    }

    /// Returns a value per second.
    pub fn rate(&self, value: f64) -> Option<f64> {
        (self.sums.seconds > 0.0).then(|| value / self.sums.seconds)
    }

    /// Returns how many times more time per second it takes than a day before.
    pub fn change(&self) -> Option<f64> {
        let now = self
            .rate(self.sums.total_ms)
            .filter(|_| self.sums.seconds >= COMPARED_SECONDS_MIN);
        Some(now? / self.before?)
    }
}

impl Reader {
    /// Returns the statements that were called within a span.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn statements(&self, instance: &str, span: Span) -> Result<Workload, Error> {
        let grown = |collector, columns, span| {
            self.growth(&GrowthQuery {
                instance,
                collector,
                database: None,
                columns,
                span,
            })
        };
        let now = grown("statements", &STATEMENT_COLUMNS, span)?;
        let earlier = span
            .from
            .checked_sub(DAY)
            .ok()
            .zip(span.to.checked_sub(DAY).ok());
        let before = match earlier {
            Some((from, to)) => grown("statements", &["total_exec_time"], Span { from, to })?,
            None => Vec::new(),
        };
        let info = grown("statements-info", &["total_exec_time", "dealloc"], span)?;
        let whole =
            |index: usize| -> f64 { info.iter().filter_map(|row| *row.growth.get(index)?).sum() };
        let mut statements = together(&now, &before);
        let seen: f64 = statements
            .iter()
            .map(|statement| statement.sums.total_ms)
            .sum();
        let total_ms = whole(0).max(seen);
        for statement in &mut statements {
            if total_ms > 0.0 {
                statement.share = 100.0 * statement.sums.total_ms / total_ms;
            }
            if let Ok(queryid) = statement.queryid.parse() {
                statement.text = self.text(queryid)?;
            }
        }
        Ok(Workload {
            statements,
            total_ms,
            evicted: whole(1),
        })
    }
}

/// Returns one entry per statement that was called in the span.
fn together(now: &[Growth], before: &[Growth]) -> Vec<Statement> {
    let label = |row: &Growth, index: usize| row.labels.get(index).cloned().unwrap_or_default();
    let mut past: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for row in before {
        let entry = past.entry(label(row, 3)).or_default();
        entry.0 += row.growth.first().copied().flatten().unwrap_or(0.0);
        entry.1 = entry.1.max(row.seconds);
    }
    let mut found: BTreeMap<String, Statement> = BTreeMap::new();
    for row in now {
        let queryid = label(row, 3);
        let statement = found.entry(queryid.clone()).or_insert_with(|| Statement {
            before: past
                .get(&queryid)
                .filter(|(total, seconds)| *seconds >= COMPARED_SECONDS_MIN && *total > 0.0)
                .map(|(total, seconds)| total / seconds),
            queryid,
            databases: BTreeSet::new(),
            roles: BTreeSet::new(),
            sums: StatementSums::default(),
            share: 0.0,
            text: None,
        });
        statement.sums.add(row);
        statement.databases.insert(label(row, 0));
        statement.roles.insert(label(row, 1));
    }
    let mut statements: Vec<Statement> = found.into_values().collect();
    statements.retain(|statement| statement.sums.calls > 0.0 || statement.sums.total_ms > 0.0);
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(database: &str, queryid: &str, calls: Option<f64>, total: Option<f64>) -> Growth {
        let mut growth = vec![Some(0.0); STATEMENT_COLUMNS.len()];
        growth[0] = calls;
        growth[1] = total;
        Growth {
            database: None,
            labels: [database, "app", "true", queryid]
                .map(str::to_owned)
                .to_vec(),
            growth,
            last: vec![None; STATEMENT_COLUMNS.len()],
            seconds: 3_600.0,
        }
    }

    #[test]
    fn a_statement_is_the_sum_of_its_databases_and_resets_are_no_growth() {
        let now = [
            row("a", "1", Some(10.0), Some(7_200.0)),
            row("b", "1", Some(5.0), Some(0.0)),
            row("a", "2", None, None),
            row("a", "3", Some(0.0), Some(0.0)),
        ];
        let mut yesterday = row("a", "1", None, None);
        yesterday.growth = vec![Some(3_600.0)];
        let statements = together(&now, &[yesterday]);
        assert_eq!(statements.len(), 1, "no calls, no row");
        let one = &statements[0];
        assert_eq!((one.sums.calls, one.sums.total_ms), (15.0, 7_200.0));
        assert_eq!(one.mean_ms(), Some(480.0));
        assert_eq!(one.change(), Some(2.0));
        assert_eq!(one.databases.len(), 2);
    }

    #[test]
    fn what_was_not_seen_before_is_not_compared() {
        let now = [row("a", "1", Some(1.0), Some(1.0))];
        let mut short = row("a", "1", None, None);
        short.growth = vec![Some(3_600.0)];
        short.seconds = 10.0;
        for before in [Vec::new(), vec![short]] {
            assert_eq!(together(&now, &before)[0].change(), None);
        }
    }
}
