//! One look of a test: samples become what the checks would say.

use std::collections::{BTreeMap, BTreeSet};

use pawang_core::{
    Evaluation, Finding, Instance, Level, Measure, Outcome as Ended, Role, Server, Timestamp, Unit,
    Verdict, fingerprint,
};

use super::values::Cell;
use super::{Placed, Test};
use crate::book::Subject;

/// A value that is to be graded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asked<'a> {
    /// The instance.
    pub instance: &'a str,
    /// Its group.
    pub group: Option<&'a str>,
    /// Which object of which check.
    pub placed: &'a Placed,
    /// The value; none when the test says the level itself.
    pub value: Option<f64>,
}

/// A value that was graded.
#[derive(Clone, Debug, PartialEq)]
pub struct Graded {
    /// How bad it is; not looked at when the test says the level itself.
    pub level: Level,
    /// The limit that was crossed.
    pub threshold: Option<f64>,
    /// Both limits in force.
    pub limits: (Option<f64>, Option<f64>),
    /// The check's title.
    pub title: String,
    /// The check's unit.
    pub unit: Unit,
    /// What to do.
    pub remedy: String,
}

/// Returns the question how bad a value is.
pub(super) fn asked<'a>(
    test: &'a Test,
    subject: &'a Subject,
    placed: &'a Placed,
    value: Option<f64>,
) -> Asked<'a> {
    Asked {
        instance: &test.instance,
        group: subject.group.as_deref(),
        placed,
        value,
    }
}

/// Returns what the checks say now, and which of them looked; nothing when none did.
pub(super) fn evaluation(
    test: &Test,
    subject: &Subject,
    seen: &BTreeMap<Placed, Cell>,
    now: Timestamp,
    grade: &dyn Fn(&Asked<'_>) -> Option<Graded>,
) -> Option<(Evaluation, BTreeSet<String>)> {
    let mut verdicts: BTreeMap<&str, Verdict> = BTreeMap::new();
    let mut looked = BTreeSet::new();
    for (placed, cell) in seen {
        let value = match cell {
            Cell::Value(value) => Some(*value),
            Cell::Level(_) | Cell::Nothing => None,
        };
        let mut graded = grade(&asked(test, subject, placed, value))?;
        match cell {
            Cell::Value(_) => {}
            Cell::Level(level) => (graded.level, graded.threshold) = (*level, None),
            Cell::Nothing => graded.level = Level::Ok,
        }
        let verdict = verdicts
            .entry(&placed.check)
            .or_insert_with(|| empty(placed, &graded));
        if *cell != Cell::Nothing {
            looked.insert(placed.check.clone());
            add(verdict, placed, value, graded, &test.instance);
        }
    }
    if looked.is_empty() {
        return None;
    }
    let evaluation = Evaluation {
        instance: Instance {
            name: test.instance.clone(),
            group: subject.group.clone(),
            expected_standbys: Vec::new(),
        },
        at: now,
        server: Some(server(subject)),
        profile: None,
        verdicts: verdicts.into_values().collect(),
        costs: BTreeMap::new(),
        notes: Vec::new(),
    };
    Some((evaluation, looked))
}

fn empty(placed: &Placed, graded: &Graded) -> Verdict {
    Verdict {
        check: placed.check.clone(),
        title: graded.title.clone(),
        outcome: Ended::Judged,
        level: Level::Ok,
        unit: graded.unit,
        findings: Vec::new(),
        findings_total: 0,
        measures: Vec::new(),
        measures_total: 0,
        note: None,
    }
}

fn add(verdict: &mut Verdict, placed: &Placed, value: Option<f64>, graded: Graded, instance: &str) {
    verdict.level = verdict.level.max(graded.level);
    let object = [placed.database.as_deref().unwrap_or(""), &placed.object];
    let object = object.into_iter().filter(|part| !part.is_empty());
    if let Some(value) = value {
        verdict.measures.push(Measure {
            object: object.collect::<Vec<_>>().join("/"),
            value,
            level: graded.level,
            warning: graded.limits.0,
            critical: graded.limits.1,
        });
        verdict.measures_total += 1;
    }
    if graded.level == Level::Ok {
        return;
    }
    let blind = graded.level == Level::Unknown;
    if blind {
        verdict.outcome = Ended::Unknown;
    }
    let object = if blind { "" } else { placed.object.as_str() };
    let print = if blind { "unknown" } else { object };
    let title = match (value, graded.threshold) {
        (Some(value), Some(limit)) => {
            format!(
                "{} (limit {})",
                graded.unit.show(value),
                graded.unit.show(limit)
            )
        }
        _ => graded.title,
    };
    verdict.findings.push(Finding {
        check: placed.check.clone(),
        object: object.to_owned(),
        database: placed.database.clone(),
        level: graded.level,
        title,
        value,
        unit: graded.unit,
        threshold: graded.threshold,
        since: None,
        evidence: Vec::new(),
        remedy: graded.remedy,
        blind: None,
        fingerprint: fingerprint(&placed.check, instance, placed.database.as_deref(), print),
    });
    verdict.findings_total += 1;
}

/// A server that answers: checks of a test never find it gone.
fn server(subject: &Subject) -> Server {
    Server {
        version: 180_000,
        version_text: "18.0".to_owned(),
        role: subject.role.unwrap_or(Role::Primary),
        epoch: pawang_core::Epoch::default(),
        user: "test".to_owned(),
        superuser: false,
        monitor: true,
        database: "postgres".to_owned(),
        data_directory: None,
        local: false,
    }
}
