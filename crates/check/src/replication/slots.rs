//! Replication slots: what they keep, and whether they are still good.

use pawang_core::{Level, Missing, Row, Unit};

use crate::wal::{GIGABYTE, MEGABYTE, bytes, number, seconds};
use crate::{Check, Direction, Floor, Group, Observation, Scope, View};

pub(super) const LOST: Check = Check {
    id: "slot-lost",
    group: Group::Replication,
    title: "slots are usable",
    scope: Scope::Server,
    needs: &["slots"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "wal_status, conflicting (16) and invalidation_reason (17) of pg_replication_slots: lost or invalidated is critical, unreserved \
           (lost at the next checkpoint) is a warning.",
    why: "Whoever used the slot cannot go on: a standby must be rebuilt, a subscription must copy its tables again.",
    fix: "Drop the slot and rebuild its user; raise max_slot_wal_keep_size so that it does not happen again.",
    observe: lost,
};

fn name(row: Row<'_>) -> String {
    format!("slot \"{}\"", row.text("slot_name").unwrap_or(""))
}

/// Returns the bytes of WAL that a slot keeps; `None` when it has not reserved any.
fn retained(row: Row<'_>) -> Option<f64> {
    Some((row.float("current_lsn")? - row.float("restart_lsn")?).max(0.0))
}

fn drop_statement(row: Row<'_>) -> String {
    let slot = row.text("slot_name").unwrap_or("").replace('\'', "''");
    format!("SELECT pg_drop_replication_slot('{slot}');  -- if nothing needs it any more")
}

fn lost(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let observations = view.snapshot("slots")?.rows().map(|row| {
        let status = row.text("wal_status").unwrap_or("");
        let reason = row.text("invalidation_reason");
        let conflicting = row.flag("conflicting") == Some(true);
        let (level, title) = match (status, reason) {
            (_, Some(reason)) => (
                Level::Critical,
                format!("{} is invalidated: {reason}", name(row)),
            ),
            ("lost", None) => (
                Level::Critical,
                format!("{} is lost: WAL that it needs was removed", name(row)),
            ),
            _ if conflicting => (
                Level::Critical,
                format!("{} is invalidated by a conflict with recovery", name(row)),
            ),
            ("unreserved", None) => (
                Level::Warning,
                format!("{} will be lost at the next checkpoint", name(row)),
            ),
            _ => (Level::Ok, String::new()),
        };
        Observation {
            object: name(row),
            value: f64::from(u8::from(level != Level::Ok)),
            level: Some(level),
            title,
            since: row.time("inactive_since"),
            evidence: row.evidence(&[
                "slot_type",
                "database",
                "wal_status",
                "safe_wal_size",
                "active",
            ]),
            remedy: Some(drop_statement(row)),
        }
    });
    Ok(observations.collect())
}

pub(super) const INACTIVE: Check = Check {
    id: "slot-inactive",
    group: Group::Replication,
    title: "WAL kept by slots nobody uses",
    scope: Scope::Server,
    needs: &["slots"],
    unit: Unit::Bytes,
    direction: Direction::Above,
    warning: Some(64.0 * MEGABYTE),
    critical: Some(10.0 * GIGABYTE),
    floors: &[],
    what: "WAL from restart_lsn of each slot that is not active to the current position (pg_replication_slots), with the time since when it \
           is inactive from PostgreSQL 17. Temporary slots, and slots synchronized from a primary, are left out.",
    why: "A slot whose standby or subscriber is gone keeps WAL without end (unless max_slot_wal_keep_size is set) until the disk is full.",
    fix: "Start its user again, or drop it: SELECT pg_drop_replication_slot('name');",
    observe: inactive,
};

fn inactive(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let idle = view.snapshot("slots")?.rows().filter(|row| {
        row.flag("active") == Some(false)
            && row.flag("temporary") != Some(true)
            && row.flag("synced") != Some(true)
            && row.text("wal_status") != Some("lost")
    });
    let observations = idle.map(|row| {
        let kept = retained(row).unwrap_or(0.0);
        let time = row
            .float("inactive_age")
            .map_or_else(String::new, |age| format!(" for {}", seconds(age)));
        Observation {
            object: name(row),
            value: kept,
            title: format!(
                "{} is inactive{time} and keeps {} of WAL",
                name(row),
                bytes(kept)
            ),
            since: row.time("inactive_since"),
            evidence: row.evidence(&[
                "slot_type",
                "database",
                "wal_status",
                "inactive_since",
                "catalog_xmin_age",
                "xmin_age",
            ]),
            remedy: Some(drop_statement(row)),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}

pub(super) const RETAINED: Check = Check {
    id: "slot-retained",
    group: Group::Replication,
    title: "WAL kept by slots against their limit",
    scope: Scope::Server,
    needs: &["slots", "settings"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: Some(70.0),
    critical: Some(90.0),
    floors: &[],
    what: "WAL kept by each slot, active or not, as a share of what it may keep under max_slot_wal_keep_size: safe_wal_size of \
           pg_replication_slots says how much more can be written before the slot is lost.",
    why: "At 100 % the server gives the slot up at the next checkpoint, and its user must be rebuilt.",
    fix: "Let its user catch up, or raise the limit: ALTER SYSTEM SET max_slot_wal_keep_size = '100GB'; SELECT pg_reload_conf();",
    observe: slot_retained,
};

fn slot_retained(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    if number(view, "max_slot_wal_keep_size")?.is_none_or(|limit| limit < 0.0) {
        return Err(Missing::NotApplicable(
            "max_slot_wal_keep_size is -1: there is no limit".to_owned(),
        ));
    }
    let observations = view.snapshot("slots")?.rows().filter_map(|row| {
        let kept = retained(row)?;
        let safe = row.float("safe_wal_size")?;
        Some(Observation {
            object: name(row),
            value: 100.0 * kept / (kept + safe).max(1.0),
            title: format!(
                "{} keeps {} of WAL and is lost after {} more",
                name(row),
                bytes(kept),
                bytes(safe.max(0.0))
            ),
            since: row.time("inactive_since"),
            evidence: row.evidence(&["slot_type", "active", "wal_status", "safe_wal_size"]),
            ..Observation::default()
        })
    });
    Ok(observations.collect())
}

pub(super) const UNLIMITED: Check = Check {
    id: "slot-unlimited",
    group: Group::Replication,
    title: "slots have a limit",
    scope: Scope::Server,
    needs: &["slots", "settings"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "There are replication slots and max_slot_wal_keep_size is -1.",
    why: "One standby that stays away fills the primary's disk: an outage of the standby becomes an outage of everything.",
    fix: "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf();  -- well below the free space of pg_wal",
    observe: unlimited,
};

fn unlimited(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let slots = view
        .snapshot("slots")?
        .rows()
        .filter(|row| row.flag("temporary") != Some(true))
        .count();
    let limit = view.setting("max_slot_wal_keep_size")?;
    let open = slots > 0 && limit == Some("-1");
    Ok(vec![Observation {
        value: f64::from(u8::from(open)),
        level: Some(if open { Level::Info } else { Level::Ok }),
        title: format!("{slots} slots may keep WAL without limit: max_slot_wal_keep_size is -1"),
        evidence: vec![(
            "max_slot_wal_keep_size".to_owned(),
            limit.unwrap_or("").to_owned(),
        )],
        ..Observation::default()
    }])
}

pub(super) const USED: Check = Check {
    id: "replication-slots",
    group: Group::Replication,
    title: "replication slots used",
    scope: Scope::Server,
    needs: &["slots", "settings"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: Some(80.0),
    critical: Some(100.0),
    floors: &[],
    what: "Slots in pg_replication_slots as a share of max_replication_slots.",
    why: "When the last one is taken, a new standby, a base backup or a table copy of a subscription cannot start.",
    fix: "Drop slots that nobody uses (slot-inactive), or: ALTER SYSTEM SET max_replication_slots = 20; (restart)",
    observe: used,
};

fn used(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let used = view.snapshot("slots")?.rows().len() as f64;
    let most = number(view, "max_replication_slots")?.unwrap_or(f64::NAN);
    if most == 0.0 {
        return Err(Missing::NotApplicable(
            "max_replication_slots is 0".to_owned(),
        ));
    }
    Ok(vec![Observation {
        value: 100.0 * used / most,
        title: format!("{used:.0} of {most:.0} replication slots are taken"),
        evidence: vec![("max_replication_slots".to_owned(), format!("{most:.0}"))],
        ..Observation::default()
    }])
}

pub(super) const LOGICAL_LAG: Check = Check {
    id: "logical-slot-lag",
    group: Group::Replication,
    title: "changes not confirmed by subscribers",
    scope: Scope::Server,
    needs: &["slots"],
    unit: Unit::Bytes,
    direction: Direction::Above,
    warning: Some(GIGABYTE),
    critical: Some(10.0 * GIGABYTE),
    floors: &[],
    what: "For each logical slot in use: the current WAL position minus confirmed_flush_lsn (pg_replication_slots). It includes WAL of other \
           databases, which the subscriber has to skip.",
    why: "The subscriber is that far behind, and WAL and dead catalog rows are kept for it.",
    fix: "Look at the subscriber: subscription-worker, subscription-errors, a slow apply (one worker, missing primary key).",
    observe: logical_lag,
};

fn logical_lag(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let logical = view
        .snapshot("slots")?
        .rows()
        .filter(|row| row.text("slot_type") == Some("logical") && row.flag("active") == Some(true));
    let observations = logical.filter_map(|row| {
        let behind = (row.float("current_lsn")? - row.float("confirmed_flush_lsn")?).max(0.0);
        Some(Observation {
            object: name(row),
            value: behind,
            title: format!(
                "the subscriber of {} has not confirmed {} of WAL",
                name(row),
                bytes(behind)
            ),
            evidence: row.evidence(&["plugin", "database", "active_pid"]),
            ..Observation::default()
        })
    });
    Ok(observations.collect())
}

pub(super) const SPILL: Check = Check {
    id: "slot-spill",
    group: Group::Replication,
    title: "decoded changes spilled to disk",
    scope: Scope::Server,
    needs: &["slot-stats"],
    unit: Unit::BytesPerSecond,
    direction: Direction::Above,
    warning: Some(10.0 * MEGABYTE),
    critical: None,
    floors: &[Floor {
        name: "bytes",
        value: 256.0 * MEGABYTE,
        unit: Unit::Bytes,
        ignores: "slots that spilled less than this since the last sample",
    }],
    what: "Growth of spill_bytes per second of each logical slot (pg_stat_replication_slots): transactions larger than \
           logical_decoding_work_mem go through files.",
    why: "Large loads are then written twice more and delay every other change in the slot.",
    fix: "ALTER SYSTEM SET logical_decoding_work_mem = '256MB'; or let the subscription stream: ALTER SUBSCRIPTION name SET (streaming = on);",
    observe: spill,
};

fn spill(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let growth = view.growth("slot-stats")?;
    let floor = view.floor("bytes");
    let observations = growth.rows.iter().filter_map(|(row, old)| {
        let spilled = row.growth((*old)?, "spill_bytes")?;
        (spilled >= floor).then(|| Observation {
            object: name(*row),
            value: spilled / growth.seconds,
            title: format!(
                "{} spilled {} to disk in the last {}",
                name(*row),
                bytes(spilled),
                seconds(growth.seconds)
            ),
            evidence: row.evidence(&["spill_txns", "spill_count", "stream_txns", "total_txns"]),
            ..Observation::default()
        })
    });
    Ok(observations.collect())
}
