//! Judges one instance: asks the checks whose inputs changed and keeps what the others said.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use pawang_check::{Check, Scope, evaluate_all};
use pawang_core::{Cost, Evaluation, Facts, Level, Snapshot, Timestamp, Value, Verdict};

use super::setup::Setup;
use crate::estate::{CommandLimits, Limited};

/// The collector under which what checks measured is remembered.
pub(super) const MEASURES: &str = "check-measures";
/// Measured objects remembered per instance and minute; those of findings go first.
const MEASURES_MAX: usize = 1_000;
/// Measured objects remembered per check when all is well.
const MEASURES_PER_CHECK_MAX: usize = 10;
/// Findings that stay the same are told to the store again after so much time.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// Which checks have to be asked again.
#[derive(Default)]
pub(super) struct Pending {
    /// All of them: the server came, went or became another, or the configuration changed.
    pub everything: bool,
    /// Those that read these collectors.
    pub collectors: BTreeSet<String>,
}

impl Pending {
    /// Says whether there is nothing to ask.
    pub(super) fn is_empty(&self) -> bool {
        !self.everything && self.collectors.is_empty()
    }
}

/// What the checks say, and which of them were asked anew.
pub(super) struct Judged {
    /// The verdicts, also those of checks that were not asked.
    pub evaluation: Arc<Evaluation>,
    /// The checks that were asked.
    pub asked: Arc<BTreeSet<String>>,
}

/// Asks the checks that are pending; the verdicts of the others are taken from the evaluation before.
pub(super) fn judge(
    setup: &Setup,
    facts: &Facts,
    older: Option<&Facts>,
    pending: &Pending,
    before: Option<&Evaluation>,
) -> Judged {
    let own = setup.estate.user_checks();
    let checks = setup.checks(&own);
    let (asked, kept) = divide(checks, pending, before);
    let policy = Limited {
        config: &setup.estate.config,
        instance: &facts.instance,
        known: &setup.known,
        limits: CommandLimits::default(),
    };
    let mut evaluation = evaluate_all(&asked, facts, older, &policy);
    if let Some(before) = before {
        let verdicts = before.verdicts.iter();
        let verdicts = verdicts.filter(|verdict| kept.contains(verdict.check.as_str()));
        evaluation.verdicts.extend(verdicts.cloned());
        let verdicts = &mut evaluation.verdicts;
        verdicts.sort_by(|a, b| b.level.cmp(&a.level).then_with(|| a.check.cmp(&b.check)));
    }
    Judged {
        evaluation: Arc::new(evaluation),
        asked: Arc::new(asked.iter().map(|check| check.id.to_owned()).collect()),
    }
}

/// Tells the checks that are asked from those whose verdict is kept.
fn divide<'a>(
    checks: Vec<&'a Check<'a>>,
    pending: &Pending,
    before: Option<&Evaluation>,
) -> (Vec<&'a Check<'a>>, BTreeSet<&'a str>) {
    let mut kept = BTreeSet::new();
    let (true, Some(before)) = (!pending.everything, before) else {
        return (checks, kept);
    };
    // An unknown verdict may wait for something that is not a collector, such as time.
    let unknown: BTreeSet<&str> = before
        .verdicts
        .iter()
        .filter(|verdict| verdict.level == Level::Unknown)
        .map(|verdict| verdict.check.as_str())
        .collect();
    let mut asked = Vec::new();
    for check in checks {
        let concerned = check.needs.is_empty()
            || check
                .needs
                .iter()
                .any(|name| pending.collectors.contains(*name))
            || unknown.contains(check.id);
        if concerned {
            asked.push(check);
        } else {
            kept.insert(check.id);
        }
    }
    (asked, kept)
}

/// What was last told to the store, so that the same is not told every few seconds.
#[derive(Default)]
pub(super) struct Told {
    hash: u64,
    at: Option<Timestamp>,
}

impl Told {
    /// Says whether an evaluation says something new, or the last telling is long ago.
    pub(super) fn is_news(&mut self, evaluation: &Evaluation) -> bool {
        let hash = essence(evaluation);
        let recent = self.at.is_some_and(|at| {
            let age = evaluation.at.duration_since(at);
            // A clock that went back must not silence the findings until it has caught up.
            Duration::try_from(age).is_ok_and(|age| age < TELL_AGAIN)
        });
        if recent && hash == self.hash {
            return false;
        }
        *self = Told {
            hash,
            at: Some(evaluation.at),
        };
        true
    }
}

/// Returns what must not change unnoticed: how each check ended, and which findings there are at which level.
fn essence(evaluation: &Evaluation) -> u64 {
    let mut verdicts: Vec<&Verdict> = evaluation.verdicts.iter().collect();
    verdicts.sort_by(|a, b| a.check.cmp(&b.check));
    let mut hasher = DefaultHasher::new();
    for verdict in verdicts {
        verdict.check.hash(&mut hasher);
        (verdict.outcome as u8).hash(&mut hasher);
        let mut findings: Vec<(&str, Level)> = verdict
            .findings
            .iter()
            .map(|finding| (finding.fingerprint.as_str(), finding.level))
            .collect();
        findings.sort_unstable();
        findings.hash(&mut hasher);
    }
    hasher.finish()
}

/// Returns what the checks measured as a snapshot, so that every finding has a past: at most [`MEASURES_MAX`] rows,
/// those of findings first.
pub(super) fn measures(
    setup: &Setup,
    evaluation: &Evaluation,
    databases: &[String],
    now: Timestamp,
) -> Snapshot {
    let own = setup.estate.user_checks();
    let of_database: BTreeSet<&str> = setup
        .checks(&own)
        .into_iter()
        .filter(|check| check.scope == Scope::Database)
        .map(|check| check.id)
        .collect();
    let mut rows: BTreeMap<(&str, &str, &str), f64> = BTreeMap::new();
    for urgent in [true, false] {
        for verdict in &evaluation.verdicts {
            let measures = verdict.measures.iter();
            let measures =
                measures.filter(|m| (m.level != Level::Ok) == urgent && m.value.is_finite());
            let most = if urgent {
                MEASURES_MAX
            } else {
                MEASURES_PER_CHECK_MAX
            };
            for measure in measures.take(most) {
                if rows.len() >= MEASURES_MAX {
                    break;
                }
                let databases = if of_database.contains(verdict.check.as_str()) {
                    databases
                } else {
                    &[]
                };
                let (database, object) = apart(&measure.object, databases);
                rows.insert((&verdict.check, database, object), measure.value);
            }
        }
    }
    let text = |text: &str| Value::Text(text.into());
    let rows: Vec<Vec<Value>> = rows
        .into_iter()
        .map(|((check, database, object), value)| {
            vec![
                text(check),
                text(database),
                text(object),
                Value::Float(value),
            ]
        })
        .collect();
    Snapshot {
        collector: MEASURES.to_owned(),
        database: None,
        at: now,
        epoch: None,
        cost: Cost {
            elapsed: Duration::ZERO,
            rows: rows.len(),
        },
        columns: setup.catalog.collector(MEASURES).header.columns.clone(),
        rows,
    }
}

/// Tells the database of a measured object from its name: `shop/public.orders`.
pub(super) fn apart<'a>(object: &'a str, databases: &[String]) -> (&'a str, &'a str) {
    let found = databases.iter().filter_map(|database| {
        let rest = object.strip_prefix(database.as_str())?;
        let rest = if rest.is_empty() {
            rest
        } else {
            rest.strip_prefix('/')?
        };
        Some((&object[..database.len()], rest))
    });
    // "a" and "a/b" may both be databases: the longer name is the one meant.
    found
        .max_by_key(|(database, _)| database.len())
        .unwrap_or(("", object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_of_a_measure_is_told_from_its_object() {
        let databases = ["a".to_owned(), "a/b".to_owned()];
        let check = |object: &str, expected: (&str, &str)| {
            assert_eq!(apart(object, &databases), expected);
        };
        check("a", ("a", ""));
        check("a/public.t", ("a", "public.t"));
        check("a/b/public.t", ("a/b", "public.t"));
        check("ab", ("", "ab"));
        check("", ("", ""));
    }
}
