//! What else happened while an incident went on: findings, orders through Pawang, restarts and changed settings.

use jiff::SignedDuration;
use pawang_alert::incident::Line;
use pawang_core::alert::{EntryKind, Incident};
use pawang_core::{Level, Timestamp, Value};
use pawang_store::history::{Change, Reader, Span};
use pawang_store::state::{FindingQuery, State};

use super::{one_line, safe_setting, without_secrets};
use crate::page::PageError;

/// What happened shortly before may be the cause.
const BEFORE: SignedDuration = SignedDuration::from_mins(30);
/// Changes of one instance, findings, records that are looked at.
const LOOKED_AT_MAX: usize = 500;
/// Characters of a value, and of a name.
const VALUE_CHARS: usize = 60;
const NAME_CHARS: usize = 120;
/// Where changes of the schema are seen.
const SCHEMA: &str = "schema-objects";
/// Collectors whose changes explain incidents, with the columns that do.
const EXPLAINS: [(&str, &[&str]); 3] = [
    (
        "server",
        &["postmaster_start_time", "in_recovery", "server_version"],
    ),
    ("settings", &["setting"]),
    (SCHEMA, &["definition_hash"]),
];

/// Returns what else happened to the instances of an incident, from shortly before it began until it was over.
///
/// # Errors
/// The store does not answer.
pub(crate) fn meanwhile(
    reader: &Reader,
    state: &State,
    incident: &Incident,
    now: Timestamp,
) -> Result<Vec<Line>, PageError> {
    let closed = incident.closed.as_ref().map(|(at, _)| *at);
    let from = incident.began_at.saturating_sub(BEFORE);
    let span = Span {
        from: from.unwrap_or(incident.began_at),
        to: closed.or(incident.mitigated_at).unwrap_or(now),
    };
    let mut lines = orders(state, incident, span)?;
    for instance in &incident.instances {
        lines.extend(findings(reader, incident, instance, span)?);
        for (collector, columns) in EXPLAINS {
            let changes = reader.changes(instance, collector, span, LOOKED_AT_MAX)?;
            let explains = |change: &&Change| match &change.column {
                Some(column) => columns.contains(&column.as_str()),
                None => collector == SCHEMA,
            };
            let changes = changes.iter().filter(explains);
            lines.extend(changes.map(|change| line(instance, change)));
        }
    }
    Ok(lines)
}

/// Orders through Pawang that are about the instances; orders about alerts are entries of the incident already.
fn orders(state: &State, incident: &Incident, span: Span) -> Result<Vec<Line>, PageError> {
    let records = state.journal_page(None, LOOKED_AT_MAX)?;
    let about = records
        .into_iter()
        .map(|record| record.entry)
        .filter(|entry| {
            (span.from..=span.to).contains(&entry.at) && incident.instances.contains(&entry.object)
        });
    Ok(about
        .map(|entry| Line {
            at: entry.at,
            kind: EntryKind::Action,
            text: format!("{} of {}: {}", entry.action, entry.object, entry.outcome),
            by: Some(entry.actor),
        })
        .collect())
}

/// Findings that were opened and closed and are no alerts of the incident.
fn findings(
    reader: &Reader,
    incident: &Incident,
    instance: &str,
    span: Span,
) -> Result<Vec<Line>, PageError> {
    let records = reader.findings(&FindingQuery {
        instance: Some(instance),
        since: Some(span.from),
        limit: LOOKED_AT_MAX,
        ..FindingQuery::default()
    })?;
    let mut lines = Vec::new();
    for record in records {
        let own = incident.alerts.contains(&record.finding.fingerprint);
        if own || record.worst < Level::Warning {
            continue;
        }
        let title = without_secrets(&record.finding.title);
        let mut tell = |at: Option<Timestamp>, what: &str| {
            let at = at.filter(|at| (span.from..=span.to).contains(at));
            lines.extend(at.map(|at| Line {
                at,
                kind: EntryKind::Alert,
                by: None,
                text: format!("{instance}: {what} {}: {title}", record.finding.check),
            }));
        };
        tell(Some(record.opened_at), record.worst.as_str());
        tell(record.closed_at, "over");
    }
    Ok(lines)
}

fn line(instance: &str, change: &Change) -> Line {
    let name = match (change.labels.is_empty(), &change.column) {
        (true, Some(column)) => column.clone(),
        _ => change.labels.join(" "),
    };
    let name = match &change.database {
        Some(database) => format!("{database} {name}"),
        None => name,
    };
    let name = one_line(&name, NAME_CHARS);
    let setting = change.labels.first().map_or("", String::as_str);
    let said = |value: &Value| one_line(&safe_setting(setting, &value.to_string()), VALUE_CHARS);
    let what = match (change.column.as_deref(), &change.before, &change.after) {
        (Some("postmaster_start_time"), _, Some(after)) => {
            format!("the server was started at {}", said(after))
        }
        (Some("definition_hash"), ..) => format!("{name} changed"),
        (Some(_), Some(before), Some(after)) => {
            format!("{name} changed from {} to {}", said(before), said(after))
        }
        (None, None, _) => format!("{name} appeared"),
        (None, Some(_), _) => format!("{name} is gone"),
        _ => format!("{name} changed"),
    };
    Line {
        at: change.at,
        kind: EntryKind::Server,
        by: None,
        text: format!("{instance}: {what}"),
    }
}
