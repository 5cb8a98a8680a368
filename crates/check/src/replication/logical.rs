//! Subscriptions and publications.

use std::collections::BTreeSet;

use pawang_core::{Level, Missing, Row, Unit};

use crate::wal::seconds;
use crate::{Check, Direction, Group, Observation, Scope, View};

pub(super) const DISABLED: Check = Check {
    id: "subscription-disabled",
    group: Group::Replication,
    title: "subscriptions are enabled",
    scope: Scope::Server,
    needs: &["subscriptions"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "subenabled in pg_subscription. With disable_on_error a subscription disables itself at its first error.",
    why: "Nothing arrives, no error is logged, and the publisher keeps WAL for the slot.",
    fix: "Repair the cause from the log, then: ALTER SUBSCRIPTION name ENABLE;",
    observe: disabled,
};

fn name(row: Row<'_>) -> String {
    let [subscription, database] = ["subname", "datname"].map(|name| row.text(name).unwrap_or(""));
    format!("subscription \"{subscription}\" in database \"{database}\"")
}

fn quoted(row: Row<'_>) -> String {
    format!(
        "\"{}\"",
        row.text("subname").unwrap_or("").replace('"', "\"\"")
    )
}

/// Returns one row per subscription: its apply worker's, which comes before those of table copies, if it runs.
fn main_rows<'a>(view: &View<'a>) -> Result<impl Iterator<Item = Row<'a>>, Missing> {
    let rows = view.snapshot("subscriptions")?.rows();
    let mut seen = BTreeSet::new();
    Ok(rows.filter(move |row| {
        // A helper of a parallel apply worker.
        row.int("leader_pid").is_none() && seen.insert((row.text("datname"), row.text("subname")))
    }))
}

fn disabled(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let observations = main_rows(view)?.map(|row| {
        let off = row.flag("subenabled") == Some(false);
        Observation {
            object: name(row),
            value: f64::from(u8::from(off)),
            level: Some(if off { Level::Warning } else { Level::Ok }),
            title: format!("{} is disabled", name(row)),
            evidence: row.evidence(&["datname", "subslotname", "subdisableonerr"]),
            remedy: Some(format!("ALTER SUBSCRIPTION {} ENABLE;", quoted(row))),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}

pub(super) const WORKER: Check = Check {
    id: "subscription-worker",
    group: Group::Replication,
    title: "apply workers run",
    scope: Scope::Server,
    needs: &["subscriptions"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "Each enabled subscription must have an apply worker (pid in pg_stat_subscription). A worker that fails is started again every \
           wal_retrieve_retry_interval, so one look may miss it: the log and subscription-errors know more.",
    why: "Nothing is applied: the publisher is gone, refuses the login, lost the slot, or a row conflicts.",
    fix: "Read the log for the apply worker's error; without free workers raise max_logical_replication_workers.",
    observe: worker,
};

fn worker(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let enabled = main_rows(view)?.filter(|row| row.flag("subenabled") == Some(true));
    let observations = enabled.map(|row| {
        let down = row.int("pid").is_none() || row.int("relid").is_some();
        Observation {
            object: name(row),
            value: f64::from(u8::from(down)),
            level: Some(if down { Level::Critical } else { Level::Ok }),
            title: format!("{} is enabled but its apply worker does not run", name(row)),
            evidence: row.evidence(&["datname", "subslotname"]),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}

pub(super) const ERRORS: Check = Check {
    id: "subscription-errors",
    group: Group::Replication,
    title: "errors of subscriptions",
    scope: Scope::Server,
    needs: &["subscription-stats"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: Some(1.0),
    critical: Some(10.0),
    floors: &[],
    what: "apply_error_count and sync_error_count (from PostgreSQL 19 sync_table_error_count and sync_seq_error_count) since the last \
           sample, per subscription (pg_stat_subscription_stats, PostgreSQL 15).",
    why: "An apply error repeats for ever: the same transaction is tried again and nothing after it arrives.",
    fix: "Repair the row or skip the transaction named in the log: ALTER SUBSCRIPTION name SKIP (lsn = '...');",
    observe: errors,
};

/// Those that a version does not have are NULL there.
const ERROR_KINDS: [&str; 4] = [
    "apply_error_count",
    "sync_error_count",
    "sync_table_error_count",
    "sync_seq_error_count",
];

fn errors(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    grown(view, &ERROR_KINDS, "errors")
}

pub(super) const CONFLICTS: Check = Check {
    id: "subscription-conflicts",
    group: Group::Replication,
    title: "conflicts of subscriptions",
    scope: Scope::Server,
    needs: &["subscription-stats"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: Some(1.0),
    critical: None,
    floors: &[],
    what: "Growth of all confl_* counters since the last sample, per subscription (pg_stat_subscription_stats, PostgreSQL 18).",
    why: "Rows differ between publisher and subscriber: changes were skipped (update_missing, delete_missing) or block the apply worker.",
    fix: "Find who writes to the subscriber's tables, compare the rows, and copy the table again if they cannot be repaired.",
    observe: conflicts,
};

const CONFLICT_KINDS: [&str; 8] = [
    "confl_insert_exists",
    "confl_update_origin_differs",
    "confl_update_exists",
    "confl_update_deleted",
    "confl_update_missing",
    "confl_delete_origin_differs",
    "confl_delete_missing",
    "confl_multiple_unique_conflicts",
];

fn conflicts(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    if view.server()?.major() < 18 {
        return Err(Missing::NotApplicable("needs PostgreSQL 18".to_owned()));
    }
    grown(view, &CONFLICT_KINDS, "conflicts")
}

/// Sums the growth of counters per subscription; no subscription is nothing to find.
fn grown(view: &View<'_>, counters: &[&str], what: &str) -> Result<Vec<Observation>, Missing> {
    if view.snapshot("subscription-stats")?.rows().len() == 0 {
        return Ok(Vec::new());
    }
    let growth = view.growth("subscription-stats")?;
    let observations = growth.rows.iter().filter_map(|(row, old)| {
        let old = (*old)?;
        let counts = counters
            .iter()
            .map(|name| row.growth(old, name).unwrap_or(0.0));
        let sum: f64 = counts.sum();
        Some(Observation {
            object: name(*row),
            value: sum,
            title: format!(
                "{} had {sum:.0} {what} in the last {}",
                name(*row),
                seconds(growth.seconds)
            ),
            evidence: row.evidence(counters),
            ..Observation::default()
        })
    });
    Ok(observations.collect())
}

pub(super) const LAG: Check = Check {
    id: "subscription-lag",
    group: Group::Replication,
    title: "apply workers hear from the publisher",
    scope: Scope::Server,
    needs: &["subscriptions"],
    unit: Unit::Seconds,
    direction: Direction::Above,
    warning: Some(60.0),
    critical: Some(300.0),
    floors: &[],
    what: "Time since each apply worker received its last message (last_msg_receipt_time in pg_stat_subscription). An idle publisher sends \
           one every half wal_sender_timeout; a worker that is busy or blocked does not read.",
    why: "The subscriber's tables are stale by at least this long.",
    fix: "Look at what the apply worker waits for (pawang check blocking), and at the network to the publisher.",
    observe: lag,
};

fn lag(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let observations = main_rows(view)?.filter_map(|row| {
        row.int("pid")?;
        let age = row.float("last_msg_receipt_age")?.max(0.0);
        Some(Observation {
            object: name(row),
            value: age,
            title: format!("{} has heard nothing for {}", name(row), seconds(age)),
            since: row.time("last_msg_receipt_time"),
            evidence: row.evidence(&["datname", "pid", "latest_end_time"]),
            ..Observation::default()
        })
    });
    Ok(observations.collect())
}

pub(super) const SYNC: Check = Check {
    id: "subscription-sync",
    group: Group::Replication,
    title: "tables not yet in step",
    scope: Scope::Database,
    needs: &["subscription-tables"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "Tables of each subscription whose state in pg_subscription_rel is not r (ready): still to copy, copying, or catching up.",
    why: "A table that stays in copy keeps its own slot on the publisher, and its rows are incomplete here.",
    fix: "SELECT srrelid::regclass, srsubstate FROM pg_subscription_rel WHERE srsubstate <> 'r'; and read the log for the sync worker's error.",
    observe: sync,
};

fn sync(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let waiting = view
        .here("subscription-tables")?
        .rows()
        .filter(|row| row.text("srsubstate") != Some("r"));
    let observations = waiting.map(|row| {
        let tables = row.float("tables").unwrap_or(0.0);
        let subscription = format!("subscription \"{}\"", row.text("subname").unwrap_or(""));
        let state = match row.text("srsubstate") {
            Some("i") => "wait to be copied",
            Some("d") => "are being copied",
            _ => "catch up",
        };
        Observation {
            object: subscription.clone(),
            value: tables,
            level: Some(Level::Info),
            title: format!("{tables:.0} tables of {subscription} {state}"),
            evidence: row.evidence(&["srsubstate", "tables"]),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}

pub(super) const PUBLICATION_EMPTY: Check = Check {
    id: "publication-empty",
    group: Group::Replication,
    title: "publications publish something",
    scope: Scope::Database,
    needs: &["publications"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "Publications without any table or schema that are not FOR ALL TABLES, or that publish no operation (pg_publication).",
    why: "Subscribers are connected and healthy and receive nothing: a table that was dropped and created again leaves its publication.",
    fix: "ALTER PUBLICATION name ADD TABLE ...; then on the subscriber: ALTER SUBSCRIPTION name REFRESH PUBLICATION;",
    observe: publication_empty,
};

fn publication_empty(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let observations = view.here("publications")?.rows().map(|row| {
        let publication = row.text("pubname").unwrap_or("");
        let objects = row.int("tables").unwrap_or(0) + row.int("schemas").unwrap_or(0);
        let mute = ["pubinsert", "pubupdate", "pubdelete", "pubtruncate"]
            .iter()
            .all(|name| row.flag(name) == Some(false));
        let empty = mute || objects == 0 && row.flag("puballtables") == Some(false);
        Observation {
            object: format!("publication \"{publication}\""),
            value: f64::from(u8::from(empty)),
            level: Some(if empty { Level::Warning } else { Level::Ok }),
            title: format!("publication \"{publication}\" publishes nothing"),
            evidence: row.evidence(&["tables", "schemas", "pubinsert", "pubupdate", "pubdelete"]),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}

pub(super) const PUBLICATION_IDENTITY: Check = Check {
    id: "publication-identity",
    group: Group::Replication,
    title: "published tables have a replica identity",
    scope: Scope::Database,
    needs: &["publications"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: Some(1.0),
    critical: None,
    floors: &[],
    what: "Tables listed in a publication of UPDATE or DELETE that have no primary key and no other replica identity (pg_publication_rel, \
           pg_class.relreplident). Tables published by FOR ALL TABLES or by schema are not looked at.",
    why: "Every UPDATE and DELETE on such a table fails on this server with an error.",
    fix: "Add a primary key, or: ALTER TABLE ... REPLICA IDENTITY FULL; (slow on large tables)",
    observe: publication_identity,
};

fn publication_identity(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let observations = view.here("publications")?.rows().map(|row| {
        let publication = row.text("pubname").unwrap_or("");
        let tables = row.float("tables_without_identity").unwrap_or(0.0);
        let example = row.text("example_without_identity").unwrap_or("");
        Observation {
            object: format!("publication \"{publication}\""),
            value: tables,
            title: format!("{tables:.0} tables of publication \"{publication}\" have no replica identity, such as {example}"),
            evidence: row.evidence(&["tables", "tables_without_identity"]),
            remedy: Some(format!("ALTER TABLE {example} REPLICA IDENTITY FULL;  -- or better: add a primary key")),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}
