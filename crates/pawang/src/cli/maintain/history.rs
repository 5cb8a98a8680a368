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
/// What the journal's records of changes to servers end with.
const SUFFIX: &str = ".apply";

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
            place(&entry.object).0.to_owned(),
            format!(
                "{} {}",
                entry.action.trim_end_matches(SUFFIX),
                place(&entry.object).1
            ),
            state(record),
            changed(&entry.detail),
            waited(&entry.detail),
        ]);
    }
    if grid.is_empty() {
        output::talk("the journal tells of no change to these servers");
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
    let (instance, _) = place(&record.entry.object);
    record.entry.action.ends_with(SUFFIX)
        && record.entry.outcome != pawang_act::BEGUN
        && (global.instances.is_empty()
            || global
                .instances
                .iter()
                .any(|name| pawang_config::matches(name, instance)))
}

/// Returns what became of an action: the journal's three outcomes do not tell a dry run from the real one.
fn state(record: &JournalRecord) -> String {
    let state = text(&record.entry.detail, "state");
    if state.is_empty() {
        record.entry.outcome.clone()
    } else {
        state
    }
}

/// Takes the instance off an object of the journal: `dwh-1/sales/dw.fact`.
fn place(object: &str) -> (&str, &str) {
    object.split_once('/').unwrap_or((object, ""))
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
    let watched = detail["blocked_resolution_ms"]
        .as_f64()
        .is_some_and(|length| length > 0.0);
    match detail.get("blocked_ms_longest").and_then(Value::as_f64) {
        Some(longest) if longest > 0.0 => pawang_chart::words::duration(longest / 1e3),
        Some(_) if watched => "none seen".to_owned(),
        _ => "-".to_owned(),
    }
}
