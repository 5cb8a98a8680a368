//! Whether statements are counted at all.

use pawang_core::{Blind, Level, Missing, Unit};

use super::grown::visible;
use crate::security::setting;
use crate::{Check, Direction, Group, Observation, Scope, View};

const SECONDS_PER_HOUR: f64 = 3_600.0;

pub(super) const STATEMENTS_TRACKED: Check = Check {
    id: "statements-tracked",
    group: Group::Statements,
    title: "statements are counted",
    scope: Scope::Server,
    needs: &["settings", "statements", "statements-info"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "Whether pg_stat_statements is loaded (shared_preload_libraries), installed in a database, and switched on \
           (pg_stat_statements.track, compute_query_id).",
    why: "Without it nobody can say which statement costs what: the first question of every slow day stays open.",
    fix: "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements' with what is there already, restart, then CREATE EXTENSION \
          pg_stat_statements; in one database.",
    observe: tracked,
};

pub(super) const STATEMENTS_EVICTIONS: Check = Check {
    id: "statements-evictions",
    group: Group::Statements,
    title: "statements that are forgotten",
    scope: Scope::Server,
    needs: &["settings", "statements-info"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: Some(60.0),
    critical: None,
    floors: &[crate::Floor {
        name: "evictions",
        value: 3.0,
        unit: Unit::Count,
        ignores: "fewer evictions than this between two samples, whatever they come to per hour",
    }],
    what: "How often per hour pg_stat_statements made room by forgetting its rarest statements (dealloc of pg_stat_statements_info) \
           since the last sample; each time it forgets 5 % of pg_stat_statements.max.",
    why: "Forgotten statements are missing from every ranking, and forgetting locks the table for everybody. Statements that differ only \
          in the length of a list, or contain their own table names, are the usual flood.",
    fix: "Raise pg_stat_statements.max (restart), write = ANY($1) instead of IN lists, or set pg_stat_statements.track_utility = off.",
    observe: evictions,
};

fn tracked(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let found = |level, title: &str, remedy: Option<&str>| {
        Ok(vec![Observation {
            value: 1.0,
            level: Some(level),
            title: title.to_owned(),
            remedy: remedy.map(str::to_owned),
            ..Observation::default()
        }])
    };
    let libraries = setting(view, "shared_preload_libraries")?;
    if !libraries.contains("pg_stat_statements") {
        let title = "pg_stat_statements is not in shared_preload_libraries: nothing counts what statements cost";
        return found(Level::Info, title, None);
    }
    if let Err(Missing::Blind(Blind::MissingExtension { .. })) = view.snapshot("statements-info") {
        let title =
            "pg_stat_statements is loaded and counts, but no database has the extension to read it";
        let remedy = "CREATE EXTENSION pg_stat_statements;";
        return found(Level::Info, title, Some(remedy));
    }
    if setting(view, "pg_stat_statements.track")? == "none" {
        let title = "pg_stat_statements.track is none: no statement is counted";
        let remedy = "ALTER SYSTEM RESET pg_stat_statements.track; SELECT pg_reload_conf();";
        return found(Level::Warning, title, Some(remedy));
    }
    if setting(view, "compute_query_id")? == "off" {
        let title = "compute_query_id is off: pg_stat_statements counts nothing";
        let remedy = "ALTER SYSTEM RESET compute_query_id; SELECT pg_reload_conf();";
        return found(Level::Warning, title, Some(remedy));
    }
    visible(view)?;
    let info = view.row("statements-info")?;
    Ok(vec![Observation {
        level: Some(Level::Ok),
        title: "statements are counted".to_owned(),
        evidence: info.evidence(&["entries", "dealloc", "stats_reset"]),
        ..Observation::default()
    }])
}

fn evictions(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let growth = view.growth("statements-info")?;
    let Some((row, older)) = growth.rows.first() else {
        return Ok(Vec::new());
    };
    let times = older
        .and_then(|older| row.growth(older, "dealloc"))
        .ok_or_else(|| Blind::Reset {
            what: "pg_stat_statements was reset".to_owned(),
        })?;
    let counted = if times < view.floor("evictions") {
        0.0
    } else {
        times
    };
    let most = setting(view, "pg_stat_statements.max")?;
    Ok(vec![Observation {
        value: counted * SECONDS_PER_HOUR / growth.seconds,
        title: format!(
            "pg_stat_statements forgot statements {times:.0} times in {:.0} s to stay below {most}",
            growth.seconds
        ),
        evidence: row.evidence(&["dealloc", "entries", "stats_reset"]),
        ..Observation::default()
    }])
}
