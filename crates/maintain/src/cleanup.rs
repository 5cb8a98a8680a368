//! Files that nobody needs any more. A file is deleted only where that is known; what is not known stays, and is told.

use std::time::Duration;

use jiff::SignedDuration;
use pawang_config::{Area, matches};
use pawang_core::plan::{Cost, Left, Proposal, Task};
use pawang_core::{ByteSize, Facts, Missing, Row, Snapshot, Timestamp};

use crate::Policy;
use crate::scope::Findings;

pub(crate) const NEEDS: &[&str] = &[
    "host-log-files",
    "host-temporary-files",
    "host-archive-files",
    "host-paths",
    "settings",
];

const LOGS_KEPT_MIN: u32 = 7;
const SEGMENTS_KEPT_MIN: u32 = 64;
/// A backup and its history file in the archive end at the same time, within this.
const SAME_END: SignedDuration = SignedDuration::from_mins(10);
/// Digits of the timeline at the begin of a segment's name; order within and across timelines is that of the rest.
const TIMELINE_DIGITS: usize = 8;

/// Plans which files are deleted on the server's own machine.
pub(crate) fn plan(facts: &Facts, policy: &Policy, now: Timestamp, found: &mut Findings) {
    let cleanup = &policy.cleanup;
    if cleanup.logs_after.is_none()
        && cleanup.archive_after.is_none()
        && cleanup.temporary_after.is_none()
    {
        let why = "the policy names no age: [maintenance.policy.<id>] cleanup = { logs_after = \"30 d\" }";
        found
            .left
            .push(left("log, archive and temporary files", why, false));
    }
    let mut run = Run { facts, now, found };
    if let Some(after) = cleanup.logs_after {
        run.looked("log files", |run| {
            run.logs(after.0, cleanup.logs_at_least.unwrap_or(LOGS_KEPT_MIN))
        });
    }
    if let Some(after) = cleanup.archive_after {
        run.looked("archived WAL", |run| {
            run.archive(
                after.0,
                cleanup.archive_at_least.unwrap_or(SEGMENTS_KEPT_MIN),
            )
        });
    }
    if let Some(after) = cleanup.temporary_after {
        run.looked("temporary files", |run| run.temporary(after.0));
    }
}

struct Run<'a, 'f> {
    facts: &'a Facts,
    now: Timestamp,
    found: &'f mut Findings,
}

impl Run<'_, '_> {
    fn looked(&mut self, object: &str, look: impl FnOnce(&mut Self) -> Result<(), Missing>) {
        match look(self) {
            Err(Missing::Blind(blind)) => {
                let why = format!("{}; {}", blind.sentence(), blind.remedy());
                self.found.left.push(left(object, why, true));
            }
            Err(Missing::NotApplicable(why)) => self.found.left.push(left(object, why, false)),
            Ok(()) => {}
        }
    }

    /// Log files that the server named and does not write any more.
    fn logs(&mut self, after: Duration, keep: u32) -> Result<(), Missing> {
        let snapshot = self.facts.snapshot("host-log-files", None)?;
        let settings = self.facts.snapshot("settings", None)?;
        let mut names = settings.rows();
        let pattern = names.find(|row| row.text("name") == Some("log_filename"));
        let pattern = pattern
            .and_then(|row| row.text("setting"))
            .unwrap_or_default();
        if !pattern.contains('%') {
            let why = format!(
                "log_filename is \"{pattern}\": the server writes one file again and again"
            );
            self.found.left.push(left("log files", why, false));
            return Ok(());
        }
        let mine = newest_first(snapshot, |row| {
            row.text("name").is_some_and(|name| is_log(pattern, name))
        });
        if mine.iter().any(|row| row.flag("current").is_none()) {
            let why =
                "which file the server writes now cannot be told: current_logfiles is not there";
            self.found.left.push(left("log files", why, true));
            return Ok(());
        }
        for row in mine.into_iter().skip(keep as usize) {
            if row.flag("current") == Some(false) {
                let what = format!(
                    "the server has not written this log for more than {}",
                    days(after)
                );
                self.delete(&row, after, &what);
            }
        }
        Ok(())
    }

    /// Files of processes that are gone; the server removes them only when it starts.
    fn temporary(&mut self, after: Duration) -> Result<(), Missing> {
        let snapshot = self.facts.snapshot("host-temporary-files", None)?;
        for row in newest_first(snapshot, |row| row.flag("alive") == Some(false)) {
            let pid = row.value("pid").to_string();
            let what = format!(
                "process {pid} wrote it for a query and is gone for more than {}",
                days(after)
            );
            self.delete(&row, after, &what);
        }
        Ok(())
    }

    /// Segments older than the first that the oldest kept backup needs.
    fn archive(&mut self, after: Duration, keep: u32) -> Result<(), Missing> {
        let snapshot = self.facts.snapshot("host-archive-files", None)?;
        let oldest = match oldest_needed(self.facts, snapshot) {
            Ok(segment) => segment,
            Err((why, blind)) => {
                self.found.left.push(left("archived WAL", why, blind));
                return Ok(());
            }
        };
        let segments = newest_first(snapshot, |row| row.text("kind") == Some("segment"));
        for row in segments.into_iter().skip(keep as usize) {
            let older = row
                .text("segment")
                .is_some_and(|segment| position(segment) < position(&oldest));
            if older {
                let what = format!("no kept backup needs WAL before {oldest}");
                self.delete(&row, after, &what);
            }
        }
        Ok(())
    }

    fn delete(&mut self, row: &Row<'_>, after: Duration, what: &str) {
        let (Some(path), Some(modified_at)) = (row.text("path"), row.time("modified_at")) else {
            return;
        };
        let age = self.now.duration_since(modified_at);
        if SignedDuration::try_from(after).is_ok_and(|after| age <= after) {
            return;
        }
        let size = row
            .int("size_bytes")
            .and_then(|size| u64::try_from(size).ok())
            .unwrap_or(0);
        let proposal = Proposal {
            database: String::new(),
            task: Task::DeleteFile {
                path: path.to_owned(),
                size: ByteSize(size),
                modified_at,
            },
            reason: format!("{what}; it is {} days old", age.as_hours() / 24),
            evidence: row.evidence(&["modified_at", "size_bytes"]),
            cost: Cost {
                freed: Some(ByteSize(size)),
                ..Cost::default()
            },
        };
        self.found.want(Area::Cleanup, age.as_secs_f64(), proposal);
    }
}

/// Returns the first segment that the kept backups need.
///
/// Every kept backup must be recognised in the archive, by the end that it shares with its history file: what is not
/// recognised may need anything.
fn oldest_needed(facts: &Facts, archive: &Snapshot) -> Result<String, (String, bool)> {
    let places = facts
        .sightings
        .iter()
        .filter(|seen| seen.collector.starts_with("backup:"));
    let mut needed: Option<String> = None;
    let mut known = false;
    for place in places {
        known = true;
        let Ok(backups) = &place.seen else {
            return Err((format!("{} could not be read", place.collector), true));
        };
        for backup in backups.rows() {
            let label = backup.text("label").unwrap_or("?");
            let Some(end) = backup.time("finished_at") else {
                return Err((
                    format!("backup \"{label}\" is not finished: what it needs is not known"),
                    false,
                ));
            };
            let histories = archive.rows().filter(|row| {
                let at = row.time("modified_at");
                row.text("kind") == Some("backup")
                    && at.is_some_and(|at| at.duration_since(end).abs() <= SAME_END)
            });
            let first = histories
                .filter_map(|row| row.text("segment"))
                .min_by_key(|s| position(s));
            let Some(first) = first else {
                let why = format!(
                    "no backup history file of the archive ends when backup \"{label}\" did: what it needs is not known"
                );
                return Err((why, false));
            };
            let earlier = needed
                .as_deref()
                .is_none_or(|so_far| position(first) < position(so_far));
            if earlier {
                needed = Some(first.to_owned());
            }
        }
    }
    needed.ok_or_else(|| match known {
        true => (
            "there is no backup: every segment may be needed".to_owned(),
            false,
        ),
        false => (
            "no backup is known: [[instance.backup]] tells where they are".to_owned(),
            true,
        ),
    })
}

/// Returns what decides the order of segments; the timeline does not.
fn position(segment: &str) -> &str {
    segment.get(TIMELINE_DIGITS..).unwrap_or(segment)
}

/// Returns the rows that count, the newest first; those without a time are newest.
fn newest_first<'a>(snapshot: &'a Snapshot, counts: impl Fn(&Row<'a>) -> bool) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'a>> = snapshot.rows().filter(counts).collect();
    rows.sort_by_key(|row| {
        let age = row.time("modified_at").map(std::cmp::Reverse);
        (age, row.text("path"))
    });
    rows
}

/// Says whether a name is one that the server gives by `log_filename`: `.csv` and `.json` take the place of `.log`.
fn is_log(pattern: &str, name: &str) -> bool {
    let mut glob = String::new();
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '%' if letters.next().is_some() => glob.push('*'),
            '*' => return false,
            letter => glob.push(letter),
        }
    }
    let base = glob.strip_suffix(".log").unwrap_or(&glob);
    matches(&glob, name)
        || [".csv", ".json"]
            .iter()
            .any(|end| matches(&format!("{base}{end}"), name))
}

fn left(object: &str, why: impl Into<String>, blind: bool) -> Left {
    Left {
        database: String::new(),
        object: object.to_owned(),
        why: why.into(),
        blind,
    }
}

fn days(after: Duration) -> String {
    match after.as_secs() / 86_400 {
        0 => format!("{} h", after.as_secs() / 3600),
        days => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pawang_config::Period;
    use pawang_core::{Column, ColumnKind, Sighting, Value};

    use super::*;
    use crate::fixture::{Cell, World, ago};
    use crate::{Areas, Planned};

    const DAY: i64 = 86_400;

    fn policy() -> Policy {
        let mut policy = Policy::default();
        let period = Some(Period(Duration::from_secs(10 * 86_400)));
        policy.cleanup.logs_after = period;
        policy.cleanup.logs_at_least = Some(2);
        policy.cleanup.archive_after = period;
        policy.cleanup.archive_at_least = Some(1);
        policy.cleanup.temporary_after = period;
        policy
    }

    fn file(world: &mut World, collector: &str, name: &str, days: i64, more: &[(&str, Cell)]) {
        let path = format!("/data/{name}");
        let mut columns = vec![
            ("path", path.as_str().into()),
            ("name", name.into()),
            ("size_bytes", 10.into()),
            ("modified_at", ago(days * DAY).into()),
        ];
        columns.extend_from_slice(more);
        world.row(collector, &columns);
    }

    fn planned(facts: &Facts, world: &World) -> Planned {
        let areas: Areas = [Area::Cleanup].into_iter().collect();
        crate::plan(&areas, facts, None, &policy(), world.now())
    }

    fn deleted(planned: &Planned) -> Vec<String> {
        planned
            .proposals
            .iter()
            .map(|proposal| proposal.task.object())
            .collect()
    }

    #[test]
    fn only_old_logs_of_the_servers_own_naming_go_and_never_the_current_one() {
        let mut world = World::new(15);
        world.set("log_filename", "postgresql-%Y-%m-%d.log");
        for (name, days, current) in [
            ("postgresql-2026-07-15.log", 0, true),
            ("postgresql-2026-07-14.log", 1, false),
            ("postgresql-2026-06-01.log", 44, false),
            ("postgresql-2026-06-01.csv", 44, false),
            ("postgresql-2026-05-01.log", 75, true),
            ("important.log", 400, false),
            ("postgresql-2026-07-10.log", 5, false),
        ] {
            file(
                &mut world,
                "host-log-files",
                name,
                days,
                &[("current", current.into())],
            );
        }
        let found = planned(&world.facts(), &world);
        let expected = [
            "/data/postgresql-2026-06-01.csv",
            "/data/postgresql-2026-06-01.log",
        ];
        assert_eq!(deleted(&found), expected);
        world.set("log_filename", "postgresql.log");
        assert_eq!(deleted(&planned(&world.facts(), &world)), [""; 0]);
    }

    #[test]
    fn temporary_files_go_only_with_their_process() {
        let mut world = World::new(15);
        for (name, days, alive) in [("a", 20, true), ("b", 20, false), ("c", 2, false)] {
            file(
                &mut world,
                "host-temporary-files",
                name,
                days,
                &[("alive", alive.into()), ("pid", 5.into())],
            );
        }
        assert_eq!(deleted(&planned(&world.facts(), &world)), ["/data/b"]);
    }

    fn backups(ends: &[Option<i64>]) -> Sighting {
        let column = |name: &str, kind| Column {
            name: name.to_owned(),
            kind,
            unit: None,
        };
        let mut snapshot = World::new(15)
            .facts()
            .snapshot("settings", None)
            .unwrap()
            .clone();
        snapshot.columns = [
            column("label", ColumnKind::Label),
            column("finished_at", ColumnKind::Info),
        ]
        .into();
        let rows = ends.iter().map(|days| {
            let end = days.map_or(Value::Null, |days| Value::Time(ago(days * DAY + 60)));
            vec![Value::Text("b".into()), end]
        });
        snapshot.rows = rows.collect();
        Sighting {
            collector: "backup:nightly".to_owned(),
            database: None,
            seen: Ok(Arc::new(snapshot)),
        }
    }

    #[test]
    fn archived_wal_goes_only_below_what_every_kept_backup_is_known_to_need() {
        let mut world = World::new(15);
        for (number, days) in [(1, 40), (2, 30), (3, 29), (4, 15), (5, 14), (6, 0)] {
            let segment = format!("0000000{}{:016X}", 1 + number / 4, number);
            let kind = [
                ("kind", "segment".into()),
                ("segment", segment.as_str().into()),
            ];
            file(
                &mut world,
                "host-archive-files",
                &format!("s{number}"),
                days,
                &kind,
            );
        }
        for (number, days) in [(3, 28), (5, 13)] {
            let segment = format!("00000001{number:016X}");
            let kind = [
                ("kind", "backup".into()),
                ("segment", segment.as_str().into()),
            ];
            file(
                &mut world,
                "host-archive-files",
                &format!("h{number}"),
                days,
                &kind,
            );
        }
        for (ends, expected) in [
            (Some(vec![Some(28), Some(13)]), vec!["/data/s1", "/data/s2"]),
            (
                Some(vec![Some(13)]),
                vec!["/data/s1", "/data/s2", "/data/s3", "/data/s4"],
            ),
            (Some(vec![Some(13), Some(20)]), vec![]),
            (Some(vec![Some(13), None]), vec![]),
            (Some(vec![]), vec![]),
            (None, vec![]),
        ] {
            let mut facts = world.facts();
            facts.sightings.extend(ends.as_deref().map(backups));
            let found = planned(&facts, &world);
            assert_eq!(deleted(&found), expected, "{ends:?}");
            let told = found.left.iter().any(|left| left.object == "archived WAL");
            assert_eq!(told, expected.is_empty(), "{:?}", found.left);
        }
    }
}
