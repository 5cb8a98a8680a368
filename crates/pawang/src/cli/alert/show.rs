//! `pawang alert show`: one alert, what became of it, and who was told.

use std::fmt::Write;

use pawang_core::alert::{Alert, AlertEvent, EventKind};
use pawang_core::{Report, Unit};
use pawang_report::one_line;
use pawang_store::state::EventQuery;
use serde_json::json;

use super::words;
use crate::cli::Global;
use crate::cli::account::state;
use crate::output::{self, Exit};

/// Lines of its log that are shown without -v.
const EVENTS: usize = 20;
const EVENTS_MAX: usize = 10_000;

/// Show one alert: what, since when, how it is handled, what happened and who was told
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its fingerprint, or a beginning of it that means only one
    #[arg(value_name = "FINGERPRINT")]
    alert: String,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let Some(state) = state::open_to_read(global)? else {
        return Ok(Exit::Answer);
    };
    let alert = words::find(&state, &args.alert)?;
    let query = EventQuery {
        fingerprint: Some(&alert.fingerprint),
        limit: if global.verbose > 0 || global.json {
            EVENTS_MAX
        } else {
            EVENTS
        },
        ..EventQuery::default()
    };
    let mut events = state.alert_events(&query).map_err(|error| error.report())?;
    // Newest first, and of one instant in the order in which it happened.
    events.reverse();
    events.sort_by_key(|event| event.at);
    if global.json {
        let data = json!({ "alert": alert, "events": events });
        output::json("pawang.alert.show/1", &data)?;
    } else {
        output::data(&text(&alert, &events))?;
    }
    Ok(Exit::Good)
}

fn text(alert: &Alert, events: &[AlertEvent]) -> String {
    let finding = &alert.finding;
    let mut out = format!(
        "{} {} {}: {}\n\n",
        alert.priority,
        finding.check,
        words::subject(alert),
        one_line(&finding.title)
    );
    for (name, text) in facts(alert) {
        let _ = writeln!(out, "{name:<9} {}", one_line(&text));
    }
    if !events.is_empty() {
        out.push('\n');
    }
    for event in events {
        let by = event.by.as_ref().map(|by| format!(" by {by}"));
        let detail = event.detail.iter().map(|(k, v)| format!("{k}: {v}"));
        let detail = detail.collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            out,
            "{:.0}  {}{}  {}",
            event.at,
            kind(event.kind),
            by.unwrap_or_default(),
            one_line(&detail)
        );
    }
    out
}

fn facts(alert: &Alert) -> Vec<(&'static str, String)> {
    let finding = &alert.finding;
    let mut facts = vec![("Alert", alert.fingerprint.clone())];
    let level = alert.firing().unwrap_or(finding.level);
    let state = format!(
        "{} ({level}) since {:.0}; first seen {:.0}, last seen {:.0}",
        alert.condition.as_str(),
        words::since(alert),
        alert.opened_at,
        alert.seen_at
    );
    facts.push(("State", state));
    if let Some(value) = finding.value.filter(|_| finding.unit != Unit::State) {
        let show = |value| finding.unit.show(value);
        let limit = finding.threshold.map(|t| format!(" (limit {})", show(t)));
        let first = alert.first_value.filter(|first| *first != value);
        let first = first.map(|first| format!(", {} at first", show(first)));
        let (limit, first) = (limit.unwrap_or_default(), first.unwrap_or_default());
        facts.push(("Value", format!("{}{limit}{first}", show(value))));
    }
    match words::handling(alert) {
        lines if lines.is_empty() => facts.push(("Handling", "nobody takes care yet".to_owned())),
        lines => facts.extend(lines.into_iter().map(|line| ("Handling", line))),
    }
    if let Some(incident) = alert.incident {
        facts.push(("Incident", format!("pawang incident show {incident}")));
    }
    let evidence = finding.evidence.iter();
    facts.extend(evidence.map(|(name, value)| ("Evidence", format!("{name}: {value}"))));
    facts.push(("Do", finding.remedy.clone()));
    if alert.source.is_none() && !alert.instance.is_empty() {
        let read = format!("pawang explain {} -i {}", finding.check, alert.instance);
        facts.push(("Read", read));
    }
    facts
}

fn kind(kind: EventKind) -> String {
    let word = serde_json::to_value(kind).unwrap_or_default();
    word.as_str().unwrap_or_default().to_owned()
}
