//! `pawang alert list`: what fires, and what else is known.

use pawang_alert::matcher::Matchers;
use pawang_core::alert::Alert;
use pawang_core::{Kind, Report};
use pawang_store::state::AlertQuery;

use super::words;
use crate::cli::Global;
use crate::cli::account::state;
use crate::grid::Grid;
use crate::output::{self, Exit};

/// Alerts of the record that are listed.
const RECORD_MAX: usize = 1_000;

/// List alerts, the most urgent first
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which alerts, such as check=disk-space or 'priority=~"P1|P2"'
    #[arg(value_name = "MATCHER")]
    matchers: Vec<String>,
    /// Only those in this state
    #[arg(long, value_enum, value_name = "STATE")]
    state: Option<State>,
    /// Also those that are over
    #[arg(long)]
    all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum State {
    Pending,
    Firing,
    Recovering,
    Resolved,
    Unknown,
    Stale,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Firing => "firing",
            State::Recovering => "recovering",
            State::Resolved => "resolved",
            State::Unknown => "unknown",
            State::Stale => "stale",
        }
    }
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let mut wanted = words::parse(&args.matchers)?;
    wanted.extend(words::instances(&global.instances)?);
    let wanted = Matchers::new(wanted)
        .map_err(|wrong| Report::new(Kind::Usage, "cannot use the matchers").with_detail(wrong))?;
    let mut alerts = match state::open_to_read(global)? {
        Some(state) => read(&state, args.all || args.state == Some(State::Resolved))?,
        None => Vec::new(),
    };
    let in_state = |alert: &Alert| match args.state {
        Some(state) => alert.condition.as_str() == state.word(),
        None => args.all || !matches!(alert.condition.as_str(), "ok" | "resolved"),
    };
    alerts.retain(|alert| in_state(alert) && wanted.hold(&alert.labels));
    alerts.sort_by_key(|alert| {
        let over = matches!(alert.condition.as_str(), "ok" | "resolved");
        let since = words::since(alert);
        (
            over,
            alert.firing().is_none(),
            alert.priority,
            std::cmp::Reverse(since),
        )
    });
    if global.json {
        output::json("pawang.alert.list/1", &alerts)?;
    } else if alerts.is_empty() && output::terminal() {
        output::talk("nothing fires; pawang alert list --all also lists what is over");
    } else {
        output::data(&table(&alerts))?;
    }
    Ok(Exit::Good)
}

fn read(state: &pawang_store::state::State, all: bool) -> Result<Vec<Alert>, Report> {
    let saved = state.saved_alerts().map_err(|error| error.report())?;
    let mut alerts: Vec<Alert> = saved.alerts.into_iter().map(|(alert, _)| alert).collect();
    if all {
        let query = AlertQuery {
            limit: RECORD_MAX,
            ..AlertQuery::default()
        };
        let record = state.alerts(&query).map_err(|error| error.report())?;
        let new = |alert: &Alert| {
            !alerts.iter().any(|known| {
                known.fingerprint == alert.fingerprint && known.opened_at == alert.opened_at
            })
        };
        let more: Vec<Alert> = record.into_iter().filter(new).collect();
        alerts.extend(more);
    }
    Ok(alerts)
}

fn table(alerts: &[Alert]) -> String {
    let mut grid = Grid::new(&[
        "alert", "priority", "state", "since", "handling", "check", "on", "what",
    ]);
    for alert in alerts {
        grid.row(vec![
            words::short(&alert.fingerprint).to_owned(),
            alert.priority.to_string(),
            alert.condition.as_str().to_owned(),
            format!("{:.0}", words::since(alert)),
            alert.handling.state().as_str().to_owned(),
            alert.finding.check.clone(),
            words::subject(alert),
            alert.finding.title.clone(),
        ]);
    }
    grid.text()
}
