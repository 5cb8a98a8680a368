//! How far standbys are behind, in bytes and in time, from both sides.

use pawang_core::{Blind, Missing, Row, Unit};

use super::standbys::{name, senders};
use crate::wal::{GIGABYTE, MEGABYTE, bytes, on_standby, seconds};
use crate::{Check, Direction, Floor, Group, Observation, Scope, View};

pub(super) const BYTES: Check = Check {
    id: "replication-lag-bytes",
    group: Group::Replication,
    title: "WAL that standbys have not replayed",
    scope: Scope::Server,
    needs: &["replication"],
    unit: Unit::Bytes,
    direction: Direction::Above,
    warning: Some(128.0 * MEGABYTE),
    critical: Some(GIGABYTE),
    floors: &[],
    what: "For each WAL sender: the current WAL position minus replay_lsn (flush_lsn for pg_receivewal, which does not replay), from \
           pg_stat_replication. A standby that is not connected is not here: see expected-standbys.",
    why: "It is what a failover now would lose or have to replay first, and what this server must keep.",
    fix: "See whether the standby's replay is paused (replay-paused), waits for a query (recovery-conflicts) or its host is too slow.",
    observe: lag_bytes,
};

/// Returns how many bytes a WAL sender's other end has not replayed; `None` while it has not reported anything.
fn behind(row: Row<'_>) -> Option<f64> {
    let reached = row.float("replay_lsn").or(row.float("flush_lsn"))?;
    Some((row.float("current_lsn")? - reached).max(0.0))
}

fn lag_bytes(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let snapshot = senders(view)?;
    if snapshot.rows().len() == 0 {
        return Err(Missing::NotApplicable("no standby is connected".to_owned()));
    }
    let standbys = snapshot
        .rows()
        .filter(|row| row.text("state") != Some("backup"));
    let observations = standbys.filter_map(|row| {
        let behind = behind(row)?;
        Some(Observation {
            object: name(row),
            value: behind,
            title: format!("{} is {} of WAL behind", name(row), bytes(behind)),
            evidence: evidence(row),
            ..Observation::default()
        })
    });
    Ok(observations.collect())
}

fn evidence(row: Row<'_>) -> Vec<(String, String)> {
    let lsn = |name: &str| {
        let position = row
            .int(name)
            .and_then(|position| u64::try_from(position).ok());
        let text = position.map_or_else(String::new, |position| {
            pawang_core::Lsn(position).to_string()
        });
        (name.to_owned(), text)
    };
    let mut evidence = row.evidence(&["state", "replay_lag"]);
    evidence.extend(["current_lsn", "sent_lsn", "flush_lsn", "replay_lsn"].map(lsn));
    evidence
}

pub(super) const TIME: Check = Check {
    id: "replication-lag",
    group: Group::Replication,
    title: "time that standbys are behind",
    scope: Scope::Server,
    needs: &["replication"],
    unit: Unit::Seconds,
    direction: Direction::Above,
    warning: Some(5.0),
    critical: Some(30.0),
    floors: &[],
    what: "For each WAL sender: 0 when the standby has replayed all WAL, else replay_lag. replay_lag is NULL on an idle standby and stays \
           small while replay is paused, so the last sample counts too: WAL that was written by then and is not replayed now is at least \
           as old as the sample.",
    why: "It is how stale reports on the standby are, and how much time a failover would lose (the manuals' limit: 5 seconds).",
    fix: "See whether the standby's replay is paused (replay-paused), waits for a query (recovery-conflicts) or its host is too slow.",
    observe: lag_time,
};

fn lag_time(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let snapshot = senders(view)?;
    if snapshot.rows().len() == 0 {
        return Err(Missing::NotApplicable("no standby is connected".to_owned()));
    }
    let older = view
        .older
        .and_then(|older| older.snapshot("replication", None).ok())
        .filter(|older| older.epoch == snapshot.epoch && older.at < snapshot.at);
    let standbys = snapshot
        .rows()
        .filter(|row| row.text("state") != Some("backup"));
    let observations = standbys.filter_map(|row| {
        let behind = behind(row)?;
        // Whatever was written by the last sample and is not replayed yet is at least that old.
        let proven = older.and_then(|older| {
            let written = older.first()?.float("current_lsn")?;
            let reached = row.float("replay_lsn").or(row.float("flush_lsn"))?;
            (written > reached).then(|| snapshot.at.duration_since(older.at).as_secs_f64())
        });
        let reported = row.float("replay_lag").unwrap_or(0.0);
        let lag = if behind == 0.0 {
            0.0
        } else {
            reported.max(proven.unwrap_or(0.0))
        };
        Some(Observation {
            object: name(row),
            value: lag,
            title: format!(
                "{} is at least {} and {} of WAL behind",
                name(row),
                seconds(lag),
                bytes(behind)
            ),
            evidence: evidence(row),
            ..Observation::default()
        })
    });
    Ok(observations.collect())
}

pub(super) const STANDBY_TIME: Check = Check {
    id: "standby-lag",
    group: Group::Replication,
    title: "time that this standby is behind",
    scope: Scope::Server,
    needs: &["recovery"],
    unit: Unit::Seconds,
    direction: Direction::Above,
    warning: Some(5.0),
    critical: Some(30.0),
    floors: &[Floor {
        name: "pending_bytes",
        value: 65_536.0,
        unit: Unit::Bytes,
        ignores: "less received WAL than this that is just being replayed",
    }],
    what: "On a standby: 0 when everything received is replayed, else the time since the last replayed commit. An idle primary commits \
           nothing, so with an earlier sample the lag is never more than the time since all received WAL was replayed.",
    why: "It is how stale the answers of this server are.",
    fix: "SELECT pg_wal_replay_resume(); if it is paused; else look for a query that blocks replay (recovery-conflicts) or a slow disk.",
    observe: standby_time,
};

/// What a standby has received and replayed.
fn positions(row: Row<'_>) -> Result<(f64, f64), Missing> {
    let unseen = || Blind::Failed {
        what:
            "the standby has received nothing by streaming, so what is still to come cannot be told"
                .to_owned(),
    };
    let received = row.float("receive_lsn").ok_or_else(unseen)?;
    let replayed = row.float("replay_lsn").ok_or_else(unseen)?;
    Ok((received, replayed))
}

fn standby_time(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    on_standby(view)?;
    let row = view.row("recovery")?;
    let (received, replayed) = positions(row)?;
    let pending = (received - replayed).max(0.0);
    let snapshot = view.snapshot("recovery")?;
    let older = view
        .older
        .and_then(|older| older.snapshot("recovery", None).ok())
        .filter(|older| older.at < snapshot.at);
    let elapsed = older.map(|older| snapshot.at.duration_since(older.at).as_secs_f64());
    let stuck = older
        .and_then(|older| older.first()?.float("receive_lsn"))
        .is_some_and(|received_before| received_before > replayed);
    let last = row.float("last_xact_replay_age").map(|age| age.max(0.0));
    let lag = match (elapsed, last) {
        _ if pending == 0.0 => 0.0,
        (Some(elapsed), last) if stuck => last.unwrap_or(elapsed).max(elapsed),
        _ if pending < view.floor("pending_bytes") => 0.0,
        (Some(elapsed), last) => last.unwrap_or(elapsed).min(elapsed),
        (None, Some(last)) => last,
        (None, None) => return Err(Blind::FirstSample.into()),
    };
    Ok(vec![Observation {
        value: lag,
        title: format!(
            "this standby is {} behind with {} received and not replayed",
            seconds(lag),
            bytes(pending)
        ),
        since: row.time("last_xact_replay_timestamp"),
        evidence: row.evidence(&["pause_state", "last_xact_replay_timestamp"]),
        ..Observation::default()
    }])
}

pub(super) const BACKLOG: Check = Check {
    id: "replay-backlog",
    group: Group::Replication,
    title: "WAL received and not replayed",
    scope: Scope::Server,
    needs: &["recovery"],
    unit: Unit::Bytes,
    direction: Direction::Above,
    warning: Some(128.0 * MEGABYTE),
    critical: Some(GIGABYTE),
    floors: &[],
    what: "On a standby: pg_last_wal_receive_lsn() minus pg_last_wal_replay_lsn().",
    why: "A failover must replay it before the standby opens, and reports on it are stale by as much.",
    fix: "SELECT pg_wal_replay_resume(); if it is paused; else look for a query that blocks replay (recovery-conflicts) or a slow disk.",
    observe: backlog,
};

fn backlog(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    on_standby(view)?;
    let row = view.row("recovery")?;
    let (received, replayed) = positions(row)?;
    let pending = (received - replayed).max(0.0);
    Ok(vec![Observation {
        value: pending,
        title: format!("{} of WAL are received and not replayed", bytes(pending)),
        evidence: row.evidence(&["pause_state", "last_xact_replay_timestamp"]),
        ..Observation::default()
    }])
}
