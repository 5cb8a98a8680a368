//! The review of an incident as a file that people keep.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::CONTENT_DISPOSITION;
use axum::http::{HeaderValue, Response, StatusCode};
use jiff::tz::TimeZone;
use pawang_alert::incident::report::{self, Story};
use pawang_alert::incident::{similar, timeline};
use pawang_store::history::Reader;

use super::{alerts_with, find, past};
use crate::page::parts::{meanwhile, without_secrets};
use crate::page::range;
use crate::problem::Problem;
use crate::server::Call;

/// Writes the review.
type Write = fn(&Story<'_>) -> String;

/// Answers with the review as Markdown.
pub(crate) async fn markdown(call: Arc<Call>) -> Result<Response<Body>, Problem> {
    file(call, "md", "text/markdown; charset=utf-8", report::markdown).await
}

/// Answers with the review as HTML.
pub(crate) async fn document(call: Arc<Call>) -> Result<Response<Body>, Problem> {
    file(call, "html", "text/html; charset=utf-8", report::html).await
}

async fn file(
    call: Arc<Call>,
    extension: &str,
    content_type: &'static str,
    write: Write,
) -> Result<Response<Body>, Problem> {
    let of = Arc::clone(&call);
    let work = move |reader: &Reader| review(&of, reader, write);
    let (id, text) = call.shared.readers.run(work).await?;
    let mut response = call.body(StatusCode::OK, content_type, text.into_bytes());
    let name = format!("attachment; filename=\"incident-{id}.{extension}\"");
    if let Ok(name) = HeaderValue::from_str(&name) {
        response.headers_mut().insert(CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

fn review(call: &Call, reader: &Reader, write: Write) -> Result<(i64, String), Problem> {
    let visit = call.visit(reader, range::parse(&call.query, call.now)?);
    let incident = find(&visit, call.arguments.get("id"))?;
    let store = visit.site.store.state();
    let entries = store.incident_entries(incident.id)?;
    let others = meanwhile(reader, store, &incident, call.now)?;
    let past = past(&visit, &incident)?;
    let text = write(&Story {
        incident: &incident,
        alerts: &alerts_with(&visit, &incident)?,
        timeline: &timeline(&entries, &others),
        similar: similar(&incident, &past),
        waited: None,
        zone: &TimeZone::UTC,
        now: call.now,
        clean: without_secrets,
    });
    Ok((incident.id, text))
}
