//! A user's own SQL from `pawang.toml`, asked like a collector.

use std::time::Duration;

use pawang_core::Column;

/// A read-only statement of the user's whose answer becomes a snapshot.
#[derive(Clone, Debug)]
pub struct Question {
    /// Name of the snapshot, such as `user:stale-orders` or `backup:nightly`.
    pub name: String,
    /// The database to ask in; `None` means the one of the first connection.
    pub database: Option<String>,
    /// One `SELECT`.
    pub sql: String,
    /// The columns that the answer must have, by position.
    pub columns: Vec<Column>,
    /// `statement_timeout` of the statement.
    pub timeout: Duration,
}
