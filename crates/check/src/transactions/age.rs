//! Ages of transaction and multixact identifiers: who holds them, and how far they are from their limits.

use pawang_core::{ByteSize, Missing, Row, Unit};

use super::long::end_prepared;
use crate::connections::session::{ours, quote, seconds, who};
use crate::{Observation, View};

/// Identifiers that may be in use before the server refuses to hand out more: half of 2^32 less a reserve of 3 million.
const IDENTIFIERS_MAX: f64 = 2_147_483_647.0 - 3_000_000.0;
const SECONDS_PER_DAY: f64 = 86_400.0;

pub(super) fn horizon(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let rows = view.snapshot("horizon")?.rows();
    let seen = rows.filter(|row| !ours(row)).map(|row| {
        let name = row.text("name").unwrap_or_default();
        let age = row.float("xmin_age").unwrap_or(f64::NAN);
        let (object, holder, remedy) = holder(&row, name);
        let open = row
            .float("age_seconds")
            .map(|age| format!(", open for {}", seconds(age)));
        Observation {
            object,
            value: age,
            title: format!(
                "{holder} holds back vacuum by {} transactions{}",
                Unit::Count.show(age),
                open.unwrap_or_default()
            ),
            since: row.time("since"),
            evidence: row.evidence(&["kind", "name", "state", "datname", "xmin_age"]),
            remedy: Some(remedy),
            ..Observation::default()
        }
    });
    Ok(seen.collect())
}

/// Returns a holder as an object, in a sentence, and how it is got rid of.
fn holder(row: &Row<'_>, name: &str) -> (String, String, String) {
    let quoted = name.replace('\'', "''");
    match row.text("kind").unwrap_or_default() {
        "slot" | "slot-catalog" => {
            let rows = if row.text("kind") == Some("slot") {
                ""
            } else {
                " (of the catalogs only)"
            };
            let state = row.text("state").unwrap_or_default();
            let remedy = if row.flag("active") == Some(true) {
                "find out why its consumer does not advance; a standby's slot follows its longest transaction, \
                 with hot_standby_feedback = on"
                    .to_owned()
            } else {
                format!(
                    "start its consumer again, or if it is gone for good: SELECT pg_drop_replication_slot('{quoted}');"
                )
            };
            let holder = format!("{state} replication slot \"{name}\"{rows}");
            (format!("slot \"{name}\""), holder, remedy)
        }
        "standby" => (
            format!("standby \"{name}\""),
            format!("standby \"{name}\", by hot_standby_feedback,"),
            "end the longest transaction on the standby: pawang check standby-transaction there"
                .to_owned(),
        ),
        "prepared-transaction" => (
            format!("prepared transaction \"{name}\""),
            format!("prepared transaction \"{name}\""),
            end_prepared(row.text("datname"), name),
        ),
        _ => (
            format!("pid {name}"),
            format!("session of {}", who(row)),
            end_named(row, name),
        ),
    }
}

fn end_named(row: &Row<'_>, pid: &str) -> String {
    if row.text("backend_type") == Some("client backend") {
        format!(
            "ask its owner to commit or roll back; else SELECT pg_terminate_backend({pid}); \
             its work since BEGIN is lost then"
        )
    } else {
        "let it finish; its progress is in pg_stat_progress_analyze, pg_stat_progress_create_index and their like"
            .to_owned()
    }
}

/// The rows of real databases with the age of their oldest identifier.
fn databases<'a>(
    view: &View<'a>,
    column: &'static str,
) -> Result<Vec<(Row<'a>, &'a str, f64)>, Missing> {
    let rows = view.snapshot("database")?.rows();
    Ok(rows
        .filter_map(|row| Some((row, row.text("datname")?, row.float(column)?)))
        .collect())
}

pub(super) fn xid_wraparound(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    wraparound(view, "frozen_xid_age", "transactions")
}

pub(super) fn multixact_wraparound(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    wraparound(view, "minimum_multixact_age", "multixacts")
}

fn wraparound(
    view: &View<'_>,
    column: &'static str,
    what: &str,
) -> Result<Vec<Observation>, Missing> {
    let seen = databases(view, column)?
        .into_iter()
        .map(|(row, name, age)| {
            let left = (IDENTIFIERS_MAX - age).max(0.0);
            Observation {
                object: name.to_owned(),
                value: 100.0 * age / IDENTIFIERS_MAX,
                title: format!(
                    "database \"{name}\" is {} {what} old; {} more until it accepts no more writes",
                    Unit::Count.show(age),
                    Unit::Count.show(left)
                ),
                evidence: row.evidence(&[column]),
                remedy: Some(freeze_database(&row, name)),
                ..Observation::default()
            }
        });
    Ok(seen.collect())
}

fn freeze_database(row: &Row<'_>, name: &str) -> String {
    if row.flag("datallowconn") == Some(false) {
        return format!(
            "ALTER DATABASE {0} WITH ALLOW_CONNECTIONS true; then VACUUM (FREEZE); in it, and ALLOW_CONNECTIONS false again",
            quote(name)
        );
    }
    format!(
        "remove what holds vacuum back (pawang check xmin-horizon), then in database {}: VACUUM (FREEZE, VERBOSE); \
         oldest tables first (pawang check table-xid-age)",
        quote(name)
    )
}

pub(super) fn freeze_overdue(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    overdue(
        view,
        "frozen_xid_age",
        "autovacuum_freeze_max_age",
        "transactions",
    )
}

pub(super) fn multixact_freeze_overdue(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    overdue(
        view,
        "minimum_multixact_age",
        "autovacuum_multixact_freeze_max_age",
        "multixacts",
    )
}

fn overdue(
    view: &View<'_>,
    column: &'static str,
    setting: &str,
    what: &str,
) -> Result<Vec<Observation>, Missing> {
    let limit = view.row("server")?.float(setting).unwrap_or(f64::NAN);
    let seen = databases(view, column)?
        .into_iter()
        .map(|(row, name, age)| Observation {
            object: name.to_owned(),
            value: 100.0 * age / limit,
            title: format!(
                "database \"{name}\" is {} {what} old, {:.0} % of {setting}",
                Unit::Count.show(age),
                100.0 * age / limit
            ),
            evidence: row.evidence(&[column]),
            remedy: Some(freeze_database(&row, name)),
            ..Observation::default()
        });
    Ok(seen.collect())
}

pub(super) fn vacuum_failsafe(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let server = view.row("server")?;
    let failsafe = server.float("vacuum_failsafe_age").unwrap_or(f64::NAN);
    let freeze = server
        .float("autovacuum_freeze_max_age")
        .unwrap_or(f64::NAN);
    let limit = failsafe.max(1.05 * freeze);
    let seen = databases(view, "frozen_xid_age")?
        .into_iter()
        .map(|(row, name, age)| Observation {
            object: name.to_owned(),
            value: 100.0 * age / limit,
            title: format!(
                "database \"{name}\" is {} transactions old, {:.0} % of the age at which vacuum's failsafe begins",
                Unit::Count.show(age),
                100.0 * age / limit
            ),
            evidence: row.evidence(&["frozen_xid_age"]),
            remedy: Some(freeze_database(&row, name)),
            ..Observation::default()
        });
    Ok(seen.collect())
}

pub(super) fn runway(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let server = view.row("server")?;
    let freeze = server
        .float("autovacuum_freeze_max_age")
        .unwrap_or(f64::NAN);
    let old: Vec<_> = databases(view, "frozen_xid_age")?
        .into_iter()
        .filter(|(_, _, age)| *age >= freeze)
        .collect();
    if old.is_empty() {
        return Ok(Vec::new());
    }
    let growth = view.growth("server")?;
    let used = growth
        .rows
        .first()
        .and_then(|(row, older)| row.growth((*older)?, "next_transaction_id"));
    let rate = used.unwrap_or(0.0) / growth.seconds;
    if growth.seconds < view.floor("span") || rate <= 0.0 {
        return Ok(Vec::new());
    }
    let seen = old.into_iter().map(|(row, name, age)| {
        let days = (IDENTIFIERS_MAX - age).max(0.0) / rate / SECONDS_PER_DAY;
        Observation {
            object: name.to_owned(),
            value: days,
            title: format!(
                "at {rate:.0} transactions per second database \"{name}\" accepts no more writes in {}",
                Unit::Days.show(days)
            ),
            evidence: row.evidence(&["frozen_xid_age"]),
            remedy: Some(freeze_database(&row, name)),
            ..Observation::default()
        }
    });
    Ok(seen.collect())
}

pub(super) fn table_xid_age(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    tables(view, "frozen_xid_age", "freeze_max_age", "transactions")
}

pub(super) fn table_multixact_age(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    tables(
        view,
        "minimum_multixact_age",
        "multixact_freeze_max_age",
        "multixacts",
    )
}

fn tables(
    view: &View<'_>,
    column: &'static str,
    limit: &'static str,
    what: &str,
) -> Result<Vec<Observation>, Missing> {
    let rows = view.here("freeze")?.rows();
    let seen = rows.filter_map(|row| {
        let age = row.float(column)?;
        let share = 100.0 * age / row.float(limit)?;
        let name = format!(
            "{}.{}",
            row.text("nspname").unwrap_or_default(),
            row.text("relname").unwrap_or_default()
        );
        let table = match row.text("toast_of") {
            Some(table) => table.to_owned(),
            None => format!(
                "{}.{}",
                quote(row.text("nspname").unwrap_or_default()),
                quote(row.text("relname").unwrap_or_default())
            ),
        };
        let temporary = row.text("relpersistence") == Some("t");
        let remedy = if temporary {
            format!("only its own session can vacuum it: let that session end, or DROP TABLE {table};")
        } else {
            format!("VACUUM (FREEZE, VERBOSE) {table};")
        };
        let bytes = row.float("relation_bytes").unwrap_or(0.0).max(0.0);
        Some(Observation {
            object: name.clone(),
            value: share,
            title: format!(
                "{}table {name} ({}) is {} {what} old, {share:.0} % of the age at which it should be frozen",
                if temporary { "temporary " } else { "" },
                ByteSize(bytes as u64),
                Unit::Count.show(age)
            ),
            evidence: row.evidence(&["relkind", "toast_of", column, limit]),
            remedy: Some(remedy),
            ..Observation::default()
        })
    });
    Ok(seen.collect())
}
