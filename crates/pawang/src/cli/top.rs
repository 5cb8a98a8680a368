//! `pawang top`: the terminal dashboard.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pawang_core::{Kind, Report};
use pawang_store::live::Live;
use pawang_top::Options;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::cli::Global;
use crate::daemon::{Setup, alone};
use crate::environment;
use crate::estate::told;
use crate::output::Exit;

/// What a person watches is asked so often; everything else keeps its own interval.
const WATCHED: [(&str, Duration); 9] = [
    ("activity", Duration::from_secs(2)),
    ("blocking", Duration::from_secs(2)),
    ("sessions", Duration::from_secs(2)),
    ("database", Duration::from_secs(2)),
    ("replication", Duration::from_secs(2)),
    ("server", Duration::from_secs(2)),
    ("slots", Duration::from_secs(5)),
    ("statements", Duration::from_secs(10)),
    ("tables", Duration::from_secs(10)),
];
/// A person who looks may cost more than a daemon that always does, in percent of one core.
const BUDGET_PERCENT: f64 = 5.0;

/// Watch servers in the terminal: sessions, blocking, waits, findings, queries, tables
///
/// Examples:
///   pawang top
///   pawang top -i dwh-1
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {}

/// Runs the command.
pub(super) fn run(_args: &Args, global: &Global) -> Result<Exit, Report> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(
            Report::new(Kind::Usage, "cannot draw where there is no terminal")
                .with_hint("pawang check, or pawang check --json"),
        );
    }
    let setup = setup(global)?;
    let instance = match (setup.jobs.len(), setup.jobs.keys().next()) {
        (1, Some(only)) => Some(only.clone()),
        _ => None,
    };
    let live = Arc::new(Live::default());
    let stop = Arc::new(AtomicBool::new(false));
    let (end, ended) = oneshot::channel::<()>();
    let observer = observe(setup, Arc::clone(&live), Arc::clone(&stop), ended)?;
    let options = Options {
        source: "direct",
        instance,
        now: environment::now,
        stop: &stop,
    };
    let drawn = pawang_top::run(&live, &options);
    // The observer may have ended by itself, at a signal.
    let _ = end.send(());
    let observed = observer.join();
    drawn.map_err(|error| {
        Report::new(Kind::Usage, "could not draw on the terminal").with_detail(error.to_string())
    })?;
    if observed.is_err() {
        return Err(Report::new(Kind::Target, "observing broke off"));
    }
    Ok(if stop.load(Ordering::Relaxed) {
        Exit::Interrupted
    } else {
        Exit::Good
    })
}

fn setup(global: &Global) -> Result<Arc<Setup>, Report> {
    let now = environment::now();
    let mut setup = Setup::read(global.config.as_deref(), &global.instances, now).map_err(told)?;
    for (name, interval) in WATCHED {
        if let Some(collector) = setup.catalog.collectors.get_mut(name) {
            collector.header.interval = collector.header.interval.min(interval);
        }
    }
    let serve = &mut setup.estate.config.serve;
    serve.budget_percent = serve.budget_percent.max(BUDGET_PERCENT);
    Ok(Arc::new(setup))
}

/// Observes on a thread of its own, so that keys never wait for a server; a signal ends the drawing.
fn observe(
    setup: Arc<Setup>,
    live: Arc<Live>,
    stop: Arc<AtomicBool>,
    ended: oneshot::Receiver<()>,
) -> Result<std::thread::JoinHandle<()>, Report> {
    let start = |error: std::io::Error| {
        Report::new(Kind::Usage, "could not start").with_detail(error.to_string())
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(start)?;
    let signals = {
        let _inside = runtime.enter();
        let interrupt = signal(SignalKind::interrupt()).map_err(start)?;
        let terminate = signal(SignalKind::terminate()).map_err(start)?;
        (interrupt, terminate)
    };
    let work = move || {
        let (mut interrupt, mut terminate) = signals;
        let end = async {
            tokio::select! {
                _ = ended => {}
                _ = interrupt.recv() => stop.store(true, Ordering::Relaxed),
                _ = terminate.recv() => stop.store(true, Ordering::Relaxed),
            }
        };
        runtime.block_on(alone::watch(setup, live, environment::now, end));
    };
    std::thread::Builder::new()
        .name("observer".to_owned())
        .spawn(work)
        .map_err(start)
}
