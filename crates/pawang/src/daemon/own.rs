//! What is wrong with Pawang itself, as findings: somebody must be told, by whatever still works.

use pawang_core::{Finding, Level, Unit, fingerprint};

/// Returns a finding about a part of Pawang.
pub(super) fn finding(
    check: &str,
    object: &str,
    level: Level,
    title: String,
    remedy: &str,
) -> Finding {
    Finding {
        check: check.to_owned(),
        object: object.to_owned(),
        database: None,
        level,
        title,
        value: None,
        unit: Unit::State,
        threshold: None,
        since: None,
        evidence: Vec::new(),
        remedy: remedy.to_owned(),
        blind: None,
        fingerprint: fingerprint(check, "", None, object),
    }
}
