//! Autovacuum's own arithmetic: when it thinks that a table needs work.

use pawang_core::{Blind, Missing, Row};

use crate::{View, relation};

/// The settings that autovacuum decides by.
pub(super) struct Autovacuum {
    /// `autovacuum`.
    pub enabled: bool,
    /// `autovacuum_naptime` in seconds.
    pub naptime: f64,
    threshold: f64,
    scale_factor: f64,
    max_threshold: f64,
    insert_threshold: f64,
    insert_scale_factor: f64,
    analyze_threshold: f64,
    analyze_scale_factor: f64,
}

/// What autovacuum thinks of one table.
pub(super) struct Need {
    /// Whether autovacuum looks at the table at all.
    pub enabled: bool,
    /// Dead row versions from which it vacuums.
    pub vacuum: f64,
    /// Inserted rows from which it vacuums; `None` when switched off.
    pub insert: Option<f64>,
    /// Changed rows from which it analyzes.
    pub analyze: f64,
    /// `vacuum` with its numbers filled in.
    pub vacuum_formula: String,
    /// `analyze` with its numbers filled in.
    pub analyze_formula: String,
}

impl Autovacuum {
    /// Reads the settings.
    ///
    /// # Errors
    /// Why they could not be read.
    pub(super) fn of(view: &View<'_>) -> Result<Autovacuum, Missing> {
        let number = |name: &str| -> Result<f64, Missing> {
            let value = view.setting(name)?.and_then(|text| text.parse().ok());
            value.ok_or_else(|| {
                let what = format!("setting \"{name}\" could not be read");
                Blind::Failed { what }.into()
            })
        };
        Ok(Autovacuum {
            enabled: view.setting("autovacuum")? == Some("on"),
            naptime: number("autovacuum_naptime")?,
            threshold: number("autovacuum_vacuum_threshold")?,
            scale_factor: number("autovacuum_vacuum_scale_factor")?,
            // New in PostgreSQL 18; -1 is "no limit".
            max_threshold: number("autovacuum_vacuum_max_threshold").unwrap_or(-1.0),
            insert_threshold: number("autovacuum_vacuum_insert_threshold")?,
            insert_scale_factor: number("autovacuum_vacuum_insert_scale_factor")?,
            analyze_threshold: number("autovacuum_analyze_threshold")?,
            analyze_scale_factor: number("autovacuum_analyze_scale_factor")?,
        })
    }

    /// Returns when autovacuum would work on the table of this row of `tables`.
    pub(super) fn need(&self, row: &Row<'_>) -> Need {
        let options = row.list("reloptions");
        let or = |name: &str, default: f64| {
            relation::option(options, name)
                .and_then(|value| value.parse().ok())
                .unwrap_or(default)
        };
        let rows = row.float("reltuples").unwrap_or(0.0).max(0.0);
        let base = or("autovacuum_vacuum_threshold", self.threshold);
        let scale = or("autovacuum_vacuum_scale_factor", self.scale_factor);
        let limit = or("autovacuum_vacuum_max_threshold", self.max_threshold);
        let formula = format!("{base:.0} + {scale} * {rows:.0} rows");
        let (vacuum, vacuum_formula) = match base + scale * rows {
            sum if limit >= 0.0 && sum > limit => {
                (limit, format!("least({formula}, {limit:.0}) = {limit:.0}"))
            }
            sum => (sum, format!("{formula} = {sum:.0}")),
        };
        let insert_base = or("autovacuum_vacuum_insert_threshold", self.insert_threshold);
        let insert_scale = or(
            "autovacuum_vacuum_insert_scale_factor",
            self.insert_scale_factor,
        );
        let analyze_base = or("autovacuum_analyze_threshold", self.analyze_threshold);
        let analyze_scale = or("autovacuum_analyze_scale_factor", self.analyze_scale_factor);
        let analyze = analyze_base + analyze_scale * rows;
        Need {
            enabled: self.enabled && !relation::option_is_off(options, "autovacuum_enabled"),
            vacuum,
            insert: (insert_base >= 0.0)
                .then(|| insert_base + insert_scale * rows * unfrozen_share(row)),
            analyze,
            vacuum_formula,
            analyze_formula: format!(
                "{analyze_base:.0} + {analyze_scale} * {rows:.0} rows = {analyze:.0}"
            ),
        }
    }
}

impl Need {
    /// Returns how many times over its vacuum threshold the table is, by dead or by inserted rows.
    pub(super) fn vacuum_ratio(&self, row: &Row<'_>) -> f64 {
        let dead = row.float("n_dead_tup").unwrap_or(0.0) / self.vacuum.max(1.0);
        let inserted = self.insert.map_or(0.0, |limit| {
            row.float("n_ins_since_vacuum").unwrap_or(0.0) / limit.max(1.0)
        });
        dead.max(inserted)
    }

    /// Returns how many times over its analyze threshold the table is.
    pub(super) fn analyze_ratio(&self, row: &Row<'_>) -> f64 {
        row.float("n_mod_since_analyze").unwrap_or(0.0) / self.analyze.max(1.0)
    }
}

/// Returns the share of pages that are not frozen, which PostgreSQL 18 scales the insert threshold by; 1 before.
fn unfrozen_share(row: &Row<'_>) -> f64 {
    match (row.float("relallfrozen"), row.float("relpages")) {
        (Some(frozen), Some(pages)) if pages > 0.0 => 1.0 - (frozen / pages).clamp(0.0, 1.0),
        _ => 1.0,
    }
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
