//! `pawang journal list`: who changed what, newest first.

use std::fmt::Write;

use pawang_core::Report;
use pawang_store::state::JournalRecord;

use crate::cli::Global;
use crate::cli::account::state;
use crate::output::{self, Exit};

/// Records that are listed without --limit.
const LIMIT: usize = 50;

/// List who changed what, newest first
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many records at most
    #[arg(long, value_name = "COUNT", default_value_t = LIMIT)]
    limit: usize,
    /// Only records before this number
    #[arg(long, value_name = "NUMBER")]
    before: Option<i64>,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let mut records: Vec<JournalRecord> = Vec::new();
    if let Some(state) = state::open_to_read(global)? {
        while records.len() < args.limit {
            let before = records.last().map_or(args.before, |record| Some(record.id));
            let page = state
                .journal_page(before, args.limit - records.len())
                .map_err(|error| error.report())?;
            if page.is_empty() {
                break;
            }
            records.extend(page);
        }
    }
    if global.json {
        output::json("pawang.journal.list/1", &records)?;
        return Ok(Exit::Good);
    }
    let mut out = String::new();
    for JournalRecord { id, entry, .. } in &records {
        // What people typed into a form may be in it; it must not steer a terminal or break a line.
        let [actor, action, object] =
            [&entry.actor, &entry.action, &entry.object].map(|text| text.escape_debug());
        let detail = match &entry.detail {
            serde_json::Value::Object(facts) if facts.is_empty() => String::new(),
            serde_json::Value::Null => String::new(),
            detail => detail.to_string(),
        };
        let (at, outcome) = (entry.at, &entry.outcome);
        let _ = if output::terminal() {
            writeln!(
                out,
                "{id:>6}  {at:.0}  {outcome:<7}  {action:<20}  {object:<20}  {actor}  {detail}"
            )
        } else {
            writeln!(
                out,
                "{id}\t{at:.0}\t{outcome}\t{action}\t{object}\t{actor}\t{detail}"
            )
        };
    }
    output::data(&out)?;
    Ok(Exit::Good)
}
