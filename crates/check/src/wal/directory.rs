//! What lies in pg_wal, and who keeps it there.

use pawang_core::{Level, Missing, Unit};

use super::{GIGABYTE, MEGABYTE, bytes, number, on_primary};
use crate::{Check, Direction, Floor, Group, Observation, Scope, View};

pub(super) const SIZE: Check = Check {
    id: "wal-directory-size",
    group: Group::Wal,
    title: "size of pg_wal",
    scope: Scope::Server,
    needs: &["wal-directory", "slots", "settings"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: Some(150.0),
    critical: Some(400.0),
    floors: &[Floor {
        name: "bytes",
        value: 256.0 * MEGABYTE,
        unit: Unit::Bytes,
        ignores: "directories smaller than this",
    }],
    what: "Bytes of the segments in pg_wal (pg_ls_waldir) as a share of what the settings allow: max_wal_size (min_wal_size if larger) plus \
           wal_keep_size. The title names who keeps the oldest segment: a slot, the archiver, or the load itself.",
    why: "When pg_wal fills its disk the server stops with PANIC. Switching segments or deleting files does not help; removing the holder does.",
    fix: "Remove the holder: drop or reconnect the slot, repair the archiver, or raise max_wal_size if the load needs it. \
          Never delete files in pg_wal.",
    observe: size,
};

fn size(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = view.row("wal-directory")?;
    let used = row.float("segment_bytes").unwrap_or(f64::NAN);
    if used < view.floor("bytes") {
        return Ok(Vec::new());
    }
    let setting = |name| Ok::<f64, Missing>(number(view, name)?.unwrap_or(0.0).max(0.0) * MEGABYTE);
    let allowed =
        setting("max_wal_size")?.max(setting("min_wal_size")?) + setting("wal_keep_size")?;
    let holder = holder(view)?;
    let mut evidence = row.evidence(&["segments", "recycled_segments", "ready_files"]);
    evidence.push(("kept by".to_owned(), holder.name.clone()));
    Ok(vec![Observation {
        value: 100.0 * used / allowed,
        title: format!(
            "pg_wal holds {} where the settings ask for {}; {} keeps {}",
            bytes(used),
            bytes(allowed),
            holder.name,
            bytes(holder.bytes)
        ),
        evidence,
        remedy: holder.remedy,
        ..Observation::default()
    }])
}

/// Who keeps the oldest WAL.
struct Holder {
    name: String,
    bytes: f64,
    remedy: Option<String>,
}

/// Finds the slot, queue or setting that keeps the most WAL.
fn holder(view: &View<'_>) -> Result<Holder, Missing> {
    let directory = view.row("wal-directory")?;
    let slots = view.snapshot("slots")?;
    let current = directory.float("current_lsn").unwrap_or(0.0);
    let mut holders: Vec<Holder> = slots
        .rows()
        .filter_map(|slot| {
            let name = slot.text("slot_name")?;
            let drop = format!(
                "SELECT pg_drop_replication_slot('{}');",
                name.replace('\'', "''")
            );
            Some(Holder {
                name: format!("slot \"{name}\""),
                bytes: (current - slot.float("restart_lsn")?).max(0.0),
                remedy: (slot.flag("active") == Some(false)).then_some(drop),
            })
        })
        .collect();
    let size = directory.float("segment_size").unwrap_or(0.0);
    holders.push(Holder {
        name: "the archiver's queue".to_owned(),
        bytes: directory.float("ready_files").unwrap_or(0.0) * size,
        remedy: Some("SELECT * FROM pg_stat_archiver;  -- and repair archive_command".to_owned()),
    });
    holders.push(Holder {
        name: "wal_keep_size".to_owned(),
        bytes: number(view, "wal_keep_size")?.unwrap_or(0.0) * MEGABYTE,
        remedy: None,
    });
    let recycled = directory.float("recycled_segments").unwrap_or(0.0) * size;
    let load = Holder {
        name: "the load since the last checkpoints".to_owned(),
        bytes: (directory.float("segment_bytes").unwrap_or(0.0) - recycled).max(0.0),
        remedy: None,
    };
    // Someone who keeps less than a segment keeps nothing.
    let largest = holders
        .into_iter()
        .filter(|holder| holder.bytes >= size.max(1.0))
        .max_by(|a, b| a.bytes.total_cmp(&b.bytes));
    Ok(largest.unwrap_or(load))
}

pub(super) const RETENTION: Check = Check {
    id: "wal-retention",
    group: Group::Wal,
    title: "oldest WAL kept",
    scope: Scope::Server,
    needs: &["wal-directory", "slots", "settings"],
    unit: Unit::Bytes,
    direction: Direction::Above,
    warning: Some(16.0 * GIGABYTE),
    critical: Some(64.0 * GIGABYTE),
    floors: &[],
    what: "The distance from the oldest segment in pg_wal to the current position, whoever keeps it; segments recycled for later do not count. \
           Set the limits well above max_wal_size.",
    why: "It is the disk space that one slot, standby or archiver can take without anybody noticing.",
    fix: "SELECT slot_name, active, pg_size_pretty(pg_current_wal_lsn() - restart_lsn) FROM pg_replication_slots ORDER BY restart_lsn;",
    observe: retention,
};

fn retention(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = view.row("wal-directory")?;
    let (Some(oldest), Some(current)) = (row.float("oldest_lsn"), row.float("current_lsn")) else {
        return Ok(Vec::new());
    };
    let kept = (current - oldest).max(0.0);
    let holder = holder(view)?;
    Ok(vec![Observation {
        value: kept,
        title: format!("pg_wal goes back {}, kept by {}", bytes(kept), holder.name),
        evidence: row.evidence(&["segments", "recycled_segments", "ready_files"]),
        remedy: holder.remedy,
        ..Observation::default()
    }])
}

pub(super) const TIMELINE: Check = Check {
    id: "timeline-changed",
    group: Group::Wal,
    title: "timeline since the last sample",
    scope: Scope::Server,
    needs: &["wal"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[],
    what: "Compares the system identifier and the timeline of the last checkpoint with those of the last sample.",
    why: "A new timeline means that somebody promoted a server; a new system identifier, that another cluster answers at this address.",
    fix: "Confirm the failover, let every standby follow the new timeline, and take a full backup.",
    observe: timeline,
};

fn timeline(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let now = &view.server()?.epoch;
    let Some(Ok(server)) = view.older.map(|older| &older.server) else {
        return Err(pawang_core::Blind::FirstSample.into());
    };
    let old = &server.epoch;
    let (level, title) = if now.system_identifier != old.system_identifier {
        let title = format!(
            "another cluster answers: system identifier {} was {}",
            now.system_identifier, old.system_identifier
        );
        (Level::Critical, title)
    } else if now.timeline != old.timeline {
        let title = format!(
            "the timeline went from {} to {}",
            old.timeline, now.timeline
        );
        (Level::Warning, title)
    } else {
        (Level::Ok, String::new())
    };
    Ok(vec![Observation {
        value: f64::from(u8::from(level != Level::Ok)),
        level: Some(level),
        title,
        evidence: vec![("timeline".to_owned(), now.timeline.to_string())],
        ..Observation::default()
    }])
}

pub(super) const SUMMARIZER: Check = Check {
    id: "wal-summarizer-lag",
    group: Group::Wal,
    title: "WAL not yet summarized",
    scope: Scope::Server,
    needs: &["wal-summarizer"],
    unit: Unit::Bytes,
    direction: Direction::Above,
    warning: Some(GIGABYTE),
    critical: Some(10.0 * GIGABYTE),
    floors: &[],
    what: "The distance from what the WAL summarizer has read (pg_get_wal_summarizer_state) to the current position; from PostgreSQL 17, \
           where summarize_wal is on.",
    why: "An incremental backup waits for the summaries, and fails when the summarizer does not come.",
    fix: "Look for errors of the WAL summarizer in the server log; without incremental backups: ALTER SYSTEM SET summarize_wal = off;",
    observe: summarizer,
};

fn summarizer(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = view.row("wal-summarizer")?;
    if row.text("summarize_wal") != Some("on") {
        return Err(Missing::NotApplicable("summarize_wal is off".to_owned()));
    }
    on_primary(view)?;
    let read = row
        .float("pending_lsn")
        .unwrap_or(0.0)
        .max(row.float("summarized_lsn").unwrap_or(0.0));
    let behind = (row.float("current_lsn").unwrap_or(f64::NAN) - read).max(0.0);
    let running = row.int("summarizer_pid").is_some();
    let title = if running {
        format!("the WAL summarizer is {} behind", bytes(behind))
    } else {
        format!(
            "the WAL summarizer does not run and is {} behind",
            bytes(behind)
        )
    };
    Ok(vec![Observation {
        value: behind,
        level: (!running).then_some(Level::Warning),
        title,
        evidence: row.evidence(&["summarized_tli", "summarizer_pid"]),
        ..Observation::default()
    }])
}
