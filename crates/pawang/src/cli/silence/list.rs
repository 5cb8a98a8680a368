//! `pawang silence list`: what is kept quiet, until when, by whom and why.

use pawang_alert::matcher::Matchers;
use pawang_core::alert::{Alert, Matcher, Silence};
use pawang_core::{Kind, Report, Timestamp};
use serde_json::{Value, json};

use crate::cli::Global;
use crate::cli::account::state;
use crate::cli::alert::words;
use crate::environment;
use crate::grid::Grid;
use crate::output::{self, Exit};

/// List silences, those that end first at the top
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Also those that are over
    #[arg(long)]
    all: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let mut silences = match state::open_to_read(global)? {
        Some(state) => state.silences(args.all).map_err(|error| error.report())?,
        None => Vec::new(),
    };
    let now = environment::now();
    silences.retain(|silence| args.all || word(silence, now) != "over");
    silences.sort_by_key(|silence| (word(silence, now) == "over", silence.ends_at));
    if global.json {
        let list: Vec<_> = silences
            .iter()
            .map(|silence| json!({ "state": word(silence, now), "silence": silence }))
            .collect();
        output::json("pawang.silence.list/1", &list)?;
        return Ok(Exit::Good);
    }
    let mut grid = Grid::new(&[
        "silence>", "state", "from", "until", "by", "alerts", "reason",
    ]);
    for silence in &silences {
        let end = silence
            .expired
            .as_ref()
            .map_or(silence.ends_at, |(at, _)| *at);
        grid.row(vec![
            silence.id.to_string(),
            word(silence, now).to_owned(),
            format!("{:.0}", silence.starts_at),
            format!("{end:.0}"),
            silence.by.clone(),
            words::matchers(&silence.matchers),
            silence.reason.clone(),
        ]);
    }
    output::data(&grid.text())?;
    Ok(Exit::Good)
}

fn word(silence: &Silence, now: Timestamp) -> &'static str {
    if silence.active(now) {
        "active"
    } else if silence.expired.is_none() && now < silence.starts_at {
        "waits"
    } else {
        "over"
    }
}

/// Lists the alerts that matchers mean now, and changes nothing; `times` are those of a window.
///
/// # Errors
/// The state cannot be read, or a regular expression is wrong.
pub(in crate::cli) fn preview(
    schema: &str,
    matchers: &[Matcher],
    times: Option<Value>,
    global: &Global,
) -> Result<Exit, Report> {
    let meant = Matchers::new(matchers.to_vec())
        .map_err(|wrong| Report::new(Kind::Usage, "cannot use the matchers").with_detail(wrong))?;
    let mut alerts: Vec<Alert> = match state::open_to_read(global)? {
        Some(state) => {
            let saved = state.saved_alerts().map_err(|error| error.report())?;
            saved.alerts.into_iter().map(|(alert, _)| alert).collect()
        }
        None => Vec::new(),
    };
    alerts.retain(|alert| {
        let over = matches!(alert.condition.as_str(), "ok" | "resolved");
        !over && meant.hold(&alert.labels)
    });
    alerts.sort_by_key(|alert| alert.priority);
    if global.json {
        let everything = meant.match_everything();
        let mut data = json!({ "matchers": matchers, "everything": everything, "alerts": alerts });
        if let Some(times) = times {
            data["times"] = times;
        }
        output::json(schema, &data)?;
        return Ok(Exit::Good);
    }
    let mut grid = Grid::new(&["alert", "priority", "state", "check", "on", "what"]);
    for alert in &alerts {
        grid.row(vec![
            words::short(&alert.fingerprint).to_owned(),
            alert.priority.to_string(),
            alert.condition.as_str().to_owned(),
            alert.finding.check.clone(),
            words::subject(alert),
            alert.finding.title.clone(),
        ]);
    }
    if !grid.is_empty() {
        output::data(&grid.text())?;
    }
    if !global.quiet {
        let noun = if alerts.len() == 1 { "alert" } else { "alerts" };
        output::talk(&format!(
            "{} matches {} {noun} now; nothing was changed",
            words::matchers(matchers),
            alerts.len()
        ));
        if meant.match_everything() {
            output::talk(
                "it matches everything that will come, too: --everything says that this is meant",
            );
        }
    }
    Ok(Exit::Good)
}
