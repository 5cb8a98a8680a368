//! The texts of statements, each once, by queryid.

use std::time::Duration;

use pawang_core::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::{State, stored};
use crate::Error;
use crate::text;

/// Texts that are kept at most; those seen longest ago go first.
const TEXTS_MAX: i64 = 50_000;
/// Bytes that they take at most.
const TEXTS_BYTES_MAX: i64 = 64 << 20;
/// Texts that are forgotten at a time beyond what is needed, so that not each new one pushes out an old one.
const FORGET_SHARE: i64 = 20;
/// That a text was seen again is noted once in so long.
const SEEN_EVERY: Duration = Duration::from_secs(86_400);

impl State {
    /// Keeps the normalised texts of statements, each once; they are cut at [`text::TEXT_BYTES_MAX`].
    ///
    /// # Errors
    /// The disk refuses.
    pub fn put_texts(&self, texts: &[(i64, String)], now: Timestamp) -> Result<(), Error> {
        if texts.is_empty() {
            return Ok(());
        }
        self.write(|transaction| {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO statement (queryid, text, seen_at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (queryid) DO UPDATE SET seen_at = max(seen_at, excluded.seen_at)",
            )?;
            for (queryid, text) in texts {
                insert.execute(params![queryid, text::cut(text), stored(now)])?;
            }
            drop(insert);
            forget(transaction)
        })
    }

    /// Returns those of the queryids that have no text yet, and notes that the others were seen.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn missing_texts(&self, queryids: &[i64], now: Timestamp) -> Result<Vec<i64>, Error> {
        let (mut missing, mut stale) = (Vec::new(), Vec::new());
        self.read(|connection| {
            let mut seen =
                connection.prepare_cached("SELECT seen_at FROM statement WHERE queryid = ?1")?;
            for queryid in queryids {
                let seen_at: Option<i64> =
                    seen.query_row([queryid], |row| row.get(0)).optional()?;
                match seen_at {
                    None => missing.push(*queryid),
                    Some(at) if at < stored(now - SEEN_EVERY) => stale.push(*queryid),
                    Some(_) => {}
                }
            }
            Ok(())
        })?;
        if !stale.is_empty() {
            self.write(|transaction| {
                let mut update = transaction
                    .prepare_cached("UPDATE statement SET seen_at = ?2 WHERE queryid = ?1")?;
                for queryid in &stale {
                    update.execute(params![queryid, stored(now)])?;
                }
                Ok(())
            })?;
        }
        Ok(missing)
    }

    /// Returns the normalised text of a statement.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn text(&self, queryid: i64) -> Result<Option<String>, Error> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT text FROM statement WHERE queryid = ?1")?
                .query_row([queryid], |row| row.get(0))
                .optional()
        })
    }
}

/// Drops the texts seen longest ago, when there are too many or they are too long together.
fn forget(connection: &Connection) -> rusqlite::Result<()> {
    let (count, bytes): (i64, i64) = connection.query_row(
        "SELECT count(*), coalesce(sum(octet_length(text)), 0) FROM statement",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let mean = bytes / count.max(1);
    let surplus = (count - TEXTS_MAX).max((bytes - TEXTS_BYTES_MAX) / mean.max(1));
    if surplus > 0 {
        connection.execute(
            "DELETE FROM statement WHERE queryid IN (
                 SELECT queryid FROM statement ORDER BY seen_at, queryid LIMIT ?1)",
            [surplus + count / FORGET_SHARE],
        )?;
    }
    Ok(())
}
