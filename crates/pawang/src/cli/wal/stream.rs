//! `pawang wal stream`: WAL as the server writes it, through a replication slot.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pawang_backup::wal::receive::{self, Ended, Progress, ReceiveOptions, receive};
use pawang_backup::{Error, Repository};
use pawang_core::{ByteSize, Kind, Lsn, Report};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::place::wait;
use crate::cli::Global;
use crate::environment;
use crate::estate::{Estate, Job, told};
use crate::output::{self, Exit};
use crate::repositories;

const EXAMPLES: &str = "\
Examples:
  pawang wal stream -i dwh-1
  pawang wal stream -i dwh-1 --repository /srv/backup --slot pawang
  pawang wal stream postgres://replicator@db-1 --repository s3://bucket/dwh --spool /var/spool/pawang";

/// How often a line says how far it is.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// A server that is away is asked again after this time, and after twice as long each time it is still away.
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(30);
/// A connection that held for so long was good: the next wait is short again.
const HELD_LONG: Duration = Duration::from_secs(60);

/// Receive WAL as the server writes it, through a replication slot
///
/// It is durable in the spool within milliseconds, and only then confirmed to the server, which keeps what is not. Whole
/// segments go to every repository, and the new end of the one that grows every few seconds. WAL that the server has removed
/// too early is recorded as a gap, told as an alarm, and ends in exit code 1. It needs a role with REPLICATION, and a line for
/// "replication" in pg_hba.conf. Until it is stopped it connects again, also to the server that was promoted.
///
/// --json writes one object per line (schema pawang.wal.stream/1).
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct Args {
    /// Server, instead of -i: postgres://user@host:5432
    #[arg(value_name = "URL", conflicts_with = "instances")]
    server: Option<String>,
    /// Name of a repository of pawang.toml, a folder, or s3://bucket/prefix (repeatable); else those of the instance
    #[arg(long = "repository", value_name = "NAME|PLACE", visible_alias = "repo")]
    repositories: Vec<String>,
    /// Replication slot, which is created when there is none; that of pawang.toml, else "pawang"
    #[arg(long, value_name = "NAME")]
    slot: Option<String>,
    /// Folder for WAL until the repositories have it, best on a disk of its own; else in serve.data_directory
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// Most that the spool holds; then it waits for the repositories, and the server keeps its WAL
    #[arg(long, value_name = "SIZE", default_value_t = ByteSize(receive::SPOOL_BYTES_MAX), hide_short_help = true)]
    spool_max: ByteSize,
    /// Seconds between pieces of the growing segment; 0 stores whole segments only
    #[arg(long, value_name = "SECONDS", default_value_t = receive::LIVE_EVERY.as_secs(), hide_short_help = true)]
    every: u64,
    /// Receive from a standby too: its WAL is later than the primary's
    #[arg(long)]
    allow_standby: bool,
    /// End when the connection is lost, instead of connecting again
    #[arg(long)]
    once: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let mut jobs = estate.jobs(&global.instances, args.server.as_deref())?;
    let (Some(job), true) = (jobs.pop(), jobs.is_empty()) else {
        return Err(Report::new(Kind::Usage, "WAL is received from one server")
            .with_hint("name it: pawang wal stream -i NAME"));
    };
    wait(async {
        let options = ReceiveOptions {
            target: job.target.clone(),
            repositories: open(args, &estate, &job).await?,
            slot: Some(slot(args, &estate, &job)),
            spool: spool(args, &estate, &job)?,
            spool_bytes_max: args.spool_max.0,
            live_every: (args.every > 0).then(|| Duration::from_secs(args.every)),
            allow_standby: args.allow_standby,
            cluster: None,
            clock: environment::now,
        };
        until_told(args, global, &options).await
    })?
}

async fn open(args: &Args, estate: &Estate, job: &Job) -> Result<Vec<Repository>, Report> {
    let mut opened = Vec::new();
    if args.repositories.is_empty() {
        for repository in repositories::of_instance(&estate.config, job).await? {
            opened.push(repository.repository?);
        }
    }
    for name in &args.repositories {
        opened.push(repositories::named(&estate.config, name).await?.1);
    }
    Ok(opened)
}

fn slot(args: &Args, estate: &Estate, job: &Job) -> String {
    let named = args.slot.clone();
    named.unwrap_or_else(|| estate.config.backup_settings(&job.config).slot)
}

fn spool(args: &Args, estate: &Estate, job: &Job) -> Result<PathBuf, Report> {
    if let Some(folder) = &args.spool {
        return Ok(folder.clone());
    }
    let data = estate.data_directory().ok_or_else(|| {
        Report::new(
            Kind::Usage,
            "no folder for WAL until the repositories have it",
        )
        .with_hint("pawang wal stream --spool DIR, or set serve.data_directory in pawang.toml")
    })?;
    let plain = |letter: char| match letter {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => letter,
        _ => '_',
    };
    let name: String = job.instance.name.chars().map(plain).collect();
    Ok(data.join("spool").join(name))
}

/// Receives until a signal; a second one does not wait for an orderly end.
async fn until_told(
    args: &Args,
    global: &Global,
    options: &ReceiveOptions,
) -> Result<Exit, Report> {
    let start = |error: std::io::Error| {
        Report::new(Kind::Target, "could not start").with_detail(error.to_string())
    };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(start)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(start)?;
    let teller = Teller::new(global);
    let (stop, stopped) = watch::channel(false);
    let mut work = pin!(again_and_again(args, options, stopped, &teller));
    loop {
        tokio::select! {
            result = &mut work => {
                teller.ended(&result?);
                break;
            }
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if stop.send_replace(true) {
            return Ok(Exit::Interrupted);
        }
        output::talk("stopping: what is in the spool goes to the repositories first");
    }
    Ok(match teller.alarmed() {
        true => Exit::Answer,
        false => Exit::Good,
    })
}

async fn again_and_again(
    args: &Args,
    options: &ReceiveOptions,
    mut stopped: watch::Receiver<bool>,
    teller: &Teller,
) -> Result<Ended, Report> {
    let mut pause = WAIT_MIN;
    loop {
        let begun = Instant::now();
        let error =
            match receive(options, stopped.clone(), &|progress| teller.tell(&progress)).await {
                Ok(ended) => return Ok(ended),
                Err(error) => error,
            };
        if args.once || !passes(&error) {
            return Err(error.report());
        }
        if begun.elapsed() >= HELD_LONG {
            pause = WAIT_MIN;
        }
        let report = error.report();
        output::talk(&format!("{report}\ntrying again in {} s", pause.as_secs()));
        let told = stopped.wait_for(|stop| *stop);
        if tokio::time::timeout(pause, told).await.is_ok() {
            return Err(report);
        }
        pause = (pause * 2).min(WAIT_MAX);
    }
}

/// Says whether an error may pass by itself: the server or a repository is away, or the disk of the spool is full.
fn passes(error: &Error) -> bool {
    use pawang_postgres::Error as Server;
    match error {
        Error::Storage { .. } => true,
        Error::Server(error) => matches!(
            error,
            Server::Unreachable { .. }
                | Server::ConnectTimeout { .. }
                | Server::NoHost { .. }
                | Server::WrongRole { .. }
                | Server::Closed { .. }
                | Server::TooManyConnections { .. }
                | Server::StartingUp { .. }
                | Server::NoWalSender { .. }
                | Server::SlotActive { .. }
                | Server::ShutDown { .. }
                | Server::Lost { .. }
        ),
        // The server keeps what the spool has no room for.
        error => error.disk_is_full(),
    }
}

/// Tells people, or programs, what the receiver does.
struct Teller {
    json: bool,
    quiet: bool,
    seen: Mutex<Seen>,
}

struct Seen {
    /// When a line last said how far it is, and how far that was.
    line_at: Instant,
    line: Lsn,
    stored: u64,
    waiting: usize,
    alarmed: bool,
}

impl Teller {
    fn new(global: &Global) -> Teller {
        Teller {
            json: global.json,
            quiet: global.quiet,
            seen: Mutex::new(Seen {
                line_at: Instant::now(),
                line: Lsn(0),
                stored: 0,
                waiting: 0,
                alarmed: false,
            }),
        }
    }

    fn alarmed(&self) -> bool {
        self.seen().alarmed
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, progress: &Progress) {
        let line = self.seen().line(progress);
        let loud = matches!(
            progress,
            Progress::Gap(_) | Progress::Diverged { .. } | Progress::Trouble { .. }
        );
        let Some(line) = line else {
            return;
        };
        if self.json {
            let data = serde_json::to_value(progress).unwrap_or_default();
            let value = serde_json::json!({ "schema": "pawang.wal.stream/1", "data": data });
            // A reader that went away does not end the receiver.
            let _gone = output::data(&format!("{value}\n"));
        } else if loud || !self.quiet {
            output::talk(&line);
        }
    }

    fn ended(&self, ended: &Ended) {
        if !self.quiet && !self.json {
            let Ended {
                timeline,
                flushed,
                waiting,
            } = ended;
            output::talk(&format!(
                "ended at {flushed} on timeline {}; whole segments that are only in the spool: {waiting}",
                timeline.0
            ));
        }
    }
}

impl Seen {
    /// Returns the line for an event; of those that come all the time, one now and then.
    fn line(&mut self, progress: &Progress) -> Option<String> {
        match progress {
            Progress::Started {
                cluster,
                address,
                timeline,
                position,
            } => Some(format!(
                "streaming from {address} (cluster {cluster}), timeline {}, position {position}",
                timeline.0
            )),
            Progress::Flushed {
                position,
                server_end,
                ..
            } => self.far(*position, *server_end),
            Progress::Live { .. } => None,
            Progress::Stored { waiting, .. } => {
                self.stored += 1;
                self.waiting = *waiting;
                None
            }
            Progress::Switched { timeline, position } => {
                Some(format!("timeline {} begins at {position}", timeline.0))
            }
            Progress::Gap(gap) => {
                self.alarmed = true;
                Some(format!(
                    "ALARM: WAL from {} to {} of timeline {} is lost: {}; take a backup now: pawang backup create",
                    gap.from, gap.to, gap.timeline.0, gap.cause
                ))
            }
            Progress::Diverged { segment, kept } => {
                self.alarmed = true;
                Some(format!(
                    "ALARM: the server sends another {segment} than was received before; the old one is kept: {}",
                    kept.display()
                ))
            }
            Progress::Trouble {
                problem,
                again: true,
                waiting,
            } => Some(format!(
                "warning: {problem}; it is tried again, segments in the spool: {waiting}"
            )),
            Progress::Trouble { problem, .. } => {
                self.alarmed = true;
                Some(format!("ALARM: {problem}; the segment stays in the spool"))
            }
        }
    }

    fn far(&mut self, position: Lsn, server_end: Lsn) -> Option<String> {
        let passed = self.line_at.elapsed();
        if passed < LINE_EVERY {
            return None;
        }
        let bytes = position.bytes_since(self.line);
        let rate = (self.line.0 > 0).then(|| bytes as f64 / passed.as_secs_f64());
        let rate = rate.map(|rate| format!(", {}/s", ByteSize(rate as u64)));
        self.line_at = Instant::now();
        self.line = position;
        Some(format!(
            "durable up to {position}, {} behind the server{}; segments stored: {}, waiting: {}",
            ByteSize(server_end.bytes_since(position)),
            rate.unwrap_or_default(),
            self.stored,
            self.waiting
        ))
    }
}
