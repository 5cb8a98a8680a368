//! Single tables of the past: recovered in a server that is thrown away, described, and compared with what there is now.
//!
//! Making them again in a server that lives changes it, so crate `act` alone does that.

mod diff;
mod shape;

use std::time::Duration;

use jiff::Timestamp;
use pawang_core::Value;
use pawang_core::plan::RowSource;
use pawang_postgres::{Rows, Session};

use crate::drill::Scratch;
use crate::drill::scratch::PORT;
use crate::restore::{self, RestorePlan, Restored};
use crate::{Error, Repository};

pub use diff::{Sample, TableDiff, compare};
pub use shape::{is_there, shapes};

/// Settings of a server whose data nobody keeps.
pub const FORGETFUL: [(&str, &str); 3] = [
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("synchronous_commit", "off"),
];

/// Restores a cluster into a scratch server, and waits until it has recovered to its target and answers.
///
/// # Errors
/// The restore or the recovery did not work out.
pub async fn recover(
    repository: &Repository,
    plan: &RestorePlan,
    restore_command: &str,
    word: &str,
    scratch: &mut Scratch,
    limit: Duration,
    now: Timestamp,
) -> Result<Restored, Error> {
    let options = scratch.options(plan, restore_command, word);
    let restored = restore::run(repository, plan, &options, now).await?;
    scratch.start(limit).await?;
    Ok(restored)
}

/// Returns where the rows of a database of a scratch server are.
pub fn source(scratch: &Scratch, database: &str) -> RowSource {
    RowSource {
        folder: scratch.folder().display().to_string(),
        port: PORT,
        role: scratch.role().to_owned(),
        database: database.to_owned(),
    }
}

/// A row of texts.
struct Texts<'a>(&'a [Value]);

impl Texts<'_> {
    /// Returns a value, NULL as the empty text.
    fn text(&self, at: usize) -> String {
        self.maybe(at).unwrap_or_default()
    }

    fn maybe(&self, at: usize) -> Option<String> {
        self.0.get(at)?.as_text().map(str::to_owned)
    }

    fn holds(&self, at: usize) -> bool {
        self.maybe(at).is_some_and(|text| text == "t")
    }

    fn number(&self, at: usize) -> i64 {
        self.maybe(at)
            .and_then(|text| text.parse().ok())
            .unwrap_or_default()
    }
}

/// Reads rows of texts.
async fn read(session: &Session, sql: &str) -> Result<Rows, Error> {
    Ok(session.read_text(sql).await?)
}

fn rows(rows: &Rows) -> impl Iterator<Item = Texts<'_>> {
    rows.rows.iter().map(|row| Texts(row))
}

/// Returns an identifier in double quotes.
fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns a string literal.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
