//! What a standby says about itself.

use pawang_core::{Level, Missing, Unit};

use crate::wal::{bytes, hidden, on_standby, seconds};
use crate::{Check, Direction, Group, Observation, Scope, View};

pub(super) const PAUSED: Check = Check {
    id: "replay-paused",
    group: Group::Replication,
    title: "replay is not paused",
    scope: Scope::Server,
    needs: &["recovery"],
    unit: Unit::Bytes,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "On a standby: pg_get_wal_replay_pause_state(), with the WAL that waits (received minus replayed). Paused with nothing pending is \
           information, paused with WAL pending is a warning.",
    why: "A paused standby looks connected and healthy while it falls behind; the primary's replay_lag does not show it.",
    fix: "SELECT pg_wal_replay_resume();",
    observe: paused,
};

fn paused(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    on_standby(view)?;
    let row = view.row("recovery")?;
    let state = row.text("pause_state").unwrap_or("");
    let received = row
        .float("receive_lsn")
        .or(row.float("replay_lsn"))
        .unwrap_or(0.0);
    let pending = (received - row.float("replay_lsn").unwrap_or(0.0)).max(0.0);
    let level = match (state, pending > 0.0) {
        ("not paused", _) => Level::Ok,
        ("", _) => Level::Unknown,
        (_, true) => Level::Warning,
        (_, false) => Level::Info,
    };
    Ok(vec![Observation {
        value: pending,
        level: Some(level),
        title: format!("replay is {state} with {} of WAL pending", bytes(pending)),
        evidence: row.evidence(&["pause_state", "last_xact_replay_timestamp"]),
        remedy: Some("SELECT pg_wal_replay_resume();".to_owned()),
        ..Observation::default()
    }])
}

pub(super) const RECEIVER: Check = Check {
    id: "wal-receiver",
    group: Group::Replication,
    title: "WAL receiver runs",
    scope: Scope::Server,
    needs: &["wal-receiver", "settings"],
    unit: Unit::Seconds,
    direction: Direction::Above,
    warning: Some(45.0),
    critical: Some(120.0),
    floors: &[],
    what: "On a standby with primary_conninfo: whether pg_stat_wal_receiver has a row, its status, and how long ago the last message \
           came. An idle primary still sends one every half wal_sender_timeout.",
    why: "Without a receiver the standby shows no lag of its own while the primary moves on.",
    fix: "Read the standby's log: wrong password, missing pg_hba.conf line, lost slot, or a timeline that has diverged.",
    observe: receiver,
};

fn receiver(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    on_standby(view)?;
    let Some(row) = view.snapshot("wal-receiver")?.first() else {
        let Some(conninfo) = view.setting("primary_conninfo")? else {
            return Err(hidden(view, "primary_conninfo is hidden"));
        };
        if conninfo.is_empty() {
            return Err(Missing::NotApplicable(
                "the standby does not stream: primary_conninfo is empty".to_owned(),
            ));
        }
        return Ok(vec![Observation {
            value: 0.0,
            level: Some(Level::Critical),
            title: "the WAL receiver does not run although primary_conninfo is set".to_owned(),
            ..Observation::default()
        }]);
    };
    let Some(status) = row.text("status") else {
        return Err(hidden(view, "pg_stat_wal_receiver hides the WAL receiver"));
    };
    let age = row.float("last_msg_receipt_age").unwrap_or(0.0).max(0.0);
    Ok(vec![Observation {
        value: age,
        level: (status != "streaming" && status != "starting").then_some(Level::Warning),
        title: format!(
            "the WAL receiver is {status}; its last message came {} ago",
            seconds(age)
        ),
        since: row.time("last_msg_receipt_time"),
        evidence: row.evidence(&[
            "status",
            "sender_host",
            "sender_port",
            "slot_name",
            "received_tli",
        ]),
        ..Observation::default()
    }])
}

pub(super) const TIMELINE: Check = Check {
    id: "standby-timeline",
    group: Group::Replication,
    title: "standby follows the right timeline",
    scope: Scope::Server,
    needs: &["wal-receiver", "recovery"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "On a standby: the timeline that the WAL receiver receives (received_tli) is older than that of the last restartpoint.",
    why: "It streams from a server that was left behind by a failover: its data belong to a history that no longer exists.",
    fix: "Point primary_conninfo at the new primary, or rebuild the standby with pg_rewind or a new base backup.",
    observe: timeline,
};

fn timeline(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    on_standby(view)?;
    let here = view
        .row("recovery")?
        .int("checkpoint_timeline_id")
        .unwrap_or(0);
    let Some(row) = view.snapshot("wal-receiver")?.first() else {
        return Err(Missing::NotApplicable(
            "the WAL receiver does not run".to_owned(),
        ));
    };
    let Some(received) = row.int("received_tli") else {
        return Err(hidden(view, "pg_stat_wal_receiver hides the WAL receiver"));
    };
    let wrong = received < here;
    Ok(vec![Observation {
        value: f64::from(u8::from(wrong)),
        level: Some(if wrong { Level::Critical } else { Level::Ok }),
        title: format!(
            "the WAL receiver is on timeline {received}, the data are on timeline {here}"
        ),
        evidence: row.evidence(&["received_tli", "sender_host"]),
        ..Observation::default()
    }])
}

pub(super) const CONFLICTS: Check = Check {
    id: "recovery-conflicts",
    group: Group::Replication,
    title: "queries cancelled by replay",
    scope: Scope::Server,
    needs: &["database"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: Some(1.0),
    critical: None,
    floors: &[],
    what: "On a standby: queries cancelled since the last sample because replay needed what they held, per database \
           (pg_stat_database.conflicts, with the kinds of pg_stat_database_conflicts).",
    why: "Somebody's report was cancelled: it must be run again, and will be cancelled again.",
    fix: "For reports: raise max_standby_streaming_delay, or set hot_standby_feedback = on and accept bloat on the primary.",
    observe: conflicts,
};

const CONFLICT_KINDS: [&str; 6] = [
    "confl_tablespace",
    "confl_lock",
    "confl_snapshot",
    "confl_bufferpin",
    "confl_deadlock",
    "confl_active_logicalslot",
];

fn conflicts(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    on_standby(view)?;
    let growth = view.growth("database")?;
    let observations = growth.rows.iter().filter_map(|(row, old)| {
        let old = (*old)?;
        let database = row.text("datname")?;
        let cancelled = row.growth(old, "conflicts")?;
        let kinds = CONFLICT_KINDS
            .iter()
            .filter_map(|kind| Some(((*kind).to_owned(), row.growth(old, kind)?)))
            .filter(|(_, count)| *count > 0.0)
            .map(|(kind, count)| (kind, format!("{count:.0}")));
        Some(Observation {
            object: format!("database \"{database}\""),
            value: cancelled,
            title: format!(
                "replay cancelled {cancelled:.0} queries in the last {}",
                seconds(growth.seconds)
            ),
            evidence: kinds.collect(),
            ..Observation::default()
        })
    });
    Ok(observations.collect())
}

pub(super) const FAILOVER_SLOTS: Check = Check {
    id: "failover-slots",
    group: Group::Replication,
    title: "failover slots are synchronized",
    scope: Scope::Server,
    needs: &["slots", "settings"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "On a standby of PostgreSQL 17 or newer with sync_replication_slots on: slots synchronized from the primary that are still \
           temporary (not yet usable) or invalidated.",
    why: "After a failover a subscriber can only go on from a slot that was synchronized; otherwise it must copy its tables again.",
    fix: "On the standby: hot_standby_feedback = on, primary_slot_name and dbname in primary_conninfo; then SELECT pg_sync_replication_slots();",
    observe: failover_slots,
};

fn failover_slots(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    on_standby(view)?;
    match view.setting("sync_replication_slots")? {
        Some("on") => {}
        Some(_) => {
            return Err(Missing::NotApplicable(
                "sync_replication_slots is off".to_owned(),
            ));
        }
        None => return Err(Missing::NotApplicable("needs PostgreSQL 17".to_owned())),
    }
    let slots = view.snapshot("slots")?.rows();
    let observations = slots
        .filter(|row| row.flag("synced") == Some(true))
        .map(|row| {
            let slot = row.text("slot_name").unwrap_or("");
            let reason = row.text("invalidation_reason");
            let wrong = reason.is_some() || row.flag("temporary") == Some(true);
            let why = reason.map_or_else(
                || "is not usable yet".to_owned(),
                |reason| format!("is invalidated: {reason}"),
            );
            Observation {
                object: format!("slot \"{slot}\""),
                value: f64::from(u8::from(wrong)),
                level: Some(if wrong { Level::Warning } else { Level::Ok }),
                title: format!("the synchronized slot \"{slot}\" {why}"),
                evidence: row.evidence(&["temporary", "invalidation_reason", "wal_status"]),
                ..Observation::default()
            }
        });
    Ok(observations.collect())
}
