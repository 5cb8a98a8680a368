//! From observations to verdicts: grading, overrides, bounds, and what could not be seen.

use pawang_core::{
    Blind, Evaluation, Facts, Finding, Level, Limits, Measure, Missing, Outcome, Verdict,
    fingerprint,
};

use crate::{Check, Direction, Observation, Scope, View};

/// Findings kept per verdict; the total is kept beside them.
const FINDINGS_MAX: usize = 100;
/// Measures kept per verdict.
const MEASURES_MAX: usize = 100;

/// A check's limits at one place.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Whether the check is switched on here.
    pub enabled: bool,
    /// The limits in force here.
    pub limits: Limits,
}

/// Where limits come from: the configuration, or the defaults.
pub trait Policy {
    /// Returns the limits of a check for a database and object (`None` for "in general").
    fn resolve(&self, check: &Check<'_>, database: Option<&str>, object: Option<&str>) -> Resolved;
}

/// The limits as shipped.
impl Policy for () {
    fn resolve(&self, check: &Check<'_>, _: Option<&str>, _: Option<&str>) -> Resolved {
        Resolved {
            enabled: true,
            limits: check.defaults(),
        }
    }
}

/// Evaluates `checks` on `facts`; verdicts come worst first.
pub fn evaluate_all(
    checks: &[&Check<'_>],
    facts: &Facts,
    older: Option<&Facts>,
    policy: &dyn Policy,
) -> Evaluation {
    let mut verdicts: Vec<Verdict> = checks
        .iter()
        .filter_map(|check| evaluate(check, facts, older, policy))
        .collect();
    verdicts.sort_by(|a, b| b.level.cmp(&a.level).then_with(|| a.check.cmp(&b.check)));
    let mut notes = facts.notes.clone();
    notes.extend(verdicts.iter().filter_map(cut_off));
    let costs = facts.sightings.iter().filter_map(|sighting| {
        let name = match &sighting.database {
            Some(database) => format!("{} ({database})", sighting.collector),
            None => sighting.collector.clone(),
        };
        sighting
            .seen
            .as_ref()
            .ok()
            .map(|snapshot| (name, snapshot.cost))
    });
    Evaluation {
        instance: facts.instance.clone(),
        at: facts.at,
        server: facts.server.as_ref().ok().cloned(),
        profile: None,
        verdicts,
        costs: costs.collect(),
        notes,
    }
}

/// Says how many findings of a check are not told.
fn cut_off(verdict: &Verdict) -> Option<String> {
    let kept = verdict.findings.len();
    (verdict.findings_total > kept).then(|| {
        format!(
            "{} has {} findings, of which the worst {kept} are told",
            verdict.check, verdict.findings_total
        )
    })
}

/// Evaluates one check; `None` when it is switched off for this instance.
pub fn evaluate(
    check: &Check<'_>,
    facts: &Facts,
    older: Option<&Facts>,
    policy: &dyn Policy,
) -> Option<Verdict> {
    let places: Vec<Option<&str>> = match check.scope {
        Scope::Server => vec![None],
        Scope::Database if facts.databases.is_empty() => vec![None],
        Scope::Database => facts
            .databases
            .iter()
            .map(|name| Some(name.as_str()))
            .collect(),
    };
    if !policy.resolve(check, None, None).enabled {
        return None;
    }
    let mut verdict = Verdict {
        check: check.id.to_owned(),
        title: check.title.to_owned(),
        outcome: Outcome::NotApplicable,
        level: Level::Ok,
        unit: check.unit,
        findings: Vec::new(),
        findings_total: 0,
        measures: Vec::new(),
        measures_total: 0,
        note: None,
    };
    for database in places {
        let resolved = policy.resolve(check, database, None);
        if !resolved.enabled {
            verdict.note.get_or_insert("switched off here".to_owned());
            continue;
        }
        let view = View {
            check: check.id,
            facts,
            older,
            database,
            limits: &resolved.limits,
            now: facts.at,
        };
        match (check.observe)(&view) {
            Ok(observations) => {
                if verdict.outcome == Outcome::NotApplicable {
                    verdict.outcome = Outcome::Judged;
                }
                observations
                    .into_iter()
                    .for_each(|seen| grade(check, &view, seen, policy, &mut verdict));
            }
            Err(Missing::NotApplicable(reason)) => {
                verdict.note.get_or_insert(reason);
            }
            Err(Missing::Blind(blind)) => {
                verdict.outcome = Outcome::Unknown;
                verdict.findings.push(unseen(check, &view, blind));
            }
        }
    }
    Some(finish(verdict, check.direction))
}

/// Grades one observation: a measure always, a finding when it is not ok.
fn grade(
    check: &Check<'_>,
    view: &View<'_>,
    seen: Observation,
    policy: &dyn Policy,
    verdict: &mut Verdict,
) {
    let resolved = policy.resolve(check, view.database, Some(&seen.object));
    if !resolved.enabled {
        return;
    }
    let limits = resolved.limits;
    let (level, threshold) = match seen.level {
        Some(level) => (level, None),
        None => level_of(check.direction, seen.value, &limits),
    };
    verdict.measures.push(Measure {
        object: place(view.database, &seen.object),
        value: seen.value,
        level,
        warning: limits.warning,
        critical: limits.critical,
    });
    if level == Level::Ok {
        return;
    }
    if level == Level::Unknown {
        verdict.outcome = Outcome::Unknown;
    }
    let title = match threshold {
        Some(limit) => format!("{} (limit {})", seen.title, check.unit.show(limit)),
        None => seen.title,
    };
    verdict.findings.push(Finding {
        check: check.id.to_owned(),
        fingerprint: fingerprint(
            check.id,
            &view.facts.instance.name,
            view.database,
            &seen.object,
        ),
        object: seen.object,
        database: view.database.map(str::to_owned),
        level,
        title,
        value: (!seen.value.is_nan()).then_some(seen.value),
        unit: check.unit,
        threshold,
        since: seen.since,
        evidence: seen.evidence,
        remedy: seen.remedy.unwrap_or_else(|| check.fix.to_owned()),
        blind: None,
    });
}

/// Returns the level of a value and the limit that it crossed.
fn level_of(direction: Direction, value: f64, limits: &Limits) -> (Level, Option<f64>) {
    if value.is_nan() {
        return (Level::Unknown, None);
    }
    let crossed = |limit: Option<f64>| {
        limit.filter(|limit| match direction {
            Direction::Above => value >= *limit,
            Direction::Below => value <= *limit,
        })
    };
    match (crossed(limits.critical), crossed(limits.warning)) {
        (Some(limit), _) => (Level::Critical, Some(limit)),
        (None, Some(limit)) => (Level::Warning, Some(limit)),
        (None, None) => (Level::Ok, None),
    }
}

/// The finding that says that nothing was seen, why, and what would help.
fn unseen(check: &Check<'_>, view: &View<'_>, blind: Blind) -> Finding {
    Finding {
        check: check.id.to_owned(),
        object: String::new(),
        database: view.database.map(str::to_owned),
        level: Level::Unknown,
        title: blind.sentence(),
        value: None,
        unit: check.unit,
        threshold: None,
        since: None,
        evidence: Vec::new(),
        remedy: blind.remedy(),
        fingerprint: fingerprint(
            check.id,
            &view.facts.instance.name,
            view.database,
            "unknown",
        ),
        blind: Some(blind),
    }
}

/// Sorts worst first, so that the bounds cut the least bad.
fn finish(mut verdict: Verdict, direction: Direction) -> Verdict {
    let worse = |a: f64, b: f64| match direction {
        Direction::Above => b.total_cmp(&a),
        Direction::Below => a.total_cmp(&b),
    };
    verdict.findings.sort_by(|a, b| {
        let values = worse(a.value.unwrap_or(0.0), b.value.unwrap_or(0.0));
        b.level
            .cmp(&a.level)
            .then(values)
            .then_with(|| a.object.cmp(&b.object))
    });
    verdict.measures.sort_by(|a, b| {
        b.level
            .cmp(&a.level)
            .then_with(|| worse(a.value, b.value))
            .then_with(|| a.object.cmp(&b.object))
    });
    verdict.findings_total = verdict.findings.len();
    verdict.measures_total = verdict.measures.len();
    verdict.findings.truncate(FINDINGS_MAX);
    verdict.measures.truncate(MEASURES_MAX);
    verdict.level = verdict
        .findings
        .first()
        .map_or(Level::Ok, |finding| finding.level);
    if verdict.outcome != Outcome::NotApplicable {
        verdict.note = None;
    }
    verdict
}

fn place(database: Option<&str>, object: &str) -> String {
    match database {
        Some(database) if object.is_empty() => database.to_owned(),
        Some(database) => format!("{database}/{object}"),
        None => object.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use pawang_core::{Instance, Timestamp, Unit};

    use super::*;

    /// A verdict of a check that measures 0 to `count`, exclusive.
    fn verdict(direction: Direction, critical: f64, count: u32) -> Verdict {
        fn observe(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
            let count = view.floor("count") as u32;
            let observation = |value| Observation {
                object: format!("object-{value}"),
                value: f64::from(value),
                ..Observation::default()
            };
            Ok((0..count).map(observation).collect())
        }
        let floors = [crate::Floor {
            name: "count",
            value: f64::from(count),
            unit: Unit::Count,
            ignores: "",
        }];
        let check = Check {
            id: "test",
            group: crate::Group::Schema,
            title: "",
            scope: Scope::Server,
            needs: &[],
            unit: Unit::Count,
            direction,
            warning: None,
            critical: Some(critical),
            floors: &floors,
            what: "",
            why: "",
            fix: "",
            observe,
        };
        let facts = Facts {
            instance: Instance::default(),
            at: Timestamp::UNIX_EPOCH,
            server: Err(Blind::FirstSample),
            down: None,
            databases: Vec::new(),
            sightings: Vec::new(),
            notes: Vec::new(),
        };
        evaluate(&check, &facts, None, &()).unwrap()
    }

    #[test]
    fn bounds_cut_the_least_bad_on_either_side() {
        let above = verdict(Direction::Above, 5_000.0, 10_000);
        assert_eq!(above.findings_total, 5_000);
        assert_eq!(above.findings.len(), FINDINGS_MAX);
        assert_eq!(above.findings[0].value, Some(9_999.0));
        assert_eq!(above.level, Level::Critical);
        assert_eq!(
            cut_off(&above).unwrap(),
            "test has 5000 findings, of which the worst 100 are told"
        );
        let below = verdict(Direction::Below, 5_000.0, 10_000);
        assert_eq!(below.findings_total, 5_001);
        assert_eq!(below.findings[0].value, Some(0.0));
        assert_eq!(below.measures[0].value, 0.0);
        let healthy = verdict(Direction::Below, -1.0, 10);
        assert_eq!(
            healthy.measures[0].value, 0.0,
            "the worst value comes first"
        );
    }

    #[test]
    fn limits_belong_to_the_wrong_side() {
        let limits = Limits {
            warning: Some(80.0),
            critical: Some(90.0),
            ..Limits::default()
        };
        for (value, level) in [
            (79.9, Level::Ok),
            (80.0, Level::Warning),
            (90.0, Level::Critical),
        ] {
            assert_eq!(level_of(Direction::Above, value, &limits).0, level);
        }
        let limits = Limits {
            warning: Some(95.0),
            critical: Some(80.0),
            ..Limits::default()
        };
        for (value, level) in [
            (99.0, Level::Ok),
            (95.0, Level::Warning),
            (12.0, Level::Critical),
        ] {
            assert_eq!(level_of(Direction::Below, value, &limits).0, level);
        }
        assert_eq!(
            level_of(Direction::Above, f64::NAN, &limits).0,
            Level::Unknown
        );
    }
}
