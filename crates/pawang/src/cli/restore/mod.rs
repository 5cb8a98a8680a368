//! `pawang restore`: a cluster at a point in time, in a directory.

mod aim;
mod place;
mod scratch;
mod table;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use jiff::tz::TimeZone;
use pawang_backup::reach::Groups;
use pawang_backup::restore::{
    self, Action, Delta, Destination, Found, Options, RestorePlan, Restored, Source,
};
use pawang_core::{ByteSize, Kind, Report};
use serde::Serialize;

use crate::cli::Global;
use crate::environment;
use crate::output::{self, Exit};
use crate::recovering::{From, random_word};

pub(crate) use aim::Aim;
pub(crate) use place::{Place, estate};
pub(crate) use scratch::ScratchArgs;

const EXAMPLES: &str = "\
Examples:
  pawang restore -i dwh-1 --into /srv/pg/restored --to \"2026-11-20 14:30 Asia/Jakarta\" --preview
  pawang restore -i dwh-1 --into /srv/pg/restored --to latest
  pawang restore --repository /srv/backup --into ./restored --to-name \"before batch 42\"
  pawang restore -i dwh-1 --table dw.fact_sales --to \"2026-11-20 14:30 Asia/Jakarta\" --into-schema restored_1430";

/// Restore a cluster to a point in time into a directory, or single tables into a new schema
///
/// Backups, WAL and target are looked at first; what cannot be reached is refused, with what can, before anything is touched.
/// The restored server gets its WAL by `pawang wal get`, archives nothing, and stops at the target without opening for
/// writing, unless --action says otherwise. A restore that was interrupted is begun again by the same command.
///
/// With --table the cluster is recovered by a server that nobody else sees and that is thrown away, and the tables are made
/// again, with their rows, in a new schema of the instance: never over one that is there. Then they are compared with what the
/// tables hold now, and --merge writes a plan that brings rows back.
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    /// Directory that becomes the data directory: new, empty, or left by a restore that was interrupted
    #[arg(long, value_name = "DIR", required_unless_present_any = ["preview", "tables"])]
    into: Option<PathBuf>,
    #[command(flatten)]
    aim: Aim,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    table: table::Args,
    /// Only say what would be done
    #[arg(long)]
    preview: bool,
    /// Take the place of the data directory of the same cluster, which is moved aside with the WAL that is not archived
    #[arg(long)]
    replace: bool,
    /// Change the data directory of the same cluster in place: files whose checksum is right stay, all others go
    #[arg(long, conflicts_with = "replace")]
    delta: bool,
    /// What the server does at the target
    #[arg(long, value_name = "ACTION", value_enum, default_value_t)]
    action: AtTarget,
    /// Folder of a tablespace, instead of where it was (repeatable)
    #[arg(long = "tablespace", value_name = "OID=DIR", value_parser = tablespace, hide_short_help = true)]
    tablespaces: Vec<(u32, PathBuf)>,
    /// Parts that are unpacked at the same time
    #[arg(long, value_name = "COUNT", default_value_t = restore::WORKERS, hide_short_help = true)]
    workers: usize,
}

/// What the server does at the target.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum AtTarget {
    /// Waits, open for reading, until somebody agrees by pg_wal_replay_resume()
    #[default]
    Pause,
    /// Opens for writing on a new timeline
    Promote,
    /// Stops, and can go on to a later target
    Shutdown,
}

/// What a preview shows.
#[derive(Serialize)]
struct Preview<'a> {
    #[serde(flatten)]
    plan: &'a RestorePlan,
    stored_bytes: u64,
    wal_bytes: u64,
    room_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Kept>,
}

/// What stays of a directory that is changed in place, and what is read instead of the rest.
#[derive(Serialize)]
struct Kept {
    kept_files: u64,
    kept_bytes: u64,
    written_bytes: u64,
    read_bytes: u64,
}

impl Kept {
    fn of(delta: &Delta) -> Kept {
        Kept {
            kept_files: delta.kept_files,
            kept_bytes: delta.kept_bytes,
            written_bytes: delta.written_bytes,
            read_bytes: delta.read_bytes,
        }
    }
}

/// What was done.
#[derive(Serialize)]
struct Done<'a> {
    #[serde(flatten)]
    plan: &'a RestorePlan,
    into: &'a PathBuf,
    aside: &'a Option<PathBuf>,
    salvaged: Vec<String>,
    made: &'a [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Kept>,
    files: u64,
    bytes: u64,
    milliseconds: u128,
}

/// Runs the command.
///
/// # Errors
/// The target cannot be reached, something is in the way, or the repository is damaged.
pub(crate) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    if args.table.is_wanted() {
        return table::run(args, global);
    }
    let wanted = args.aim.wanted(&TimeZone::system())?;
    let estate = estate(global)?;
    until_signal(async {
        let from = args.place.open(&estate, global).await?;
        let report = |error: pawang_backup::Error| error.report();
        let source = Source::read(&from.repository, &from.cluster)
            .await
            .map_err(report)?;
        let wanted = args.aim.settled(wanted, &source);
        let plan = source
            .plan(&from.repository, &wanted)
            .await
            .map_err(report)?;
        let options = args
            .into
            .as_ref()
            .map(|into| args.options(into, &from))
            .transpose()?;
        let destination = options
            .as_ref()
            .map(|options| restore::destination(&plan, options));
        let destination = destination.transpose().map_err(report)?;
        if let Some(destination) = &destination {
            let owner = destination.tree.owner;
            from.check_reach(owner, Groups::All).await?;
        }
        if let (Some(options), false) = (&options, args.preview) {
            if !global.quiet {
                output::talk(plan.to_string().trim_end());
            }
            let run = restore::run(&from.repository, &plan, options, environment::now());
            return done(&plan, &run.await.map_err(report)?, options, global);
        }
        let delta = match (&options, &destination) {
            (Some(options), Some(destination)) if args.delta => {
                let delta = restore::delta(&from.repository, &plan, options, destination);
                Some(delta.await.map_err(report)?)
            }
            _ => None,
        };
        preview(&plan, destination.as_ref(), delta.as_ref(), global)
    })
}

impl Args {
    fn options(&self, into: &PathBuf, from: &From) -> Result<Options, Report> {
        // Where a link leads: the directory is to be replaced, not the link.
        let absolute = std::fs::canonicalize(into).or_else(|_| std::path::absolute(into));
        let absolute = absolute.map_err(|error| {
            let what = format!("cannot read \"{}\" as a path", into.display());
            Report::new(Kind::Usage, what).with_detail(error.to_string())
        })?;
        let tablespaces: BTreeMap<u32, PathBuf> = self.tablespaces.iter().cloned().collect();
        Ok(Options {
            into: absolute,
            replace: self.replace,
            delta: self.delta,
            tablespaces,
            action: match self.action {
                AtTarget::Pause => Action::Pause,
                AtTarget::Promote => Action::Promote,
                AtTarget::Shutdown => Action::Shutdown,
            },
            restore_command: from.restore_command()?,
            workers: self.workers,
            word: random_word()?,
        })
    }
}

fn preview(
    plan: &RestorePlan,
    destination: Option<&Destination>,
    delta: Option<&Delta>,
    global: &Global,
) -> Result<Exit, Report> {
    if global.json {
        let preview = Preview {
            plan,
            stored_bytes: plan.stored_bytes(),
            wal_bytes: plan.wal_bytes(),
            room_bytes: destination.map(|destination| destination.room_bytes),
            delta: delta.map(Kept::of),
        };
        output::json("pawang.restore.preview/1", &preview)?;
        return Ok(Exit::Good);
    }
    let mut text = plan.to_string();
    if let Some(destination) = destination {
        let found = match &destination.found {
            Found::Nothing => "is free".to_owned(),
            _ if delta.is_some() => "is changed in place".to_owned(),
            Found::Unfinished(marker) => {
                format!(
                    "has a restore of {:.0} that was not finished; it begins anew",
                    marker.began_at
                )
            }
            Found::Data => "is moved aside when the restore is done".to_owned(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "directory  {} {found}",
            destination.tree.data.display()
        );
        let _ = writeln!(text, "room       {}", ByteSize(destination.room_bytes));
    }
    if let Some(delta) = delta {
        let _ = writeln!(text, "delta      {}", shown(delta));
    }
    output::data(&text)?;
    Ok(Exit::Good)
}

fn shown(delta: &Delta) -> String {
    format!(
        "{} files ({}) stay, {} are written, for which {} of {} are read",
        delta.kept_files,
        ByteSize(delta.kept_bytes),
        ByteSize(delta.written_bytes),
        ByteSize(delta.read_bytes),
        ByteSize(delta.stored_bytes)
    )
}

fn done(
    plan: &RestorePlan,
    restored: &Restored,
    options: &Options,
    global: &Global,
) -> Result<Exit, Report> {
    if global.json {
        let done = Done {
            plan,
            into: &restored.data,
            aside: &restored.aside,
            salvaged: restored.salvaged.iter().map(ToString::to_string).collect(),
            made: &restored.made,
            delta: restored.delta.as_ref().map(Kept::of),
            files: restored.files,
            bytes: restored.bytes,
            milliseconds: (restored.unpacking + restored.syncing).as_millis(),
        };
        output::json("pawang.restore/1", &done)?;
        return Ok(Exit::Good);
    }
    let into = restored.data.display();
    let mut text = format!(
        "restored {} files ({}) into {into} in {:.1} s\n",
        restored.files,
        ByteSize(restored.bytes),
        (restored.unpacking + restored.syncing).as_secs_f64()
    );
    if let Some(delta) = &restored.delta {
        let _ = writeln!(text, "{}", shown(delta));
    }
    if let Some(aside) = &restored.aside {
        let _ = writeln!(text, "the old data directory is {}", aside.display());
    }
    if !restored.salvaged.is_empty() {
        let _ = writeln!(
            text,
            "{} segments of its WAL that were not archived are replayed first, from {}",
            restored.salvaged.len(),
            restore::SALVAGED
        );
    }
    if !restored.made.is_empty() {
        let _ = writeln!(
            text,
            "{} are outside of the data directory of the source, and in no backup: the least that starts was written; put yours there, or \
             name it with -o \"-c config_file=FILE\"",
            restored.made.join(", ")
        );
    }
    let _ = writeln!(
        text,
        "next: pg_ctl start -D {into}    it replays WAL to {}",
        plan.target
    );
    if !options.replace && !options.delta {
        let _ = writeln!(
            text,
            "beside its source: its port is that of the source, unless another is said: -o \"-p 5499\""
        );
    }
    if plan.target.setting().is_some() && options.action == Action::Pause {
        let _ = writeln!(
            text,
            "then: look at the data; SELECT pg_wal_replay_resume() opens it for writing"
        );
    }
    let _ = writeln!(
        text,
        "it archives nothing until archive_mode is set anew: pawang backup check"
    );
    output::data(&text)?;
    Ok(Exit::Good)
}

/// Runs a future on this thread until it is done or a signal comes; files are unpacked on others.
///
/// # Errors
/// Those of the future; or the runtime cannot be started.
pub(crate) fn until_signal(
    work: impl Future<Output = Result<Exit, Report>>,
) -> Result<Exit, Report> {
    use tokio::signal::unix::{SignalKind, signal};
    let start = |error: std::io::Error| {
        Report::new(Kind::Target, "could not start a runtime").with_detail(error.to_string())
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(start)?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(start)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(start)?;
        tokio::select! {
            result = work => return result,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        output::talk("interrupted: what was begun cannot be started; the same command begins anew");
        Ok(Exit::Interrupted)
    })
}

fn tablespace(text: &str) -> Result<(u32, PathBuf), String> {
    let (oid, folder) = text.split_once('=').ok_or("write it as OID=DIR")?;
    let oid = oid
        .parse()
        .map_err(|_| format!("\"{oid}\" is no object id"))?;
    let folder = PathBuf::from(folder);
    match folder.is_absolute() {
        true => Ok((oid, folder)),
        false => Err("the folder of a tablespace is an absolute path".to_owned()),
    }
}
