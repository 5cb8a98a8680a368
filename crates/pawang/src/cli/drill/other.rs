//! Drills of what other tools keep: restored by their own programs, proven like ours, kept in the journal.

use std::fmt::Write as _;
use std::path::Path;

use jiff::tz::TimeZone;
use pawang_backup::drill::other::{self, OtherDrilled, OtherProof, OtherSettings};
use pawang_backup::other::{Foreign, Kept, Tool, ToolKind, shell};
use pawang_backup::restore::{Owner, Target};
use pawang_backup::wal::Timeline;
use pawang_core::{Kind, Report};
use pawang_store::Store;
use pawang_store::state::Entry;
use serde::Serialize;

use super::history::{result, seconds};
use super::run::{Args, measured};
use crate::cli::Global;
use crate::cli::account::state;
use crate::cli::restore::until_signal;
use crate::elsewhere::{ACTION, Drills};
use crate::environment;
use crate::estate::Estate;
use crate::grid::Grid;
use crate::output::{self, Exit};
use crate::recovering;

/// What makes a restore_command honest.
const GUARD: &str = "wal guard";
/// The tool whose backups can be drilled by its commands only.
const WAL_G: &str = "wal-g";

/// What is told of all drills.
#[derive(Serialize)]
struct Told<'a> {
    tool: &'a str,
    drills: &'a [OtherProof],
}

/// Returns which other tool is meant; a repository of pawang.toml that has its name comes first.
///
/// # Errors
/// It is a tool that is not supported.
pub(super) fn meant(name: Option<&str>, estate: &Estate) -> Result<Option<ToolKind>, Report> {
    let Some(name) = name.filter(|name| estate.config.repository(name).is_none()) else {
        return Ok(None);
    };
    if name == WAL_G {
        return Err(Report::new(Kind::Usage, "cannot drill backups of WAL-G by itself")
            .with_detail("it was never tried with one; its own commands restore, and the rest is as for any other tool")
            .with_hint(
                "pawang drill run --repository wal-g --major 16 --to TIME --restore-command 'wal-g wal-fetch %f %p' -- wal-g \
                 backup-fetch %d LATEST",
            ));
    }
    Ok(ToolKind::named(name))
}

/// Says which tool's drills are listed: one that we know, or one whose drills the journal has.
pub(super) fn listed(name: Option<&str>, estate: &Estate) -> Option<String> {
    let name = name.filter(|name| estate.config.repository(name).is_none())?;
    let known = ToolKind::named(name).is_some() || name == WAL_G;
    let drilled = || {
        let state = Store::open_state_to_read(&estate.data_directory()?).ok()?;
        let mut known = Drills::default();
        known.read_on(&state).ok()?;
        Some(known.proofs.iter().any(|proof| proof.tool == name))
    };
    let known = known || drilled().unwrap_or(false);
    known.then(|| name.to_owned())
}

/// Drills what a tool restores that is known by its commands only.
pub(super) fn run_foreign(args: &Args, estate: &Estate, global: &Global) -> Result<Exit, Report> {
    let target = args.aim.target(&TimeZone::system())?;
    let Some(restore_command) = args.restore_command.clone() else {
        return Err(
            Report::new(Kind::Usage, "nothing says how the server gets its WAL")
                .with_hint("--restore-command 'wal-g wal-fetch %f %p'"),
        );
    };
    if target == Target::Latest && !restore_command.contains(GUARD) {
        return Err(Report::new(
            Kind::Refused,
            "nothing tells the end of this archive from a hole in it",
        )
        .with_detail("PostgreSQL takes every failure of restore_command for the end, and opens a shorter database")
        .with_hint("--to TIME, or a restore_command under pawang wal guard, where that knows the tool"));
    }
    let program = args.restore.first().map(Path::new);
    let program = program.and_then(Path::file_name).unwrap_or_default();
    let name = args.place.repository.clone();
    let name = name.unwrap_or_else(|| program.to_string_lossy().into_owned());
    let set = args
        .stanza
        .clone()
        .or_else(|| global.instances.first().cloned());
    let set = set.unwrap_or_else(|| "main".to_owned());
    let Some(major) = args.major else {
        return Err(
            Report::new(Kind::Usage, "nothing says which server restores it")
                .with_hint("--major 16, the version of the cluster"),
        );
    };
    let found = async |owner| {
        let foreign = Foreign::new(name, &args.restore, restore_command, owner);
        let tool = Tool::foreign(set, foreign.map_err(|error| error.report())?);
        let backup = Kept {
            label: "that it restores".to_owned(),
            ended_at: environment::now(),
            stop: None,
            data_bytes: None,
            repository: None,
            tablespaces: Vec::new(),
        };
        Ok((tool, backup, major))
    };
    drill(found, args, estate, global)
}

/// Restores a backup by its tool, looks through it, tells, and keeps what was proven.
pub(super) fn run(
    kind: ToolKind,
    args: &Args,
    estate: &Estate,
    global: &Global,
) -> Result<Exit, Report> {
    let target = args.aim.target(&TimeZone::system())?;
    let found = async |owner| {
        let report = |error: pawang_backup::Error| error.report();
        let (set, file) = (args.stanza.as_deref(), args.tool_config.as_deref());
        let tool = Tool::find(kind, set, file, owner).await.map_err(report)?;
        let backup = args.aim.backup.as_deref();
        let (backup, major) = tool.choose(&target, backup).await.map_err(report)?;
        Ok((tool, backup, major))
    };
    drill(found, args, estate, global)
}

/// Does a drill of what `found` finds as the owner of the scratch folder: a tool, its backup, and the major version of that.
fn drill(
    found: impl AsyncFnOnce(Option<Owner>) -> Result<(Tool, Kept, u32), Report>,
    args: &Args,
    estate: &Estate,
    global: &Global,
) -> Result<Exit, Report> {
    let target = args.aim.target(&TimeZone::system())?;
    let program = shell(&recovering::program()?.display().to_string());
    let guard = format!("{program} {GUARD} --");
    let mut configured = None;
    if let Some(name) = global.instances.first() {
        let job = estate.jobs(std::slice::from_ref(name), None)?.pop();
        configured = job.map(|job| estate.config.backup_settings(&job.config));
    }
    let order = args.order(configured.as_ref());
    let directory = state::directory_of(estate)?;
    until_signal(async {
        let (tool, backup, major) = found(Owner::of(&order.scratch)).await?;
        let scratch = order.scratch_of(major).await?;
        let settings = OtherSettings {
            amcheck: order.amcheck_of(&scratch)?,
            scratch,
            guard,
            target: target.clone(),
            inclusive: !args.aim.exclusive,
            timeline: args.aim.timeline.map(Timeline),
            limit: order.limit,
            probes: order.probes,
            by: format!("pawang {}", env!("CARGO_PKG_VERSION")),
        };
        if !global.quiet {
            output::talk(&preview(&tool, &backup, &target));
        }
        let drilled = other::run(&tool, &backup, &settings, environment::now())
            .await
            .map_err(|error| error.report())?;
        // Told first: what was found must not be lost because it cannot be kept.
        let exit = tell(&drilled, global)?;
        keep(&directory, &drilled.proof)?;
        Ok(exit)
    })
}

fn preview(tool: &Tool, backup: &Kept, target: &Target) -> String {
    let (kind, set) = (tool.kind(), &tool.set);
    if kind == ToolKind::Foreign {
        return format!(
            "a backup of \"{set}\", restored by {} to {target}",
            tool.name()
        );
    }
    format!(
        "backup {} of {} \"{set}\" in {}, which ended at {:.0}, restored by {} to {target}",
        backup.label,
        kind.set_word(),
        kind.name(),
        backup.ended_at,
        kind.name(),
    )
}

fn keep(directory: &Path, proof: &OtherProof) -> Result<(), Report> {
    let store = |error: pawang_store::Error| error.report();
    let state = Store::open_state(directory).map_err(store)?;
    let detail = serde_json::to_value(proof).map_err(|error| {
        Report::new(Kind::Target, "could not write the proof").with_detail(error.to_string())
    })?;
    let good = proof.problems.is_empty();
    let entry = Entry {
        at: proof.ended_at,
        actor: format!("cli:{}", environment::person()),
        action: ACTION.to_owned(),
        object: format!("{} {}", proof.tool, proof.set),
        outcome: if good { "done" } else { "failed" }.to_owned(),
        detail,
    };
    state.journal(&entry).map(drop).map_err(store)
}

fn tell(drilled: &OtherDrilled, global: &Global) -> Result<Exit, Report> {
    let OtherDrilled { proof, findings } = drilled;
    let good = proof.problems.is_empty();
    let exit = if good { Exit::Good } else { Exit::Answer };
    if global.json {
        output::json("pawang.drill.other/1", drilled)?;
        return Ok(exit);
    }
    let (backup, target) = (&proof.backup, &proof.target);
    let whose = format!("{} \"{}\"", proof.tool, proof.set);
    let mut text = match (good, proof.whole) {
        (true, true) => format!("proven     backup {backup} of {whose}, recovered to {target}\n"),
        (true, false) => format!(
            "recovered  backup {backup} of {whose} to {target}; tables and indexes were not looked through, so it is not \
             proven\n"
        ),
        (false, _) => format!("NOT PROVEN backup {backup} of {whose}, to {target}\n"),
    };
    let times = (proof.rto_milliseconds, proof.rpo_milliseconds);
    // Writing to a string cannot fail.
    let _ = write!(text, "{}", measured(findings, &proof.phases, times));
    output::data(&text)?;
    Ok(exit)
}

/// Lists the drills of a tool's backups, oldest first.
pub(super) fn history(tool: &str, global: &Global) -> Result<Exit, Report> {
    let drills = match state::open_to_read(global)? {
        Some(state) => {
            let mut known = Drills::default();
            known.read_on(&state).map_err(|error| error.report())?;
            known.proofs
        }
        None => Vec::new(),
    };
    let drills: Vec<OtherProof> = drills
        .into_iter()
        .filter(|proof| proof.tool == tool)
        .collect();
    if global.json {
        let told = Told {
            tool,
            drills: &drills,
        };
        output::json("pawang.drill.other-history/1", &told)?;
        return Ok(Exit::Good);
    }
    let mut grid = Grid::new(&[
        "ended",
        ToolKind::named(tool).map_or("server", ToolKind::set_word),
        "backup",
        "target",
        "result",
        "open after>",
        "newest was>",
    ]);
    for proof in &drills {
        grid.row(vec![
            format!("{:.0}", proof.ended_at),
            proof.set.clone(),
            proof.backup.clone(),
            proof.target.clone(),
            result(&proof.problems, proof.whole),
            seconds(proof.rto_milliseconds),
            seconds(proof.rpo_milliseconds),
        ]);
    }
    output::data(&grid.text())?;
    if drills.is_empty() {
        let hint = format!("pawang drill run --repository {tool}");
        output::talk(&format!("no drill was done yet; do one: {hint}"));
    }
    Ok(Exit::Good)
}
