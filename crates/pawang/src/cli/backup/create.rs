//! `pawang backup create`: a base backup, checked while it passes, with the WAL that it needs.

use std::time::{Duration, Instant};

use pawang_backup::repository::BackupKind;
use pawang_backup::take::{Progress, Reading, Wanted, take};
use pawang_backup::{Commit, Repository};
use pawang_config::RepositoryConfig;
use pawang_core::{ByteSize, Report};
use serde::Serialize;

use crate::cli::Global;
use crate::each::each;
use crate::estate::{Estate, Job, told};
use crate::output::{self, Exit};
use crate::repositories::Opened;
use crate::{repositories, taking};

/// What `MAX_RATE` of PostgreSQL takes.
const RATE_MIN: ByteSize = ByteSize(32 << 10);
const RATE_MAX: ByteSize = ByteSize(1 << 30);
/// Progress is told at each tenth of the way, and after so long without one.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// Take a base backup
///
/// Pages are checked while they pass, files are compared with the server's own manifest, and the backup exists only when the
/// WAL that it needs is in the same repository. The role needs REPLICATION, or for --mode lanes the right to execute some
/// functions, which the error names; to name relations of wrong pages it needs to connect to their databases. Exit code 1 when pages are wrong: the backup is kept, and says which.
///
/// Examples:
///   pawang backup create -i dwh-1
///   pawang backup create -i dwh-1 --type full --max-rate 50MB
///   pawang backup create -i dwh-1 --mode local
///   pawang backup create -i dwh-1 --mode lanes --lanes 8
///   pawang backup create -i dwh-1 --repo /srv/backup --json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// How much of the data
    #[arg(long = "type", value_enum, default_value_t)]
    kind: Type,
    /// How files are read
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,
    /// Repository: a folder, s3://bucket/prefix, or a name of pawang.toml; without it those of the instance
    #[arg(long, value_name = "PLACE", visible_alias = "repository")]
    repo: Option<String>,
    /// Connections that read files, where they are read over SQL; 4 unless pawang.toml says otherwise
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=32))]
    lanes: Option<u32>,
    /// Bytes per second that are read, or sent by the server, at most, such as 50MB; from 32kB to 1GB
    #[arg(long, value_name = "SIZE", value_parser = rate)]
    max_rate: Option<ByteSize>,
    /// Let the server spread the checkpoint before it, which takes minutes and disturbs less
    #[arg(long)]
    spread: bool,
    /// The instance is another cluster than the one of its earlier backups, as after an upgrade
    #[arg(long)]
    new_identity: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Type {
    /// What changed since the last one where that is possible (PostgreSQL 17, or files that are read one by one), else all
    #[default]
    Auto,
    /// All of it
    Full,
    /// What changed since the last one, or nothing
    Incremental,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// From the data directory if this machine has it and the rights suffice, else by the replication protocol, else by lanes
    #[default]
    Auto,
    /// From the data directory, by a user who may read it; the role may execute pg_backup_start and pg_backup_stop
    Local,
    /// By the replication protocol
    Protocol,
    /// Over several SQL connections, without access to the machine and without REPLICATION
    Lanes,
}

/// Reads what the server takes as a rate.
fn rate(text: &str) -> Result<ByteSize, String> {
    let rate: ByteSize = text.parse()?;
    if (RATE_MIN..=RATE_MAX).contains(&rate) {
        Ok(rate)
    } else {
        Err(format!(
            "\"{text}\" is not between {RATE_MIN} and {RATE_MAX}"
        ))
    }
}

/// A backup that was taken.
#[derive(Serialize)]
struct Taken {
    instance: String,
    repository: String,
    /// How long it took.
    seconds: f64,
    #[serde(flatten)]
    commit: Commit,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let jobs = match args.repo {
        Some(_) => estate.jobs(&global.instances, None)?,
        None => repositories::jobs(&estate, &global.instances)?,
    };
    let all = each(&estate, &jobs, async |job| {
        one(args, global, &estate, job).await
    })?;
    let Some(all) = all else {
        output::talk(
            "interrupted: what was begun is no backup, and the next one goes on without it",
        );
        return Ok(Exit::Interrupted);
    };
    let (mut taken, mut failed) = (Vec::new(), Vec::new());
    for (of_instance, error) in all {
        taken.extend(of_instance);
        failed.extend(error);
    }
    if global.json {
        output::json("pawang.backup.create/1", &taken)?;
    } else {
        for taken in &taken {
            output::data(&summary(taken))?;
        }
    }
    if !failed.is_empty() {
        return Err(told(failed));
    }
    let wrong = taken.iter().any(|taken| taken.commit.pages.wrong > 0);
    Ok(if wrong { Exit::Answer } else { Exit::Good })
}

/// Takes a backup of one instance into each of its repositories, and tells which one refused.
async fn one(
    args: &Args,
    global: &Global,
    estate: &Estate,
    job: &Job,
) -> (Vec<Taken>, Option<Report>) {
    let mut taken = Vec::new();
    let places = match places(args, estate, job).await {
        Ok(places) => places,
        Err(report) => return (taken, Some(report)),
    };
    for (config, repository) in places {
        match into(args, global, estate, job, config, &repository).await {
            Ok(done) => taken.push(done),
            Err(report) => return (taken, Some(report)),
        }
    }
    (taken, None)
}

/// A repository, and its entry in the configuration when it has one.
type Place<'a> = (Option<&'a RepositoryConfig>, Repository);

async fn places<'a>(args: &Args, estate: &'a Estate, job: &Job) -> Result<Vec<Place<'a>>, Report> {
    let Some(place) = &args.repo else {
        let opened = repositories::of_instance(&estate.config, job).await?;
        let place = |it: Opened<'a>| Ok((Some(it.config), it.repository?));
        return opened.into_iter().map(place).collect();
    };
    Ok(vec![repositories::named(&estate.config, place).await?])
}

async fn into(
    args: &Args,
    global: &Global,
    estate: &Estate,
    job: &Job,
    config: Option<&RepositoryConfig>,
    repository: &Repository,
) -> Result<Taken, Report> {
    let settings = estate.config.backup_settings(&job.config);
    let wanted = match args.kind {
        Type::Auto => Wanted::Auto,
        Type::Full => Wanted::Full,
        Type::Incremental => Wanted::Incremental,
    };
    let mut request = match config {
        Some(config) => repositories::take_request(config, repository, job, &settings, wanted)?,
        None => taking::request(job, repository)?,
    };
    request.wanted = wanted;
    request.reading = match args.mode {
        Mode::Auto => Reading::Auto,
        Mode::Local => Reading::Local,
        Mode::Protocol => Reading::Protocol,
        Mode::Lanes => Reading::Lanes,
    };
    request.lanes = repositories::lanes(args.lanes.or(settings.lanes));
    request.rate_max = args.max_rate.or(settings.max_rate.map(ByteSize));
    request.checkpoint_fast = !args.spread;
    request.new_identity = args.new_identity;
    let mut teller = Teller {
        instance: job.instance.name.clone(),
        quiet: global.quiet,
        begun: Instant::now(),
        told: Instant::now(),
        estimate: None,
        tenths: 0,
    };
    let begun = Instant::now();
    let commit = take(request, &mut |progress| teller.hear(progress)).await;
    Ok(Taken {
        instance: job.instance.name.clone(),
        repository: repository.place().to_owned(),
        commit: commit.map_err(|error| error.report())?,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// Tells how far a backup is.
struct Teller {
    instance: String,
    quiet: bool,
    begun: Instant,
    told: Instant,
    estimate: Option<ByteSize>,
    tenths: u64,
}

impl Teller {
    fn hear(&mut self, progress: Progress) {
        if self.quiet && !matches!(progress, Progress::Note(_)) {
            return;
        }
        let text = match progress {
            Progress::Reads(..) => repositories::progress_words(&progress),
            Progress::Checkpoint => "waits for a checkpoint".to_owned(),
            Progress::Started { start, estimate } => {
                self.begun = Instant::now();
                self.estimate = estimate.filter(|estimate| estimate.0 > 0);
                match self.estimate {
                    Some(estimate) => format!("begins at {start}, about {estimate}"),
                    None => format!("begins at {start}"),
                }
            }
            Progress::Came(bytes) => match self.came(bytes) {
                Some(text) => text,
                None => return,
            },
            Progress::Wal {
                stop,
                fetching: false,
            } => format!("waits until WAL up to {stop} is in the repository"),
            Progress::Wal {
                stop,
                fetching: true,
            } => format!("fetches WAL up to {stop}, since nobody else brought it"),
            Progress::Note(note) => note,
        };
        output::talk(&format!("{}: {text}", self.instance));
    }

    fn came(&mut self, bytes: ByteSize) -> Option<String> {
        let seconds = self.begun.elapsed().as_secs_f64().max(0.001);
        let rate = bytes.0 as f64 / seconds;
        let speed = ByteSize(rate as u64);
        let estimate = self.estimate?;
        let tenths = (10 * bytes.0 / estimate.0).min(10);
        if tenths == self.tenths && self.told.elapsed() < TELL_EVERY {
            return None;
        }
        self.tenths = tenths;
        self.told = Instant::now();
        let left = estimate.0.saturating_sub(bytes.0) as f64 / rate.max(1.0);
        let percent = (100 * bytes.0 / estimate.0).min(100);
        Some(format!(
            "{percent} %, {bytes} of {estimate}, {speed}/s, {left:.0} s left"
        ))
    }
}

fn summary(taken: &Taken) -> String {
    let commit = &taken.commit;
    let kind = match (commit.kind, &commit.parent) {
        (BackupKind::Incremental, Some(parent)) => format!("incremental on {parent}"),
        _ => "full".to_owned(),
    };
    let mut text = format!(
        "backup {} of {} is in {}: {kind}, {} of data, {} stored, {:.1} s\n  WAL from {} to {} of timeline {}; {}\n",
        commit.backup,
        taken.instance,
        taken.repository,
        ByteSize(commit.server.data_bytes),
        ByteSize(commit.stored_bytes()),
        taken.seconds,
        commit.start.lsn,
        commit.stop.lsn,
        commit.stop.timeline.0,
        pages(commit),
    );
    for bad in &commit.pages.bad {
        let relation = bad.relation.as_deref().unwrap_or("an unnamed relation");
        let line = format!(
            "  wrong: block {} of {relation} ({}): {}",
            bad.block, bad.file, bad.problem
        );
        text.push_str(&pawang_report::one_line(&line));
        text.push('\n');
    }
    text
}

fn pages(commit: &Commit) -> String {
    match (commit.pages.checked, commit.pages.wrong) {
        (0, _) => "no pages".to_owned(),
        (checked, 0) => format!("{checked} pages checked, none is wrong"),
        (checked, wrong) => format!("{checked} pages checked, {wrong} WRONG"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_at_each_tenth() {
        let mut teller = Teller {
            instance: "dwh-1".to_owned(),
            quiet: false,
            begun: Instant::now(),
            told: Instant::now(),
            estimate: Some(ByteSize(1000)),
            tenths: 0,
        };
        let told: Vec<bool> = [50, 99, 100, 150, 250, 2000, 2001]
            .map(|bytes| teller.came(ByteSize(bytes)).is_some())
            .into();
        assert_eq!(told, [false, false, true, false, true, true, false]);
    }
}
