//! `pawang top`: the terminal dashboard.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pawang_core::{Kind, Report};
use pawang_store::live::Live;
use pawang_top::Options;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::cli::Global;
use crate::daemon::{Answer, Seen, Setup, Status, Wanted, alone, order};
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

/// The daemon is asked anew so often, with some more time for each instance.
const DAEMON_EVERY: Duration = Duration::from_secs(1);
const DAEMON_EVERY_INSTANCE: Duration = Duration::from_millis(50);

/// Watch servers in the terminal: sessions, blocking, waits, findings, queries, tables
///
/// Shows what a running pawang serve knows; without one, or for a server that it does not look after, it looks by itself.
///
/// Examples:
///   pawang top
///   pawang top -i dwh-1
///   pawang top --direct
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Ask the servers even though a daemon runs
    #[arg(long)]
    direct: bool,
}

/// Where the facts come from.
enum Source {
    /// A daemon that looks after all of these.
    Daemon(PathBuf, Vec<String>),
    /// The servers themselves.
    Direct(Arc<Setup>),
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(
            Report::new(Kind::Usage, "cannot draw where there is no terminal")
                .with_hint("pawang check, or pawang check --json"),
        );
    }
    let setup = setup(global)?;
    let names: Vec<String> = setup.jobs.keys().cloned().collect();
    let instance = match names.as_slice() {
        [only] => Some(only.clone()),
        _ => None,
    };
    let source = match daemon(&setup, &names).filter(|_| !args.direct) {
        Some(directory) => Source::Daemon(directory, names),
        None => Source::Direct(setup),
    };
    let live = Arc::new(Live::default());
    let stop = Arc::new(AtomicBool::new(false));
    let options = Options {
        source: match &source {
            Source::Daemon(..) => "daemon",
            Source::Direct(_) => "direct",
        },
        instance,
        now: environment::now,
        stop: &stop,
    };
    let (end, ended) = oneshot::channel::<()>();
    let observer = observe(source, Arc::clone(&live), Arc::clone(&stop), ended)?;
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

/// Returns the data directory of a running daemon that looks after all of these instances.
fn daemon(setup: &Setup, names: &[String]) -> Option<PathBuf> {
    let directory = setup.estate.data_directory()?;
    let Ok(Answer::Done(value)) = order(&directory, &Wanted::Status) else {
        return None;
    };
    let status: Status = serde_json::from_value(value).ok()?;
    let known = |name: &String| status.instances.iter().any(|known| known.name == *name);
    (!names.is_empty() && names.iter().all(known)).then_some(directory)
}

/// Asks the daemon again and again; what it does not answer stays as it was, and grows old.
async fn follow(directory: PathBuf, names: Vec<String>, live: Arc<Live>) {
    let count = u32::try_from(names.len()).unwrap_or(u32::MAX);
    let mut clock = tokio::time::interval(DAEMON_EVERY + DAEMON_EVERY_INSTANCE * count);
    let (directory, names) = (Arc::new(directory), Arc::new(names));
    loop {
        clock.tick().await;
        let (directory, names, live) = (
            Arc::clone(&directory),
            Arc::clone(&names),
            Arc::clone(&live),
        );
        let ask = move || {
            for name in names.iter() {
                let answer = order(&directory, &Wanted::Present(name.clone()));
                let Ok(Answer::Done(value)) = answer else {
                    continue;
                };
                if let Ok(seen) = serde_json::from_value::<Seen>(value) {
                    live.put(seen.present());
                }
            }
        };
        if tokio::task::spawn_blocking(ask).await.is_err() {
            return;
        }
    }
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
    source: Source,
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
        match source {
            Source::Direct(setup) => {
                runtime.block_on(alone::watch(setup, live, environment::now, end))
            }
            Source::Daemon(directory, names) => runtime.block_on(async {
                tokio::select! {
                    () = end => {}
                    () = follow(directory, names, live) => {}
                }
            }),
        }
        runtime.shutdown_background();
    };
    std::thread::Builder::new()
        .name("observer".to_owned())
        .spawn(work)
        .map_err(start)
}
