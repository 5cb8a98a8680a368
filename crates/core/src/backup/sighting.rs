//! The same facts in the form in which every check reads facts: snapshots.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{BackupFacts, OtherDrill, RepositoryFacts, Survey};
use crate::{Column, ColumnKind, Cost, Missing, Sighting, Snapshot, Value};

/// What the names of lists of backups begin with: `backup:main`.
pub const BACKUP_PREFIX: &str = "backup:";
/// What the names of facts about a repository begin with: `repository:main`.
pub const REPOSITORY_PREFIX: &str = "repository:";
/// What the names of drills of other tools' backups begin with: `drill:pgbackrest main`.
pub const DRILL_PREFIX: &str = "drill:";

/// Columns of a list of backups.
const BACKUPS: [(&str, ColumnKind); 5] = [
    ("label", ColumnKind::Label),
    ("finished_at", ColumnKind::Info),
    ("size_bytes", ColumnKind::Gauge),
    ("ok", ColumnKind::Info),
    ("kind", ColumnKind::Info),
];

/// Columns of the one row about a repository.
const REPOSITORY: [(&str, ColumnKind); 31] = [
    ("repository", ColumnKind::Label),
    ("place", ColumnKind::Info),
    ("backups", ColumnKind::Gauge),
    ("newest_backup", ColumnKind::Info),
    ("newest_backup_at", ColumnKind::Info),
    ("recoverable_from", ColumnKind::Info),
    ("recoverable_to", ColumnKind::Info),
    ("gaps", ColumnKind::Info),
    ("gaps_needed", ColumnKind::Gauge),
    ("gaps_past", ColumnKind::Info),
    ("conflicts", ColumnKind::Info),
    ("durable_lsn", ColumnKind::Gauge),
    ("durable_timeline", ColumnKind::Gauge),
    ("durable_at", ColumnKind::Info),
    ("complete_at", ColumnKind::Info),
    ("drill_at", ColumnKind::Info),
    ("drill_passed", ColumnKind::Info),
    ("drill_detail", ColumnKind::Info),
    ("proven_at", ColumnKind::Info),
    ("proven_backup", ColumnKind::Info),
    ("rto_seconds", ColumnKind::Gauge),
    ("used_bytes", ColumnKind::Gauge),
    ("free_bytes", ColumnKind::Gauge),
    ("space_bytes", ColumnKind::Gauge),
    ("rpo_promised_seconds", ColumnKind::Gauge),
    ("rto_promised_seconds", ColumnKind::Gauge),
    ("drill_every_seconds", ColumnKind::Gauge),
    ("slot", ColumnKind::Info),
    ("read_since", ColumnKind::Info),
    ("verify_every_seconds", ColumnKind::Gauge),
    ("rotten", ColumnKind::Info),
];

/// Columns of the one row about drills of another tool's backups.
const DRILL: [(&str, ColumnKind); 8] = [
    ("tool", ColumnKind::Label),
    ("set", ColumnKind::Label),
    ("drill_at", ColumnKind::Info),
    ("drill_passed", ColumnKind::Info),
    ("drill_detail", ColumnKind::Info),
    ("proven_at", ColumnKind::Info),
    ("proven_backup", ColumnKind::Info),
    ("drill_every_seconds", ColumnKind::Gauge),
];

impl BackupFacts {
    /// Returns the facts as checks read them: for each repository a list of its backups and a row about itself.
    pub fn sightings(&self) -> Vec<Sighting> {
        let mut sightings = Vec::with_capacity(2 * self.repositories.len());
        for repository in &self.repositories {
            let (backups, about) = match &repository.survey {
                Ok(survey) => (
                    Ok(backups(survey)),
                    Ok(vec![self.about(repository, survey)]),
                ),
                Err(blind) => (Err(blind.clone()), Err(blind.clone())),
            };
            for (prefix, columns, rows) in [
                (BACKUP_PREFIX, &BACKUPS[..], backups),
                (REPOSITORY_PREFIX, &REPOSITORY[..], about),
            ] {
                let name = format!("{prefix}{}", repository.name);
                let seen = rows.map(|rows| snapshot(&name, columns, rows, repository.at));
                sightings.push(Sighting {
                    collector: name,
                    database: None,
                    seen: seen.map(Arc::new).map_err(Missing::Blind),
                });
            }
        }
        sightings.extend(self.others.iter().map(|other| self.other(other)));
        sightings
    }

    fn other(&self, other: &OtherDrill) -> Sighting {
        let name = format!("{DRILL_PREFIX}{} {}", other.tool, other.set);
        let (backup, at) = other.proven.clone().unzip();
        let row = vec![
            text(&other.tool),
            text(&other.set),
            Value::Time(other.at),
            Value::Bool(other.passed),
            text(&other.detail),
            time(at),
            backup.map_or(Value::Null, |backup| text(&backup)),
            seconds(Some(self.promise.drill_every)),
        ];
        let seen = snapshot(&name, &DRILL, vec![row], other.at);
        Sighting {
            collector: name,
            database: None,
            seen: Ok(Arc::new(seen)),
        }
    }

    fn about(&self, repository: &RepositoryFacts, survey: &Survey) -> Vec<Value> {
        let newest = survey.newest();
        let drill = survey.last_drill();
        let proof = survey.last_proof();
        let windows = survey.windows();
        let wal = &survey.wal;
        let gaps = |healed: bool| -> Vec<String> {
            let gaps = wal.gaps.iter();
            let gaps = gaps.filter(|gap| gap.needed && gap.healed == healed);
            gaps.map(|gap| format!("{} to {}", gap.from, gap.to))
                .collect()
        };
        let open = gaps(false);
        let rto = proof.and_then(|(_, proof)| proof.rto);
        let promise = &self.promise;
        let rotten = survey.rotten();
        let rotten = rotten.map(|(name, why)| format!("{name}: {why}"));
        vec![
            text(&repository.name),
            text(&repository.place),
            count(survey.backups.len() as u64),
            newest.map_or(Value::Null, |it| text(&it.id)),
            time(newest.map(|it| it.ended_at)),
            time(windows.first().map(|it| it.from)),
            time(windows.last().map(|it| it.to)),
            Value::List(open.clone()),
            count(open.len() as u64),
            Value::List(gaps(true)),
            Value::List(wal.conflicts.clone()),
            wal.durable.map_or(Value::Null, |lsn| count(lsn.0)),
            wal.timeline.map_or(Value::Null, |it| count(u64::from(it))),
            time(wal.durable_at),
            time(wal.complete_at),
            time(drill.map(|(_, proof)| proof.at)),
            drill.map_or(Value::Null, |(_, proof)| Value::Bool(proof.passed)),
            drill.map_or(Value::Null, |(_, proof)| text(&proof.detail)),
            time(proof.map(|(_, proof)| proof.at)),
            proof.map_or(Value::Null, |(backup, _)| text(&backup.id)),
            seconds(rto),
            count(survey.all_bytes.unwrap_or(survey.used_bytes)),
            survey.free_bytes.map_or(Value::Null, count),
            survey.space_bytes.map_or(Value::Null, count),
            seconds(promise.rpo),
            seconds(promise.rto),
            seconds(Some(promise.drill_every)),
            promise.slot.as_deref().map_or(Value::Null, text),
            time(survey.read_since()),
            seconds(Some(promise.verify_every)),
            Value::List(rotten.collect()),
        ]
    }
}

fn backups(survey: &Survey) -> Vec<Vec<Value>> {
    let row = |backup: &super::BackupSummary| {
        vec![
            text(&backup.id),
            Value::Time(backup.ended_at),
            count(backup.stored_bytes),
            Value::Bool(backup.whole()),
            text(&backup.kind),
        ]
    };
    survey.backups.iter().map(row).collect()
}

fn snapshot(
    name: &str,
    columns: &[(&str, ColumnKind)],
    rows: Vec<Vec<Value>>,
    at: Timestamp,
) -> Snapshot {
    let column = |(name, kind): &(&str, ColumnKind)| Column {
        name: (*name).to_owned(),
        kind: *kind,
        unit: name.ends_with("_bytes").then(|| "bytes".to_owned()),
    };
    Snapshot {
        collector: name.to_owned(),
        database: None,
        at,
        epoch: None,
        cost: Cost {
            elapsed: Duration::ZERO,
            rows: rows.len(),
        },
        columns: columns.iter().map(column).collect(),
        rows,
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn count(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn time(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, Value::Time)
}

fn seconds(length: Option<Duration>) -> Value {
    length.map_or(Value::Null, |length| Value::Float(length.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, backup, drill};
    use super::super::{BackupPromise, RepositoryFacts};
    use super::*;
    use crate::Blind;

    #[test]
    fn every_row_has_a_value_for_each_column_and_blindness_stays_blind() {
        let mut one = backup("A", "10T02:00", 100, 200);
        one.proofs.push(drill("11T00:00", true));
        let repository = |name: &str, survey| RepositoryFacts {
            name: name.to_owned(),
            place: "/srv/backup".to_owned(),
            at: at("20T00:00"),
            survey,
            troubles: Vec::new(),
        };
        let survey = Survey {
            backups: vec![one],
            ..Survey::default()
        };
        let blind = Blind::Failed {
            what: "could not list it".to_owned(),
        };
        let facts = BackupFacts {
            repositories: vec![
                repository("main", Ok(survey)),
                repository("away", Err(blind)),
            ],
            others: vec![OtherDrill {
                tool: "pgbackrest".to_owned(),
                set: "main".to_owned(),
                at: at("19T00:00"),
                passed: false,
                detail: "replay: it ended".to_owned(),
                proven: None,
            }],
            promise: BackupPromise::default(),
        };
        let sightings = facts.sightings();
        let names: Vec<&str> = sightings.iter().map(|it| it.collector.as_str()).collect();
        assert_eq!(
            names,
            [
                "backup:main",
                "repository:main",
                "backup:away",
                "repository:away",
                "drill:pgbackrest main"
            ]
        );
        for sighting in [&sightings[0], &sightings[1], &sightings[4]] {
            let snapshot = sighting.seen.as_ref().unwrap();
            assert_eq!(snapshot.rows[0].len(), snapshot.columns.len());
        }
        let about = sightings[1].seen.as_ref().unwrap();
        let row = about.first().unwrap();
        assert_eq!(row.text("proven_backup"), Some("A"));
        assert_eq!(row.float("rto_seconds"), Some(90.0));
        assert!(sightings[2].seen.is_err() && sightings[3].seen.is_err());
    }
}
