//! Orders about alerts: from the fields of a form, or of JSON, to what the daemon is asked for, and the answer.

mod field;
pub(crate) mod sessions;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use pawang_core::alert::{Alert, Draft, Order, Request};
use pawang_core::{Kind as Cause, Report};
use serde_json::json;
use tokio::sync::oneshot;

use crate::api;
use crate::auth::{Actor, redirect};
use crate::problem::Problem;
use crate::routes::Kind;
use crate::server::Call;
use crate::site::Command;

/// How long the daemon may take over an order.
const ORDER_MAX: Duration = Duration::from_secs(30);
/// Longest name that somebody gives where nobody signs in.
const NAME_CHARS_MAX: usize = 60;

/// Reads what is asked for.
pub(crate) type Read = fn(&Call) -> Result<Request, Problem>;

/// Reads an order about alerts, has the daemon carry it out, and writes the journal.
pub(crate) async fn obey(call: Arc<Call>, read: Read) -> Result<Response<Body>, Problem> {
    let (outcome, detail) = match read(&call) {
        Err(problem) => (Err(problem), json!({})),
        Ok(request) => {
            let by = who(&call);
            let mut detail = serde_json::to_value(&request).unwrap_or_default();
            if let (Some(Actor::Open { .. }), Some(detail)) = (&call.actor, detail.as_object_mut())
            {
                detail.insert("by".to_owned(), json!(by));
            }
            let order = Order { by, request };
            let outcome = ask(&call, |answer| Command::Alert { order, answer }).await;
            let outcome = outcome.and_then(|done| done.map_err(|report| refused(&report)));
            (outcome, detail)
        }
    };
    record(&call, outcome.as_ref().map(drop), detail).await;
    let done = outcome?;
    Ok(match call.route.kind {
        Kind::Page => redirect(&field::back(&call, &done)),
        _ => {
            let body = serde_json::to_vec(&api::Ordered::from(done)).unwrap_or_default();
            call.body(StatusCode::OK, "application/json", body)
        }
    })
}

/// Hands alerts of somebody else to the daemon.
pub(crate) async fn accept(call: Arc<Call>) -> Result<Response<Body>, Problem> {
    let (outcome, count) = match pawang_alert::channel::accept(&call.content) {
        Err(report) => (Err(refused(&report)), 0),
        Ok(alerts) => {
            let count = alerts.len();
            let outcome = ask(&call, |answer| Command::External { alerts, answer }).await;
            let outcome = outcome.and_then(|taken| taken.map_err(|report| refused(&report)));
            (outcome, count)
        }
    };
    record(
        &call,
        outcome.as_ref().map(drop),
        json!({ "alerts": count }),
    )
    .await;
    outcome?;
    Ok(api::done(&call))
}

/// Sends an order to the daemon and waits for its answer.
pub(crate) async fn ask<T>(
    call: &Call,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Result<T, Problem> {
    ask_within(call, ORDER_MAX, command).await
}

/// Sends an order to the daemon that may take so long.
async fn ask_within<T>(
    call: &Call,
    most: Duration,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Result<T, Problem> {
    let (answer, answered) = oneshot::channel();
    let busy =
        || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is busy").retry_after(5);
    let sent = call.shared.site.commands.try_send(command(answer));
    sent.map_err(|_| busy())?;
    match tokio::time::timeout(most, answered).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) | Err(_) => Err(busy()),
    }
}

/// Writes the outcome into the journal.
pub(crate) async fn record(call: &Call, outcome: Result<(), &Problem>, detail: serde_json::Value) {
    let object = call.object();
    match outcome {
        Ok(()) => call.journal("done", &object, detail).await,
        Err(problem) => {
            let why = &problem.report.primary;
            match problem.status.is_server_error() {
                true => call.journal("failed", &object, json!({"why": why})).await,
                false => call.journal_refusal(&object, why).await,
            }
        }
    }
}

/// Returns who asks, as timelines and messages name them: an account by its name; where nobody signs in, the name that
/// the form gives.
fn who(call: &Call) -> String {
    match &call.actor {
        Some(Actor::Account { account, .. }) => account.name.clone(),
        Some(Actor::Open { .. }) => {
            let named = call.field("by").map(str::trim).unwrap_or_default();
            match named.is_empty() {
                true => call.name(),
                false => named.chars().take(NAME_CHARS_MAX).collect(),
            }
        }
        _ => call.name(),
    }
}

fn refused(report: &Report) -> Problem {
    let status = match report.kind {
        Cause::Usage | Cause::Answer => StatusCode::UNPROCESSABLE_ENTITY,
        Cause::Refused => StatusCode::CONFLICT,
        Cause::Target => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut problem = Problem::new(status, report.primary.clone());
    problem.report = report.clone();
    problem
}

/// Somebody takes care of an alert.
pub(crate) fn acknowledge(call: &Call) -> Result<Request, Problem> {
    Ok(Request::Acknowledge {
        alerts: vec![field::alert(call)?],
        until: field::until(call)?,
        note: field::text(call, "note"),
    })
}

/// Nobody takes care of an alert any more.
pub(crate) fn unacknowledge(call: &Call) -> Result<Request, Problem> {
    Ok(Request::Unacknowledge {
        alerts: vec![field::alert(call)?],
    })
}

/// Somebody wants to be reminded later.
pub(crate) fn snooze(call: &Call) -> Result<Request, Problem> {
    Ok(Request::Snooze {
        alerts: vec![field::alert(call)?],
        until: field::end(call)?,
        note: field::text(call, "note"),
    })
}

/// One alert is kept quiet.
pub(crate) fn mute(call: &Call) -> Result<Request, Problem> {
    Ok(Request::Mute {
        alert: field::alert(call)?,
        until: field::end(call)?,
        reason: field::required(call, "reason")?,
    })
}

/// What keeps one alert quiet is ended.
pub(crate) fn unmute(call: &Call) -> Result<Request, Problem> {
    Ok(Request::Unmute {
        alert: field::alert(call)?,
    })
}

/// Alerts are kept quiet.
pub(crate) fn add_silence(call: &Call) -> Result<Request, Problem> {
    Ok(Request::AddSilence {
        draft: draft(call)?,
        starts_at: field::instant(call, "starts-at")?,
        ends_at: field::end(call)?,
    })
}

/// A silence is ended.
pub(crate) fn expire_silence(call: &Call) -> Result<Request, Problem> {
    Ok(Request::ExpireSilence {
        silence: field::number(call)?,
    })
}

/// A maintenance window is added.
pub(crate) fn add_window(call: &Call) -> Result<Request, Problem> {
    let name = field::text(call, "name");
    Ok(Request::AddWindow {
        draft: draft(call)?,
        schedule: field::required(call, "schedule")?,
        name: (!name.is_empty()).then_some(name),
    })
}

/// A maintenance window is removed.
pub(crate) fn remove_window(call: &Call) -> Result<Request, Problem> {
    Ok(Request::RemoveWindow {
        window: call.arguments.get("name").to_owned(),
    })
}

/// An incident is opened by hand.
pub(crate) fn open_incident(call: &Call) -> Result<Request, Problem> {
    Ok(Request::OpenIncident {
        title: field::required(call, "title")?,
        priority: field::priority(call)?,
        instances: field::all(call, "instance"),
        alerts: field::all(call, "alert"),
    })
}

/// A note is written into the timeline of an incident.
pub(crate) fn note_incident(call: &Call) -> Result<Request, Problem> {
    Ok(Request::NoteIncident {
        incident: field::number(call)?,
        text: field::required(call, "text")?,
    })
}

/// Somebody takes care of all alerts of an incident that fire.
pub(crate) fn acknowledge_incident(call: &Call) -> Result<Request, Problem> {
    let id = field::number(call)?;
    let present = call.shared.site.live.alerts();
    let mut incidents = present.incidents.iter();
    let incident = incidents
        .find(|incident| incident.id == id)
        .ok_or_else(|| Problem::not_found(&format!("open incident {id}")))?;
    let own = |alert: &&Arc<Alert>| {
        alert.firing().is_some()
            && (alert.incident == Some(id) || incident.alerts.contains(&alert.fingerprint))
    };
    let firing = present.alerts.iter().filter(own);
    let alerts: Vec<String> = firing.map(|alert| alert.fingerprint.clone()).collect();
    if alerts.is_empty() {
        let why = format!("no alert of incident {id} fires");
        return Err(Problem::new(StatusCode::CONFLICT, why));
    }
    Ok(Request::Acknowledge {
        alerts,
        until: field::until(call)?,
        note: field::text(call, "note"),
    })
}

/// An incident is closed.
pub(crate) fn close_incident(call: &Call) -> Result<Request, Problem> {
    Ok(Request::CloseIncident {
        incident: field::number(call)?,
        review: field::required(call, "review")?,
    })
}

fn draft(call: &Call) -> Result<Draft, Problem> {
    let lines = field::all(call, "matcher");
    Ok(Draft {
        matchers: field::matchers(lines.iter().map(String::as_str))?,
        reason: field::required(call, "reason")?,
        everything: field::text(call, "everything") == "true",
    })
}

pub(crate) use field::matchers;
