//! `pawang journal show`: one record in full.

use std::fmt::Write;

use pawang_core::{Kind, Report};

use crate::cli::Global;
use crate::cli::account::state;
use crate::output::{self, Exit};

/// Show one record in full: who, why, the statements, before and after
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its number, as `pawang journal list` has it
    #[arg(value_name = "NUMBER")]
    number: i64,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let missing = || {
        let what = format!("the journal has no record {}", args.number);
        Report::new(Kind::Usage, what).with_hint("pawang journal list")
    };
    let state = state::open_to_read(global)?.ok_or_else(missing)?;
    let after = args.number.checked_add(1).ok_or_else(missing)?;
    let page = state
        .journal_page(Some(after), 1)
        .map_err(|error| error.report())?;
    let record = page.into_iter().find(|record| record.id == args.number);
    let record = record.ok_or_else(missing)?;
    if global.json {
        output::json("pawang.journal.show/1", &record)?;
        return Ok(Exit::Good);
    }
    let entry = &record.entry;
    let mut out = String::new();
    for (name, value) in [
        ("record", record.id.to_string()),
        ("at", entry.at.to_string()),
        ("actor", entry.actor.clone()),
        ("action", entry.action.clone()),
        ("object", entry.object.clone()),
        ("outcome", entry.outcome.clone()),
        ("hash", record.hash.clone()),
    ] {
        let _ = writeln!(out, "{name:<8} {}", value.escape_debug());
    }
    if !entry.detail.is_null() {
        // JSON escapes what could steer a terminal by itself.
        let detail = serde_json::to_string_pretty(&entry.detail);
        let _ = writeln!(out, "\n{}", detail.unwrap_or_default());
    }
    output::data(&out)?;
    Ok(Exit::Good)
}
