//! `pawang wal status`: what repositories have of a cluster's WAL.

use std::fmt::Write;

use pawang_backup::wal::status::{Status, status};
use pawang_core::Report;

use super::place::{Place, wait};
use crate::cli::Global;
use crate::grid::Grid;
use crate::output::{self, Exit};

/// Show what repositories have of a cluster's WAL: intervals, the newest commit, what is missing
///
/// It ends with 1 when something is missing or in doubt.
#[derive(Debug, clap::Args)]
// `pawang wal gaps` has the same options, and a group of the same name.
#[group(skip)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    /// Cluster, SYSTEM_IDENTIFIER-MAJOR_VERSION; that of the instance, or the only one, when not given
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
}

/// Asks every repository.
pub(super) fn look(args: &Args, global: &Global) -> Result<Vec<Status>, Report> {
    let (place, cluster) = (&args.place, args.cluster.as_deref());
    wait(async {
        let repositories = place.open(global).await?;
        let mut found = Vec::with_capacity(repositories.len());
        for repository in &repositories {
            let cluster = place.cluster(repository, cluster, global).await?;
            let status = status(repository, &cluster).await;
            found.push(status.map_err(|error| error.report())?);
        }
        Ok(found)
    })?
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let found = look(args, global)?;
    if global.json {
        output::json("pawang.wal.status/1", &found)?;
    } else {
        let text: Vec<String> = found.iter().map(shown).collect();
        output::data(&text.join("\n"))?;
    }
    Ok(exit(&found))
}

/// Returns the exit code of what was found.
pub(super) fn exit(found: &[Status]) -> Exit {
    match found.iter().all(Status::is_good) {
        true => Exit::Good,
        false => Exit::Answer,
    }
}

fn shown(status: &Status) -> String {
    let mut out = format!("{} in {}\n", status.cluster, status.place);
    let mut grid = Grid::new(&[
        "timeline",
        "begins",
        "from",
        "to",
        "segments>",
        "pieces>",
        "newest commit",
    ]);
    for timeline in &status.timelines {
        let begins = match (timeline.parent, timeline.begin) {
            (Some(parent), Some(at)) => format!("{at} of {}", parent.0),
            _ => "-".to_owned(),
        };
        let commit = timeline.newest_commit_at;
        let commit = commit.map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"));
        let mut first = Some((begins, timeline.segments, timeline.pieces, commit));
        for interval in &timeline.intervals {
            let cells = match first.take() {
                Some((begins, segments, pieces, commit)) => {
                    [begins, segments.to_string(), pieces.to_string(), commit]
                }
                None => [const { String::new() }; 4],
            };
            let [begins, segments, pieces, commit] = cells;
            let from = interval.from.to_string();
            let to = interval.to.to_string();
            let name = timeline.timeline.to_string();
            grid.row(vec![name, begins, from, to, segments, pieces, commit]);
        }
    }
    if grid.is_empty() {
        out.push_str("no WAL\n");
    } else {
        out.push_str(&grid.text());
    }
    let troubles = troubles(status);
    if troubles.is_empty() {
        out.push_str("nothing is missing\n");
    }
    for trouble in troubles {
        let _ = writeln!(out, "{trouble}");
    }
    out
}

/// Returns a line for each thing that is missing or in doubt.
pub(super) fn troubles(status: &Status) -> Vec<String> {
    let holes = status.holes.iter().map(|hole| {
        let bytes = hole.to.bytes_since(hole.from);
        format!(
            "MISSING timeline {} from {} to {}: {bytes} bytes",
            hole.timeline.0, hole.from, hole.to
        )
    });
    let gaps = status.gaps.iter().filter(|gap| gap.open).map(|gap| {
        let gap = &gap.gap;
        format!(
            "GAP timeline {} from {} to {}, found {:.0}: {}",
            gap.timeline.0, gap.from, gap.to, gap.found_at, gap.cause
        )
    });
    let conflicts = status.conflicts.iter();
    let conflicts = conflicts.map(|path| format!("CONFLICT two servers wrote it: {path}"));
    holes.chain(gaps).chain(conflicts).collect()
}
