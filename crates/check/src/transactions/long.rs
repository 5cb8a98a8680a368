//! Transactions and statements that have been open for long.

use pawang_core::{Level, Missing, Role, Row};

use crate::connections::session::{clients, end, evidence, object, quote, runs, seconds, who};
use crate::{Observation, View};

/// Statements that take long by nature, and that have progress views of their own.
const MAINTENANCE: &[&str] = &[
    "VACUUM", "ANALYZE", "REINDEX", "CLUSTER", "REPACK", "COPY", "CREATE",
];

pub(super) fn oldest_transaction(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    if view.server()?.role == Role::Standby {
        return Err(Missing::NotApplicable(
            "the server is a standby; see standby-transaction".to_owned(),
        ));
    }
    transactions(view, "")
}

pub(super) fn standby_transaction(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    if view.server()?.role == Role::Primary {
        return Err(Missing::NotApplicable("the server is a primary".to_owned()));
    }
    let effect = if view.setting("hot_standby_feedback")? == Some("on") {
        " and holds back vacuum on the primary"
    } else if view.setting("max_standby_streaming_delay")? == Some("-1") {
        " and may hold back replay without limit"
    } else {
        " and may be cancelled by replay"
    };
    transactions(view, effect)
}

fn transactions(view: &View<'_>, effect: &str) -> Result<Vec<Observation>, Missing> {
    let sessions = clients(view)?;
    let floor = view.floor("age");
    let judged = sessions.iter().filter(|row| !runs(row, &["VACUUM"]));
    let seen = judged.filter_map(|row| {
        let age = row.float("xact_age_seconds").filter(|age| *age >= floor)?;
        let state = row.text("state").unwrap_or_default();
        Some(Observation {
            object: object(row),
            value: age,
            title: format!(
                "transaction of {} ({state}) has been open for {}{effect}",
                who(row),
                seconds(age)
            ),
            since: row.time("xact_start"),
            evidence: evidence(row),
            remedy: Some(end(row)),
            ..Observation::default()
        })
    });
    Ok(seen.collect())
}

pub(super) fn oldest_query(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let sessions = clients(view)?;
    let floor = view.floor("age");
    let active = sessions
        .iter()
        .filter(|row| row.text("state") == Some("active") && !runs(row, MAINTENANCE));
    let seen = active.filter_map(|row| {
        let age = row.float("query_age_seconds").filter(|age| *age >= floor)?;
        let waits = match row.text("wait_event_type") {
            Some("Lock") => " and waits for a lock",
            Some("Client") => " and waits for its client",
            _ => "",
        };
        let mut evidence = evidence(row);
        evidence.extend(row.evidence(&["wait_event_type", "wait_event"]));
        Some(Observation {
            object: object(row),
            value: age,
            title: format!(
                "statement of {} has run for {}{waits}",
                who(row),
                seconds(age)
            ),
            since: row.time("query_start"),
            evidence,
            remedy: Some(remedy_of_statement(row)),
            ..Observation::default()
        })
    });
    Ok(seen.collect())
}

fn remedy_of_statement(row: &Row<'_>) -> String {
    match row.text("wait_event_type") {
        Some("Lock") => "find who blocks it: pawang check blocking".to_owned(),
        _ => format!(
            "EXPLAIN it; to stop the statement and keep the session: SELECT pg_cancel_backend({});",
            row.value("pid")
        ),
    }
}

pub(super) fn prepared_transactions(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let rows = view.snapshot("prepared-transactions")?.rows();
    let seen = rows.map(|row| {
        let gid = row.text("gid").unwrap_or_default();
        let age = row.float("age_seconds").unwrap_or(f64::NAN);
        Observation {
            object: gid.to_owned(),
            value: age,
            title: format!(
                "prepared transaction \"{gid}\" of {} in database {} has waited for {}",
                quote(row.text("owner").unwrap_or_default()),
                quote(row.text("database").unwrap_or_default()),
                seconds(age)
            ),
            since: row.time("prepared"),
            evidence: row.evidence(&["gid", "database", "owner", "transaction", "transaction_age"]),
            remedy: Some(end_prepared(row.text("database"), gid)),
            ..Observation::default()
        }
    });
    Ok(seen.collect())
}

/// Returns how to end a prepared transaction.
pub(crate) fn end_prepared(database: Option<&str>, gid: &str) -> String {
    let gid = gid.replace('\'', "''");
    let database = database
        .map(|name| format!("in database {}, ", quote(name)))
        .unwrap_or_default();
    format!(
        "{database}as its owner, after asking the transaction manager what it decided: COMMIT PREPARED '{gid}'; \
         or ROLLBACK PREPARED '{gid}';"
    )
}

pub(super) fn subtransaction_overflow(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let rows = view.snapshot("subtransactions")?.rows();
    let seen = rows.map(|row| {
        let count = row.float("subxact_count").unwrap_or(f64::NAN);
        let overflowed = row.flag("subxact_overflowed") == Some(true);
        Observation {
            object: object(&row),
            value: count,
            level: Some(if overflowed {
                Level::Warning
            } else {
                Level::Ok
            }),
            title: format!(
                "transaction of {} has more than {count:.0} open subtransactions",
                who(&row)
            ),
            since: row.time("xact_start"),
            evidence: evidence(&row),
            ..Observation::default()
        }
    });
    Ok(seen.collect())
}
