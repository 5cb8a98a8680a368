//! Backups, and what they could restore.

mod repository;

use pawang_core::{Blind, ByteSize, Level, Missing, Row, Snapshot, Timestamp, Unit};

use crate::security::{number, setting, setting_row};
use crate::{Check, Direction, Floor, Group, Observation, Scope, View};

/// What the names of backup sources begin with.
const PREFIX: &str = "backup:";
/// A backup dated later than this after now was made by another clock.
const FUTURE_SECONDS: f64 = 300.0;
/// Backups before the newest that make a trend.
const TREND_MIN: usize = 2;
const HOUR_SECONDS: f64 = 3_600.0;
/// The recovery point of the manuals: at most 15 minutes may be lost.
const RECOVERY_POINT_SECONDS: f64 = 900.0;

pub(crate) static CHECKS: &[Check] = &[
    Check {
        id: "backup-age",
        title: "age of the newest backup",
        unit: Unit::Seconds,
        warning: Some(26.0 * HOUR_SECONDS),
        critical: Some(50.0 * HOUR_SECONDS),
        what: "Time since the newest backup that is whole, per [[repository]] and per source of [[instance.backup]]: files in a \
               directory, a pgBackRest repository, or a query. Backups that failed, have wrong pages, are too small or are still being \
               written do not count.",
        why: "What happened since the newest whole backup is lost with the server, unless its WAL is archived.",
        fix: "Look at the log of the backup job and run it by hand; nothing older may be deleted before a new one is whole.",
        observe: backup_age,
        ..BACKUP
    },
    Check {
        id: "backup-failed",
        title: "the last backup was whole",
        what: "Whether the newest finished backup of each source is whole: without wrong pages or failed tests in a repository, ok by \
               its query, without error in pgBackRest, not empty and not below minimum_size in a directory.",
        why: "A job that writes a stub and reports success hides the failure until a restore is needed, and retention then deletes the \
              good ones.",
        fix: "Look at the log of the backup job (disk full, password, version of pg_dump), remove the stub and run the job again.",
        observe: backup_failed,
        ..BACKUP
    },
    Check {
        id: "backup-size",
        title: "the last backup against those before",
        unit: Unit::Percent,
        direction: Direction::Below,
        warning: Some(60.0),
        critical: Some(20.0),
        floors: &[Floor {
            name: "size",
            value: 1_048_576.0,
            unit: Unit::Bytes,
            ignores: "sources whose backups are usually smaller than this",
        }],
        what: "Size of the newest finished backup as a share of the median of the whole ones before it (at least two), per source. \
               In a [[repository]] full backups are compared with full ones; other sources that mix kinds need one pattern for each.",
        why: "A dump that suddenly is a fraction of yesterday's lacks tables or was cut off, whatever its exit code was.",
        fix: "List both (pg_restore --list) and compare; keep the older ones until it is explained.",
        observe: backup_size,
        ..BACKUP
    },
    Check {
        id: "backup-count",
        title: "whole backups that are kept",
        unit: Unit::Count,
        direction: Direction::Below,
        warning: Some(1.0),
        critical: Some(0.0),
        what: "Number of whole backups per source.",
        why: "With a single copy, an error that is noticed a day late is in every backup there is; a clean-up that counts days instead of \
              backups may delete the last good one.",
        fix: "Keep by count and age together, and only after the newest is proven.",
        observe: backup_count,
        ..BACKUP
    },
    Check {
        id: "backup-stuck",
        title: "backups that do not get finished",
        unit: Unit::Seconds,
        warning: Some(4.0 * HOUR_SECONDS),
        critical: Some(12.0 * HOUR_SECONDS),
        needs: &["progress-basebackup", "replication"],
        what: "How long each running base backup runs, from pg_stat_progress_basebackup and pg_stat_replication.",
        why: "Until it ends, its WAL is kept and yesterday's backup is the newest; a client that hangs never ends.",
        fix: "See the phase in pg_stat_progress_basebackup; if the client is gone: SELECT pg_terminate_backend(pid);",
        observe: backup_stuck,
        ..BACKUP
    },
    Check {
        id: "recovery-point",
        title: "how much a quiet server may lose",
        unit: Unit::Seconds,
        warning: Some(RECOVERY_POINT_SECONDS),
        what: "archive_timeout while WAL is archived, from pg_settings, against the manuals' recovery point of 15 minutes; switched off it \
               is information, since a busy server fills its segments anyway.",
        why: "A segment is archived when it is full: on a quiet server the last changes may stay on its disk for hours and die with it.",
        fix: "ALTER SYSTEM SET archive_timeout = '5min'; SELECT pg_reload_conf();",
        observe: recovery_point,
        ..BACKUP
    },
    Check {
        id: "wal-gap",
        title: "WAL that is missing in a repository",
        unit: Unit::Count,
        what: "Stretches of WAL that a kept backup of a [[repository]] needs for later moments and that are not there, and segments \
               that came in with two contents. Counted from the objects themselves, per repository. Critical until a later backup \
               begins behind the hole, then a warning as long as an older backup is kept.",
        why: "No restore gets past a hole: what happened behind it is lost until the next backup. Two contents mean that two \
              servers, such as a cloned machine, write into the same archive.",
        fix: "Take a backup at once, so that there is something to restore from behind the hole: pawang backup create. Then find out why \
              WAL was not stored: pawang wal gaps; pawang check archiver-failing",
        observe: repository::wal_gap,
        ..BACKUP
    },
    Check {
        id: "slot-risk",
        title: "the slot through which WAL is received",
        unit: Unit::Percent,
        needs: &["slots", "host-filesystem", "host-paths"],
        warning: Some(50.0),
        critical: Some(80.0),
        what: "WAL that the slot of [backup] keeps on the server because it is not stored yet, as a share of what it may keep: \
               safe_wal_size of pg_replication_slots, or the free space of pg_wal where that is on this machine, whichever is less. \
               A slot that is missing or lost is critical.",
        why: "When its limit is reached the server gives the slot up and WAL is missing in the repository; without limit the disk fills \
              and the server stops.",
        fix: "See whether WAL is received and stored fast enough: pawang wal status. Do not drop the slot: what it keeps is nowhere else.",
        observe: repository::slot_risk,
        ..BACKUP
    },
    Check {
        id: "drill-age",
        title: "age of the last proof by a restore",
        unit: Unit::Seconds,
        what: "Time since a backup of each [[repository]], or of another tool whose backups were ever drilled, was last restored, \
               started and asked, against drill_every of [backup]: a warning when it is older, critical when it is twice as old or \
               the last restore failed. Drills of other tools are known from the journal of this Pawang.",
        why: "A backup that was never restored is a hope. What makes a restore fail, such as a missing library, a wrong key or a damaged \
              part, does not show before.",
        fix: "pawang drill run",
        observe: repository::drill_age,
        ..BACKUP
    },
    Check {
        id: "verify-age",
        title: "stored bytes that are read again",
        unit: Unit::Seconds,
        what: "Whether the backups in each [[repository]] still are what was stored, part by part against its hash, and WAL segment by \
               segment as a server would get it; and the time since what was not read for longest was read again, against verify_every of [backup]: a warning when it is older, critical \
               when it is twice as old or anything that was read is not what was stored.",
        why: "Disks and stores lose bits in silence. What rots is noticed when it is needed, and by then the last good copy may have \
              expired.",
        fix: "When something is wrong: take a full backup at once, pawang backup create --type full, and look at the disk. Else let pawang \
              serve read on, or do it by hand: pawang backup verify",
        observe: repository::verify_age,
        ..BACKUP
    },
    Check {
        id: "repository-space",
        title: "room in the repository",
        unit: Unit::Percent,
        warning: Some(80.0),
        critical: Some(90.0),
        what: "What a [[repository]] takes as a share of what it may take: its key \"space\", or what is free where it lies, whichever is \
               less.",
        why: "When it is full no backup can be taken, WAL stays on the server, and its disk fills too.",
        fix: "See what goes next and why: pawang backup expire --dry-run. Then give it more room, or keep less.",
        observe: repository::repository_space,
        ..BACKUP
    },
    Check {
        id: "rpo",
        title: "what a disaster now would lose",
        unit: Unit::Seconds,
        needs: &["settings", "wal"],
        warning: Some(RECOVERY_POINT_SECONDS),
        critical: Some(4.0 * RECOVERY_POINT_SECONDS),
        what: "Time since the newest WAL of the instance was stored in a [[repository]], zero when all that the server wrote is there; the \
               best repository counts. Held against rpo of [backup] where it is promised, else against the limits.",
        why: "It is the work that would have to be done again, or that nobody can do again.",
        fix: "Receive WAL as it is written, stream = true in [backup], or set archive_timeout: pawang backup check",
        observe: repository::rpo,
        ..BACKUP
    },
    Check {
        id: "rto",
        title: "how long the last restore took",
        unit: Unit::Seconds,
        what: "How long the last restore from each [[repository]] took until the server answered, as a drill measured it, held \
               against rto of [backup] where it is promised.",
        why: "Whoever promised an hour wants to know before the disaster that it takes four.",
        fix: "See which phase takes long: pawang drill history. Take full backups more often, or keep a standby.",
        observe: repository::rto,
        ..BACKUP
    },
];

const BACKUP: Check = Check {
    id: "",
    group: Group::Backup,
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

/// One source of backups that could be read.
struct Source<'a> {
    name: &'a str,
    backups: Vec<Backup<'a>>,
    /// Whether it tells full backups from incremental ones.
    kinds: bool,
}

/// One finished backup.
#[derive(Clone, Copy)]
struct Backup<'a> {
    row: Row<'a>,
    finished_at: Timestamp,
    ok: bool,
}

impl<'a> Source<'a> {
    fn read(name: &'a str, snapshot: &'a Snapshot) -> Source<'a> {
        let finished = snapshot.rows().filter_map(|row| {
            Some(Backup {
                row,
                finished_at: row.time("finished_at")?,
                ok: row.flag("ok")?,
            })
        });
        let mut backups: Vec<Backup<'_>> = finished.collect();
        backups.sort_by_key(|backup| backup.finished_at);
        let kinds = snapshot.columns.iter().any(|column| column.name == "kind");
        Source {
            name,
            backups,
            kinds,
        }
    }

    /// Returns whether a backup is a full one or not, where the source tells.
    fn kind(&self, backup: Backup<'a>) -> Option<&'a str> {
        self.kinds.then(|| backup.row.text("kind")).flatten()
    }

    fn newest_whole(&self) -> Option<Backup<'a>> {
        self.backups.iter().rev().find(|backup| backup.ok).copied()
    }
}

/// Measures every source; one that cannot be read is an observation of its own, so that the others are still judged.
fn sources(
    view: &View<'_>,
    measure: impl Fn(&Source<'_>) -> Option<Observation>,
) -> Result<Vec<Observation>, Missing> {
    let mut observations = Vec::new();
    let mut configured = false;
    for sighting in &view.facts.sightings {
        let Some(name) = sighting.collector.strip_prefix(PREFIX) else {
            continue;
        };
        configured = true;
        match &sighting.seen {
            Ok(snapshot) => observations.extend(measure(&Source::read(name, snapshot))),
            Err(missing) => observations.push(unseen(name, missing)),
        }
    }
    if configured {
        return Ok(observations);
    }
    if view.check != "backup-age" {
        let reason = "neither [[repository]] nor [[instance.backup]] is configured";
        return Err(Missing::NotApplicable(reason.to_owned()));
    }
    Err(Blind::NotConfigured {
        key: "[[repository]] or [[instance.backup]]".to_owned(),
        what: "where backups lie, and so whether there are any".to_owned(),
    }
    .into())
}

/// Turns a source that could not be read into an observation of level unknown.
pub(crate) fn unseen(name: &str, missing: &Missing) -> Observation {
    let (title, remedy) = match missing {
        Missing::Blind(blind) => (blind.sentence(), Some(blind.remedy())),
        Missing::NotApplicable(reason) => (reason.clone(), None),
    };
    Observation {
        object: name.to_owned(),
        value: 0.0,
        level: Some(Level::Unknown),
        title,
        remedy,
        ..Observation::default()
    }
}

fn backup_age(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    sources(view, |source| {
        let Some(newest) = source.newest_whole() else {
            return Some(Observation {
                object: source.name.to_owned(),
                // There was none since the beginning of time.
                value: view.now.as_second() as f64,
                level: Some(Level::Critical),
                title: format!("there is no whole backup in \"{}\"", source.name),
                ..Observation::default()
            });
        };
        let age = view.now.duration_since(newest.finished_at).as_secs_f64();
        let label = newest.row.value("label");
        let title = format!(
            "the newest whole backup \"{label}\" is {} old",
            Unit::Seconds.show(age)
        );
        let future = age < -FUTURE_SECONDS;
        Some(Observation {
            object: source.name.to_owned(),
            value: age.max(0.0),
            level: future.then_some(Level::Unknown),
            title: if future {
                format!("the newest backup \"{label}\" is dated in the future")
            } else {
                title
            },
            since: Some(newest.finished_at),
            evidence: newest
                .row
                .evidence(&["label", "finished_at", "size_bytes", "ok"]),
            ..Observation::default()
        })
    })
}

fn backup_failed(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    sources(view, |source| {
        let newest = source.backups.last()?;
        let size = newest.row.float("size_bytes").unwrap_or(0.0);
        Some(Observation {
            object: source.name.to_owned(),
            value: f64::from(u8::from(!newest.ok)),
            level: Some(if newest.ok {
                Level::Ok
            } else {
                Level::Critical
            }),
            title: format!(
                "the last backup \"{}\" is not whole ({})",
                newest.row.value("label"),
                ByteSize(size as u64)
            ),
            since: Some(newest.finished_at),
            evidence: newest
                .row
                .evidence(&["label", "finished_at", "size_bytes", "ok"]),
            ..Observation::default()
        })
    })
}

fn backup_size(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    sources(view, |source| {
        let (newest, before) = source.backups.split_last()?;
        let alike = |backup: &&Backup<'_>| source.kind(**backup) == source.kind(*newest);
        let whole = before.iter().filter(|backup| backup.ok).filter(alike);
        let sizes: Vec<f64> = whole
            .filter_map(|backup| backup.row.float("size_bytes"))
            .collect();
        let usual = median(sizes, TREND_MIN)?;
        let size = newest.row.float("size_bytes")?;
        if usual < view.floor("size") {
            return None;
        }
        Some(Observation {
            object: source.name.to_owned(),
            value: 100.0 * size / usual,
            title: format!(
                "the last backup \"{}\" has {} where {} are usual",
                newest.row.value("label"),
                ByteSize(size as u64),
                ByteSize(usual as u64)
            ),
            since: Some(newest.finished_at),
            evidence: newest
                .row
                .evidence(&["label", "finished_at", "size_bytes", "ok"]),
            ..Observation::default()
        })
    })
}

/// Returns the median of at least `least` numbers.
pub(crate) fn median(mut numbers: Vec<f64>, least: usize) -> Option<f64> {
    if numbers.len() < least.max(1) {
        return None;
    }
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    Some(if numbers.len().is_multiple_of(2) {
        f64::midpoint(numbers[middle - 1], numbers[middle])
    } else {
        numbers[middle]
    })
}

fn backup_count(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    sources(view, |source| {
        let whole = source.backups.iter().filter(|backup| backup.ok).count();
        Some(Observation {
            object: source.name.to_owned(),
            value: whole as f64,
            title: format!(
                "{whole} whole backups are kept, of {} in \"{}\"",
                source.backups.len(),
                source.name
            ),
            ..Observation::default()
        })
    })
}

fn backup_stuck(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let running = view.snapshot("progress-basebackup")?;
    if running.rows.is_empty() {
        return Ok(Vec::new());
    }
    let senders = view.snapshot("replication")?;
    let mut observations = Vec::new();
    for row in running.rows() {
        let sender = senders
            .rows()
            .find(|sender| sender.value("pid") == row.value("pid"));
        let Some(started) = sender.and_then(|sender| sender.time("backend_start")) else {
            continue;
        };
        let application = sender
            .and_then(|sender| sender.text("application_name"))
            .unwrap_or_default();
        let age = running.at.duration_since(started).as_secs_f64();
        observations.push(Observation {
            object: format!("{application} {}", row.value("pid")),
            value: age,
            title: format!(
                "base backup of \"{application}\" has run for {} and is in phase \"{}\"",
                Unit::Seconds.show(age),
                row.value("phase")
            ),
            since: Some(started),
            evidence: row.evidence(&["pid", "phase", "backup_total", "backup_streamed"]),
            remedy: Some(format!(
                "SELECT pg_terminate_backend({});",
                row.value("pid")
            )),
            ..Observation::default()
        });
    }
    Ok(observations)
}

fn recovery_point(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    if setting(view, "archive_mode")? == "off" {
        return Err(Missing::NotApplicable("archive_mode is off".to_owned()));
    }
    let row = setting_row(view, "archive_timeout")?;
    let timeout = number(view, "archive_timeout")?;
    let (level, title) = if timeout == 0.0 {
        let title =
            "archive_timeout is off: a quiet server keeps its last changes to itself without limit";
        (Some(Level::Info), title.to_owned())
    } else {
        let time = Unit::Seconds.show(timeout);
        let title = format!(
            "archive_timeout lets a quiet server keep its last changes to itself for {time}"
        );
        (None, title)
    };
    Ok(vec![Observation {
        value: timeout,
        level,
        title,
        evidence: row.evidence(&["name", "setting", "source", "sourcefile"]),
        ..Observation::default()
    }])
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_needs_enough_numbers() {
        for (numbers, expected) in [
            (vec![], None),
            (vec![1.0], None),
            (vec![3.0, 1.0], Some(2.0)),
            (vec![9.0, 1.0, 2.0], Some(2.0)),
        ] {
            assert_eq!(median(numbers, 2), expected);
        }
    }
}
