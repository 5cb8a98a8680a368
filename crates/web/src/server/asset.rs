//! The files that pages load; their names change with their content, so browsers keep them for ever.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, VARY};
use axum::http::{HeaderValue, Response, StatusCode};

use super::Call;
use crate::assets;
use crate::problem::Problem;

/// One year, the longest that means anything.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// Answers with a file.
pub(crate) async fn asset(call: Arc<Call>) -> Result<Response<Body>, Problem> {
    let path = call.uri.path();
    let asset = assets::find(path).ok_or_else(|| Problem::not_found("such file"))?;
    let mut response = call.body(StatusCode::OK, asset.content_type, asset.body.to_vec());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(FOR_EVER));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    Ok(response)
}
