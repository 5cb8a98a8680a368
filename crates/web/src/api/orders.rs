//! Orders to the daemon.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use pawang_core::Report;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use tokio::sync::oneshot;

use crate::problem::Problem;
use crate::server::Call;
use crate::site::Command;

/// How long the daemon may take over an order.
const ORDER_MAX: Duration = Duration::from_secs(30);

/// An order was carried out.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Done {
    /// Always true; what was not done is a problem.
    done: bool,
}

/// Makes the daemon read its configuration again.
pub(crate) async fn reload(call: Arc<Call>) -> Result<Response<Body>, Problem> {
    let outcome = order(&call, |answer| Command::Reload { answer }).await;
    let outcome = outcome.and_then(|read| read.map_err(|reports| refused(&reports)));
    finish(&call, outcome).await
}

/// Makes the daemon ask all collectors of an instance.
pub(crate) async fn ask(call: Arc<Call>) -> Result<Response<Body>, Problem> {
    let instance = call.object();
    let command = |answer| Command::Ask {
        instance: instance.clone(),
        answer,
    };
    let outcome = order(&call, command).await.and_then(|there| match there {
        true => Ok(()),
        false => Err(Problem::not_found(&format!("instance \"{instance}\""))),
    });
    finish(&call, outcome).await
}

async fn order<T>(
    call: &Call,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Result<T, Problem> {
    let (answer, answered) = oneshot::channel();
    let busy =
        || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is busy").retry_after(5);
    let sent = call.shared.site.commands.try_send(command(answer));
    sent.map_err(|_| busy())?;
    match tokio::time::timeout(ORDER_MAX, answered).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) | Err(_) => Err(busy()),
    }
}

/// Writes the outcome into the journal and answers with it.
async fn finish(call: &Call, outcome: Result<(), Problem>) -> Result<Response<Body>, Problem> {
    let object = call.object();
    match outcome {
        Ok(()) => {
            call.journal("done", &object, json!({})).await;
            let body = serde_json::to_vec(&Done { done: true }).unwrap_or_default();
            Ok(call.body(StatusCode::OK, "application/json", body))
        }
        Err(problem) => {
            let why = &problem.report.primary;
            match problem.status.is_server_error() {
                true => call.journal("failed", &object, json!({"why": why})).await,
                false => call.journal_refusal(&object, why).await,
            }
            Err(problem)
        }
    }
}

/// Returns the problem of a configuration that was refused; the first mistake is told whole, the others are counted.
fn refused(reports: &[Report]) -> Problem {
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    let Some(first) = reports.first() else {
        return Problem::new(status, "the configuration was refused");
    };
    let mut problem = Problem::new(status, first.primary.clone());
    problem.report = first.clone();
    if reports.len() > 1 {
        let more = format!("and {} more mistakes", reports.len() - 1);
        let detail = problem.report.detail.take();
        problem.report.detail = Some(match detail {
            Some(detail) => format!("{detail}; {more}"),
            None => more,
        });
    }
    problem
}
