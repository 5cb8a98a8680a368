//! `pawang maintain history`: what was done to servers, newest first, from the journal.

use pawang_core::Report;
use pawang_store::state::JournalRecord;
use serde_json::Value;

use crate::cli::Global;
use crate::cli::account::state;
use crate::grid::Grid;
use crate::output::{self, Exit};

/// Records that are listed without --limit.
const LIMIT: usize = 50;
/// Records of the journal that are searched.
const SEARCHED_MAX: usize = 100_000;
/// What the journal's records of changes to servers begin with.
const PREFIX: &str = "act.";

/// List what was done to servers, newest first, with before, after, and how long others waited
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = LIMIT)]
    limit: usize,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let records = match state::open_to_read(global)? {
        None => Vec::new(),
        Some(state) => find(args.limit, global, |before| {
            state.journal_page(before, 1_000)
        })
        .map_err(|error| error.report())?,
    };
    if global.json {
        output::json("pawang.maintain.history/1", &records)?;
        return Ok(Exit::Good);
    }
    let mut grid = Grid::new(&[
        "record>",
        "at",
        "instance",
        "action",
        "outcome",
        "changed",
        "others waited>",
    ]);
    for record in &records {
        let entry = &record.entry;
        grid.row(vec![
            record.id.to_string(),
            format!("{:.0}", entry.at),
            text(&entry.detail, "instance"),
            entry.object.clone(),
            entry.outcome.clone(),
            changed(&entry.detail),
            waited(&entry.detail),
        ]);
    }
    if grid.is_empty() {
        output::talk("nothing was changed on any server");
    } else {
        output::data(&grid.text())?;
    }
    Ok(Exit::Good)
}

fn find<E>(
    limit: usize,
    global: &Global,
    page: impl Fn(Option<i64>) -> Result<Vec<JournalRecord>, E>,
) -> Result<Vec<JournalRecord>, E> {
    let mut found = Vec::new();
    let (mut before, mut searched) = (None, 0);
    while found.len() < limit && searched < SEARCHED_MAX {
        let records = page(before)?;
        let Some(last) = records.last() else { break };
        before = Some(last.id);
        searched += records.len();
        found.extend(records.into_iter().filter(|record| wanted(record, global)));
    }
    found.truncate(limit);
    Ok(found)
}

fn wanted(record: &JournalRecord, global: &Global) -> bool {
    let instance = text(&record.entry.detail, "instance");
    record.entry.action.starts_with(PREFIX)
        && record.entry.outcome != pawang_act::BEGUN
        && (global.instances.is_empty()
            || global
                .instances
                .iter()
                .any(|name| pawang_config::matches(name, &instance)))
}

fn text(detail: &Value, name: &str) -> String {
    match detail.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

/// Returns the numbers that differ between before and after.
fn changed(detail: &Value) -> String {
    let object = |name: &str| detail.get(name).and_then(Value::as_object);
    let (Some(before), Some(after)) = (object("before"), object("after")) else {
        return text(detail, "detail");
    };
    let word = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let changes = before.iter().filter_map(|(name, was)| {
        let is = after.get(name)?;
        (is != was).then(|| format!("{name} {} -> {}", word(was), word(is)))
    });
    let changes: Vec<String> = changes.collect();
    if changes.is_empty() {
        text(detail, "detail")
    } else {
        changes.join(", ")
    }
}

fn waited(detail: &Value) -> String {
    let length = detail
        .get("impact")
        .and_then(|impact| impact.get("longest"));
    let part = |unit: &str| {
        length
            .and_then(|length| length.get(unit))
            .and_then(Value::as_f64)
    };
    match (part("secs"), part("nanos")) {
        (Some(secs), Some(nanos)) if secs + nanos > 0.0 => {
            pawang_chart::words::duration(secs + nanos / 1e9)
        }
        (Some(_), _) => "none seen".to_owned(),
        _ => "-".to_owned(),
    }
}
