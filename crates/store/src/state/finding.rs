//! Findings over time: since when, until when, how often.

use pawang_core::{Finding, Level, Timestamp};
use rusqlite::{Row, params};
use serde::Serialize;

use super::{State, instant, json_at, limit, stored, unreadable};
use crate::Error;

/// Which findings are meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct FindingQuery<'a> {
    /// Only of this instance.
    pub instance: Option<&'a str>,
    /// Only this one, all its times.
    pub fingerprint: Option<&'a str>,
    /// Only those that were open at this time.
    pub open_at: Option<Timestamp>,
    /// Only those that were opened or closed since.
    pub since: Option<Timestamp>,
    /// Only those older than this record.
    pub before: Option<i64>,
    /// At most so many, and never more than 10,000.
    pub limit: usize,
}

/// One time that a finding was open.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FindingRecord {
    /// Grows with every record.
    pub id: i64,
    /// The instance.
    pub instance: String,
    /// When it was first seen.
    pub opened_at: Timestamp,
    /// When it was first seen to be over.
    pub closed_at: Option<Timestamp>,
    /// The worst level that it had.
    pub worst: Level,
    /// The finding as it was seen last.
    pub finding: Finding,
}

impl State {
    /// Returns findings, newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn findings(&self, query: &FindingQuery<'_>) -> Result<Vec<FindingRecord>, Error> {
        let mut sql =
            "SELECT id, instance, opened_at, closed_at, worst, finding FROM finding WHERE id < ?1"
                .to_owned();
        // Only conditions that are asked for, so that each question finds its index.
        for (asked, condition) in [
            (query.instance.is_some(), " AND instance = ?2"),
            (query.fingerprint.is_some(), " AND fingerprint = ?3"),
            (
                query.open_at.is_some(),
                " AND opened_at <= ?4 AND (closed_at IS NULL OR closed_at > ?4)",
            ),
            (
                query.since.is_some(),
                " AND (opened_at >= ?5 OR closed_at >= ?5)",
            ),
        ] {
            if asked {
                sql.push_str(condition);
            }
        }
        sql.push_str(" ORDER BY id DESC LIMIT ?6");
        let values = params![
            query.before.unwrap_or(i64::MAX),
            query.instance,
            query.fingerprint,
            query.open_at.map(stored),
            query.since.map(stored),
            limit(query.limit),
        ];
        self.read(|connection| {
            connection
                .prepare_cached(&sql)?
                .query_map(values, record)?
                .collect()
        })
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<FindingRecord> {
    Ok(FindingRecord {
        id: row.get(0)?,
        instance: row.get(1)?,
        opened_at: instant(row.get(2)?),
        closed_at: row.get::<_, Option<i64>>(3)?.map(instant),
        worst: level_at(row, 4)?,
        finding: json_at(row, 5)?,
    })
}

/// Returns the level that a column names.
pub(super) fn level_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Level> {
    let name: String = row.get(column)?;
    [
        Level::Ok,
        Level::Info,
        Level::Unknown,
        Level::Warning,
        Level::Critical,
    ]
    .into_iter()
    .find(|level| level.as_str() == name)
    .ok_or_else(|| unreadable(column, format!("there is no level \"{name}\"")))
}
