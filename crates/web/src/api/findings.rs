//! Findings and verdicts.

use pawang_core::{Level, Outcome, Timestamp};
use pawang_store::live::Present;
use pawang_store::state::FindingQuery;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::estate::Unseen;
use super::{least_level, limit, page_of, paged, reply};
use crate::page::parts::without_secrets;
use crate::problem::Problem;
use crate::routes::{Look, Reply};

/// Something that a person should know.
#[derive(Clone, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Finding {
    /// Stable identity of check, instance and object.
    fingerprint: String,
    /// The instance.
    instance: String,
    /// The check.
    check: String,
    /// What it is about; empty for the server as a whole.
    object: String,
    /// The database that the object lives in.
    database: Option<String>,
    /// `info`, `unknown`, `warning` or `critical`.
    #[schemars(with = "String")]
    level: Level,
    /// One sentence with number and limit.
    title: String,
    /// The value in the unit of the check.
    value: Option<f64>,
    /// The unit of the check.
    unit: Value,
    /// The limit that was crossed.
    threshold: Option<f64>,
    /// Since when it is so.
    since: Option<Timestamp>,
    /// Named facts that prove it.
    evidence: Vec<(String, String)>,
    /// What to do.
    remedy: String,
}

/// One time that a finding was open.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct FindingRecord {
    /// Grows with every record.
    id: i64,
    /// When it was first seen.
    opened_at: Timestamp,
    /// When it was first seen to be over.
    closed_at: Option<Timestamp>,
    /// The worst level that it had.
    worst: String,
    /// The finding as it was seen last.
    finding: Finding,
}

/// What one check says about one instance.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Verdict {
    /// The check.
    check: String,
    /// A few words for tables.
    title: String,
    /// `judged`, `not-applicable` or `unknown`.
    outcome: String,
    /// The worst level of all objects.
    level: String,
    /// The unit of the values.
    unit: Value,
    /// How many findings there are.
    findings: usize,
    /// How many objects were measured.
    measured: usize,
    /// The objects that were measured, worst first, bounded.
    measures: Vec<Measure>,
    /// Why it does not apply, or what it wants to add.
    note: Option<String>,
    /// Why it could not see.
    blind: Option<Unseen>,
}

/// One measured object.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Measure {
    /// What was measured; empty for the server as a whole.
    object: String,
    /// The value, in the unit of the check.
    value: f64,
    /// How it was graded.
    level: String,
    /// The warning limit in force.
    warning: Option<f64>,
    /// The critical limit in force.
    critical: Option<f64>,
}

/// Answers with the open findings of the estate.
pub(crate) fn findings(look: &Look<'_>) -> Result<Reply, Problem> {
    let mut found = Vec::new();
    for present in look.visit.site.live.instances() {
        let name = &present.instance.name;
        if look
            .visit
            .parameter("instance")
            .is_none_or(|wanted| wanted == name)
        {
            found.extend(open(&present));
        }
    }
    listed(look, found)
}

/// Answers with the open findings of one instance.
pub(crate) fn instance_findings(look: &Look<'_>) -> Result<Reply, Problem> {
    let present = look.visit.instance(look.arguments.get("name"))?;
    listed(look, open(&present))
}

/// Answers with every time that a finding was open.
pub(crate) fn finding(look: &Look<'_>) -> Result<Reply, Problem> {
    let fingerprint = look.arguments.get("fingerprint");
    let limit = limit(look)?;
    let before = match look.visit.parameter("after") {
        None => None,
        Some(text) => Some(
            text.parse()
                .map_err(|_| Problem::parameter("after", "a number"))?,
        ),
    };
    let records = look.visit.reader.findings(&FindingQuery {
        fingerprint: Some(fingerprint),
        before,
        limit: limit + 1,
        ..FindingQuery::default()
    })?;
    if records.is_empty() && before.is_none() && !is_open(look, fingerprint) {
        return Err(Problem::not_found(&format!("finding \"{fingerprint}\"")));
    }
    let more = records.len() > limit;
    let records: Vec<FindingRecord> = records
        .into_iter()
        .take(limit)
        .map(|record| FindingRecord {
            id: record.id,
            opened_at: record.opened_at,
            closed_at: record.closed_at,
            worst: record.worst.to_string(),
            finding: shown(&record.instance, &record.finding, Some(record.opened_at)),
        })
        .collect();
    let after = records.last().filter(|_| more);
    let after = after.map(|record| record.id.to_string());
    paged(&records, after)
}

/// Answers with what each check says of one instance.
pub(crate) fn verdicts(look: &Look<'_>) -> Result<Reply, Problem> {
    let present = look.visit.instance(look.arguments.get("name"))?;
    let least = least_level(look)?;
    let wanted = look.visit.parameter("check");
    let verdicts: Vec<Verdict> = present
        .evaluation
        .iter()
        .flat_map(|evaluation| &evaluation.verdicts)
        .filter(|verdict| verdict.level >= least && wanted.is_none_or(|id| id == verdict.check))
        .map(verdict)
        .collect();
    reply(&verdicts)
}

fn verdict(verdict: &pawang_core::Verdict) -> Verdict {
    let blind = verdict
        .findings
        .iter()
        .find_map(|finding| finding.blind.as_ref());
    Verdict {
        check: verdict.check.clone(),
        title: verdict.title.clone(),
        outcome: match verdict.outcome {
            Outcome::Judged => "judged",
            Outcome::NotApplicable => "not-applicable",
            Outcome::Unknown => "unknown",
        }
        .to_owned(),
        level: verdict.level.to_string(),
        unit: unit(verdict.unit),
        findings: verdict.findings_total,
        measured: verdict.measures_total,
        measures: verdict
            .measures
            .iter()
            .map(|measure| Measure {
                object: measure.object.clone(),
                value: measure.value,
                level: measure.level.to_string(),
                warning: measure.warning,
                critical: measure.critical,
            })
            .collect(),
        note: verdict.note.clone(),
        blind: blind.map(Unseen::from),
    }
}

fn open(present: &Present) -> Vec<Finding> {
    let name = &present.instance.name;
    let evaluation = present.evaluation.iter();
    let findings = evaluation.flat_map(|evaluation| evaluation.findings());
    findings
        .map(|finding| {
            shown(
                name,
                finding,
                present.since.get(&finding.fingerprint).copied(),
            )
        })
        .collect()
}

fn is_open(look: &Look<'_>, fingerprint: &str) -> bool {
    let presents = look.visit.site.live.instances();
    let evaluations = presents
        .iter()
        .filter_map(|present| present.evaluation.as_ref());
    let mut findings = evaluations.flat_map(|evaluation| evaluation.findings());
    findings.any(|finding| finding.fingerprint == fingerprint)
}

fn listed(look: &Look<'_>, mut found: Vec<Finding>) -> Result<Reply, Problem> {
    let least = least_level(look)?;
    let wanted = look.visit.parameter("check");
    found.retain(|finding| {
        finding.level >= least && wanted.is_none_or(|check| check == finding.check)
    });
    found.sort_by(|a, b| {
        let worst = b.level.cmp(&a.level);
        worst.then_with(|| a.fingerprint.cmp(&b.fingerprint))
    });
    let (page, after) = page_of(look, found, |finding| finding.fingerprint.clone())?;
    paged(&page, after)
}

/// Returns a finding as programs see it.
pub(super) fn shown(
    instance: &str,
    finding: &pawang_core::Finding,
    opened: Option<Timestamp>,
) -> Finding {
    Finding {
        fingerprint: finding.fingerprint.clone(),
        instance: instance.to_owned(),
        check: finding.check.clone(),
        object: finding.object.clone(),
        database: finding.database.clone(),
        level: finding.level,
        title: without_secrets(&finding.title),
        value: finding.value,
        unit: unit(finding.unit),
        threshold: finding.threshold,
        since: finding.since.or(opened),
        evidence: finding
            .evidence
            .iter()
            .map(|(fact, value)| (fact.clone(), without_secrets(value)))
            .collect(),
        remedy: finding.remedy.clone(),
    }
}

fn unit(unit: pawang_core::Unit) -> Value {
    serde_json::to_value(unit).unwrap_or_default()
}
