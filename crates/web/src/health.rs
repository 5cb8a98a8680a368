//! Whether the program runs, and whether it does its work: for supervisors, without a sign-in and without facts.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Response, StatusCode};

use crate::problem::Problem;
use crate::server::Call;

const TEXT: &str = "text/plain; charset=utf-8";

/// Says that the program runs.
pub(crate) async fn alive(call: Arc<Call>) -> Result<Response<Body>, Problem> {
    Ok(call.body(StatusCode::OK, TEXT, b"ok\n".to_vec()))
}

/// Says whether every instance has been looked at once and the store takes what is seen.
pub(crate) async fn ready(call: Arc<Call>) -> Result<Response<Body>, Problem> {
    let live = &call.shared.site.live;
    let stores = live.daemon().store.trouble.is_none();
    let observes = live
        .instances()
        .iter()
        .all(|present| present.evaluation.is_some());
    Ok(match stores && observes {
        true => call.body(StatusCode::OK, TEXT, b"ready\n".to_vec()),
        false => call.body(
            StatusCode::SERVICE_UNAVAILABLE,
            TEXT,
            b"not ready\n".to_vec(),
        ),
    })
}
