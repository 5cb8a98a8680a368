//! Alerts, the log of what happened to them, and groups: what one step changed is on disk whole or not at all.

use pawang_core::Timestamp;
use pawang_core::alert::{Alert, AlertEvent, Changes, Condition, Group, Saved, Tally};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::{FORGET_MAX, KEPT_AGE_MAX, State, instant, json, json_at, limit, stored};
use super::{incident, parcel, silence};
use crate::Error;

/// Alerts that are over and kept at most.
const OVER_MAX: i64 = 200_000;
/// Lines of the log that are kept at most.
const EVENTS_MAX: i64 = 1_000_000;
/// In `meta`: the first line of the log that may not be deleted.
const EVENT_FIRST: &str = "alert-event-first";

/// Which alerts are meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlertQuery<'a> {
    /// Only of this instance.
    pub instance: Option<&'a str>,
    /// Only this one, all its times.
    pub fingerprint: Option<&'a str>,
    /// Only of this check.
    pub check: Option<&'a str>,
    /// Only those of this incident.
    pub incident: Option<i64>,
    /// Only those that were bad at this time.
    pub open_at: Option<Timestamp>,
    /// Only those that were bad since.
    pub since: Option<Timestamp>,
    /// Leaves out so many of the newest.
    pub skip: usize,
    /// At most so many, and never more than 10,000.
    pub limit: usize,
}

/// Which lines of the log are meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventQuery<'a> {
    /// Only of this alert.
    pub fingerprint: Option<&'a str>,
    /// Only of this time or later.
    pub since: Option<Timestamp>,
    /// Only from before this time.
    pub before: Option<Timestamp>,
    /// Leaves out so many of the newest.
    pub skip: usize,
    /// At most so many, and never more than 10,000.
    pub limit: usize,
}

impl State {
    /// Saves what one step changed, all of it or nothing; its messages wait to be sent, each only once.
    ///
    /// # Errors
    /// The disk refuses; nothing was saved then.
    pub fn save_alerts(&self, changes: &Changes) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        self.write(|transaction| {
            for (alert, tally) in &changes.alerts {
                put(transaction, alert, tally)?;
            }
            for fingerprint in &changes.forgotten {
                forget(transaction, fingerprint, None)?;
            }
            for event in &changes.events {
                put_event(transaction, event)?;
            }
            for group in &changes.groups {
                put_group(transaction, group)?;
            }
            for key in &changes.groups_gone {
                transaction
                    .prepare_cached("DELETE FROM alert_group WHERE key = ?1")?
                    .execute([key])?;
            }
            for silence in &changes.silences {
                silence::put(transaction, silence)?;
            }
            for window in &changes.windows {
                silence::put_window(transaction, window)?;
            }
            for incident in &changes.incidents {
                incident::put(transaction, incident)?;
            }
            for entry in &changes.entries {
                incident::put_entry(transaction, entry)?;
            }
            for message in &changes.messages {
                parcel::put_new(transaction, message)?;
            }
            Ok(())
        })
    }

    /// Returns what is needed to go on where the last process stopped.
    ///
    /// # Errors
    /// The file cannot be read, or holds what no version of Pawang writes: that is damage.
    pub fn saved_alerts(&self) -> Result<Saved, Error> {
        self.read(|connection| {
            // All of it as it was at one moment.
            let view = connection.unchecked_transaction()?;
            Ok(Saved {
                alerts: all(&view, KEPT, kept)?,
                groups: all(&view, GROUPS, group)?,
                silences: silence::silences(&view, false)?,
                windows: silence::windows(&view, false)?,
                incidents: all(&view, incident::OPEN, |row| json_at(row, 0))?,
                past: all(&view, PAST, past)?.into_iter().collect(),
                last_silence: last_id(&view, "silence")?,
                last_window: last_window(&view)?,
                last_incident: last_id(&view, "incident")?,
                parcels: all(&view, parcel::WAITING, |row| json_at(row, 0))?,
            })
        })
        .map_err(|error| match error {
            Error::Database {
                path,
                source: source @ rusqlite::Error::FromSqlConversionFailure(..),
            } => Error::Damaged {
                path,
                what: source.to_string(),
            },
            error => error,
        })
    }

    /// Returns alerts, also those that are over, the newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn alerts(&self, query: &AlertQuery<'_>) -> Result<Vec<Alert>, Error> {
        let mut sql = "SELECT alert FROM alert WHERE true".to_owned();
        for (asked, condition) in [
            (query.instance.is_some(), " AND instance = ?1"),
            (query.fingerprint.is_some(), " AND fingerprint = ?2"),
            (query.check.is_some(), " AND check_id = ?3"),
            (query.incident.is_some(), " AND incident = ?4"),
            (
                query.open_at.is_some(),
                " AND opened_at <= ?5 AND (over_at IS NULL OR over_at > ?5)",
            ),
            (
                query.since.is_some(),
                " AND (over_at IS NULL OR over_at >= ?6)",
            ),
        ] {
            if asked {
                sql.push_str(condition);
            }
        }
        sql.push_str(" ORDER BY id DESC LIMIT ?7 OFFSET ?8");
        let values = params![
            query.instance,
            query.fingerprint,
            query.check,
            query.incident,
            query.open_at.map(stored),
            query.since.map(stored),
            limit(query.limit),
            query.skip as i64,
        ];
        self.read(|connection| {
            connection
                .prepare_cached(&sql)?
                .query_map(values, |row| json_at(row, 0))?
                .collect()
        })
    }

    /// Returns lines of the log of alerts, the newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn alert_events(&self, query: &EventQuery<'_>) -> Result<Vec<AlertEvent>, Error> {
        let mut sql = "SELECT event FROM alert_event WHERE true".to_owned();
        for (asked, condition) in [
            (query.fingerprint.is_some(), " AND fingerprint = ?1"),
            (query.since.is_some(), " AND at >= ?2"),
            (query.before.is_some(), " AND at < ?3"),
        ] {
            if asked {
                sql.push_str(condition);
            }
        }
        sql.push_str(" ORDER BY id DESC LIMIT ?4 OFFSET ?5");
        let values = params![
            query.fingerprint,
            query.since.map(stored),
            query.before.map(stored),
            limit(query.limit),
            query.skip as i64,
        ];
        self.read(|connection| {
            connection
                .prepare_cached(&sql)?
                .query_map(values, |row| json_at(row, 0))?
                .collect()
        })
    }
}

/// Alerts that are not forgotten, for [`kept`].
pub(super) const KEPT: &str = "SELECT alert, tally FROM alert WHERE kept = 1 ORDER BY id";
/// Groups, for [`group`].
pub(super) const GROUPS: &str = "SELECT alert_group FROM alert_group ORDER BY key";

/// When alerts that are over began and ended, the newest last, for [`past`].
const PAST: &str = "
    SELECT fingerprint, coalesce(fired_at, opened_at), over_at FROM (
        SELECT * FROM alert WHERE kept = 0 ORDER BY over_at DESC LIMIT 10000)
    ORDER BY over_at, id";

fn past(row: &Row<'_>) -> rusqlite::Result<(String, (Timestamp, Timestamp))> {
    Ok((row.get(0)?, (instant(row.get(1)?), instant(row.get(2)?))))
}

pub(super) fn kept(row: &Row<'_>) -> rusqlite::Result<(Alert, Tally)> {
    Ok((json_at(row, 0)?, json_at(row, 1)?))
}

pub(super) fn group(row: &Row<'_>) -> rusqlite::Result<Group> {
    json_at(row, 0)
}

/// Returns what all rows of a question hold.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection
        .prepare_cached(sql)?
        .query_map([], read)?
        .collect()
}

/// Returns the highest number that a table ever gave.
fn last_id(connection: &Connection, table: &str) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = ?1")?
        .query_row([table], |row| row.get(0))
        .optional()
        .map(Option::unwrap_or_default)
}

/// Returns the highest number that a window ever got: a rescued file counts its rows anew, but not its names.
fn last_window(connection: &Connection) -> rusqlite::Result<i64> {
    let named: Option<i64> = connection
        .prepare_cached(
            "SELECT max(CAST(substr(name, 8) AS INTEGER)) FROM maintenance_window WHERE name GLOB 'window-[0-9]*'",
        )?
        .query_row([], |row| row.get(0))?;
    Ok(last_id(connection, "maintenance_window")?.max(named.unwrap_or(0)))
}

/// Writes an alert as it is now; one that was opened anew becomes a record of its own.
pub(super) fn put(
    transaction: &Transaction<'_>,
    alert: &Alert,
    tally: &Tally,
) -> rusqlite::Result<()> {
    let opened_at = stored(alert.opened_at);
    forget(transaction, &alert.fingerprint, Some(opened_at))?;
    let (fired_at, over_at) = match alert.condition {
        Condition::Resolved { since, at, .. } => (Some(since), Some(at)),
        _ => (alert.condition.firing_since(), None),
    };
    transaction
        .prepare_cached(
            "INSERT INTO alert (fingerprint, instance, check_id, kept, opened_at, fired_at, over_at, changed_at,
                                incident, alert, tally)
             VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT (fingerprint) WHERE kept = 1 DO UPDATE SET
                 fired_at = coalesce(excluded.fired_at, fired_at), over_at = excluded.over_at,
                 changed_at = excluded.changed_at, incident = excluded.incident, alert = excluded.alert,
                 tally = excluded.tally",
        )?
        .execute(params![
            alert.fingerprint,
            alert.instance,
            alert.finding.check,
            opened_at,
            fired_at.map(stored),
            over_at.map(stored),
            stored(alert.changed_at),
            alert.incident,
            json(alert)?,
            json(tally)?,
        ])?;
    Ok(())
}

/// Keeps an alert no longer in mind: one that fired stays in the record, one that never did goes.
///
/// With `opened_at`, only another time of the alert than that.
fn forget(
    transaction: &Transaction<'_>,
    fingerprint: &str,
    opened_at: Option<i64>,
) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM alert WHERE fingerprint = ?1 AND kept = 1 AND fired_at IS NULL AND opened_at IS NOT ?2",
        "UPDATE alert SET kept = 0, over_at = coalesce(over_at, max(changed_at, opened_at))
         WHERE fingerprint = ?1 AND kept = 1 AND opened_at IS NOT ?2",
    ] {
        transaction
            .prepare_cached(sql)?
            .execute(params![fingerprint, opened_at])?;
    }
    Ok(())
}

fn put_event(transaction: &Transaction<'_>, event: &AlertEvent) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO alert_event (fingerprint, at, event) VALUES (?1, ?2, ?3)")?
        .execute(params![event.fingerprint, stored(event.at), json(event)?])?;
    Ok(())
}

pub(super) fn put_group(transaction: &Transaction<'_>, group: &Group) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO alert_group (key, alert_group) VALUES (?1, ?2)")?
        .execute(params![group.key, json(group)?])?;
    Ok(())
}

/// Forgets what has been over for long, a bounded piece of it.
pub(super) fn forget_old(transaction: &Transaction<'_>, now: Timestamp) -> rusqlite::Result<()> {
    let oldest = stored(now - KEPT_AGE_MAX);
    for (table, over, when, most) in [
        ("alert", "kept = 0", "over_at", OVER_MAX),
        (
            "parcel",
            "state <> 'waiting'",
            "created_at",
            parcel::FINISHED_MAX,
        ),
        (
            "incident",
            "closed_at IS NOT NULL",
            "closed_at",
            incident::CLOSED_MAX,
        ),
        ("silence", "true", "ends_at", silence::SILENCES_MAX),
        (
            "maintenance_window",
            "removed_at IS NOT NULL",
            "removed_at",
            silence::REMOVED_MAX,
        ),
    ] {
        let sql = format!(
            "DELETE FROM {table} WHERE id IN (
                 SELECT id FROM {table} WHERE {over} AND {when} < ?1 ORDER BY {when}
                 LIMIT max(0, min(?2, max(
                     (SELECT count(*) FROM {table} WHERE {over} AND {when} < ?3),
                     (SELECT count(*) FROM {table} WHERE {over}) - ?4))))"
        );
        transaction.execute(&sql, params![stored(now), FORGET_MAX, oldest, most])?;
    }
    transaction.execute(
        "DELETE FROM incident_entry WHERE id IN (
             SELECT id FROM incident_entry WHERE incident NOT IN (SELECT id FROM incident) LIMIT ?1)",
        [FORGET_MAX],
    )?;
    forget_events(transaction, oldest)
}

/// Forgets the oldest lines of the log: always those with the lowest numbers, and the file tells up to which.
fn forget_events(transaction: &Transaction<'_>, oldest: i64) -> rusqlite::Result<()> {
    let first: Option<i64> = transaction.query_row(
        "SELECT min(
             (SELECT min(id) FROM alert_event) + ?2,
             max(
                 coalesce((SELECT id FROM alert_event WHERE at >= ?1 ORDER BY id LIMIT 1),
                          (SELECT max(id) + 1 FROM alert_event)),
                 (SELECT max(id) FROM alert_event) + 1 - ?3))",
        params![oldest, FORGET_MAX, EVENTS_MAX],
        |row| row.get(0),
    )?;
    let Some(first) = first else {
        return Ok(());
    };
    transaction.execute(
        "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)",
        params![EVENT_FIRST, first.to_string()],
    )?;
    transaction.execute("DELETE FROM alert_event WHERE id < ?1", [first])?;
    Ok(())
}
