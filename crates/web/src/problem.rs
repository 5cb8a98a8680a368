//! Answers that are not what was asked for: problem+json for programs, a plain page for people.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use maud::html;
use pawang_core::{Kind, Report};
use schemars::JsonSchema;
use serde::Serialize;

use crate::layout;
use crate::page::PageError;

/// Why a request is not answered as asked.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    /// The status of the answer.
    pub status: StatusCode,
    /// What people read.
    pub report: Report,
    /// When it makes sense to ask again, in seconds.
    pub retry_after: Option<u64>,
}

/// A problem as RFC 9457 wants it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct ProblemDocument {
    /// Kind of problem, `urn:pawang:problem:` and a name that stays the same.
    r#type: String,
    /// The kind of problem for people.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What was tried and did not work, and why.
    detail: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Problem {
    /// Returns a problem with neither detail nor hint.
    pub(crate) fn new(status: StatusCode, primary: impl Into<String>) -> Problem {
        let kind = match status {
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => Kind::Usage,
            status if status.is_server_error() => Kind::Target,
            _ => Kind::Refused,
        };
        Problem {
            status,
            report: Report::new(kind, primary),
            retry_after: None,
        }
    }

    /// Returns a problem of a parameter of the address.
    pub(crate) fn parameter(name: &str, expected: &str) -> Problem {
        Problem::new(
            StatusCode::BAD_REQUEST,
            format!("cannot read parameter \"{name}\""),
        )
        .with_hint(format!("\"{name}\" must be {expected}"))
    }

    /// Returns the problem of something that is not there.
    pub(crate) fn not_found(what: &str) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, format!("there is no {what}"))
    }

    /// Adds the facts around it.
    #[must_use]
    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Problem {
        self.report.detail = Some(detail.into());
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Problem {
        self.report.hint = Some(hint.into());
        self
    }

    /// Adds when to ask again.
    #[must_use]
    pub(crate) fn retry_after(mut self, seconds: u64) -> Problem {
        self.retry_after = Some(seconds);
        self
    }

    /// Answers a program.
    pub(crate) fn json(&self) -> Response<Body> {
        let document = serde_json::to_vec(&self.document()).unwrap_or_default();
        self.response("application/problem+json", document)
    }

    /// Answers a person.
    pub(crate) fn page(&self) -> Response<Body> {
        let (title, report) = (self.title(), &self.report);
        let body = html! {
            p { (report.primary) @if let Some(detail) = &report.detail { ": " (detail) } }
            @if let Some(hint) = &report.hint { p { "hint: " (hint) } }
            p { a href="/" { "to all instances" } }
        };
        let page = layout::plain(&title, &body).into_string();
        self.response("text/html; charset=utf-8", page.into_bytes())
    }

    fn document(&self) -> ProblemDocument {
        let title = self.title();
        let detail = match &self.report.detail {
            Some(detail) => format!("{}: {detail}", self.report.primary),
            None => self.report.primary.clone(),
        };
        ProblemDocument {
            r#type: format!(
                "urn:pawang:problem:{}",
                title.to_lowercase().replace(' ', "-")
            ),
            status: self.status.as_u16(),
            detail,
            hint: self.report.hint.clone(),
            title,
        }
    }

    fn title(&self) -> String {
        self.status
            .canonical_reason()
            .unwrap_or("Problem")
            .to_owned()
    }

    fn response(&self, content_type: &'static str, body: Vec<u8>) -> Response<Body> {
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<PageError> for Problem {
    fn from(error: PageError) -> Problem {
        match error {
            PageError::NotFound { .. } => Problem::new(StatusCode::NOT_FOUND, error.to_string()),
            PageError::Parameter { parameter } => match parameter.as_str() {
                "range" => Problem::parameter("range", "1h, 6h, 24h, 7d or 30d"),
                name @ ("from" | "to" | "at") => Problem::parameter(
                    name,
                    "RFC 3339 or milliseconds since 1970, and \"from\" before \"to\"",
                ),
                name => Problem::new(
                    StatusCode::BAD_REQUEST,
                    format!("cannot read parameter \"{name}\""),
                ),
            },
            PageError::Store(error) => Problem::from(error),
        }
    }
}

impl From<pawang_store::Error> for Problem {
    fn from(error: pawang_store::Error) -> Problem {
        Problem {
            status: StatusCode::SERVICE_UNAVAILABLE,
            report: error.report(),
            retry_after: None,
        }
    }
}
