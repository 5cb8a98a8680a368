//! Messages on their way: each once, by its key.

use pawang_core::alert::{Message, Parcel, ParcelState};
use rusqlite::{Transaction, params};

use super::{State, json, json_at, limit, stored};
use crate::Error;

/// Messages that no longer wait and are kept at most.
pub(super) const FINISHED_MAX: i64 = 20_000;
/// Those that wait, in the order in which they were made.
pub(super) const WAITING: &str = "SELECT parcel FROM parcel WHERE state = 'waiting' ORDER BY id";

/// All of them: those that were sent tell the target's repetitions apart.
pub(super) const ALL: &str = "SELECT parcel FROM parcel ORDER BY id";

/// Which messages are meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct ParcelQuery<'a> {
    /// Only this one.
    pub key: Option<&'a str>,
    /// Only those of this thread.
    pub thread: Option<&'a str>,
    /// Only those of this channel.
    pub channel: Option<&'a str>,
    /// Only those that wait.
    pub waiting: bool,
    /// Leaves out so many of the newest.
    pub skip: usize,
    /// At most so many, and never more than 10,000.
    pub limit: usize,
}

impl State {
    /// Saves how far messages got; one that was sent, merged or given up never waits again.
    ///
    /// # Errors
    /// The disk refuses; nothing was saved then.
    pub fn save_parcels(&self, parcels: &[Parcel]) -> Result<(), Error> {
        if parcels.is_empty() {
            return Ok(());
        }
        self.write(|transaction| {
            for parcel in parcels {
                put(transaction, parcel)?;
            }
            Ok(())
        })
    }

    /// Returns messages and how far they got, the newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn parcels(&self, query: &ParcelQuery<'_>) -> Result<Vec<Parcel>, Error> {
        let mut sql = "SELECT parcel FROM parcel WHERE true".to_owned();
        for (asked, condition) in [
            (query.key.is_some(), " AND key = ?1"),
            (query.thread.is_some(), " AND thread = ?2"),
            (query.channel.is_some(), " AND channel = ?3"),
            (query.waiting, " AND state = 'waiting'"),
        ] {
            if asked {
                sql.push_str(condition);
            }
        }
        sql.push_str(" ORDER BY id DESC LIMIT ?4 OFFSET ?5");
        let values = params![
            query.key,
            query.thread,
            query.channel,
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

/// Writes a message that was just made; one that was made before stays as far as it got.
pub(super) fn put_new(transaction: &Transaction<'_>, message: &Message) -> rusqlite::Result<()> {
    write(
        transaction,
        &Parcel {
            message: message.clone(),
            due_at: message.created_at,
            attempts: 0,
            trouble: None,
            state: ParcelState::Waiting,
        },
        "ON CONFLICT (key) DO NOTHING",
    )
}

/// Writes how far a message got.
pub(super) fn put(transaction: &Transaction<'_>, parcel: &Parcel) -> rusqlite::Result<()> {
    write(
        transaction,
        parcel,
        "ON CONFLICT (key) DO UPDATE SET state = excluded.state, parcel = excluded.parcel
         WHERE state = 'waiting' OR excluded.state <> 'waiting'",
    )
}

fn write(transaction: &Transaction<'_>, parcel: &Parcel, again: &str) -> rusqlite::Result<()> {
    let message = &parcel.message;
    transaction
        .prepare_cached(&format!(
            "INSERT INTO parcel (key, thread, channel, state, created_at, parcel)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) {again}"
        ))?
        .execute(params![
            message.key,
            message.thread,
            message.recipient.channel,
            state(&parcel.state),
            stored(message.created_at),
            json(parcel)?,
        ])?;
    Ok(())
}

fn state(state: &ParcelState) -> &'static str {
    match state {
        ParcelState::Waiting => "waiting",
        ParcelState::Sent { .. } => "sent",
        ParcelState::Merged { .. } => "merged",
        ParcelState::Dead { .. } => "dead",
    }
}
