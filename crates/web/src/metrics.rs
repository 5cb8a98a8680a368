//! `/metrics`: the present of the estate for Prometheus, written piece by piece while it is being sent.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderValue, Response, StatusCode};
use futures_util::stream;
use pawang_metrics::{Format, Scrape};
use tokio::sync::mpsc;

use crate::problem::Problem;
use crate::server::Call;

/// Pieces that wait for a slow reader, about 64 KiB each.
const PIECES_MAX: usize = 4;

/// Answers a scrape.
pub(crate) async fn scrape(call: Arc<Call>) -> Result<Response<Body>, Problem> {
    let Ok(room) = Arc::clone(&call.shared.scrapes).try_acquire_owned() else {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many scrapes at the same time",
        )
        .retry_after(1));
    };
    let accept = call.headers.get(ACCEPT);
    let format = Format::of_accept(accept.and_then(|value| value.to_str().ok()).unwrap_or(""));
    let collect = call.query.iter().filter(|(name, _)| name == "collect[]");
    let collect: Vec<String> = collect.map(|(_, value)| value.clone()).collect();
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let site = Arc::clone(&call.shared.site);
    let now = call.now;
    tokio::task::spawn_blocking(move || {
        let _room = room;
        let alerts = site.live.alerts();
        let scrape = Scrape {
            format,
            collect: (!collect.is_empty()).then_some(collect),
            config: &site.settings.metrics,
            alerts: &alerts,
            now,
        };
        let daemon = site.live.daemon();
        let written = pawang_metrics::write(
            &site.live.instances(),
            &daemon,
            &scrape,
            &mut Pieces(sender),
        );
        if let Err(error) = written {
            tracing::debug!("the scrape ended early: {error}");
        }
    });
    let pieces = stream::unfold(receiver, async |mut receiver| {
        let piece = receiver.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(piece), receiver))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static(format.content_type()),
    );
    Ok(response)
}

/// Hands pieces over to the connection; an error when it is gone.
struct Pieces(mpsc::Sender<Bytes>);

impl io::Write for Pieces {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Bytes::copy_from_slice(piece));
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
