//! `pawang wal gaps`: only what is missing.

use pawang_core::Report;
use serde_json::json;

use super::status::{self, look, troubles};
use crate::cli::Global;
use crate::output::{self, Exit};

/// List WAL that is missing: holes in what is there, recorded gaps, files that two servers wrote
///
/// It ends with 1 when there is any. A restore to a point behind one of them is refused.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    of: status::Args,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let found = look(&args.of, global)?;
    if global.json {
        let facts: Vec<_> = found
            .iter()
            .map(|status| {
                json!({
                    "place": status.place,
                    "cluster": status.cluster.to_string(),
                    "holes": status.holes,
                    "gaps": status.gaps,
                    "conflicts": status.conflicts,
                })
            })
            .collect();
        output::json("pawang.wal.gaps/1", &facts)?;
    } else {
        let lines = found.iter().flat_map(|status| {
            let place = &status.place;
            troubles(status)
                .into_iter()
                .map(move |line| format!("{place}\t{line}\n"))
        });
        output::data(&lines.collect::<String>())?;
    }
    Ok(status::exit(&found))
}
