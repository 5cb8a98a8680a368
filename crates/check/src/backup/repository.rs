//! Repositories of Pawang: what could be restored from them, how soon, and how much would be lost.

use pawang_core::backup::{DRILL_PREFIX, REPOSITORY_PREFIX, UNIMPORTANT_BYTES};
use pawang_core::{Blind, ByteSize, Level, Missing, Row, Timestamp, Unit};

use super::unseen;
use crate::{Observation, View};

/// What was looked at longer ago says nothing about now.
const STALE_SECONDS: f64 = 3_600.0;
/// A proof so many times older than promised is as good as none.
const OVERDUE: f64 = 2.0;

/// Measures every repository; one that cannot be read is an observation of its own, so that the others are still judged.
fn repositories(
    view: &View<'_>,
    measure: impl Fn(Row<'_>, Timestamp) -> Option<Observation>,
) -> Result<Vec<Observation>, Missing> {
    let mut observations = Vec::new();
    let mut configured = false;
    for sighting in &view.facts.sightings {
        let Some(name) = sighting.collector.strip_prefix(REPOSITORY_PREFIX) else {
            continue;
        };
        configured = true;
        match &sighting.seen {
            Ok(snapshot) if age(view.now, snapshot.at) > STALE_SECONDS => {
                let what = format!(
                    "repository \"{name}\" was last looked at {} ago",
                    show(age(view.now, snapshot.at))
                );
                observations.push(unseen(name, &Blind::Failed { what }.into()));
            }
            Ok(snapshot) => {
                let row = snapshot.first();
                observations.extend(row.and_then(|row| measure(row, snapshot.at)));
            }
            Err(missing) => observations.push(unseen(name, missing)),
        }
    }
    if configured {
        return Ok(observations);
    }
    Err(Missing::NotApplicable(
        "no [[repository]] holds backups of it".to_owned(),
    ))
}

fn name(row: Row<'_>) -> String {
    row.text("repository").unwrap_or_default().to_owned()
}

fn age(now: Timestamp, at: Timestamp) -> f64 {
    now.duration_since(at).as_secs_f64().max(0.0)
}

fn show(seconds: f64) -> String {
    Unit::Seconds.show(seconds)
}

pub(super) fn wal_gap(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    repositories(view, |row, _| {
        let (gaps, past) = (row.list("gaps"), row.list("gaps_past"));
        let conflicts = row.list("conflicts");
        let (level, title) = match (gaps, conflicts, past) {
            ([first, ..], ..) => (
                Level::Critical,
                format!(
                    "WAL is missing in \"{}\" from {first}: nothing after that can be restored until the next backup",
                    name(row)
                ),
            ),
            ([], [first, ..], _) => (
                Level::Critical,
                format!(
                    "\"{first}\" came into \"{}\" with two contents: two servers write there",
                    name(row)
                ),
            ),
            ([], [], [first, ..]) => (
                Level::Warning,
                format!(
                    "WAL is missing in \"{}\" from {first}: the moments from there to the next backup cannot be restored",
                    name(row)
                ),
            ),
            ([], [], []) => (Level::Ok, String::new()),
        };
        Some(Observation {
            object: name(row),
            value: (gaps.len() + conflicts.len() + past.len()) as f64,
            level: Some(level),
            title,
            evidence: row.evidence(&[
                "gaps",
                "gaps_past",
                "conflicts",
                "recoverable_from",
                "recoverable_to",
            ]),
            ..Observation::default()
        })
    })
}

pub(super) fn drill_age(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let instance = &view.facts.instance.name;
    let own = repositories(view, |row, _| {
        // Without a backup there is nothing to prove, and backup-age says so.
        row.time("newest_backup_at")
            .or_else(|| row.time("drill_at"))?;
        let remedy = format!("pawang drill run -i {instance} --repository {}", name(row));
        Some(drilled(view, row, name(row), remedy))
    });
    let rows = view.facts.sightings.iter().filter_map(|sighting| {
        sighting.collector.strip_prefix(DRILL_PREFIX)?;
        sighting.seen.as_ref().ok()?.first()
    });
    let others = rows.map(|row| {
        let word = |column| row.text(column).unwrap_or_default().to_owned();
        let (tool, set) = (word("tool"), word("set"));
        let remedy = format!("pawang drill run -i {instance} --repository {tool} --stanza {set}");
        drilled(view, row, format!("{tool} {set}"), remedy)
    });
    let others: Vec<Observation> = others.collect();
    match own {
        Err(Missing::NotApplicable(_)) if !others.is_empty() => Ok(others),
        own => own.map(|own| own.into_iter().chain(others).collect()),
    }
}

/// Grades the last drill of backups, and the last one that proved something, against what was promised.
fn drilled(view: &View<'_>, row: Row<'_>, object: String, remedy: String) -> Observation {
    let promised = row.float("drill_every_seconds").unwrap_or(f64::INFINITY);
    let proven = row.time("proven_at");
    let since = age(view.now, proven.unwrap_or(Timestamp::UNIX_EPOCH));
    let failed = row.flag("drill_passed") == Some(false);
    let backup = row.text("proven_backup").unwrap_or_default();
    let (level, title) = match proven {
        _ if failed => (
            Level::Critical,
            format!(
                "the last restore from \"{object}\" failed: {}",
                row.text("drill_detail").unwrap_or_default()
            ),
        ),
        None => (
            Level::Warning,
            format!("no backup in \"{object}\" was ever proven by a restore"),
        ),
        Some(_) => {
            let level = overdue(since, promised);
            let (since, promised) = (show(since), show(promised));
            let title = format!(
                "\"{backup}\" was the last backup that a restore proved, {since} ago; {promised} are promised"
            );
            (level, title)
        }
    };
    Observation {
        object,
        value: since,
        level: Some(level),
        title,
        since: proven,
        evidence: row.evidence(&["drill_at", "drill_passed", "drill_detail", "proven_backup"]),
        remedy: Some(remedy),
    }
}

pub(super) fn verify_age(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    repositories(view, |row, _| {
        // Where nothing is stored, nothing rots.
        let read_since = row.time("read_since")?;
        let promised = row.float("verify_every_seconds").unwrap_or(f64::INFINITY);
        let since = age(view.now, read_since);
        let (level, title) = match row.list("rotten") {
            [first, ..] => (
                Level::Critical,
                format!(
                    "something in \"{}\" is not what was stored: {first}",
                    name(row)
                ),
            ),
            [] => (
                overdue(since, promised),
                format!(
                    "what was not read again for longest in \"{}\" was written or read {} ago; {} are promised",
                    name(row),
                    show(since),
                    show(promised)
                ),
            ),
        };
        Some(Observation {
            object: name(row),
            value: since,
            level: Some(level),
            title,
            since: Some(read_since),
            evidence: row.evidence(&["read_since", "rotten"]),
            ..Observation::default()
        })
    })
}

/// Grades what is older than promised.
fn overdue(since: f64, promised: f64) -> Level {
    match since / promised {
        share if share > OVERDUE => Level::Critical,
        share if share > 1.0 => Level::Warning,
        _ => Level::Ok,
    }
}

pub(super) fn repository_space(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let observations = repositories(view, |row, _| {
        let used = row.float("used_bytes")?;
        let free = row.float("free_bytes");
        let limit = row.float("space_bytes");
        let room = match (limit, free.map(|free| used + free)) {
            (Some(limit), Some(room)) => limit.min(room),
            (Some(room), None) | (None, Some(room)) => room,
            (None, None) => return None,
        };
        let left = ByteSize((room - used).max(0.0) as u64);
        Some(Observation {
            object: name(row),
            value: 100.0 * used / room.max(1.0),
            title: format!(
                "repository \"{}\" takes {} and has room for {left} more",
                name(row),
                ByteSize(used as u64)
            ),
            evidence: row.evidence(&["place", "used_bytes", "free_bytes", "space_bytes"]),
            ..Observation::default()
        })
    })?;
    if observations.is_empty() {
        let reason = "a bucket without \"space\" in [[repository]] has no end";
        return Err(Missing::NotApplicable(reason.to_owned()));
    }
    Ok(observations)
}

/// The least that would be lost counts: the best of all repositories that can be seen.
pub(super) fn rpo(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let here = view
        .row("wal")
        .ok()
        .and_then(|row| row.float("current_lsn"));
    let seen = repositories(view, |row, at| Some(lost(row, at, here)))?;
    let known = seen.iter().filter(|it| it.level != Some(Level::Unknown));
    let best = known.min_by(|a, b| a.value.total_cmp(&b.value)).cloned();
    Ok(best.map_or(seen, |best| vec![best]))
}

/// Measures what would be lost with one repository left, as of when it was looked at; `here` is where the server writes now.
fn lost(row: Row<'_>, at: Timestamp, here: Option<f64>) -> Observation {
    let newest = row.time("newest_backup_at");
    let stored = row.time("durable_at").max(row.time("complete_at"));
    let Some(newest) = newest else {
        return Observation {
            object: name(row),
            value: age(at, Timestamp::UNIX_EPOCH),
            level: Some(Level::Critical),
            title: format!(
                "a disaster now would lose everything: no backup in \"{}\" can be restored",
                name(row)
            ),
            ..Observation::default()
        };
    };
    let whole = here.zip(row.float("durable_lsn"));
    let whole = whole.is_some_and(|(here, durable)| here <= durable + UNIMPORTANT_BYTES as f64);
    let kept = stored.map_or(newest, |stored| stored.max(newest));
    let value = if whole { 0.0 } else { age(at, kept) };
    Observation {
        object: name(row),
        value,
        level: promise(row, "rpo_promised_seconds", value),
        title: format!(
            "a disaster now would lose the changes of at most the last {}: what was stored before is in \"{}\"",
            show(value),
            name(row)
        ),
        since: Some(kept),
        evidence: row.evidence(&[
            "durable_at",
            "complete_at",
            "newest_backup",
            "newest_backup_at",
            "rpo_promised_seconds",
        ]),
        ..Observation::default()
    }
}

pub(super) fn rto(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let observations = repositories(view, |row, _| {
        let promised = row.float("rto_promised_seconds");
        let Some(took) = row.float("rto_seconds") else {
            // Without promise and without measure there is nothing to say.
            promised?;
            return Some(Observation {
                object: name(row),
                value: f64::NAN,
                level: Some(Level::Warning),
                title: format!(
                    "how long a restore from \"{}\" takes was never measured",
                    name(row)
                ),
                ..Observation::default()
            });
        };
        Some(Observation {
            object: name(row),
            value: took,
            level: promise(row, "rto_promised_seconds", took),
            title: format!(
                "the last restore from \"{}\" took {} until the server answered",
                name(row),
                show(took)
            ),
            since: row.time("proven_at"),
            evidence: row.evidence(&["proven_backup", "proven_at", "rto_promised_seconds"]),
            ..Observation::default()
        })
    })?;
    if observations.is_empty() {
        let reason = "no restore was measured, and no rto is promised";
        return Err(Missing::NotApplicable(reason.to_owned()));
    }
    Ok(observations)
}

/// Grades by the promise where there is one; without it the limits grade.
fn promise(row: Row<'_>, column: &str, value: f64) -> Option<Level> {
    let promised = row.float(column)?;
    Some(if value > promised {
        Level::Critical
    } else {
        Level::Ok
    })
}

pub(super) fn slot_risk(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let mut rows = view.facts.sightings.iter().filter_map(|sighting| {
        sighting.collector.strip_prefix(REPOSITORY_PREFIX)?;
        sighting.seen.as_ref().ok()?.first()
    });
    let Some(slot) = rows.find_map(|row| row.text("slot")) else {
        return Err(Missing::NotApplicable(
            "WAL is not received through a slot".to_owned(),
        ));
    };
    let slots = view.snapshot("slots")?;
    let object = format!("slot \"{slot}\"");
    let state = |level, title: String| Observation {
        object: object.clone(),
        value: 100.0,
        level: Some(level),
        title,
        ..Observation::default()
    };
    let Some(row) = slots.rows().find(|row| row.text("slot_name") == Some(slot)) else {
        let title = format!("{object} does not exist: the server removes WAL before it is stored");
        return Ok(vec![state(Level::Critical, title)]);
    };
    if row.text("wal_status") == Some("lost") {
        let title = format!("{object} is lost: WAL was removed before it was stored");
        return Ok(vec![state(Level::Critical, title)]);
    }
    let (Some(here), Some(restart)) = (row.float("current_lsn"), row.float("restart_lsn")) else {
        return Ok(vec![state(
            Level::Warning,
            format!("{object} keeps no WAL yet"),
        )]);
    };
    let kept = (here - restart).max(0.0);
    let free = free_of_wal(view);
    let room = match (row.float("safe_wal_size"), free) {
        (Some(safe), Some(free)) => safe.min(free),
        (Some(room), None) | (None, Some(room)) => room,
        (None, None) => {
            let mut blind = state(
                Level::Unknown,
                format!(
                    "{object} keeps {} of WAL, and how much fits is not known: max_slot_wal_keep_size is -1, and the disk is not on this machine",
                    ByteSize(kept as u64)
                ),
            );
            blind.remedy = Some(
                "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf();"
                    .to_owned(),
            );
            return Ok(vec![blind]);
        }
    };
    Ok(vec![Observation {
        object: object.clone(),
        value: 100.0 * kept / (kept + room).max(1.0),
        title: format!(
            "{object} keeps {} of WAL that is not stored yet, and there is room for {} more",
            ByteSize(kept as u64),
            ByteSize(room.max(0.0) as u64)
        ),
        since: row.time("inactive_since"),
        evidence: row.evidence(&["active", "wal_status", "safe_wal_size"]),
        ..Observation::default()
    }])
}

/// Returns the bytes that are free where pg_wal lies, when that is this machine.
fn free_of_wal(view: &View<'_>) -> Option<f64> {
    let snapshot = view.snapshot("host-filesystem").ok()?;
    let of = |purpose: &str| {
        let mut rows = snapshot.rows();
        let row = rows.find(|row| row.text("purpose") == Some(purpose))?;
        row.float("available_bytes")
    };
    of("wal").or_else(|| of("data"))
}
