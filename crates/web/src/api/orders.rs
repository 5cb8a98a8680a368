//! Orders to the daemon.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use pawang_core::Report;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::order;
use crate::problem::Problem;
use crate::server::Call;
use crate::site::Command;

/// An order was carried out.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Done {
    /// Always true; what was not done is a problem.
    done: bool,
}

/// An order about alerts was carried out.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Ordered {
    /// Always true; what was not done is a problem.
    done: bool,
    /// What was done, in one sentence.
    text: String,
    /// Fingerprints, numbers or names of what was changed or made.
    objects: Vec<String>,
    /// The command that takes it back.
    undo: Option<String>,
}

impl From<pawang_core::alert::Done> for Ordered {
    fn from(done: pawang_core::alert::Done) -> Ordered {
        Ordered {
            done: true,
            text: done.text,
            objects: done.objects,
            undo: done.undo,
        }
    }
}

/// Makes the daemon read its configuration again.
pub(crate) async fn reload(call: Arc<Call>) -> Result<Response<Body>, Problem> {
    let outcome = order::ask(&call, |answer| Command::Reload { answer }).await;
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
    let outcome = order::ask(&call, command)
        .await
        .and_then(|there| match there {
            true => Ok(()),
            false => Err(Problem::not_found(&format!("instance \"{instance}\""))),
        });
    finish(&call, outcome).await
}

/// Writes the outcome into the journal and answers with it.
async fn finish(call: &Call, outcome: Result<(), Problem>) -> Result<Response<Body>, Problem> {
    order::record(call, outcome.as_ref().copied(), json!({})).await;
    outcome.map(|()| done(call))
}

/// Answers that an order was carried out.
pub(crate) fn done(call: &Call) -> Response<Body> {
    let body = serde_json::to_vec(&Done { done: true }).unwrap_or_default();
    call.body(StatusCode::OK, "application/json", body)
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
