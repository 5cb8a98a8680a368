//! The journal: append-only, hash-chained record of everything that somebody changed.

use pawang_core::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{State, unreadable};
use crate::Error;

/// What comes before the first record.
const FIRST_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// In `meta`: number and hash of the newest record, so that one that was cut off at the end is missed.
const HEAD: &str = "journal-head";
/// The detail of an entry is replaced by its size when it is longer as JSON.
const DETAIL_BYTES_MAX: usize = 32 << 10;
/// Every other text of an entry is cut here.
const TEXT_BYTES_MAX: usize = 1 << 10;
/// Records that one page holds at most, and that are walked at a time.
const PAGE_MAX: usize = 1_000;

/// Something that somebody changed or tried to change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Who: `account:alice`, `token:ci`, `cli:postgres`, `daemon`.
    pub actor: String,
    /// What, `noun.verb`: `account.create`, `sign-in.create`, `daemon.reload`.
    pub action: String,
    /// To what: a name, an instance; empty when there is only one.
    pub object: String,
    /// `done`, `refused` or `failed`; `begun` where the end is another entry.
    pub outcome: String,
    /// Facts, never secrets.
    pub detail: serde_json::Value,
}

/// An entry in its place of the chain.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JournalRecord {
    /// Its number; there are no holes.
    pub id: i64,
    /// The entry.
    pub entry: Entry,
    /// SHA-256, in hexadecimal, of the hash before, the number and this entry.
    pub hash: String,
}

/// What walking the whole chain found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JournalCheck {
    /// Records that are as they were written, from the first on.
    pub records: i64,
    /// The hash of the last of them; kept elsewhere, it proves later that nothing before it was changed.
    pub hash: String,
    /// The first record that is not as it was written, and why.
    pub broken: Option<(i64, String)>,
}

/// A record as the file has it.
pub(super) struct Stored {
    pub id: i64,
    pub entry: String,
    pub hash: String,
}

impl State {
    /// Appends to the journal; the record names the hash of the one before.
    ///
    /// # Errors
    /// The disk refuses: what was to be journalled must not be done then.
    pub fn journal(&self, entry: &Entry) -> Result<JournalRecord, Error> {
        let entry = bounded(entry);
        let text = serde_json::to_string(&entry).expect("an entry is texts, an instant and JSON");
        self.write(|transaction| {
            let last: Option<(i64, String)> = transaction
                .query_row(
                    "SELECT id, hash FROM journal ORDER BY id DESC LIMIT 1",
                    [],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()?;
            let (last, before) = last.unwrap_or((0, FIRST_HASH.to_owned()));
            let id = last + 1;
            let hash = chained(&before, id, &text);
            transaction.execute(
                "INSERT INTO journal (id, entry, hash) VALUES (?1, ?2, ?3)",
                params![id, text, hash],
            )?;
            put_head(transaction, id, &hash)?;
            Ok(JournalRecord { id, entry, hash })
        })
    }

    /// Returns journal records, newest first, older than `before`; at most 1,000.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn journal_page(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<JournalRecord>, Error> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT id, entry, hash FROM journal WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
                )?
                .query_map(
                    params![before.unwrap_or(i64::MAX), limit.min(PAGE_MAX) as i64],
                    record,
                )?
                .collect()
        })
    }

    /// Returns the records of one action that came after `after`, oldest first, and the newest record that there is of any.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn journal_of(&self, action: &str, after: i64) -> Result<(Vec<JournalRecord>, i64), Error> {
        // Only what could be of this action is read whole: a journal of years has few of most.
        let like = format!("%\"action\":{}%", serde_json::Value::from(action));
        self.read(|connection| {
            let newest = connection.query_row(
                "SELECT COALESCE(MAX(id), 0) FROM journal",
                [],
                |row| row.get(0),
            )?;
            let found: Result<Vec<JournalRecord>, rusqlite::Error> = connection
                .prepare_cached(
                    "SELECT id, entry, hash FROM journal WHERE id > ?1 AND id <= ?2 AND entry LIKE ?3 ORDER BY id",
                )?
                .query_map(params![after, newest, like], record)?
                .collect();
            let mut found = found?;
            found.retain(|record| record.entry.action == action);
            Ok((found, newest))
        })
    }

    /// Walks the whole chain and names the first record that is not as it was written.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn journal_verify(&self) -> Result<JournalCheck, Error> {
        let mut check = start();
        let whole = self.read(ends_as_written)?;
        loop {
            // A page at a time, so that a long chain neither fills memory nor keeps others waiting.
            let page = self.read(|connection| page_after(connection, check.records))?;
            for stored in &page {
                if let Some(why) = break_of(&check, stored) {
                    check.broken = Some((check.records + 1, why));
                    return Ok(check);
                }
                check.records = stored.id;
                check.hash.clone_from(&stored.hash);
            }
            if page.len() < PAGE_MAX {
                break;
            }
        }
        if !whole {
            let why = "the newest record is not the one that was written last".to_owned();
            check.broken = Some((check.records + 1, why));
        }
        Ok(check)
    }
}

impl State {
    /// Returns the records after `end`, as far as the chain holds; at most one page.
    pub(super) fn journal_after(&self, end: &JournalCheck) -> Result<Vec<Stored>, Error> {
        let mut page = self.read(|connection| page_after(connection, end.records))?;
        let mut end = end.clone();
        let broken = page.iter().position(|stored| {
            let broken = break_of(&end, stored).is_some();
            end.records = stored.id;
            end.hash.clone_from(&stored.hash);
            broken
        });
        page.truncate(broken.unwrap_or(page.len()));
        Ok(page)
    }
}

/// Returns the chain before its first record.
pub(super) fn start() -> JournalCheck {
    JournalCheck {
        records: 0,
        hash: FIRST_HASH.to_owned(),
        broken: None,
    }
}

/// Remembers which record is the newest.
pub(super) fn put_head(connection: &Connection, id: i64, hash: &str) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO meta (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        params![HEAD, format!("{id} {hash}")],
    )?;
    Ok(())
}

/// Returns what is wrong with the record after those of `check`.
fn break_of(check: &JournalCheck, stored: &Stored) -> Option<String> {
    let id = check.records + 1;
    if stored.id != id {
        return Some(format!(
            "the record is missing; the next one is {}",
            stored.id
        ));
    }
    (chained(&check.hash, id, &stored.entry) != stored.hash)
        .then(|| "its content or its hash was changed".to_owned())
}

fn record(row: &rusqlite::Row<'_>) -> rusqlite::Result<JournalRecord> {
    let entry: String = row.get(1)?;
    Ok(JournalRecord {
        id: row.get(0)?,
        entry: serde_json::from_str(&entry).map_err(|error| unreadable(1, error))?,
        hash: row.get(2)?,
    })
}

fn page_after(connection: &Connection, id: i64) -> rusqlite::Result<Vec<Stored>> {
    connection
        .prepare_cached("SELECT id, entry, hash FROM journal WHERE id > ?1 ORDER BY id LIMIT ?2")?
        .query_map(params![id, PAGE_MAX as i64], |row| {
            Ok(Stored {
                id: row.get(0)?,
                entry: row.get(1)?,
                hash: row.get(2)?,
            })
        })?
        .collect()
}

/// Returns whether the newest record is the one that `meta` names; both are read at one instant.
fn ends_as_written(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT (SELECT value FROM meta WHERE name = ?1)
                IS (SELECT id || ' ' || hash FROM journal ORDER BY id DESC LIMIT 1)",
        [HEAD],
        |row| row.get(0),
    )
}

fn chained(before: &str, id: i64, entry: &str) -> String {
    let mut hasher = Sha256::new();
    for part in [before, "\n", &id.to_string(), "\n", entry] {
        hasher.update(part.as_bytes());
    }
    let hash = hasher.finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Cuts what would make the journal grow without measure.
fn bounded(entry: &Entry) -> Entry {
    let cut = |text: &str| match text.len() {
        0..=TEXT_BYTES_MAX => text.to_owned(),
        _ => format!("{}...", &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]),
    };
    let bytes = entry.detail.to_string().len();
    Entry {
        at: entry.at,
        actor: cut(&entry.actor),
        action: cut(&entry.action),
        object: cut(&entry.object),
        outcome: cut(&entry.outcome),
        detail: match bytes {
            0..=DETAIL_BYTES_MAX => entry.detail.clone(),
            _ => json!({ "omitted_bytes": bytes }),
        },
    }
}
