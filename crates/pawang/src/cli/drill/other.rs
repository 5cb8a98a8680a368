//! Drills of what other tools keep: restored by their own programs, proven like ours, kept in the journal.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use pawang_backup::drill::other::{self, OtherDrilled, OtherProof, OtherSettings};
use pawang_backup::other::{Kept, Tool, ToolKind, shell};
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
use crate::environment;
use crate::estate::Estate;
use crate::grid::Grid;
use crate::output::{self, Exit};
use crate::recovering;

/// What the journal calls such a drill.
const ACTION: &str = "drill.run";
/// The tool whose backups cannot be drilled.
const WAL_G: &str = "wal-g";
/// So many records of the journal are looked through.
const RECORDS_MAX: usize = 100_000;
const PAGE_RECORDS: usize = 1_000;

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
        return Err(Report::new(Kind::Usage, "cannot drill backups of WAL-G")
            .with_detail(
                "it was never tried with one, and a drill that was never tried proves nothing",
            )
            .with_hint("pawang drill run --repository pgbackrest, or --repository barman"));
    }
    Ok(ToolKind::named(name))
}

/// Restores a backup by its tool, looks through it, tells, and keeps what was proven.
pub(super) fn run(
    kind: ToolKind,
    args: &Args,
    estate: &Estate,
    global: &Global,
) -> Result<Exit, Report> {
    let report = |error: pawang_backup::Error| error.report();
    let target = args.aim.target(&TimeZone::system())?;
    let guard = format!(
        "{} wal guard --",
        shell(&recovering::program()?.display().to_string())
    );
    let mut order = args.order();
    if let Some(name) = global.instances.first() {
        let mut jobs = estate.jobs(std::slice::from_ref(name), None)?;
        if let Some(job) = jobs.pop() {
            let configured = estate.config.backup_settings(&job.config);
            order.probes.extend(recovering::probes(&configured));
        }
    }
    let directory = state::directory_of(estate)?;
    until_signal(async {
        let owner = Owner::of(&order.scratch);
        let (set, file) = (args.stanza.as_deref(), args.tool_config.as_deref());
        let tool = Tool::find(kind, set, file, owner).await.map_err(report)?;
        let backup = args.aim.backup.as_deref();
        let (backup, major) = tool.choose(&target, backup).await.map_err(report)?;
        let scratch = order.scratch_of(major)?;
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
            .map_err(report)?;
        // Told first: what was found must not be lost because it cannot be kept.
        let exit = tell(&drilled, global)?;
        keep(&directory, &drilled.proof)?;
        Ok(exit)
    })
}

fn preview(tool: &Tool, backup: &Kept, target: &Target) -> String {
    let (kind, set) = (tool.kind(), &tool.set);
    format!(
        "backup {} of {} \"{set}\" in {}, which ended at {}, restored by {} to {target}",
        backup.label,
        kind.set_word(),
        kind.name(),
        backup.ended_at,
        kind.name(),
    )
}

fn keep(directory: &std::path::Path, proof: &OtherProof) -> Result<(), Report> {
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
pub(super) fn history(kind: ToolKind, global: &Global) -> Result<Exit, Report> {
    let drills = match state::open_to_read(global)? {
        Some(state) => kept(&state, kind.name())?,
        None => Vec::new(),
    };
    if global.json {
        let told = Told {
            tool: kind.name(),
            drills: &drills,
        };
        output::json("pawang.drill.other-history/1", &told)?;
        return Ok(Exit::Good);
    }
    let mut grid = Grid::new(&[
        "ended",
        kind.set_word(),
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
        let hint = format!("pawang drill run --repository {}", kind.name());
        output::talk(&format!("no drill was done yet; do one: {hint}"));
    }
    Ok(Exit::Good)
}

fn kept(state: &pawang_store::state::State, tool: &str) -> Result<Vec<OtherProof>, Report> {
    let mut found = Vec::new();
    let mut before = None;
    for _ in 0..RECORDS_MAX / PAGE_RECORDS {
        let page = state
            .journal_page(before, PAGE_RECORDS)
            .map_err(|error| error.report())?;
        let ours = page.iter().filter(|record| record.entry.action == ACTION);
        let proofs =
            ours.filter_map(|record| serde_json::from_value(record.entry.detail.clone()).ok());
        found.extend(proofs.filter(|proof: &OtherProof| proof.tool == tool));
        match page.last() {
            Some(record) if page.len() == PAGE_RECORDS => before = Some(record.id),
            _ => break,
        }
    }
    found.reverse();
    Ok(found)
}
