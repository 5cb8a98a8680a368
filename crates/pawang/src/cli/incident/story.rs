//! Everything that is known of one incident, from state and history.

use pawang_alert::incident::{Line, similar, timeline};
use pawang_core::alert::{Alert, EntryKind, Incident};
use pawang_core::{Kind, Report, Timestamp, Value};
use pawang_store::history::Span;
use pawang_store::state::{AlertQuery, IncidentQuery, JournalRecord, State};

use crate::cli::Global;
use crate::cli::account::state;
use crate::cli::history::History;
use crate::environment;

/// Journal records and changes of one collector that are looked through.
const LOOKED_THROUGH_MAX: usize = 5_000;
/// Changes of one collector that are told.
const CHANGES_MAX: usize = 100;
/// Past incidents that are compared.
const PAST_MAX: usize = 1_000;
const ALERTS_MAX: usize = 500;

/// What a change of a collector means.
const CHANGING: [(&str, &str); 3] = [
    ("server", "the server changed"),
    ("settings", "setting"),
    ("schema-objects", "schema"),
];

/// One incident and everything around it.
pub(super) struct Story {
    /// The incident.
    pub incident: Incident,
    /// Its alerts, as they were last.
    pub alerts: Vec<Alert>,
    /// What happened, in order.
    pub timeline: Vec<Line>,
    /// Similar ones of the past.
    pub similar: Vec<Incident>,
}

impl Story {
    /// Reads everything about an incident.
    ///
    /// # Errors
    /// There is no such incident, or the state cannot be read.
    pub(super) fn read(id: i64, global: &Global) -> Result<Story, Report> {
        let none = || {
            Report::new(Kind::Usage, format!("there is no incident {id}"))
                .with_hint("pawang incident list --all")
        };
        let state = state::open_to_read(global)?.ok_or_else(none)?;
        let incident = state.incident(id).map_err(|error| error.report())?;
        let incident = incident.ok_or_else(none)?;
        let entries = state.incident_entries(id).map_err(|error| error.report())?;
        let span = span(&incident);
        let mut others = journal(&state, span)?;
        // Without a history there is still the rest.
        if let Ok(history) = History::open(global) {
            for instance in &incident.instances {
                changes(&history, instance, span, &mut others);
            }
        }
        let query = IncidentQuery {
            before: Some(id),
            limit: PAST_MAX,
            ..IncidentQuery::default()
        };
        let past = state.incidents(&query).map_err(|error| error.report())?;
        Ok(Story {
            alerts: alerts(&state, &incident)?,
            timeline: timeline(&entries, &others),
            similar: similar(&incident, &past).into_iter().cloned().collect(),
            incident,
        })
    }
}

fn span(incident: &Incident) -> Span {
    let closed = incident.closed.as_ref().map(|(at, _)| *at);
    let to = closed
        .or(incident.mitigated_at)
        .unwrap_or_else(environment::now);
    Span {
        from: incident.began_at,
        to: to.max(incident.opened_at),
    }
}

fn alerts(state: &State, incident: &Incident) -> Result<Vec<Alert>, Report> {
    let query = AlertQuery {
        incident: Some(incident.id),
        limit: ALERTS_MAX,
        ..AlertQuery::default()
    };
    let mut alerts = state.alerts(&query).map_err(|error| error.report())?;
    let saved = state.saved_alerts().map_err(|error| error.report())?;
    for (alert, _) in saved.alerts {
        let known = alerts
            .iter()
            .any(|known| known.fingerprint == alert.fingerprint);
        if alert.incident == Some(incident.id) && !known {
            alerts.push(alert);
        }
    }
    // The cause first, as the incident has them.
    let place = |alert: &Alert| incident.alerts.iter().position(|f| *f == alert.fingerprint);
    alerts.sort_by_key(|alert| place(alert).unwrap_or(usize::MAX));
    Ok(alerts)
}

/// Returns what was done through Pawang in the span; what people did to alerts is among the entries already.
fn journal(state: &State, span: Span) -> Result<Vec<Line>, Report> {
    let mut lines = Vec::new();
    let (mut before, mut seen) = (None, 0);
    while seen < LOOKED_THROUGH_MAX {
        let page = state
            .journal_page(before, LOOKED_THROUGH_MAX - seen)
            .map_err(|error| error.report())?;
        let Some(last) = page.last() else { break };
        let (id, at) = (last.id, last.entry.at);
        seen += page.len();
        let told = |record: &JournalRecord| {
            let entry = &record.entry;
            let own = ["alert.", "incident.", "sign-in.", "silence."];
            let quiet = own.iter().any(|start| entry.action.starts_with(start));
            let refused = entry.outcome == "refused";
            span.from <= entry.at && entry.at <= span.to && !quiet && !refused
        };
        lines.extend(page.into_iter().filter(told).map(|record| Line {
            at: record.entry.at,
            kind: EntryKind::Action,
            by: Some(record.entry.actor),
            text: format!(
                "{} {} {}",
                record.entry.action, record.entry.object, record.entry.outcome
            ),
        }));
        if at < span.from {
            break;
        }
        before = Some(id);
    }
    Ok(lines)
}

/// Adds restarts, changes of settings and of the schema that were seen at the server; a history that cannot be read
/// tells nothing.
fn changes(history: &History, instance: &str, span: Span, lines: &mut Vec<Line>) {
    for (collector, what) in CHANGING {
        let found = history
            .reader
            .changes(instance, collector, span, CHANGES_MAX);
        for change in found.unwrap_or_default() {
            let place = change.labels.join(" ");
            let place = match &change.database {
                Some(database) => format!("{database} {place}"),
                None => place,
            };
            let show = |value: Option<Value>| {
                value.map_or_else(|| "nothing".to_owned(), |v| v.to_string())
            };
            let text = match change.column {
                Some(column) => format!(
                    "{instance}: {what} {place} {column}: {} became {}",
                    show(change.before),
                    show(change.after)
                ),
                None if change.after.is_some() => format!("{instance}: {what} {place} came"),
                None => format!("{instance}: {what} {place} went"),
            };
            let at: Timestamp = change.at;
            lines.push(Line {
                at,
                kind: EntryKind::Server,
                by: None,
                text,
            });
        }
    }
}

/// Returns the word for a kind of line.
pub(super) fn kind(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Incident => "incident",
        EntryKind::Alert => "alert",
        EntryKind::Handling => "handling",
        EntryKind::Message => "message",
        EntryKind::Action => "action",
        EntryKind::Server => "server",
        EntryKind::Note => "note",
    }
}
