//! Settings without which nobody can see what the server did.

use pawang_core::{Level, Missing, Unit};

use super::{judged, setting_evidence, setting_row};
use crate::{Check, Direction, Group, Observation, Scope, View};

const ONE_SETTING: Check = Check {
    id: "",
    group: Group::Security,
    title: "",
    scope: Scope::Server,
    needs: &["settings"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "",
    why: "",
    fix: "",
    observe: |_| Ok(Vec::new()),
};

pub(super) const TRACK_COUNTS: Check = Check {
    id: "track-counts",
    title: "track_counts is on",
    what: "The setting track_counts, from pg_settings.",
    why: "Without counts autovacuum does not know which tables to vacuum and analyze: it works only against XID wraparound, and half of \
          Pawang's checks see nothing.",
    fix: "ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf();",
    observe: |view| {
        let text = "autovacuum finds no tables to vacuum or analyze";
        judged(
            view,
            "track_counts",
            Level::Critical,
            |value| value == "off",
            text,
        )
    },
    ..ONE_SETTING
};

pub(super) const TRACK_ACTIVITIES: Check = Check {
    id: "track-activities",
    title: "track_activities is on",
    what: "The setting track_activities, from pg_settings.",
    why: "Without it pg_stat_activity shows neither states nor queries: blockers, long queries and idle transactions cannot be seen.",
    fix: "ALTER SYSTEM SET track_activities = on; SELECT pg_reload_conf();",
    observe: |view| {
        let text = "pg_stat_activity shows neither states nor queries";
        judged(
            view,
            "track_activities",
            Level::Warning,
            |value| value == "off",
            text,
        )
    },
    ..ONE_SETTING
};

pub(super) const TRACK_IO_TIMING: Check = Check {
    id: "track-io-timing",
    title: "track_io_timing is on",
    what: "The setting track_io_timing, from pg_settings. Its cost is that of reading the clock: pg_test_timing shows it.",
    why: "Without it nobody can tell a slow disk from a slow plan: all I/O times read as zero.",
    fix: "ALTER SYSTEM SET track_io_timing = on; SELECT pg_reload_conf();",
    observe: |view| {
        let text = "all I/O times read as zero";
        judged(
            view,
            "track_io_timing",
            Level::Info,
            |value| value == "off",
            text,
        )
    },
    ..ONE_SETTING
};

pub(super) const LOG_SETTINGS: Check = Check {
    id: "log-settings",
    title: "what the server log keeps silent about",
    what: "log_checkpoints, log_lock_waits, log_autovacuum_min_duration, log_temp_files and log_min_duration_statement, from \
           pg_settings: each that is switched off is one line of information.",
    why: "After an incident the log is the only witness: without these lines nobody can say who waited, what spilled and what was slow.",
    fix: "ALTER SYSTEM SET log_lock_waits = on; (and so on), then SELECT pg_reload_conf();",
    observe: log_settings,
    ..ONE_SETTING
};

/// Setting, the value that keeps it silent, what is then missing, and a value that speaks.
const SPEAKING: [(&str, &str, &str, &str); 5] = [
    (
        "log_checkpoints",
        "off",
        "checkpoints and what caused them",
        "on",
    ),
    (
        "log_lock_waits",
        "off",
        "sessions that waited longer than deadlock_timeout for a lock",
        "on",
    ),
    (
        "log_autovacuum_min_duration",
        "-1",
        "what autovacuum did and what it could not remove",
        "'10min'",
    ),
    (
        "log_temp_files",
        "-1",
        "statements that spill to disk",
        "'10MB'",
    ),
    (
        "log_min_duration_statement",
        "-1",
        "slow statements",
        "'1s'",
    ),
];

fn log_settings(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let mut observations = Vec::new();
    for (name, silent, what, better) in SPEAKING {
        let row = setting_row(view, name)?;
        let value = row.text("setting").unwrap_or_default();
        let wrong = value == silent;
        observations.push(Observation {
            object: name.to_owned(),
            value: f64::from(u8::from(wrong)),
            level: Some(if wrong { Level::Info } else { Level::Ok }),
            title: format!("{name} is {value}: the log does not show {what}"),
            evidence: setting_evidence(row),
            remedy: Some(format!(
                "ALTER SYSTEM SET {name} = {better}; SELECT pg_reload_conf();"
            )),
            ..Observation::default()
        });
    }
    Ok(observations)
}
