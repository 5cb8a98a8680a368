//! Autovacuum's own arithmetic: when it thinks that a table needs work.

use crate::Row;
use crate::relation::{option, option_is_off};

/// The settings that autovacuum decides by.
#[derive(Clone, Debug, PartialEq)]
pub struct Autovacuum {
    /// `autovacuum`.
    pub enabled: bool,
    /// `autovacuum_naptime` in seconds.
    pub naptime: f64,
    /// `autovacuum_vacuum_threshold`.
    pub threshold: f64,
    /// `autovacuum_vacuum_scale_factor`.
    pub scale_factor: f64,
    /// `autovacuum_vacuum_max_threshold` of PostgreSQL 18; -1 is "no limit".
    pub max_threshold: f64,
    /// `autovacuum_vacuum_insert_threshold`; -1 switches it off.
    pub insert_threshold: f64,
    /// `autovacuum_vacuum_insert_scale_factor`.
    pub insert_scale_factor: f64,
    /// `autovacuum_analyze_threshold`.
    pub analyze_threshold: f64,
    /// `autovacuum_analyze_scale_factor`.
    pub analyze_scale_factor: f64,
}

/// What autovacuum thinks of one table.
#[derive(Clone, Debug, PartialEq)]
pub struct Need {
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
    /// `insert` with its numbers filled in; empty when switched off.
    pub insert_formula: String,
    /// `analyze` with its numbers filled in.
    pub analyze_formula: String,
}

impl Autovacuum {
    /// Reads the settings; `setting` returns the text of one.
    ///
    /// # Errors
    /// What `setting` says, or what `unread` makes of the name of a setting that is not there or no number.
    pub fn read<'a, E>(
        setting: impl Fn(&str) -> Result<Option<&'a str>, E>,
        unread: impl Fn(&str) -> E,
    ) -> Result<Autovacuum, E> {
        let number = |name: &str| -> Result<f64, E> {
            let value = setting(name)?.and_then(|text| text.parse().ok());
            value.ok_or_else(|| unread(name))
        };
        Ok(Autovacuum {
            enabled: setting("autovacuum")? == Some("on"),
            naptime: number("autovacuum_naptime")?,
            threshold: number("autovacuum_vacuum_threshold")?,
            scale_factor: number("autovacuum_vacuum_scale_factor")?,
            // New in PostgreSQL 18.
            max_threshold: number("autovacuum_vacuum_max_threshold").unwrap_or(-1.0),
            insert_threshold: number("autovacuum_vacuum_insert_threshold")?,
            insert_scale_factor: number("autovacuum_vacuum_insert_scale_factor")?,
            analyze_threshold: number("autovacuum_analyze_threshold")?,
            analyze_scale_factor: number("autovacuum_analyze_scale_factor")?,
        })
    }

    /// Returns when autovacuum would work on the table of this row of `tables`.
    pub fn need(&self, row: &Row<'_>) -> Need {
        let options = row.list("reloptions");
        let or = |name: &str, default: f64| {
            option(options, name)
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
        let unfrozen = unfrozen_share(row);
        let insert = (insert_base >= 0.0).then_some(insert_base + insert_scale * rows * unfrozen);
        let insert_formula = insert.map_or(String::new(), |sum| {
            format!(
                "{insert_base:.0} + {insert_scale} * {:.0} rows = {sum:.0}",
                rows * unfrozen
            )
        });
        let analyze_base = or("autovacuum_analyze_threshold", self.analyze_threshold);
        let analyze_scale = or("autovacuum_analyze_scale_factor", self.analyze_scale_factor);
        let analyze = analyze_base + analyze_scale * rows;
        Need {
            enabled: self.enabled && !option_is_off(options, "autovacuum_enabled"),
            vacuum,
            insert,
            analyze,
            vacuum_formula,
            insert_formula,
            analyze_formula: format!(
                "{analyze_base:.0} + {analyze_scale} * {rows:.0} rows = {analyze:.0}"
            ),
        }
    }
}

impl Need {
    /// Returns how many times over its vacuum threshold the table is by dead rows.
    pub fn dead_ratio(&self, row: &Row<'_>) -> f64 {
        row.float("n_dead_tup").unwrap_or(0.0) / self.vacuum.max(1.0)
    }

    /// Returns how many times over its vacuum threshold the table is by inserted rows.
    pub fn insert_ratio(&self, row: &Row<'_>) -> f64 {
        self.insert.map_or(0.0, |limit| {
            row.float("n_ins_since_vacuum").unwrap_or(0.0) / limit.max(1.0)
        })
    }

    /// Returns how many times over its vacuum threshold the table is, by dead or by inserted rows.
    pub fn vacuum_ratio(&self, row: &Row<'_>) -> f64 {
        self.dead_ratio(row).max(self.insert_ratio(row))
    }

    /// Returns how many times over its analyze threshold the table is.
    pub fn analyze_ratio(&self, row: &Row<'_>) -> f64 {
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
