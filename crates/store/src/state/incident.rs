//! Incidents and their timelines.

use pawang_core::Timestamp;
use pawang_core::alert::{Entry, Incident};
use rusqlite::{OptionalExtension, Transaction, params};

use super::{ANSWER_MAX, State, json, json_at, limit, stored};
use crate::Error;

/// Closed incidents that are kept at most.
pub(super) const CLOSED_MAX: i64 = 10_000;
/// Incidents that are not closed.
pub(super) const OPEN: &str = "SELECT incident FROM incident WHERE closed_at IS NULL ORDER BY id";

/// All incidents.
pub(super) const ALL: &str = "SELECT incident FROM incident ORDER BY id";
/// All timelines.
pub(super) const ENTRIES: &str = "SELECT entry FROM incident_entry ORDER BY id";

/// Which incidents are meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct IncidentQuery<'a> {
    /// Only those that are not closed.
    pub open: bool,
    /// Only those of this instance.
    pub instance: Option<&'a str>,
    /// Only those in which this check fired.
    pub check: Option<&'a str>,
    /// Only those that were opened at this time or later.
    pub since: Option<Timestamp>,
    /// Only those with a lower number.
    pub before: Option<i64>,
    /// At most so many, and never more than 10,000.
    pub limit: usize,
}

impl State {
    /// Returns incidents, the newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn incidents(&self, query: &IncidentQuery<'_>) -> Result<Vec<Incident>, Error> {
        let mut sql = "SELECT incident FROM incident WHERE id < ?1".to_owned();
        for (asked, condition) in [
            (query.open, " AND closed_at IS NULL"),
            (
                query.instance.is_some(),
                " AND EXISTS (SELECT 1 FROM json_each(incident.incident, '$.instances') WHERE value = ?2)",
            ),
            (
                query.check.is_some(),
                " AND EXISTS (SELECT 1 FROM json_each(incident.incident, '$.checks') WHERE value = ?3)",
            ),
            (query.since.is_some(), " AND opened_at >= ?4"),
        ] {
            if asked {
                sql.push_str(condition);
            }
        }
        sql.push_str(" ORDER BY id DESC LIMIT ?5");
        let values = params![
            query.before.unwrap_or(i64::MAX),
            query.instance,
            query.check,
            query.since.map(stored),
            limit(query.limit),
        ];
        self.read(|connection| {
            connection
                .prepare_cached(&sql)?
                .query_map(values, |row| json_at(row, 0))?
                .collect()
        })
    }

    /// Returns an incident by its number.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn incident(&self, id: i64) -> Result<Option<Incident>, Error> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT incident FROM incident WHERE id = ?1")?
                .query_row([id], |row| json_at(row, 0))
                .optional()
        })
    }

    /// Returns the timeline of an incident by time, and by what was written first; at most 10,000 lines.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn incident_entries(&self, id: i64) -> Result<Vec<Entry>, Error> {
        let mut entries: Vec<Entry> = self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT entry FROM incident_entry WHERE incident = ?1 ORDER BY id LIMIT ?2",
                )?
                .query_map(params![id, limit(ANSWER_MAX)], |row| json_at(row, 0))?
                .collect()
        })?;
        entries.sort_by_key(|entry| entry.at);
        Ok(entries)
    }
}

pub(super) fn put(transaction: &Transaction<'_>, incident: &Incident) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO incident (id, opened_at, closed_at, incident) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET closed_at = excluded.closed_at, incident = excluded.incident",
        )?
        .execute(params![
            incident.id,
            stored(incident.opened_at),
            incident.closed.as_ref().map(|(at, _)| stored(*at)),
            json(incident)?,
        ])?;
    Ok(())
}

pub(super) fn put_entry(transaction: &Transaction<'_>, entry: &Entry) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO incident_entry (incident, entry) VALUES (?1, ?2)")?
        .execute(params![entry.incident, json(entry)?])?;
    Ok(())
}
