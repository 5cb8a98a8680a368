//! Who keeps dead rows from being removed: sessions, prepared transactions, slots and standbys.

use std::collections::HashSet;

use pawang_core::{Missing, Row, Timestamp};

use crate::scope::Scope;

/// Who keeps an old snapshot or transaction.
pub(crate) struct Holder<'a> {
    row: Row<'a>,
    /// Since when, where the server says.
    since: Option<Timestamp>,
    /// How many transactions began since.
    pub(crate) xmin_age: f64,
}

/// Everybody who counts in one database, the oldest first.
pub(crate) struct Horizon<'a> {
    /// The holders.
    pub(crate) holders: Vec<Holder<'a>>,
    /// Those that an earlier look saw too.
    lasting: HashSet<(String, String)>,
    /// When that look was.
    looked: Option<Timestamp>,
}

impl<'a> Horizon<'a> {
    /// Reads who holds back the removal of rows in the database of the scope.
    pub(crate) fn of(scope: &Scope<'a>) -> Result<Horizon<'a>, Missing> {
        let holders = scope
            .server("horizon")?
            .rows()
            .filter(|row| concerns(row, scope.database));
        let holders = holders.map(|row| Holder {
            since: row.time("since"),
            xmin_age: row.float("xmin_age").unwrap_or(0.0),
            row,
        });
        let mut holders: Vec<Holder<'a>> = holders.collect();
        holders.sort_by(|a, b| b.xmin_age.total_cmp(&a.xmin_age));
        let older = scope
            .older
            .and_then(|older| older.snapshot("horizon", None).ok());
        let lasting = older
            .into_iter()
            .flat_map(|older| older.rows().map(|row| key(&row)));
        Ok(Horizon {
            holders,
            lasting: lasting.collect(),
            looked: older.map(|older| older.at),
        })
    }

    /// Returns the oldest holder that was there before an instant: what was dead then, it may still see.
    pub(crate) fn before(&self, instant: Timestamp) -> Option<&Holder<'a>> {
        self.holders.iter().find(|holder| match holder.since {
            Some(since) => since <= instant,
            // Slots and standbys have no beginning: that they were there at an earlier look is known.
            None => {
                self.looked.is_some_and(|looked| looked <= instant)
                    && self.lasting.contains(&key(&holder.row))
            }
        })
    }
}

/// Slots that hold the catalog only, and sessions of other databases, hold no row of a table here.
fn concerns(row: &Row<'_>, database: &str) -> bool {
    match row.text("kind") {
        Some("slot-catalog") => false,
        Some("session" | "prepared-transaction") => {
            row.text("datname").is_none_or(|name| name == database)
        }
        _ => true,
    }
}

fn key(row: &Row<'_>) -> (String, String) {
    let text = |name| row.text(name).unwrap_or_default().to_owned();
    (text("kind"), text("name"))
}

impl Holder<'_> {
    /// Returns who it is, as people say it.
    pub(crate) fn name(&self) -> String {
        let name = self.row.text("name").unwrap_or("?");
        match self.row.text("kind") {
            Some("session") => {
                let user = self
                    .row
                    .text("usename")
                    .unwrap_or("a role that cannot be seen");
                let state = self
                    .row
                    .text("state")
                    .unwrap_or("in a state that cannot be seen");
                format!("session {name} ({user}, {state})")
            }
            Some("prepared-transaction") => format!("prepared transaction \"{name}\""),
            Some("standby") => format!("standby \"{name}\" (hot_standby_feedback)"),
            _ => format!("replication slot \"{name}\""),
        }
    }

    /// Returns what ends it.
    pub(crate) fn remedy(&self) -> &'static str {
        match self.row.text("kind") {
            Some("session") => "end it first: pawang session terminate",
            Some("prepared-transaction") => "COMMIT PREPARED or ROLLBACK PREPARED it first",
            Some("standby") => "end the old query on the standby first",
            _ => "let its reader catch up, or drop the slot, first",
        }
    }

    /// Returns how old it is, in words.
    pub(crate) fn age(&self) -> String {
        let since = self
            .since
            .map_or(String::new(), |since| format!(" since {since:.0}"));
        format!("{:.0} transactions{since}", self.xmin_age)
    }
}
