//! Sessions of a server: a plan is shown first, then somebody who has signed in agrees, then its outcome is shown.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use pawang_core::plan::Plan;
use pawang_store::state::Permission;
use serde_json::json;

use super::{ask_within, record, refused};
use crate::auth::Actor;
use crate::page::activity::plan;
use crate::problem::Problem;
use crate::server::Call;
use crate::site::{Applied, Command, Planned, SessionsWanted};

/// How long the server may take to be looked at.
const PLAN_MAX: Duration = Duration::from_secs(30);
/// How long a plan may take: some seconds for each session of it.
const APPLY_MAX: Duration = Duration::from_secs(180);

/// Shows what would be done; nothing is changed.
pub(crate) async fn show(call: Arc<Call>) -> Result<Response<Body>, Problem> {
    let instance = call.object();
    if call.shared.site.live.instance(&instance).is_none() {
        return Err(Problem::not_found(&format!("instance \"{instance}\"")));
    }
    if open(&call) {
        return call
            .framed(move |visit| plan::closed(visit, &instance))
            .await;
    }
    let permission = call.actor.as_ref().map(Actor::permission);
    if permission.is_none_or(|permission| permission < Permission::Operator) {
        return call
            .framed(move |visit| plan::forbidden(visit, &instance))
            .await;
    }
    let planned = planned(&call).await?;
    call.framed(move |visit| plan::render(visit, &instance, &planned))
        .await
}

/// Has the daemon make the plan that the parameters ask for; whoever may not apply it does not get it.
pub(crate) async fn planned(call: &Call) -> Result<Planned, Problem> {
    let instance = call.object();
    if call.shared.site.live.instance(&instance).is_none() {
        return Err(Problem::not_found(&format!("instance \"{instance}\"")));
    }
    signed_in(call)?;
    let wanted = wanted(call)?;
    let by = call.name();
    let planned = ask_within(call, PLAN_MAX, |answer| Command::PlanSessions {
        instance,
        wanted,
        by,
        answer,
    });
    planned.await?.map_err(|report| refused(&report))
}

/// Carries out the plan that was shown, and shows what came of it.
pub(crate) async fn apply(call: Arc<Call>) -> Result<Response<Body>, Problem> {
    let instance = call.object();
    let applied = applied(&call).await?;
    call.framed(move |visit| plan::outcome(visit, &instance, &applied))
        .await
}

/// Has the daemon carry out the plan that the fields name, and writes the journal.
pub(crate) async fn applied(call: &Call) -> Result<Applied, Problem> {
    let outcome = carry_out(call, &call.object()).await;
    let detail = outcome.as_ref().map_or_else(|_| json!({}), summary);
    record(call, outcome.as_ref().map(drop), detail).await;
    outcome
}

fn signed_in(call: &Call) -> Result<(), Problem> {
    match open(call) {
        true => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "nobody has signed in: an open dashboard changes no server",
        )
        .with_hint("pawang account create NAME --permission operator")),
        false => Ok(()),
    }
}

async fn carry_out(call: &Call, instance: &str) -> Result<Applied, Problem> {
    signed_in(call)?;
    let plan = call.field("plan").unwrap_or_default().to_owned();
    let typed = call.field("name").unwrap_or_default().trim().to_owned();
    let (instance, by) = (instance.to_owned(), call.name());
    let applied = ask_within(call, APPLY_MAX, |answer| Command::ApplySessions {
        instance,
        plan,
        typed,
        by,
        answer,
    });
    applied.await?.map_err(|report| refused(&report))
}

/// Says whether nobody has to sign in: whoever can reach such a dashboard must not change a server by it.
fn open(call: &Call) -> bool {
    matches!(call.actor, Some(Actor::Open { .. }))
}

fn wanted(call: &Call) -> Result<SessionsWanted, Problem> {
    let session = || call.parameter("session").unwrap_or_default().to_owned();
    match call.parameter("do") {
        Some("cancel") => Ok(SessionsWanted::Cancel(session())),
        Some("terminate") => Ok(SessionsWanted::Terminate(session())),
        None | Some("blockers") => Ok(SessionsWanted::Blockers),
        Some(other) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            format!("there is no \"{other}\" for sessions"),
        )
        .with_hint("do=cancel, do=terminate or do=blockers")),
    }
}

fn summary(applied: &Applied) -> serde_json::Value {
    let Planned { plan, hash, .. } = &applied.planned;
    let Plan { title, actions, .. } = plan;
    let actions = actions.iter().zip(&applied.outcome.actions);
    let actions: Vec<_> = actions
        .map(|(action, done)| json!({ "id": action.id, "state": done.state }))
        .collect();
    json!({ "plan": hash, "title": title, "actions": actions, "waited": applied.waited, "waiting": applied.waiting })
}
