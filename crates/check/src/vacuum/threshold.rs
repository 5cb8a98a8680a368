//! Autovacuum's own arithmetic as the checks use it, and the names of tables and TOAST tables.

use pawang_core::{Autovacuum, Blind, Missing, Row};

use crate::{View, relation};

/// Reads the settings that autovacuum decides by.
///
/// # Errors
/// Why they could not be read.
pub(super) fn autovacuum(view: &View<'_>) -> Result<Autovacuum, Missing> {
    Autovacuum::read(
        |name| view.setting(name),
        |name| {
            let what = format!("setting \"{name}\" could not be read");
            Blind::Failed { what }.into()
        },
    )
}

/// Returns the later of two instants of a row.
pub(super) fn later(
    row: &Row<'_>,
    by_hand: &str,
    by_autovacuum: &str,
) -> Option<pawang_core::Timestamp> {
    row.time(by_hand).max(row.time(by_autovacuum))
}

/// Returns the name of a table, or of the table whose TOAST table it is.
pub(super) fn object(row: &Row<'_>) -> String {
    match row.text("toast_of") {
        Some(owner) => format!("TOAST of {owner}"),
        None => relation::name(row),
    }
}

/// Returns the table to name in a statement: TOAST tables are worked on through their owner.
pub(super) fn target(row: &Row<'_>) -> String {
    row.text("toast_of")
        .map_or_else(|| relation::table(row), str::to_owned)
}
