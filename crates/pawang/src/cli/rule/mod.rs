//! `pawang rule`: when a finding becomes an alert.

mod history;
mod list;
pub(in crate::cli) mod show;
mod test;

use clap::Subcommand;
use pawang_alert::replay::length;
use pawang_core::Report;

use crate::cli::Global;
use crate::output::Exit;

const EXAMPLES: &str = "\
Examples:
  pawang rule show disk-space -i dwh-1
  pawang rule test rules-test.toml             samples, and what must come of them
  pawang rule test -i dwh-1 --from 24h         what would have fired";

/// When a finding becomes an alert, and tests of it
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(list::Args),
    Show(show::Args),
    Test(test::Args),
}

/// Runs the command.
///
/// # Errors
/// The configuration has mistakes, or there is no such check, file or history.
pub(crate) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    match &args.verb {
        Verb::List(args) => list::run(args, global),
        Verb::Show(args) => show::run(args, global),
        Verb::Test(args) => test::run(args, global),
    }
}

/// One rule in words.
#[derive(serde::Serialize)]
struct Words {
    check: String,
    enabled: bool,
    level: String,
    class: &'static str,
    warning_for: String,
    critical_for: String,
    samples: String,
    keep_firing: String,
    clear: Option<String>,
    clear_margin_percent: f64,
    no_data: pawang_config::NoData,
    priority: Option<String>,
    deviations: Option<f64>,
    expected_in_batch: bool,
    runbook: Option<String>,
}

impl Words {
    fn of(check: &str, rule: &pawang_alert::rule::Rule) -> Words {
        let (bad, of) = rule.samples;
        Words {
            check: check.to_owned(),
            enabled: rule.enabled,
            level: rule.level.to_string(),
            class: rule.class.as_str(),
            warning_for: length(rule.lasts),
            critical_for: length(rule.lasts_critical),
            samples: format!("{bad} of {of}"),
            keep_firing: length(rule.keep_firing),
            clear: rule.clear.map(|clear| clear.to_string()),
            clear_margin_percent: rule.clear_margin_percent,
            no_data: rule.no_data,
            priority: rule.priority.map(|priority| priority.to_string()),
            deviations: rule.deviations,
            expected_in_batch: rule.expected_in_batch,
            runbook: rule.runbook.clone(),
        }
    }
}
