//! The journal: append-only, hash-chained record of everything that somebody changed.

use pawang_core::Timestamp;
use serde::{Deserialize, Serialize};

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
    /// `done`, `refused` or `failed`.
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
    /// SHA-256, in hexadecimal, of the hash before and this entry.
    pub hash: String,
}
