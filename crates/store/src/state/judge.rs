//! From one evaluation to the findings that it opens, updates and closes.
//!
//! What was judged and is no longer found is over. What was not seen is not: a check that could not see, was not run, or
//! whose findings were too many to be told closes nothing, nor does a server that does not answer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use pawang_core::{Blind, Evaluation, Finding, Level, Outcome, Timestamp, Verdict};
use rusqlite::{Transaction, params};

use super::finding::level_at;
use super::{FORGET_MAX, KEPT_AGE_MAX, State, alert, instant, stored};
use crate::Error;

/// A finding whose numbers changed, but not its level, is written again after so long.
const REWRITE_AFTER: Duration = Duration::from_secs(60);
/// Open findings of one check on one instance; beyond, those seen longest ago are closed.
const OPEN_MAX: usize = 1_000;
/// Closed findings that are kept at most.
const CLOSED_MAX: i64 = 200_000;
/// How often old ones are looked for.
const FORGET_EVERY: Duration = Duration::from_secs(3_600);

/// What is open, in memory, so that an evaluation without news costs no disk.
#[derive(Default)]
pub(super) struct Memory {
    instances: HashMap<String, BTreeMap<String, Open>>,
    forgot_at: Option<Timestamp>,
}

/// An open finding.
#[derive(Clone)]
struct Open {
    id: i64,
    check: String,
    opened_at: Timestamp,
    worst: Level,
    /// As it was seen last, as JSON; empty when this process has not seen it yet.
    seen: String,
    level: Level,
    database: Option<String>,
    seen_at: Timestamp,
    /// Whether `seen` is what the file has.
    written: bool,
    written_at: Timestamp,
}

impl State {
    /// Opens, updates and closes the findings of an instance; returns since when each open one is open, by fingerprint.
    ///
    /// # Errors
    /// The disk refuses; nothing is forgotten then, and the next evaluation is judged against the same past.
    pub fn judge(&self, evaluation: &Evaluation) -> Result<BTreeMap<String, Timestamp>, Error> {
        let mut memory = self.judged();
        let name = &evaluation.instance.name;
        let before = match memory.instances.get(name) {
            Some(open) => open.clone(),
            None => self.open_of(name)?,
        };
        let mut after = before.clone();
        let forget = memory
            .forgot_at
            .is_none_or(|at| elapsed(at, evaluation.at) >= FORGET_EVERY);
        let news = news(&before, evaluation);
        if !news.is_empty() || forget {
            self.write(|transaction| {
                for step in &news {
                    step.write(transaction, name, evaluation.at, &mut after)?;
                }
                if forget {
                    forget_old(transaction, evaluation.at)?;
                    alert::forget_old(transaction, evaluation.at)?;
                }
                Ok(())
            })?;
        }
        if forget {
            memory.forgot_at = Some(evaluation.at);
        }
        see(&mut after, evaluation);
        let since = after
            .iter()
            .map(|(fingerprint, open)| (fingerprint.clone(), open.opened_at))
            .collect();
        memory.instances.insert(name.clone(), after);
        Ok(since)
    }

    /// Closes all findings of an instance that is no longer looked after.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn release(&self, instance: &str, now: Timestamp) -> Result<(), Error> {
        let mut memory = self.judged();
        self.write(|transaction| {
            transaction.execute(
                "UPDATE finding SET closed_at = max(?2, opened_at) WHERE instance = ?1 AND closed_at IS NULL",
                params![instance, stored(now)],
            )
        })?;
        memory.instances.remove(instance);
        Ok(())
    }

    /// Returns since when the findings of an instance are open, as far as this process knows.
    pub(crate) fn known_since(&self, instance: &str) -> BTreeMap<String, Timestamp> {
        let memory = self.judged();
        let open = memory.instances.get(instance);
        open.into_iter()
            .flatten()
            .map(|(fingerprint, open)| (fingerprint.clone(), open.opened_at))
            .collect()
    }

    fn open_of(&self, instance: &str) -> Result<BTreeMap<String, Open>, Error> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT fingerprint, id, check_id, opened_at, worst, finding ->> '$.level', finding ->> '$.database'
                     FROM finding WHERE instance = ?1 AND closed_at IS NULL",
                )?
                .query_map([instance], |row| {
                    let opened_at = instant(row.get(3)?);
                    let open = Open {
                        id: row.get(1)?,
                        check: row.get(2)?,
                        opened_at,
                        worst: level_at(row, 4)?,
                        seen: String::new(),
                        level: level_at(row, 5)?,
                        database: row.get(6)?,
                        seen_at: opened_at,
                        written: true,
                        written_at: opened_at,
                    };
                    Ok((row.get(0)?, open))
                })?
                .collect()
        })
    }
}

/// One change of the file.
enum Step<'a> {
    Open(&'a Finding),
    Update(&'a Finding),
    Close(String),
}

/// Returns what an evaluation changes in the file.
fn news<'a>(before: &BTreeMap<String, Open>, evaluation: &'a Evaluation) -> Vec<Step<'a>> {
    let mut steps = Vec::new();
    let mut found = BTreeSet::new();
    for finding in told(evaluation) {
        if !found.insert(finding.fingerprint.as_str()) {
            continue;
        }
        match before.get(&finding.fingerprint) {
            None => steps.push(Step::Open(finding)),
            Some(open) if due(open, finding, evaluation.at) => steps.push(Step::Update(finding)),
            Some(_) => {}
        }
    }
    let mut closing = Vec::new();
    for verdict in &evaluation.verdicts {
        let mut left: Vec<(&String, &Open)> = before
            .iter()
            .filter(|(fingerprint, open)| {
                open.check == verdict.check && !found.contains(fingerprint.as_str())
            })
            .collect();
        closing.extend(
            left.extract_if(.., |(_, open)| over(open, verdict, evaluation))
                .map(|(fingerprint, _)| Step::Close(fingerprint.clone())),
        );
        // Those that can be closed neither for a reason must not grow without end.
        let surplus = (left.len() + verdict.findings.len()).saturating_sub(OPEN_MAX);
        left.sort_by_key(|(_, open)| (open.seen_at, open.id));
        closing.extend(
            left.iter()
                .take(surplus)
                .map(|(fingerprint, _)| Step::Close((*fingerprint).clone())),
        );
    }
    closing.extend(steps);
    closing
}

/// Returns the findings that are worth a record: what no run could see, and what only needs a second sample, is told by
/// other means.
fn told(evaluation: &Evaluation) -> impl Iterator<Item = &Finding> {
    evaluation
        .verdicts
        .iter()
        .flat_map(|verdict| &verdict.findings)
        .filter(|finding| {
            !matches!(
                finding.blind,
                Some(Blind::Unreachable { .. } | Blind::FirstSample | Blind::Reset { .. })
            )
        })
}

/// Returns whether a finding that the verdict no longer tells was seen to be over.
fn over(open: &Open, verdict: &Verdict, evaluation: &Evaluation) -> bool {
    if evaluation.server.is_none() || verdict.findings.len() < verdict.findings_total {
        return false;
    }
    match verdict.outcome {
        Outcome::Judged | Outcome::NotApplicable => true,
        // A check that looks into each database judged those in which it was not blind.
        Outcome::Unknown => {
            open.database.is_some()
                && !verdict.findings.iter().any(|finding| {
                    finding.level == Level::Unknown
                        && (finding.database.is_none() || finding.database == open.database)
                })
        }
    }
}

/// Returns whether the file must be told of a finding that is still there.
fn due(open: &Open, finding: &Finding, at: Timestamp) -> bool {
    finding.level != open.level
        || (elapsed(open.written_at, at) >= REWRITE_AFTER && json(finding) != open.seen)
}

/// Notes what was seen now, for the next evaluation and for the last words at the end.
fn see(after: &mut BTreeMap<String, Open>, evaluation: &Evaluation) {
    for finding in told(evaluation) {
        let Some(open) = after.get_mut(&finding.fingerprint) else {
            continue;
        };
        let seen = json(finding);
        if open.seen != seen {
            open.written = open.written_at == evaluation.at;
            open.seen = seen;
        }
        open.seen_at = evaluation.at;
    }
}

impl Step<'_> {
    fn write(
        &self,
        transaction: &Transaction<'_>,
        instance: &str,
        at: Timestamp,
        after: &mut BTreeMap<String, Open>,
    ) -> rusqlite::Result<()> {
        match self {
            Step::Open(finding) => {
                transaction.execute(
                    "INSERT INTO finding (instance, fingerprint, check_id, opened_at, worst, finding)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![
                        instance,
                        finding.fingerprint,
                        finding.check,
                        stored(at),
                        finding.level.as_str(),
                        json(finding)
                    ],
                )?;
                let open = Open {
                    id: transaction.last_insert_rowid(),
                    check: finding.check.clone(),
                    opened_at: at,
                    worst: finding.level,
                    seen: json(finding),
                    level: finding.level,
                    database: finding.database.clone(),
                    seen_at: at,
                    written: true,
                    written_at: at,
                };
                after.insert(finding.fingerprint.clone(), open);
            }
            Step::Update(finding) => {
                let Some(open) = after.get_mut(&finding.fingerprint) else {
                    return Ok(());
                };
                open.worst = open.worst.max(finding.level);
                open.level = finding.level;
                open.written_at = at;
                transaction.execute(
                    "UPDATE finding SET worst = ?2, finding = ?3 WHERE id = ?1",
                    params![open.id, open.worst.as_str(), json(finding)],
                )?;
            }
            Step::Close(fingerprint) => {
                let Some(open) = after.remove(fingerprint) else {
                    return Ok(());
                };
                let seen = (!open.written).then_some(open.seen);
                // The clock may have been put back since it was opened.
                transaction.execute(
                    "UPDATE finding SET closed_at = max(?2, opened_at), finding = coalesce(?3, finding) WHERE id = ?1",
                    params![open.id, stored(at), seen],
                )?;
            }
        }
        Ok(())
    }
}

fn forget_old(transaction: &Transaction<'_>, now: Timestamp) -> rusqlite::Result<()> {
    let oldest = now - KEPT_AGE_MAX;
    transaction.execute(
        "DELETE FROM finding WHERE id IN (
             SELECT id FROM finding WHERE closed_at < ?1 ORDER BY closed_at LIMIT ?2)",
        params![stored(oldest), FORGET_MAX],
    )?;
    transaction.execute(
        "DELETE FROM finding WHERE id IN (
             SELECT id FROM finding WHERE closed_at IS NOT NULL ORDER BY closed_at
             LIMIT max(0, min(?2, (SELECT count(*) FROM finding WHERE closed_at IS NOT NULL) - ?1)))",
        params![CLOSED_MAX, FORGET_MAX],
    )?;
    Ok(())
}

fn json(finding: &Finding) -> String {
    serde_json::to_string(finding).expect("a finding has no map and nothing that JSON lacks")
}

/// Returns the time between two instants, whichever way the clock went.
fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from).unsigned_abs()
}
