//! `pawang serve`: observes every instance by a task of its own, remembers, judges, and shows.
//!
//! Tasks are spawned only here, each has a name, and each is waited for at the end.

mod alarm;
mod alerting;
pub(crate) mod alone;
mod backup;
mod baselines;
mod beat;
mod clock;
mod control;
mod delivery;
mod fleet;
mod judge;
mod known;
mod logbook;
mod notify;
mod own;
mod process;
mod rates;
mod recorder;
mod remote;
mod sampling;
mod seen;
mod sessions;
mod setup;
mod shared;
mod start;
mod status;
mod subject;
mod supervise;
mod texts;
mod unsaved;
mod upkeep;
mod worker;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pawang_core::{Kind, Report};
use pawang_store::live::Live;
use pawang_store::state::Entry;
use pawang_store::{Opened, Recorder, Store};

pub(crate) use alerting::journal_entry;
pub(crate) use control::{Answer, Wanted, order};
pub(crate) use rates::Rates;
pub(crate) use seen::Seen;
pub(crate) use setup::{Setup, data_directory};
pub(crate) use status::{InstanceStatus, LogReading, Status};
pub(crate) use subject::of as subject_of;

use crate::environment;
use crate::output::{self, Exit};
use supervise::{Daemon, Parts};

/// Worker threads of the runtime: an instance costs little, and the other cores belong to the machine.
const THREADS: usize = 2;
/// Threads for work that blocks, such as pages, checks, and files on file systems that hang; there when needed.
const BLOCKING_THREADS_MAX: usize = 64;
/// What still runs after the orderly end is left behind after so long.
const RUNTIME_END_MAX: Duration = Duration::from_secs(2);

/// What the command line says.
pub(crate) struct Options {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// Only these instances, with `*`.
    pub instances: Vec<String>,
    /// Another address than that of the configuration.
    pub listen: Option<SocketAddr>,
    /// Another data directory than that of the configuration.
    pub data_directory: Option<PathBuf>,
}

/// Runs the daemon until it is told to end.
///
/// # Errors
/// It could not start: every mistake of the configuration, a data directory or address that somebody else has, an
/// address that is not safe to serve.
pub(crate) fn run(options: Options) -> Result<Exit, Vec<Report>> {
    let one = |report: Report| vec![report];
    let now = environment::now;
    let setup = Setup::read(options.config.as_deref(), &options.instances, now())?;
    for warning in &setup.estate.config.warnings {
        tracing::warn!("{warning}");
    }
    let directory =
        data_directory(&setup.estate, options.data_directory.as_deref()).map_err(one)?;
    let opened = Store::open(&directory, now()).map_err(|error| one(error.report()))?;
    let parts = prepare(options, setup, opened).map_err(one)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("pawang")
        .enable_all()
        .build()
        .map_err(|error| {
            one(Report::new(Kind::Refused, "could not start").with_detail(error.to_string()))
        })?;
    let exit = runtime.block_on(async {
        let daemon = Daemon::start(parts)?;
        Ok(daemon.run().await)
    });
    runtime.shutdown_timeout(RUNTIME_END_MAX);
    exit.map_err(one)
}

/// Takes everything that somebody else may have, before anything runs.
fn prepare(options: Options, setup: Setup, opened: Opened) -> Result<Parts, Report> {
    let Opened { store, notes } = opened;
    let config = &setup.estate.config.serve;
    let listen = options.listen.unwrap_or(config.listen);
    let mut settings = start::settings(config, listen, store.state())?;
    let tls = start::tls(config)?;
    let listener = start::bind(listen)?;
    // With port 0 the system chooses.
    if let Ok(address) = listener.local_addr() {
        settings.listen = address;
    }
    let directory = store.directory().to_owned();
    for note in &notes {
        tracing::error!("{note}");
    }
    let retention = setup::retention(&config.retention);
    let recorder = Recorder::new(store.clone());
    let (recording, thread) = recorder::start(recorder, retention, environment::now)?;
    Ok(Parts {
        options,
        setup: Arc::new(setup),
        store,
        directory,
        notes,
        settings,
        tls,
        listener,
        live: Arc::new(Live::default()),
        recording,
        thread,
        now: environment::now,
    })
}

/// Writes what the daemon did into the journal; a journal that refuses does not stop it, but is told.
fn journal(store: &Store, action: &str, outcome: &str, detail: serde_json::Value) {
    let entry = Entry {
        at: environment::now(),
        actor: "daemon".to_owned(),
        action: action.to_owned(),
        object: String::new(),
        outcome: outcome.to_owned(),
        detail,
    };
    if let Err(error) = store.state().journal(&entry) {
        let report = error.report();
        tracing::error!(
            detail = report.detail.as_deref(),
            "the journal refuses \"{action}\": {error}"
        );
    }
}

/// Tells whoever started it in a terminal where to look.
fn greet(address: &str, instances: usize, directory: &std::path::Path) {
    let noun = if instances == 1 {
        "instance"
    } else {
        "instances"
    };
    output::talk(&format!(
        "pawang serve: {instances} {noun}, dashboard on {address}, data in {}",
        directory.display()
    ));
}
