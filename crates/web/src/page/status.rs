//! The page about the state of the warehouse that everybody may see: what its users know of, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY};
use axum::http::{HeaderValue, Response, StatusCode};
use jiff::SignedDuration;
use maud::{DOCTYPE, Markup, html};
use pawang_alert::matcher::{self, Matchers};
use pawang_alert::setup::Setup;
use pawang_alert::window::{Ready, calendar};
use pawang_config::{ServiceConfig, StatusPageConfig};
use pawang_core::alert::{Alert, AlertsPresent, Mute, Priority, WindowTime};
use pawang_core::{Level, Timestamp};

use crate::layout;
use crate::problem::Problem;
use crate::server::{Call, Key};
use crate::words::{exact, moment};

/// How long browsers and proxies may keep it, in seconds.
const CACHED: &str = "public, max-age=15";
/// How often an open page is asked for again.
const REFRESH: Duration = Duration::from_secs(60);
/// How far ahead maintenance is announced.
const AHEAD: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Times of maintenance that are announced.
const TIMES_MAX: usize = 20;

/// How a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Works,
    Maintenance,
    Unknown,
    Disrupted,
    Down,
}

/// A service and how it is.
struct Service<'a> {
    name: &'a str,
    state: State,
    since: Option<Timestamp>,
    /// Whether somebody works on it.
    cared: bool,
}

/// Answers everybody; drawn once for all who ask in the same second.
pub(crate) async fn show(call: Arc<Call>) -> Result<Response<Body>, Problem> {
    let setup = call.shared.site.setup.borrow().clone();
    if setup.config.status_page.is_none() {
        return Err(Problem::not_found("such page"));
    }
    let key = Key {
        address: "/status".to_owned(),
        secret: String::new(),
    };
    let of = Arc::clone(&call);
    let draw = async move {
        let present = of.shared.site.live.alerts();
        let page = &setup.config.status_page;
        let text = page.as_ref().map(|page| {
            let services = services(page, &present);
            let times = announced(&setup, &present, of.now);
            draw(page, &services, &times, of.now).into_string()
        });
        Ok(text.unwrap_or_default().into_bytes())
    };
    let drawn = call.shared.pages.get(key, 0, draw).await?;
    let mut response = Response::new(Body::from(drawn.plain()));
    *response.status_mut() = StatusCode::OK;
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, CACHED),
        (VARY, "accept-encoding"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

fn services<'a>(page: &'a StatusPageConfig, present: &AlertsPresent) -> Vec<Service<'a>> {
    page.services
        .iter()
        .map(|service| judged(service, present))
        .collect()
}

fn judged<'a>(service: &'a ServiceConfig, present: &AlertsPresent) -> Service<'a> {
    let mut judged = Service {
        name: &service.name,
        state: State::Unknown,
        since: None,
        cared: false,
    };
    let parsed = service.matchers.iter().map(|text| matcher::parse(text));
    let matchers = parsed.collect::<Result<_, _>>().and_then(Matchers::new);
    let (Ok(matchers), true) = (matchers, present.running) else {
        return judged;
    };
    judged.state = match present.alerts.iter().any(|alert| hides(alert, &matchers)) {
        true => State::Unknown,
        false => State::Works,
    };
    let alerts = present.alerts.iter();
    for alert in alerts.filter(|alert| alert.firing().is_some() && matchers.hold(&alert.labels)) {
        let state = of(alert);
        let since = alert.condition.firing_since();
        judged.cared |= cared(alert, present);
        judged.since = match (judged.since, since) {
            (Some(a), Some(b)) if state == judged.state => Some(a.min(b)),
            (known, _) if state < judged.state => known,
            (_, since) => since,
        };
        judged.state = judged.state.max(state);
    }
    judged
}

/// Says whether an alert tells that nobody sees what a service depends on: then nobody knows that it works.
fn hides(alert: &Alert, matchers: &Matchers) -> bool {
    let hides = match alert.finding.check.as_str() {
        "monitor-stale" => matchers.hold_for("instance", &alert.finding.object),
        "scheduler-stuck" => true,
        _ => false,
    };
    hides && alert.source.is_none() && alert.firing().is_some()
}

fn of(alert: &Alert) -> State {
    let mut mutes = alert.handling.mutes.iter();
    match alert.priority {
        _ if mutes.any(|mute| matches!(mute, Mute::Maintenance { .. })) => State::Maintenance,
        Priority::P1 => State::Down,
        _ => State::Disrupted,
    }
}

fn cared(alert: &Alert, present: &AlertsPresent) -> bool {
    let mut incidents = present.incidents.iter();
    let incident = incidents.find(|incident| Some(incident.id) == alert.incident);
    alert.handling.acknowledged.is_some()
        || incident.is_some_and(|incident| incident.responded.is_some())
}

/// Returns when maintenance is to be expected: those of the configuration, and those that people added by command.
fn announced(setup: &Setup, present: &AlertsPresent, now: Timestamp) -> Vec<WindowTime> {
    let ready = |window: &pawang_core::alert::Window| Ready::new(window.clone()).ok();
    let mut windows: Vec<Ready> = present.windows.iter().filter_map(ready).collect();
    if !present.running {
        windows.clone_from(&setup.windows);
    }
    let to = now.saturating_add(AHEAD).unwrap_or(now);
    let mut times = calendar(&windows, now, to, TIMES_MAX);
    times.dedup_by_key(|time| (time.from, time.to));
    times
}

fn draw(
    page: &StatusPageConfig,
    services: &[Service<'_>],
    times: &[WindowTime],
    now: Timestamp,
) -> Markup {
    let worst = services.iter().map(|service| service.state).max();
    let worst = worst.unwrap_or(State::Works);
    html! {
        (DOCTYPE)
        html lang="en" {
            (layout::public_head(&page.title, worst.level(), REFRESH))
            body .plain .status {
                main #main tabindex="-1" {
                    h1 { (page.title) }
                    p .summary.(worst.level().as_str()) { (worst.summary()) }
                    ul .services { @for service in services { (line(service, now)) } }
                    (maintenance(times, now))
                    @if let Some(contact) = &page.contact { p .muted { "Questions: " (contact) } }
                    p .muted { "As of " time datetime=(crate::words::instant(now)) title=(exact(now)) { (exact(now)) } }
                }
            }
        }
    }
}

fn line(service: &Service<'_>, now: Timestamp) -> Markup {
    html! {
        li {
            span .name { (service.name) }
            span .state.(service.state.level().as_str()) { (service.state.word()) }
            @if service.state > State::Unknown {
                span .since {
                    @if let Some(at) = service.since { "since " (moment(now, at)) }
                    @if service.cared { "; somebody is working on it" }
                }
            }
        }
    }
}

fn maintenance(times: &[WindowTime], now: Timestamp) -> Markup {
    html! {
        @if !times.is_empty() {
            h2 { "Maintenance" }
            ul .times { @for time in times { li {
                (moment(now, time.from)) " to " (moment(now, time.to))
                @if time.from <= now { " " b { "now" } }
            } } }
        }
    }
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Works => "works",
            State::Maintenance => "in maintenance",
            State::Unknown => "not known",
            State::Disrupted => "disrupted",
            State::Down => "down",
        }
    }

    fn level(self) -> Level {
        match self {
            State::Works => Level::Ok,
            State::Maintenance => Level::Info,
            State::Unknown => Level::Unknown,
            State::Disrupted => Level::Warning,
            State::Down => Level::Critical,
        }
    }

    fn summary(self) -> &'static str {
        match self {
            State::Works => "Everything works.",
            State::Maintenance => "Maintenance is going on.",
            State::Unknown => "The state of some services is not known.",
            State::Disrupted => "Some services are disrupted.",
            State::Down => "Some services are down.",
        }
    }
}
