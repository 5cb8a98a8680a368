//! The catalogue of checks.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::reply;
use crate::problem::Problem;
use crate::routes::{Look, Reply};

/// One check.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Check {
    /// Kebab-case, never changes.
    id: String,
    /// Its chapter.
    group: String,
    /// A few words for tables.
    title: String,
    /// What it looks at, and how.
    what: String,
    /// Why it matters.
    why: String,
    /// What to do about a finding.
    fix: String,
    /// The unit of its values.
    unit: Value,
    /// The warning limit as shipped.
    warning: Option<f64>,
    /// The critical limit as shipped.
    critical: Option<f64>,
    /// Named floors as shipped; below them an object is not judged.
    floors: BTreeMap<String, f64>,
    /// The collectors whose snapshots it reads.
    needs: Vec<String>,
}

/// Answers with all checks.
pub(crate) fn checks(_: &Look<'_>) -> Result<Reply, Problem> {
    let checks: Vec<Check> = pawang_check::CHECKS
        .iter()
        .map(|check| Check {
            id: check.id.to_owned(),
            group: check.group.name().to_owned(),
            title: check.title.to_owned(),
            what: check.what.to_owned(),
            why: check.why.to_owned(),
            fix: check.fix.to_owned(),
            unit: serde_json::to_value(check.unit).unwrap_or_default(),
            warning: check.warning,
            critical: check.critical,
            floors: check.defaults().floors,
            needs: check.needs.iter().map(|need| (*need).to_owned()).collect(),
        })
        .collect();
    reply(&checks)
}
