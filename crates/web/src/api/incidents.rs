//! Incidents and their timelines.

use pawang_core::Timestamp;
use pawang_core::alert as core;
use pawang_store::state::IncidentQuery;
use schemars::JsonSchema;
use serde::Serialize;

use super::{limit, paged, reply};
use crate::page::parts::without_secrets;
use crate::problem::Problem;
use crate::routes::{Look, Reply};

/// Alerts of one cause.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Incident {
    /// Its number.
    id: i64,
    /// One sentence.
    title: String,
    /// `P1` to `P4`: the most urgent that it was.
    priority: String,
    /// `open`, `mitigated` or `closed`.
    state: String,
    /// The instances that are concerned.
    instances: Vec<String>,
    /// Fingerprints of its alerts, the cause first.
    alerts: Vec<String>,
    /// When it began.
    began_at: Timestamp,
    /// When it was opened.
    opened_at: Timestamp,
    /// Who opened it.
    opened_by: String,
    /// By when somebody has to respond.
    respond_by: Timestamp,
    /// When somebody responded first.
    responded_at: Option<Timestamp>,
    /// Who responded first.
    responded_by: Option<String>,
    /// When nothing fired any more.
    mitigated_at: Option<Timestamp>,
    /// When it was closed.
    closed_at: Option<Timestamp>,
    /// Who closed it.
    closed_by: Option<String>,
    /// What it was, and what is done so that it does not happen again.
    review: Option<String>,
}

/// An incident with its timeline.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct IncidentDetail {
    /// The incident.
    incident: Incident,
    /// What happened, the earliest first.
    timeline: Vec<Entry>,
}

/// One line of a timeline.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Entry {
    /// When.
    at: Timestamp,
    /// `incident`, `alert`, `handling`, `message`, `action`, `server` or `note`.
    kind: String,
    /// Who, where somebody did it.
    by: Option<String>,
    /// What.
    text: String,
    /// The alert that it is about.
    fingerprint: Option<String>,
}

/// Answers with incidents, newest first.
pub(crate) fn incidents(look: &Look<'_>) -> Result<Reply, Problem> {
    let limit = limit(look)?;
    let before = match look.visit.parameter("after") {
        None => None,
        Some(text) => Some(
            text.parse()
                .map_err(|_| Problem::parameter("after", "a number"))?,
        ),
    };
    let mut found = look.visit.site.store.state().incidents(&IncidentQuery {
        before,
        limit: limit + 1,
        ..IncidentQuery::default()
    })?;
    let more = found.len() > limit;
    found.truncate(limit);
    let after = found.last().filter(|_| more);
    let after = after.map(|incident| incident.id.to_string());
    paged(&found.into_iter().map(shown).collect::<Vec<_>>(), after)
}

/// Answers with one incident.
pub(crate) fn incident(look: &Look<'_>) -> Result<Reply, Problem> {
    let text = look.arguments.get("id");
    let missing = || Problem::not_found(&format!("incident \"{text}\""));
    let id = text.parse().map_err(|_| missing())?;
    let state = look.visit.site.store.state();
    let incident = state.incident(id)?.ok_or_else(missing)?;
    let timeline = state.incident_entries(id)?.into_iter().map(|entry| Entry {
        at: entry.at,
        kind: word(entry.kind),
        by: entry.by,
        text: without_secrets(&entry.text),
        fingerprint: entry.fingerprint,
    });
    reply(&IncidentDetail {
        incident: shown(incident),
        timeline: timeline.collect(),
    })
}

fn shown(incident: core::Incident) -> Incident {
    Incident {
        id: incident.id,
        title: without_secrets(&incident.title),
        priority: incident.priority.to_string(),
        state: word(incident.state),
        instances: incident.instances,
        alerts: incident.alerts,
        began_at: incident.began_at,
        opened_at: incident.opened_at,
        opened_by: incident.opened_by,
        respond_by: incident.respond_by,
        responded_at: incident.responded.as_ref().map(|(at, _)| *at),
        responded_by: incident.responded.map(|(_, by)| by),
        mitigated_at: incident.mitigated_at,
        closed_at: incident.closed.as_ref().map(|(at, _)| *at),
        closed_by: incident.closed.map(|(_, by)| by),
        review: incident.review,
    }
}

/// Returns the kebab-case name that something has on every wire.
fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}
