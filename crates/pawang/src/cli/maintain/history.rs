//! `pawang maintain history`: what was done to servers, newest first, from the journal.

use pawang_act::{Told, Waited};
use pawang_core::Report;
use pawang_store::state::JournalRecord;

use crate::cli::Global;
use crate::cli::account::state;
use crate::grid::Grid;
use crate::output::{self, Exit};

/// Records that are listed without --limit.
const LIMIT: usize = 50;
/// Records of the journal that are searched.
const SEARCHED_MAX: usize = 100_000;

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
        let Some(told) = Told::read(&record.entry) else {
            continue;
        };
        grid.row(vec![
            record.id.to_string(),
            format!("{:.0}", record.entry.at),
            told.instance.to_owned(),
            format!("{} {}", told.task, told.object),
            told.state.to_owned(),
            changed(&told),
            waited(told.waited),
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
    let matches = |told: Told<'_>| {
        let mut names = global.instances.iter();
        global.instances.is_empty() || names.any(|name| pawang_config::matches(name, told.instance))
    };
    Told::read(&record.entry).is_some_and(matches)
}

/// Returns the numbers that differ between before and after, or else what was said.
fn changed(told: &Told<'_>) -> String {
    let changes = told.changes.iter().flatten();
    let changes: Vec<String> = changes
        .map(|change| format!("{} {} -> {}", change.name, change.before, change.after))
        .collect();
    match changes.is_empty() {
        true => told.detail.to_owned(),
        false => changes.join(", "),
    }
}

fn waited(waited: Waited) -> String {
    match waited {
        Waited::Longest(longest) => pawang_chart::words::duration(longest.as_secs_f64()),
        Waited::Nobody(_) => "none seen".to_owned(),
        Waited::NotMeasured => "-".to_owned(),
    }
}
