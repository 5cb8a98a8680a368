//! `pawang journal verify`: whether the journal is as it was written.

use pawang_core::Report;
use serde_json::json;

use crate::cli::Global;
use crate::cli::account::state;
use crate::output::{self, Exit};

/// Runs the command; exit code 1 when a record is not as it was written.
pub(super) fn run(global: &Global) -> Result<Exit, Report> {
    let Some(state) = state::open_to_read(global)? else {
        return Ok(Exit::Good);
    };
    let check = state.journal_verify().map_err(|error| error.report())?;
    if global.json {
        let broken = check
            .broken
            .as_ref()
            .map(|(id, why)| json!({ "id": id, "why": why }));
        let facts = json!({ "records": check.records, "hash": check.hash, "broken": broken });
        output::json("pawang.journal.verify/1", &facts)?;
    } else if let Some((id, why)) = &check.broken {
        output::data(&format!(
            "BROKEN at record {id}: {why} ({} records before it are as they were written)\n",
            check.records
        ))?;
    } else if !global.quiet {
        output::data(&format!(
            "good: {} records, hash {}\n",
            check.records, check.hash
        ))?;
    }
    Ok(match check.broken {
        Some(_) => Exit::Answer,
        None => Exit::Good,
    })
}
