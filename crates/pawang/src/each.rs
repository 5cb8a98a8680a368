//! The same work on every server, several at a time, until it is done or a signal comes.

use futures_util::StreamExt;
use pawang_core::{Kind, Report};
use tokio::signal::unix::{SignalKind, signal};

use crate::estate::{Estate, Job};

/// Works on all servers, several at a time; results come in the servers' order, `None` when a signal came first.
///
/// A server that does not answer holds up nobody but itself. What was asked is dropped at a signal, and with it the
/// connections: backends end with their client, at the latest after `client_connection_check_interval`.
///
/// # Errors
/// The runtime cannot be started.
pub(crate) fn each<T>(
    estate: &Estate,
    jobs: &[Job],
    work: impl AsyncFn(&Job) -> T,
) -> Result<Option<Vec<T>>, Report> {
    let start = |error: std::io::Error| {
        Report::new(Kind::Target, "could not start").with_detail(error.to_string())
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let concurrency = usize::try_from(estate.config.defaults.concurrency.max(1)).unwrap_or(1);
    let runtime = runtime.map_err(start)?;
    let results = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(start)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(start)?;
        let works = jobs.iter().enumerate();
        let works = works.map(async |(index, job)| (index, work(job).await));
        let works = futures_util::stream::iter(works).buffer_unordered(concurrency);
        tokio::select! {
            mut all = works.collect::<Vec<_>>() => {
                all.sort_by_key(|(index, _)| *index);
                Ok(Some(all.into_iter().map(|(_, result)| result).collect()))
            }
            _ = interrupt.recv() => Ok(None),
            _ = terminate.recv() => Ok(None),
        }
    });
    // A look at files that hangs cannot be ended, and is left behind.
    runtime.shutdown_background();
    results
}
