//! Alerts, silences and maintenance windows.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use pawang_alert::matcher::Matchers;
use pawang_alert::window::{Ready, calendar};
use pawang_core::alert::{self as core, Condition, EventKind, Handling, Mute};
use pawang_core::{Level, Timestamp};
use pawang_store::state::{AlertQuery, EventQuery};
use schemars::JsonSchema;
use serde::Serialize;

use super::findings::{Finding, shown};
use super::{least_level, limit, page_of, paged, reply};
use crate::order;
use crate::page::parts::without_secrets;
use crate::problem::Problem;
use crate::routes::{Look, Reply};

/// Times of windows in one answer.
const TIMES_MAX: usize = 1_000;
/// How far ahead windows are told, unless `to` says otherwise.
const AHEAD: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A finding over time, and what people and rules do about it.
#[derive(Clone, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Alert {
    /// Stable identity: that of the finding.
    fingerprint: String,
    /// The instance; empty for what concerns Pawang itself or came from elsewhere.
    instance: String,
    /// `pending`, `firing`, `recovering`, `resolved`, `unknown`, `stale` or `ok`.
    state: String,
    /// `new`, `acknowledged`, `snoozed`, `silenced`, `inhibited`, `in-maintenance` or `escalated`.
    handling: String,
    /// `P1` to `P4`.
    priority: String,
    /// The level that it fires at.
    firing: Option<String>,
    /// Since when it fires.
    firing_since: Option<Timestamp>,
    /// When it is over if it stays good.
    over_at: Option<Timestamp>,
    /// Who takes care.
    acknowledged: Option<Care>,
    /// Who wants to be reminded later.
    snoozed: Option<Care>,
    /// What keeps it quiet.
    muted_by: Vec<Quiet>,
    /// The step of the escalation policy that was reached.
    step: Option<usize>,
    /// What matchers see.
    labels: BTreeMap<String, String>,
    /// When it was first seen to be bad.
    opened_at: Timestamp,
    /// When it was last seen, good or bad.
    seen_at: Timestamp,
    /// When its state changed last.
    changed_at: Timestamp,
    /// The incident that it belongs to.
    incident: Option<i64>,
    /// Who sent it, when Pawang did not see it itself.
    source: Option<String>,
    /// The finding as it was seen last while it was bad.
    finding: Finding,
}

/// Somebody takes care, or wants to be reminded.
#[derive(Clone, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Care {
    /// Who.
    by: String,
    /// When.
    at: Timestamp,
    /// Until when.
    until: Option<Timestamp>,
    /// Why.
    note: String,
}

/// What keeps an alert quiet.
#[derive(Clone, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Quiet {
    /// `silence`, `alert` or `window`.
    kind: String,
    /// The silence's number, the other alert's fingerprint, or the window's name.
    by: String,
    /// The rule, where another alert explains it.
    rule: Option<String>,
}

/// One alert and what happened to it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct AlertDetail {
    /// The alert.
    alert: Alert,
    /// What happened to it, newest first.
    events: Vec<AlertEvent>,
}

/// One thing that happened to an alert.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct AlertEvent {
    /// When.
    at: Timestamp,
    /// What: `fired`, `rose`, `acknowledged`, `told`, `resolved`, ...
    kind: String,
    /// Who, where somebody did it.
    by: Option<String>,
    /// The facts: levels, reasons, recipients.
    detail: BTreeMap<String, String>,
}

/// A rule that keeps matching alerts quiet for a while.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Silence {
    /// Its number.
    id: i64,
    /// All of these hold for the alerts that are meant.
    matchers: Vec<String>,
    /// From when on.
    starts_at: Timestamp,
    /// Until when.
    ends_at: Timestamp,
    /// Who made it.
    by: String,
    /// Why.
    reason: String,
    /// Whether it holds now.
    active: bool,
    /// How many alerts it keeps quiet now.
    alerts: usize,
}

/// Maintenance windows and when they are open.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Windows {
    /// The windows.
    windows: Vec<Window>,
    /// When they are open, the earliest first.
    times: Vec<WindowTime>,
}

/// A maintenance window.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Window {
    /// Its name.
    name: String,
    /// When, such as `sun 02:00-06:00 Asia/Jakarta`.
    schedule: String,
    /// Which alerts; none means the whole estate.
    matchers: Vec<String>,
    /// Who made it; `pawang.toml` for those of the configuration.
    by: String,
    /// What is done in it.
    reason: String,
    /// Whether it is open now.
    open: bool,
}

/// One time that a window is open.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct WindowTime {
    /// The window.
    window: String,
    /// From when on.
    from: Timestamp,
    /// Until when.
    to: Timestamp,
    /// What is to know, such as a begin in the hour that summer time leaves out.
    note: Option<String>,
}

/// Answers with the alerts of the present.
pub(crate) fn alerts(look: &Look<'_>) -> Result<Reply, Problem> {
    let visit = &look.visit;
    let least = least_level(look)?;
    let matchers = matchers(look)?;
    let is = |name: &str, value: &str| visit.parameter(name).is_none_or(|wanted| wanted == value);
    let wanted = |alert: &&Arc<core::Alert>| {
        is("state", alert.condition.as_str())
            && is("handling", alert.handling.state().as_str())
            && is("check", &alert.finding.check)
            && is("instance", &alert.instance)
            && alert.finding.level >= least
            && matchers.hold(&alert.labels)
    };
    listed(look, wanted)
}

/// Answers with the alerts that a silence would keep quiet.
pub(crate) fn preview(look: &Look<'_>) -> Result<Reply, Problem> {
    let matchers = matchers(look)?;
    if matchers.matchers.is_empty() {
        super::required(look, "matcher")?;
    }
    listed(look, |alert| matchers.hold(&alert.labels))
}

fn listed(look: &Look<'_>, wanted: impl Fn(&&Arc<core::Alert>) -> bool) -> Result<Reply, Problem> {
    let present = look.visit.site.live.alerts();
    let found: Vec<&Arc<core::Alert>> = present.alerts.iter().filter(wanted).collect();
    let (page, after) = page_of(look, found, |alert| alert.fingerprint.clone())?;
    let page: Vec<Alert> = page.into_iter().map(|found| alert_of(found)).collect();
    paged(&page, after)
}

/// Answers with one alert and its log.
pub(crate) fn alert(look: &Look<'_>) -> Result<Reply, Problem> {
    let fingerprint = look.arguments.get("fingerprint");
    let state = look.visit.site.store.state();
    let present = look.visit.site.live.alerts();
    let known = present
        .alerts
        .iter()
        .find(|alert| alert.fingerprint == fingerprint);
    let found = match known {
        Some(alert) => Some(alert_of(alert)),
        None => {
            let past = state.alerts(&AlertQuery {
                fingerprint: Some(fingerprint),
                limit: 1,
                ..AlertQuery::default()
            })?;
            past.first().map(alert_of)
        }
    };
    let alert = found.ok_or_else(|| Problem::not_found(&format!("alert \"{fingerprint}\"")))?;
    let events = state.alert_events(&EventQuery {
        fingerprint: Some(fingerprint),
        limit: limit(look)?,
        ..EventQuery::default()
    })?;
    let events = events.into_iter().map(|event| AlertEvent {
        at: event.at,
        kind: event_name(event.kind),
        by: event.by,
        detail: safe(&event.detail),
    });
    reply(&AlertDetail {
        alert,
        events: events.collect(),
    })
}

/// Answers with silences.
pub(crate) fn silences(look: &Look<'_>) -> Result<Reply, Problem> {
    let now = look.visit.now;
    let present = look.visit.site.live.alerts();
    let quiet = |id: i64| {
        let by = Mute::Silenced { silence: id };
        let alerts = present.alerts.iter();
        alerts
            .filter(|alert| alert.handling.mutes.contains(&by))
            .count()
    };
    let silences = present.silences.iter().map(|silence| Silence {
        id: silence.id,
        matchers: silence.matchers.iter().map(ToString::to_string).collect(),
        starts_at: silence.starts_at,
        ends_at: silence.ends_at,
        by: silence.by.clone(),
        reason: silence.reason.clone(),
        active: silence.active(now),
        alerts: quiet(silence.id),
    });
    reply(&silences.collect::<Vec<_>>())
}

/// Answers with windows and when they are open.
pub(crate) fn windows(look: &Look<'_>) -> Result<Reply, Problem> {
    let visit = &look.visit;
    let present = visit.site.live.alerts();
    let (from, to) = match visit.range.frozen {
        true => (visit.range.span.from, visit.range.span.to),
        false => (
            visit.now,
            visit.now.saturating_add(AHEAD).unwrap_or(visit.now),
        ),
    };
    let ready: Vec<Ready> = present
        .windows
        .iter()
        .filter_map(|window| Ready::new(window.clone()).ok())
        .collect();
    let times = calendar(&ready, from, to, TIMES_MAX).into_iter();
    let windows = present.windows.iter().map(|window| Window {
        name: window.name.clone(),
        schedule: window.schedule.clone(),
        matchers: window.matchers.iter().map(ToString::to_string).collect(),
        by: window.by.clone(),
        reason: window.reason.clone(),
        open: present
            .open_windows
            .iter()
            .any(|open| open.window == window.name),
    });
    reply(&Windows {
        windows: windows.collect(),
        times: times
            .map(|time| WindowTime {
                window: time.window,
                from: time.from,
                to: time.to,
                note: time.note,
            })
            .collect(),
    })
}

/// Returns the matchers of the address.
fn matchers(look: &Look<'_>) -> Result<Matchers, Problem> {
    let texts = look.visit.query.iter();
    let texts = texts.filter(|(name, value)| name == "matcher" && !value.is_empty());
    let read = order::matchers(texts.map(|(_, value)| value.as_str()))?;
    Matchers::new(read).map_err(|why| Problem::parameter("matcher", "a matcher").with_detail(why))
}

/// Returns an alert as programs see it.
pub(super) fn alert_of(alert: &core::Alert) -> Alert {
    let handling = &alert.handling;
    Alert {
        fingerprint: alert.fingerprint.clone(),
        instance: alert.instance.clone(),
        state: alert.condition.as_str().to_owned(),
        handling: handling.state().as_str().to_owned(),
        priority: alert.priority.to_string(),
        firing: alert.firing().map(Level::as_str).map(str::to_owned),
        firing_since: alert.condition.firing_since(),
        over_at: match alert.condition {
            Condition::Recovering { until, .. } => Some(until),
            _ => None,
        },
        acknowledged: acknowledged(handling),
        snoozed: snoozed(handling),
        muted_by: handling.mutes.iter().map(quiet).collect(),
        step: handling
            .escalation
            .as_ref()
            .map(|escalation| escalation.step),
        labels: safe(&alert.labels),
        opened_at: alert.opened_at,
        seen_at: alert.seen_at,
        changed_at: alert.changed_at,
        incident: alert.incident,
        source: alert.source.clone(),
        finding: shown(&alert.instance, &alert.finding, Some(alert.opened_at)),
    }
}

fn acknowledged(handling: &Handling) -> Option<Care> {
    let care = handling.acknowledged.as_ref()?;
    Some(Care {
        by: care.by.clone(),
        at: care.at,
        until: care.until,
        note: care.note.clone(),
    })
}

fn snoozed(handling: &Handling) -> Option<Care> {
    let care = handling.snoozed.as_ref()?;
    Some(Care {
        by: care.by.clone(),
        at: care.at,
        until: Some(care.until),
        note: care.note.clone(),
    })
}

fn quiet(mute: &Mute) -> Quiet {
    let (kind, by, rule) = match mute {
        Mute::Silenced { silence } => ("silence", silence.to_string(), None),
        Mute::Inhibited { by, rule } => ("alert", by.clone(), Some(rule.clone())),
        Mute::Maintenance { window } => ("window", window.clone(), None),
    };
    Quiet {
        kind: kind.to_owned(),
        by,
        rule,
    }
}

/// Returns the kebab-case name of a kind of event.
pub(crate) fn event_name(kind: EventKind) -> String {
    match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

fn safe(texts: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let safe = texts.iter();
    safe.map(|(name, value)| (name.clone(), without_secrets(value)))
        .collect()
}
