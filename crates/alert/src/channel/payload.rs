//! Alerts as Alertmanager writes them: its labels, its annotations, its times.

use std::collections::BTreeMap;

use pawang_core::alert::Notice;
use pawang_core::{Level, Timestamp};
use serde::Serialize;

use super::render;

/// How Alertmanager writes a time that is not known.
pub(super) const NEVER: &str = "0001-01-01T00:00:00Z";

/// An alert of Alertmanager's API and webhook.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alert {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<&'static str, String>,
    pub starts_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<String>,
    #[serde(rename = "generatorURL")]
    pub generator_url: String,
}

/// Returns an alert; one without end fires.
pub(super) fn alert(notice: &Notice, ends_at: Option<Timestamp>) -> Alert {
    Alert {
        labels: labels(&notice.labels, severity(notice)),
        annotations: annotations(notice),
        starts_at: notice.since.to_string(),
        ends_at: ends_at.map(|at| at.to_string()),
        generator_url: notice.link.clone().unwrap_or_default(),
    }
}

/// Returns labels with the names that Prometheus' world expects besides ours: `alertname` and `severity`.
pub(super) fn labels(own: &BTreeMap<String, String>, severity: &str) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = own
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (label_name(name), value.clone()))
        .collect();
    if let Some(check) = own.get("check") {
        labels.insert("alertname".to_owned(), check.clone());
    } else {
        labels
            .entry("alertname".to_owned())
            .or_insert_with(|| "pawang".to_owned());
    }
    labels.insert("severity".to_owned(), severity.to_owned());
    labels
}

/// Returns the word for how bad it is or was.
pub(super) fn severity(notice: &Notice) -> &'static str {
    match notice.level {
        Some(Level::Critical) => "critical",
        _ => "warning",
    }
}

fn annotations(notice: &Notice) -> BTreeMap<&'static str, String> {
    let mut annotations = BTreeMap::from([("summary", notice.title.clone())]);
    let facts = render::facts(notice);
    let facts: Vec<String> = facts
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    annotations.insert("description", facts.join("\n"));
    for (name, value) in [
        ("value", render::value(notice)),
        (
            "remedy",
            Some(notice.remedy.clone()).filter(|r| !r.is_empty()),
        ),
        (
            "causes",
            Some(notice.causes.join("\n")).filter(|c| !c.is_empty()),
        ),
        ("runbook_url", notice.runbook.clone()),
        ("dashboard_url", notice.link.clone()),
    ] {
        annotations.extend(value.map(|value| (name, value)));
    }
    annotations
}

/// Prometheus has letters, digits and `_` in names, and no digit first.
fn label_name(name: &str) -> String {
    let mut plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    if !plain.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        plain.insert(0, '_');
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_names_are_those_that_prometheus_takes() {
        for (name, expected) in [
            ("check", "check"),
            ("my-label", "my_label"),
            ("2nd", "_2nd"),
            ("größe", "gr__e"),
            ("", "_"),
        ] {
            assert_eq!(label_name(name), expected);
        }
    }
}
