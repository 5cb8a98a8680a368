//! Tells open pages that something changed: Server-Sent Events, at most one per second.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, StatusCode};
use futures_util::stream;
use pawang_core::Timestamp;
use pawang_store::live::{Live, Present};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::layout;
use crate::problem::Problem;
use crate::server::{Call, Shared, stopped};

/// Least time from one event to the next.
const EVERY: Duration = Duration::from_secs(1);
/// A comment goes out after so long without an event, so that proxies keep the connection and a dead one is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A stream ends after so long and the browser asks again: a session that has ended must not go on looking.
const STREAM_MAX: Duration = Duration::from_secs(900);
/// How long a browser waits before it asks again, in milliseconds.
const RETRY_MS: u64 = 3_000;

/// What an event says.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Changed {
    /// When.
    at: Timestamp,
    /// The instances that were looked at again, came or went; empty when only the daemon itself changed.
    instances: Vec<String>,
    /// Findings of the whole estate by level.
    findings: Counts,
}

/// How many findings there are of each level, and how many checks found nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Counts {
    /// Somebody must act now.
    pub critical: usize,
    /// Somebody should act today.
    pub warning: usize,
    /// Not seen.
    pub unknown: usize,
    /// Worth knowing.
    pub info: usize,
    /// Checks that saw and found nothing.
    pub ok: usize,
}

impl Counts {
    /// Counts the findings of some instances.
    pub(crate) fn of<'a>(presents: impl IntoIterator<Item = &'a Arc<Present>>) -> Counts {
        let counts = layout::Counts::of(presents.into_iter().map(AsRef::as_ref));
        Counts {
            critical: counts.critical,
            warning: counts.warning,
            unknown: counts.unknown,
            info: counts.info,
            ok: counts.ok,
        }
    }
}

/// One open page that is told of changes.
struct Stream {
    shared: Arc<Shared>,
    changes: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
    known: Known,
    opened_at: tokio::time::Instant,
    begun: bool,
    _room: OwnedSemaphorePermit,
}

/// What an open page has been told of.
#[derive(Default)]
struct Known(HashMap<String, Weak<Present>>);

/// Answers with a stream of events.
pub(crate) async fn open(call: Arc<Call>) -> Result<Response<Body>, Problem> {
    let shared = Arc::clone(&call.shared);
    let Ok(room) = Arc::clone(&shared.streams).try_acquire_owned() else {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many pages are open at the same time",
        )
        .with_hint("the page stays readable; load it again by hand")
        .retry_after(60));
    };
    let changes = shared.site.live.watch();
    let mut known = Known::default();
    known.update(&shared.site.live);
    let stream = Stream {
        changes,
        stop: shared.stop.clone(),
        known,
        opened_at: tokio::time::Instant::now(),
        begun: false,
        shared,
        _room: room,
    };
    let stream = stream::unfold(stream, async |mut stream| {
        let text = stream.next().await?;
        Some((Ok::<_, std::convert::Infallible>(text), stream))
    });
    let mut response = Response::new(Body::from_stream(stream));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // nginx would hold events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

impl Stream {
    /// Waits for the next thing to say; `None` ends the stream.
    async fn next(&mut self) -> Option<String> {
        if !self.begun {
            self.begun = true;
            return Some(format!("retry: {RETRY_MS}\n\n"));
        }
        if self.opened_at.elapsed() > STREAM_MAX {
            return None;
        }
        tokio::select! {
            () = stopped(&mut self.stop) => None,
            changed = self.changes.changed() => {
                changed.ok()?;
                // What changes while waiting is told with it.
                tokio::time::sleep(EVERY).await;
                Some(self.tell())
            }
            () = tokio::time::sleep(KEEP_ALIVE) => Some(": nothing new\n\n".to_owned()),
        }
    }

    fn tell(&mut self) -> String {
        self.changes.mark_unchanged();
        let live = &self.shared.site.live;
        let changed = Changed {
            at: (self.shared.site.now)(),
            instances: self.known.update(live),
            findings: Counts::of(&live.instances()),
        };
        let data = serde_json::to_string(&changed).unwrap_or_default();
        format!("event: change\ndata: {data}\n\n")
    }
}

impl Known {
    /// Returns the instances that changed, came or went since the last time.
    ///
    /// A weak reference keeps the place of a present, so that a new one is never mistaken for it.
    fn update(&mut self, live: &Live) -> Vec<String> {
        let mut before = std::mem::take(&mut self.0);
        let mut changed = Vec::new();
        for present in live.instances() {
            let name = present.instance.name.clone();
            let now = Arc::downgrade(&present);
            match before.remove(&name) {
                Some(known) if known.ptr_eq(&now) => {}
                _ => changed.push(name.clone()),
            }
            self.0.insert(name, now);
        }
        changed.extend(before.into_keys());
        changed.sort_unstable();
        changed
    }
}
