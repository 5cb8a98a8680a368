//! The standbys of a server, as it sees them.

use pawang_core::{Level, Missing, Row, Snapshot, Unit};

use crate::wal::{hidden, number, on_primary, seconds};
use crate::{Check, Direction, Floor, Group, Observation, Scope, View};

pub(super) const EXPECTED: Check = Check {
    id: "expected-standbys",
    group: Group::Replication,
    title: "expected standbys are connected",
    scope: Scope::Server,
    needs: &["replication"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "Every name in expected_standbys of pawang.toml must be the application_name of a WAL sender in pg_stat_replication. \
           Standbys that are not listed are not missed: without a list, a server without any standby looks healthy.",
    why: "A standby that is gone has no lag: only a list can tell that it is missing, and without it a failover has nowhere to go.",
    fix: "Start the standby and read its log; it needs application_name in primary_conninfo (cluster_name is the default).",
    observe: expected,
};

/// Returns the WAL senders, unless the role may only see their process ids.
pub(crate) fn senders<'a>(view: &View<'a>) -> Result<&'a Snapshot, Missing> {
    let snapshot = view.snapshot("replication")?;
    if snapshot.rows().any(|row| row.text("state").is_none()) {
        return Err(hidden(
            view,
            "pg_stat_replication hides other roles' WAL senders",
        ));
    }
    Ok(snapshot)
}

/// Returns what a WAL sender is called: `standby "s1"`.
pub(super) fn name(row: Row<'_>) -> String {
    format!("standby \"{}\"", row.text("application_name").unwrap_or(""))
}

fn expected(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let names = &view.facts.instance.expected_standbys;
    if names.is_empty() {
        return Err(Missing::NotApplicable(
            "expected_standbys is not set in pawang.toml".to_owned(),
        ));
    }
    on_primary(view)?;
    let snapshot = senders(view)?;
    let connected = |name: &String| {
        snapshot.rows().any(|row| {
            row.text("application_name") == Some(name) && row.text("state") != Some("backup")
        })
    };
    Ok(names
        .iter()
        .map(|name| {
            let missing = !connected(name);
            Observation {
                object: format!("standby \"{name}\""),
                value: f64::from(u8::from(missing)),
                level: Some(if missing { Level::Critical } else { Level::Ok }),
                title: format!("the expected standby \"{name}\" is not connected"),
                evidence: vec![("connected".to_owned(), connected_names(snapshot))],
                ..Observation::default()
            }
        })
        .collect())
}

fn connected_names(snapshot: &Snapshot) -> String {
    let names = snapshot
        .rows()
        .filter_map(|row| row.text("application_name"));
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        "nobody".to_owned()
    } else {
        names.join(", ")
    }
}

pub(super) const STATE: Check = Check {
    id: "standby-state",
    group: Group::Replication,
    title: "standbys stream",
    scope: Scope::Server,
    needs: &["replication"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[Floor {
        name: "seconds",
        value: 60.0,
        unit: Unit::Seconds,
        ignores: "WAL senders that connected less than this long ago, because each one starts by catching up",
    }],
    what: "state of each WAL sender in pg_stat_replication: anything but streaming (or backup, for pg_basebackup) some time after it \
           connected.",
    why: "A standby in state catchup does not protect anything that was committed since, and cannot be synchronous.",
    fix: "Compare the standby's replay with the load; look for a slow network or disk: SELECT * FROM pg_stat_replication;",
    observe: state,
};

fn state(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let young = view.floor("seconds");
    let observations = senders(view)?.rows().map(|row| {
        let state = row.text("state").unwrap_or("");
        let age = row.time("backend_start").map_or(f64::INFINITY, |start| {
            view.now.duration_since(start).as_secs_f64()
        });
        let wrong = !matches!(state, "streaming" | "backup") && age >= young;
        Observation {
            object: name(row),
            value: f64::from(u8::from(wrong)),
            level: Some(if wrong { Level::Warning } else { Level::Ok }),
            title: format!(
                "{} is in state {state}, {} after it connected",
                name(row),
                seconds(age)
            ),
            since: row.time("backend_start"),
            evidence: row.evidence(&["state", "client_addr", "backend_start"]),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}

pub(super) const SYNC: Check = Check {
    id: "sync-standbys",
    group: Group::Replication,
    title: "synchronous standbys",
    scope: Scope::Server,
    needs: &["replication", "settings"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: None,
    critical: Some(1.0),
    floors: &[],
    what: "How many of the synchronous standbys that synchronous_standby_names asks for are missing: the number it demands (FIRST n, ANY n, \
           else 1) minus the WAL senders with sync_state sync or quorum.",
    why: "When one is missing every commit hangs until it is back.",
    fix: "Start the standby. To let commits through without it: \
          ALTER SYSTEM SET synchronous_standby_names = ''; SELECT pg_reload_conf();",
    observe: sync,
};

fn sync(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    on_primary(view)?;
    let names = view
        .setting("synchronous_standby_names")?
        .unwrap_or("")
        .trim();
    if names.is_empty() {
        return Err(Missing::NotApplicable(
            "replication is asynchronous".to_owned(),
        ));
    }
    let wanted = demanded(names);
    let present = senders(view)?
        .rows()
        .filter(|row| matches!(row.text("sync_state"), Some("sync" | "quorum")))
        .count();
    // ANY counts candidates, of which there may be more than it demands.
    let missing = wanted.saturating_sub(present);
    Ok(vec![Observation {
        value: missing as f64,
        title: format!("{missing} of {wanted} synchronous standbys are missing: commits hang"),
        evidence: vec![
            ("synchronous_standby_names".to_owned(), names.to_owned()),
            (
                "connected".to_owned(),
                connected_names(view.snapshot("replication")?),
            ),
        ],
        ..Observation::default()
    }])
}

/// Returns how many standbys `synchronous_standby_names` demands.
fn demanded(names: &str) -> usize {
    let Some((head, _)) = names.split_once('(') else {
        return 1;
    };
    head.split_whitespace()
        .find_map(|word| word.parse().ok())
        .unwrap_or(1)
}

pub(super) const COMMIT_WAITS: Check = Check {
    id: "sync-commit-waits",
    group: Group::Replication,
    title: "commits that wait for a standby",
    scope: Scope::Server,
    needs: &["sync-commit"],
    unit: Unit::Seconds,
    direction: Direction::Above,
    warning: Some(5.0),
    critical: Some(30.0),
    floors: &[],
    what: "The longest statement that waits in wait event SyncRep (pg_stat_activity), that is, for a synchronous standby's answer.",
    why: "The transaction is durable here already, but its locks stay until the standby answers, and others queue behind them.",
    fix: "Repair the standby (sync-standbys, replication-lag); per transaction: SET LOCAL synchronous_commit = local;",
    observe: commit_waits,
};

fn commit_waits(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    on_primary(view)?;
    let server = view.server()?;
    if !server.monitor && !server.superuser {
        return Err(hidden(
            view,
            "pg_stat_activity hides what other roles' sessions wait for",
        ));
    }
    let row = view.row("sync-commit")?;
    let waiting = row.int("waiting").unwrap_or(0);
    let longest = row.float("longest_wait").unwrap_or(0.0).max(0.0);
    Ok(vec![Observation {
        value: longest,
        title: format!(
            "{waiting} sessions wait for a synchronous standby, the longest for {}",
            seconds(longest)
        ),
        evidence: row.evidence(&["waiting", "longest_wait"]),
        ..Observation::default()
    }])
}

pub(super) const REPLY: Check = Check {
    id: "standby-reply",
    group: Group::Replication,
    title: "standbys answer",
    scope: Scope::Server,
    needs: &["replication"],
    unit: Unit::Seconds,
    direction: Direction::Above,
    warning: Some(45.0),
    critical: Some(120.0),
    floors: &[],
    what: "The age of the last reply of each standby (reply_time in pg_stat_replication), which comes every wal_receiver_status_interval. \
           reply_time is the standby's clock, so clocks that differ show here as well.",
    why: "A standby that does not answer is hung or cut off; the server only notices after wal_sender_timeout.",
    fix: "Look at the standby's host and network, and at the clocks of both machines.",
    observe: reply,
};

fn reply(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let streaming = senders(view)?
        .rows()
        .filter(|row| row.text("state") == Some("streaming"));
    let observations = streaming.filter_map(|row| {
        let age = row.float("reply_age")?.max(0.0);
        Some(Observation {
            object: name(row),
            value: age,
            title: format!("{} last answered {} ago", name(row), seconds(age)),
            since: row.time("reply_time"),
            evidence: row.evidence(&["reply_time", "client_addr"]),
            ..Observation::default()
        })
    });
    Ok(observations.collect())
}

pub(super) const SENDERS: Check = Check {
    id: "wal-senders",
    group: Group::Replication,
    title: "WAL senders used",
    scope: Scope::Server,
    needs: &["replication", "settings"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: Some(80.0),
    critical: Some(100.0),
    floors: &[],
    what: "WAL senders in pg_stat_replication as a share of max_wal_senders; standbys, logical subscribers and base backups each take one \
           or two.",
    why: "When the last one is taken, a standby that lost its connection or tonight's base backup cannot connect.",
    fix: "ALTER SYSTEM SET max_wal_senders = 20; (restart; raise it on the standbys first)",
    observe: wal_senders,
};

fn wal_senders(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let used = view.snapshot("replication")?.rows().len() as f64;
    let most = number(view, "max_wal_senders")?.unwrap_or(f64::NAN);
    if most == 0.0 {
        return Err(Missing::NotApplicable("max_wal_senders is 0".to_owned()));
    }
    Ok(vec![Observation {
        value: 100.0 * used / most,
        title: format!("{used:.0} of {most:.0} WAL senders are taken"),
        evidence: vec![("max_wal_senders".to_owned(), format!("{most:.0}"))],
        ..Observation::default()
    }])
}

pub(super) const HORIZON: Check = Check {
    id: "standby-horizon",
    group: Group::Replication,
    title: "horizon held by standbys",
    scope: Scope::Server,
    needs: &["replication"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: Some(5_000_000.0),
    critical: Some(50_000_000.0),
    floors: &[],
    what: "The age of backend_xmin of each WAL sender (pg_stat_replication): the oldest transaction that queries on the standby still see, \
           sent by hot_standby_feedback.",
    why: "VACUUM here cannot remove rows that a query on the standby might need: one forgotten report bloats the whole primary.",
    fix: "End the long query on the standby, or set hot_standby_feedback = off there and accept cancelled queries.",
    observe: horizon,
};

fn horizon(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let observations = senders(view)?.rows().filter_map(|row| {
        let age = row.float("backend_xmin_age")?;
        Some(Observation {
            object: name(row),
            value: age,
            title: format!(
                "{} holds the horizon back by {} transactions",
                name(row),
                Unit::Count.show(age)
            ),
            evidence: row.evidence(&["backend_xmin_age", "client_addr"]),
            ..Observation::default()
        })
    });
    Ok(observations.collect())
}

#[cfg(test)]
mod tests {
    use super::demanded;

    #[test]
    fn the_number_of_synchronous_standbys_is_read_from_every_form() {
        for (names, wanted) in [
            ("s1", 1),
            ("s1, s2", 1),
            ("*", 1),
            ("FIRST 2 (s1, s2, s3)", 2),
            ("ANY 3 (*)", 3),
            ("2 (s1, s2)", 2),
        ] {
            assert_eq!(demanded(names), wanted, "{names}");
        }
    }
}
