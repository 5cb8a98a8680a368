//! A user's own SQL from `pawang.toml`, asked like a collector.

use std::sync::Arc;
use std::time::Duration;

use pawang_core::{Blind, Column, Missing, Value};
use pawang_postgres::Rows;

/// A read-only statement of the user's whose answer becomes a snapshot.
#[derive(Clone, Debug)]
pub struct Question {
    /// Name of the snapshot, such as `user:stale-orders` or `backup:nightly`.
    pub name: String,
    /// The database to ask in; `None` means the one of the first connection.
    pub database: Option<String>,
    /// One `SELECT`.
    pub sql: String,
    /// The columns of the snapshot: first those that the answer must have, by position, then the constants.
    pub columns: Arc<[Column]>,
    /// Values from the configuration that are appended to every row.
    pub constants: Vec<Value>,
    /// `statement_timeout` of the statement.
    pub timeout: Duration,
}

impl Question {
    /// Checks the shape of the answer and appends the constants.
    pub(crate) fn arrange(&self, answer: Rows) -> Result<Vec<Vec<Value>>, Missing> {
        let wanted = self.columns.len() - self.constants.len();
        // An answer without rows comes without names.
        if !answer.rows.is_empty() && answer.names.len() != wanted {
            let names: Vec<&str> = self.columns[..wanted]
                .iter()
                .map(|column| column.name.as_str())
                .collect();
            let what = format!(
                "the statement of \"{}\" returns {} columns and must return {wanted} ({})",
                self.name,
                answer.names.len(),
                names.join(", ")
            );
            return Err(Blind::Failed { what }.into());
        }
        let mut rows = answer.rows;
        for row in &mut rows {
            row.extend_from_slice(&self.constants);
        }
        Ok(rows)
    }
}
