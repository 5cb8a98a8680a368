//! `pawang window list`: all windows, or the calendar of the coming days.

use jiff::{SignedDuration, Timestamp};
use pawang_alert::window::{Ready, calendar};
use pawang_core::{Kind, Report};
use serde_json::json;

use crate::cli::Global;
use crate::cli::alert::words;
use crate::grid::Grid;
use crate::output::{self, Exit};
use crate::{environment, when};

/// Times that a calendar lists.
const TIMES_MAX: usize = 1_000;
/// So far ahead the next time of a window is looked for.
const AHEAD_DAYS: i64 = 400;

/// List windows and when each is open next; with --next every time within so many days
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The calendar of so much time from now, such as 30d
    #[arg(long, value_name = "TIME")]
    next: Option<String>,
    /// Also those that were removed
    #[arg(long, conflicts_with = "next")]
    all: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let windows = super::windows(global, args.all)?;
    let now = environment::now();
    match &args.next {
        Some(next) => {
            let to = now.checked_add(when::length(next)?).map_err(|error| {
                Report::new(Kind::Usage, format!("\"{next}\" is too long"))
                    .with_detail(error.to_string())
                    .with_hint("pawang window list --next 30d")
            })?;
            times(&windows, now, to, global)
        }
        None => all(&windows, now, global),
    }
}

fn all(windows: &[Ready], now: Timestamp, global: &Global) -> Result<Exit, Report> {
    let ahead = SignedDuration::from_hours(24 * AHEAD_DAYS);
    let far = now.checked_add(ahead).unwrap_or(Timestamp::MAX);
    let next = |window: &Ready| calendar(std::slice::from_ref(window), now, far, 1).pop();
    if global.json {
        let list: Vec<_> = windows
            .iter()
            .map(|ready| json!({ "window": ready.window, "next": next(ready) }))
            .collect();
        output::json("pawang.window.list/1", &list)?;
        return Ok(Exit::Good);
    }
    let mut grid = Grid::new(&[
        "window", "schedule", "next", "until", "alerts", "by", "reason",
    ]);
    for ready in windows {
        let window = &ready.window;
        let (from, to) = match (window.removed_at, next(ready)) {
            (Some(at), _) => (format!("removed {at:.0}"), String::new()),
            (None, None) => ("never again".to_owned(), String::new()),
            (None, Some(time)) if time.from <= now => {
                ("open now".to_owned(), format!("{:.0}", time.to))
            }
            (None, Some(time)) => (format!("{:.0}", time.from), format!("{:.0}", time.to)),
        };
        grid.row(vec![
            window.name.clone(),
            window.schedule.clone(),
            from,
            to,
            words::matchers(&window.matchers),
            window.by.clone(),
            window.reason.clone(),
        ]);
    }
    output::data(&grid.text())?;
    Ok(Exit::Good)
}

fn times(
    windows: &[Ready],
    from: Timestamp,
    to: Timestamp,
    global: &Global,
) -> Result<Exit, Report> {
    let times = calendar(windows, from, to, TIMES_MAX);
    if global.json {
        output::json("pawang.window.calendar/1", &times)?;
        return Ok(Exit::Good);
    }
    let mut grid = Grid::new(&["from", "until", "window", "alerts", "reason", "note"]);
    for time in &times {
        let window = windows
            .iter()
            .find(|ready| ready.window.name == time.window);
        let window = window.map(|ready| &ready.window);
        grid.row(vec![
            format!("{:.0}", time.from),
            format!("{:.0}", time.to),
            time.window.clone(),
            window.map_or_else(String::new, |window| words::matchers(&window.matchers)),
            window.map_or_else(String::new, |window| window.reason.clone()),
            time.note.clone().unwrap_or_default(),
        ]);
    }
    output::data(&grid.text())?;
    Ok(Exit::Good)
}
