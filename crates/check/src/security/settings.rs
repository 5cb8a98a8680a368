//! Settings that trade data, or its truth, for something else.

use pawang_core::{Blind, ByteSize, Level, Missing, Row, Unit};

use super::{judged, number, quoted, setting_evidence, setting_row};
use crate::{Check, Direction, Group, Observation, Scope, View};

/// Changed settings named in one verdict.
const CHANGES_MAX: usize = 50;

/// What all checks of one setting have in common.
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

pub(super) const FSYNC: Check = Check {
    id: "fsync",
    title: "fsync is on",
    what: "The setting fsync, from pg_settings.",
    why: "With fsync off nothing is certain to be on disk: after a crash of the machine the cluster may be corrupt beyond repair, \
          standbys and later backups included.",
    fix: "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf(); then run sync on the machine, since nothing flushes what was \
          written before.",
    observe: |view| {
        judged(
            view,
            "fsync",
            Level::Critical,
            off,
            "a crash of the machine can destroy the cluster",
        )
    },
    ..ONE_SETTING
};

pub(super) const FULL_PAGE_WRITES: Check = Check {
    id: "full-page-writes",
    title: "full_page_writes is on",
    what: "The setting full_page_writes, from pg_settings. File systems that never tear a page (ZFS) are the one case where off is safe; \
           switch this check off there.",
    why: "A page torn by a crash cannot be rebuilt from WAL without its full image: silent corruption.",
    fix: "ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf(); to write less WAL, lengthen checkpoint_timeout or set \
          wal_compression = on instead.",
    observe: |view| {
        let text = "a page torn by a crash cannot be repaired from WAL";
        judged(view, "full_page_writes", Level::Critical, off, text)
    },
    ..ONE_SETTING
};

pub(super) const SYNCHRONOUS_COMMIT: Check = Check {
    id: "synchronous-commit",
    title: "synchronous_commit of the server",
    what: "The setting synchronous_commit as sessions get it by default, from pg_settings. Off for single roles or transactions is the \
           business of check role-settings.",
    why: "With synchronous_commit off the last commits (up to three times wal_writer_delay) are lost by a crash although the client was \
          told that they are done. Data stay consistent.",
    fix: "ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf(); and SET LOCAL synchronous_commit = off only in loads that \
          can be repeated.",
    observe: |view| {
        let text = "a crash loses commits that clients were told are done";
        judged(view, "synchronous_commit", Level::Warning, off, text)
    },
    ..ONE_SETTING
};

pub(super) const DATA_CHECKSUMS: Check = Check {
    id: "data-checksums",
    title: "data checksums are on",
    what: "The read-only setting data_checksums, from pg_settings. Clusters made by initdb before PostgreSQL 18 have none unless it was \
           asked for.",
    why: "Without checksums a page that the storage damaged is read as if it were right, and is copied into backups and standbys.",
    fix: "Stop the server and run pg_checksums --enable -D $PGDATA (about as long as reading the cluster once), or rebuild a standby with \
          checksums and switch over to it.",
    observe: |view| {
        let text = "damage done by the storage is not noticed";
        judged(view, "data_checksums", Level::Warning, off, text)
    },
    ..ONE_SETTING
};

pub(super) const ZERO_DAMAGED_PAGES: Check = Check {
    id: "zero-damaged-pages",
    title: "zero_damaged_pages is off",
    what: "The setting zero_damaged_pages, from pg_settings.",
    why: "While it is on, a damaged page is silently replaced by an empty one: its rows are gone for good, vacuum included.",
    fix: "ALTER SYSTEM RESET zero_damaged_pages; SELECT pg_reload_conf(); use it only in one session, on a copy, while salvaging.",
    observe: |view| {
        let text = "rows of damaged pages are thrown away silently";
        judged(view, "zero_damaged_pages", Level::Critical, on, text)
    },
    ..ONE_SETTING
};

pub(super) const IGNORE_CHECKSUM_FAILURE: Check = Check {
    id: "ignore-checksum-failure",
    title: "ignore_checksum_failure is off",
    what: "The setting ignore_checksum_failure, from pg_settings.",
    why: "While it is on, pages that are known to be damaged are used, shown and written back: damage spreads and is hidden.",
    fix: "ALTER SYSTEM RESET ignore_checksum_failure; SELECT pg_reload_conf();",
    observe: |view| {
        let text = "pages known to be damaged are used as if they were right";
        judged(view, "ignore_checksum_failure", Level::Critical, on, text)
    },
    ..ONE_SETTING
};

pub(super) const IGNORE_INVALID_PAGES: Check = Check {
    id: "ignore-invalid-pages",
    title: "ignore_invalid_pages is off",
    what: "The setting ignore_invalid_pages, from pg_settings.",
    why: "While it is on, recovery goes on past WAL that refers to pages which do not exist: the next crash or standby start loses data \
          without a word.",
    fix: "ALTER SYSTEM RESET ignore_invalid_pages; and restart the server.",
    observe: |view| {
        let text = "recovery passes over WAL that it cannot apply";
        judged(view, "ignore_invalid_pages", Level::Critical, on, text)
    },
    ..ONE_SETTING
};

pub(super) const IGNORE_SYSTEM_INDEXES: Check = Check {
    id: "ignore-system-indexes",
    title: "ignore_system_indexes is off",
    what: "The setting ignore_system_indexes, from pg_settings.",
    why: "It is meant for one session that repairs a broken catalog index; for a whole server every catalog look-up becomes a sequential scan.",
    fix: "Remove it from the start options or the configuration, and restart; REINDEX SYSTEM repairs a broken catalog index.",
    observe: |view| {
        let text = "every catalog look-up reads the whole catalog";
        judged(view, "ignore_system_indexes", Level::Warning, on, text)
    },
    ..ONE_SETTING
};

pub(super) const ALLOW_SYSTEM_TABLE_MODS: Check = Check {
    id: "allow-system-table-mods",
    title: "allow_system_table_mods is off",
    what: "The setting allow_system_table_mods, from pg_settings.",
    why: "While it is on, a superuser's slip can change the structure of the system catalogs and make the cluster unusable.",
    fix: "ALTER SYSTEM RESET allow_system_table_mods; SELECT pg_reload_conf();",
    observe: |view| {
        let text = "one slip of a superuser can break the system catalogs";
        judged(view, "allow_system_table_mods", Level::Critical, on, text)
    },
    ..ONE_SETTING
};

pub(super) const SESSION_REPLICATION_ROLE: Check = Check {
    id: "session-replication-role",
    title: "triggers and foreign keys act",
    what: "The setting session_replication_role as sessions get it by default, from pg_settings.",
    why: "With replica, ordinary triggers and foreign keys do nothing: rows without parents get in and audit triggers stay silent. Loads \
          set it for one session and it is sometimes left behind in the configuration.",
    fix: "ALTER SYSTEM RESET session_replication_role; SELECT pg_reload_conf(); then look for orphans: pawang check schema.",
    observe: |view| {
        let wrong = |value: &str| value == "replica";
        let text = "foreign keys are not checked and ordinary triggers do not fire";
        judged(
            view,
            "session_replication_role",
            Level::Critical,
            wrong,
            text,
        )
    },
    ..ONE_SETTING
};

pub(super) const PLANNER_METHODS: Check = Check {
    id: "planner-methods",
    title: "planner methods switched off",
    what: "Settings named enable_* that are on by default and off for the whole server, from pg_settings.",
    why: "Switched off to cure one query, they spoil the plans of all others: enable_seqscan = off makes reports slower by orders.",
    fix: "ALTER SYSTEM RESET enable_...; SELECT pg_reload_conf(); use SET LOCAL around the one query, or better statistics, instead.",
    observe: planner_methods,
    ..ONE_SETTING
};

pub(super) const MEMORY_BUDGET: Check = Check {
    id: "memory-budget",
    title: "memory that the settings allow",
    needs: &["settings", "host-memory"],
    unit: Unit::Percent,
    warning: Some(100.0),
    critical: Some(300.0),
    what: "shared_buffers + max_connections * work_mem * hash_mem_multiplier + autovacuum_max_workers * autovacuum_work_mem, as a share of \
           the machine's memory. Each connection is counted with one hash; a query with several, or with parallel workers, takes more. \
           Every setting is converted by its own unit.",
    why: "When many sessions use what they may, the kernel kills a backend, and PostgreSQL restarts all of them.",
    fix: "Lower work_mem for everybody and raise it for the roles that need it (ALTER ROLE etl SET work_mem = ...), or put a pooler in \
          front and lower max_connections.",
    observe: memory_budget,
    ..ONE_SETTING
};

pub(super) const SETTINGS_DRIFT: Check = Check {
    id: "settings-drift",
    title: "settings changed since the last sample",
    unit: Unit::State,
    what: "Every setting of the server against its value in the sample before, from pg_settings. Values of Pawang's own session and \
           read-only settings do not count; changes made and undone between two samples are not seen.",
    why: "A change that nobody announced explains tomorrow's incident; one that was announced is hereby confirmed.",
    fix: "Find who changed it in the server log (parameter \"...\" changed to) and put it into your configuration management, or undo it.",
    observe: settings_drift,
    ..ONE_SETTING
};

pub(super) const ROLE_SETTINGS: Check = Check {
    id: "role-settings",
    title: "risky settings of roles and databases",
    needs: &["role-settings"],
    what: "Settings that ALTER ROLE or ALTER DATABASE fixed and that risk data or hide errors: synchronous_commit off, \
           session_replication_role replica, zero_damaged_pages, ignore_checksum_failure, row_security off; from pg_db_role_setting.",
    why: "They act on every session of that role or database without being seen in postgresql.conf.",
    fix: "ALTER ROLE ... RESET name; or ALTER DATABASE ... RESET name; and set it with SET LOCAL where it is needed.",
    observe: role_settings,
    ..ONE_SETTING
};

fn off(value: &str) -> bool {
    value == "off"
}

fn on(value: &str) -> bool {
    value == "on"
}

/// Returns whether the value is the server's, not one of Pawang's own session.
fn of_server(row: Row<'_>) -> bool {
    !matches!(
        row.text("source"),
        Some("session" | "client" | "interactive")
    )
}

fn planner_methods(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let settings = view.snapshot("settings")?;
    let switched_off = settings.rows().filter(|row| {
        row.text("name")
            .is_some_and(|name| name.starts_with("enable_"))
            && row.text("boot_val") == Some("on")
            && row.text("setting") == Some("off")
            && of_server(*row)
    });
    let observation = |row: Row<'_>| {
        let name = row.text("name").unwrap_or_default();
        Observation {
            object: name.to_owned(),
            value: 1.0,
            level: Some(Level::Warning),
            title: format!("{name} is off for the whole server"),
            evidence: setting_evidence(row),
            remedy: Some(format!(
                "ALTER SYSTEM RESET {name}; SELECT pg_reload_conf();"
            )),
            ..Observation::default()
        }
    };
    Ok(switched_off.map(observation).collect())
}

fn memory_budget(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let memory = view.row("host-memory")?;
    let total = memory.float("total_bytes").ok_or_else(|| Blind::Failed {
        what: "the machine's memory is not known".to_owned(),
    })?;
    let shared = bytes(view, "shared_buffers")?;
    let connections = number(view, "max_connections")?;
    let work_mem = bytes(view, "work_mem")?;
    let multiplier = number(view, "hash_mem_multiplier")?;
    let workers = number(view, "autovacuum_max_workers")?;
    let own = number(view, "autovacuum_work_mem")?;
    let each = if own < 0.0 {
        bytes(view, "maintenance_work_mem")?
    } else {
        bytes(view, "autovacuum_work_mem")?
    };
    let sessions = connections * work_mem * multiplier;
    let budget = shared + sessions + workers * each;
    let size = |bytes: f64| ByteSize(bytes as u64).to_string();
    let part = |name: &str, bytes: f64| (name.to_owned(), size(bytes));
    Ok(vec![Observation {
        value: 100.0 * budget / total,
        title: format!(
            "the settings allow {} of memory on a machine with {}: {} for shared_buffers, {} for {connections:.0} connections, \
             {} for autovacuum",
            size(budget),
            size(total),
            size(shared),
            size(sessions),
            size(workers * each)
        ),
        evidence: vec![
            part("shared_buffers", shared),
            part("work_mem", work_mem),
            ("hash_mem_multiplier".to_owned(), multiplier.to_string()),
            ("max_connections".to_owned(), connections.to_string()),
            part("autovacuum_work_mem", each),
        ],
        ..Observation::default()
    }])
}

/// Returns a setting of memory in bytes, by its own unit.
fn bytes(view: &View<'_>, name: &str) -> Result<f64, Missing> {
    let unit = setting_row(view, name)?.text("unit").unwrap_or("B");
    let one = if unit.starts_with(|c: char| c.is_ascii_digit()) {
        unit.to_owned()
    } else {
        format!("1{unit}")
    };
    let factor: ByteSize = one.parse().map_err(|_| Blind::Failed {
        what: format!("the unit \"{unit}\" of setting \"{name}\" is no size"),
    })?;
    Ok(number(view, name)? * factor.0 as f64)
}

fn settings_drift(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let newer = view.snapshot("settings")?;
    let older = view
        .older
        .and_then(|older| older.snapshot("settings", None).ok())
        .ok_or(Blind::FirstSample)?;
    let before: std::collections::HashMap<&str, Row<'_>> = older
        .rows()
        .filter_map(|row| Some((row.text("name")?, row)))
        .collect();
    let mut changes = Vec::new();
    for row in newer.rows() {
        let name = row.text("name").unwrap_or_default();
        let Some(old) = before.get(name) else {
            continue;
        };
        let comparable =
            of_server(row) && of_server(*old) && row.text("context") != Some("internal");
        if !comparable || row.value("setting") == old.value("setting") {
            continue;
        }
        let (was, is) = (old.value("setting"), row.value("setting"));
        changes.push(Observation {
            object: name.to_owned(),
            value: 1.0,
            level: Some(Level::Info),
            title: format!(
                "{name} changed from \"{was}\" to \"{is}\" since {}",
                older.at
            ),
            evidence: setting_evidence(row),
            ..Observation::default()
        });
    }
    changes.truncate(CHANGES_MAX);
    Ok(changes)
}

fn role_settings(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let no = |value: &str| matches!(value, "off" | "false" | "0" | "no");
    let risky = |name: &str, value: &str| match name {
        "synchronous_commit" => no(value).then_some(Level::Info),
        "session_replication_role" => (value == "replica").then_some(Level::Warning),
        "zero_damaged_pages" | "ignore_checksum_failure" => {
            matches!(value, "on" | "true" | "1" | "yes").then_some(Level::Critical)
        }
        "row_security" => no(value).then_some(Level::Info),
        _ => None,
    };
    let settings = view.snapshot("role-settings")?;
    let observation = |row: Row<'_>| {
        let (name, value) = (row.text("name")?, row.text("setting")?);
        let level = risky(name, value)?;
        let role = row.text("rolname").unwrap_or_default();
        let database = row.text("datname").unwrap_or_default();
        let (whom, change) = match (role, database) {
            ("", database) => (
                format!("database \"{database}\""),
                format!("ALTER DATABASE {}", quoted(database)),
            ),
            (role, "") => (
                format!("role \"{role}\""),
                format!("ALTER ROLE {}", quoted(role)),
            ),
            (role, database) => (
                format!("role \"{role}\" in database \"{database}\""),
                format!(
                    "ALTER ROLE {} IN DATABASE {}",
                    quoted(role),
                    quoted(database)
                ),
            ),
        };
        Some(Observation {
            title: format!("{whom} has {name} = {value}"),
            object: format!("{whom} {name}"),
            value: 1.0,
            level: Some(level),
            remedy: Some(format!("{change} RESET {name};")),
            ..Observation::default()
        })
    };
    Ok(settings.rows().filter_map(observation).collect())
}
