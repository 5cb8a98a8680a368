//! `pawang rule list`: the rule of every check.

use pawang_core::Report;

use super::Words;
use crate::cli::Global;
use crate::cli::alert::order;
use crate::estate::{Estate, told};
use crate::grid::Grid;
use crate::output::{self, Exit};

/// List when findings of each check become alerts; -i shows the rules of one instance
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only checks of this name, with *
    #[arg(value_name = "CHECK", default_value = "*")]
    check: String,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let setup = order::setup(&estate)?;
    let instance = super::show::instance(&estate, global)?;
    let own = estate.user_checks();
    let ids = pawang_check::CHECKS.iter().map(|check| check.id);
    let ids = ids.chain(own.iter().map(|check| check.id));
    let ids = ids.filter(|id| pawang_config::matches(&args.check, id));
    let rules: Vec<Words> = ids
        .map(|id| {
            let group = instance.group.as_deref();
            Words::of(id, &setup.rules.rule(id, group, &instance.name, ""))
        })
        .collect();
    if global.json {
        output::json("pawang.rule.list/1", &rules)?;
        return Ok(Exit::Good);
    }
    let mut grid = Grid::new(&[
        "check",
        "class",
        "warning for",
        "critical for",
        "samples",
        "keep firing",
        "in batch",
        "alerts",
    ]);
    for rule in rules {
        let alerts = if rule.enabled {
            format!("from {}", rule.level)
        } else {
            "none".to_owned()
        };
        let batch = if rule.expected_in_batch { "quiet" } else { "" };
        grid.row(vec![
            rule.check,
            rule.class.to_owned(),
            rule.warning_for,
            rule.critical_for,
            rule.samples,
            rule.keep_firing,
            batch.to_owned(),
            alerts,
        ]);
    }
    output::data(&grid.text())?;
    Ok(Exit::Good)
}
