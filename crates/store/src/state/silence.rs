//! Silences, and maintenance windows that were added by commands.

use pawang_core::alert::{Silence, Window};
use rusqlite::{Connection, Transaction, params};

use super::alert::all;
use super::{State, json, json_at, stored};
use crate::Error;

/// Silences that are over and kept at most.
pub(super) const SILENCES_MAX: i64 = 10_000;
/// Windows that were removed and are kept at most.
pub(super) const REMOVED_MAX: i64 = 1_000;

/// Silences, for [`State::silences`].
pub(super) const SILENCES: &str = "SELECT silence FROM silence ORDER BY id";
/// Windows, for [`State::windows`].
pub(super) const WINDOWS: &str = "SELECT maintenance_window FROM maintenance_window ORDER BY id";

impl State {
    /// Returns silences by number: all, or without those that were over a day before the newest line of the log.
    ///
    /// Whether one holds now is for the caller, who knows the time.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn silences(&self, all: bool) -> Result<Vec<Silence>, Error> {
        self.read(|connection| silences(connection, all))
    }

    /// Returns the windows that were added by commands, in the order of their making: all, or without those that were
    /// removed a day before the newest line of the log.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn windows(&self, all: bool) -> Result<Vec<Window>, Error> {
        self.read(|connection| windows(connection, all))
    }
}

pub(super) fn silences(connection: &Connection, whole: bool) -> rusqlite::Result<Vec<Silence>> {
    let sql = if whole {
        SILENCES
    } else {
        "SELECT silence FROM silence
         WHERE ends_at >= coalesce((SELECT at FROM alert_event ORDER BY id DESC LIMIT 1) - 86400000000000, 0)
         ORDER BY id"
    };
    all(connection, sql, |row| json_at(row, 0))
}

pub(super) fn windows(connection: &Connection, whole: bool) -> rusqlite::Result<Vec<Window>> {
    let sql = if whole {
        WINDOWS
    } else {
        "SELECT maintenance_window FROM maintenance_window
         WHERE removed_at IS NULL OR removed_at
             >= coalesce((SELECT at FROM alert_event ORDER BY id DESC LIMIT 1) - 86400000000000, 0)
         ORDER BY id"
    };
    all(connection, sql, |row| json_at(row, 0))
}

pub(super) fn put(transaction: &Transaction<'_>, silence: &Silence) -> rusqlite::Result<()> {
    let ends_at = match &silence.expired {
        Some((at, _)) => silence.ends_at.min(*at),
        None => silence.ends_at,
    };
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO silence (id, ends_at, silence) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![silence.id, stored(ends_at), json(silence)?])?;
    Ok(())
}

pub(super) fn put_window(transaction: &Transaction<'_>, window: &Window) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO maintenance_window (name, removed_at, maintenance_window) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET
                 removed_at = excluded.removed_at, maintenance_window = excluded.maintenance_window",
        )?
        .execute(params![window.name, window.removed_at.map(stored), json(window)?])?;
    Ok(())
}
