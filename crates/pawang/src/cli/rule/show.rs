//! `pawang rule show`: everything about the rule of one check.

use std::fmt::Write;

use pawang_core::{Instance, Kind, Report};

use super::Words;
use crate::alias;
use crate::cli::Global;
use crate::cli::alert::order;
use crate::estate::{Estate, nearest_check, told};
use crate::output::{self, Exit};

/// Show when findings of a check become alerts, on an instance and for an object
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Id of a check, or a name that other tools have for it
    #[arg(value_name = "CHECK")]
    check: String,
    /// The rule for this object
    #[arg(long, value_name = "OBJECT", default_value = "")]
    object: String,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let setup = order::setup(&estate)?;
    let check = check(&estate, &args.check)?;
    let instance = instance(&estate, global)?;
    let group = instance.group.as_deref();
    let rule = setup
        .rules
        .rule(&check, group, &instance.name, &args.object);
    let words = Words::of(&check, &rule);
    if global.json {
        output::json("pawang.rule.show/1", &words)?;
    } else {
        output::data(&text(&words))?;
    }
    Ok(Exit::Good)
}

/// Returns the check that a name means: its id, or the first one behind a name that other tools or people have for it.
/// Those about Pawang itself have rules too.
///
/// # Errors
/// There is none.
pub(in crate::cli) fn check(estate: &Estate, id: &str) -> Result<String, Report> {
    let own = estate.user_checks();
    let known = pawang_check::find(id).is_some()
        || own.iter().any(|check| check.id == id)
        || pawang_alert::rule::OWN_CHECKS.contains(&id);
    if known {
        return Ok(id.to_owned());
    }
    if let Some(check) = alias::checks(id).and_then(|checks| checks.into_iter().next()) {
        return Ok(check);
    }
    let report = Report::new(
        Kind::Usage,
        format!("there is no check \"{}\"", id.escape_debug()),
    );
    Err(match nearest_check(id) {
        Some(nearest) => report.with_hint(format!("pawang explain {nearest}")),
        None => report.with_hint("pawang check list"),
    })
}

/// Returns the one instance of `-i`, or none in particular.
///
/// # Errors
/// There is none of that name, or more than one.
pub(in crate::cli) fn instance(estate: &Estate, global: &Global) -> Result<Instance, Report> {
    if global.instances.is_empty() {
        return Ok(Instance::default());
    }
    let mut jobs = estate.jobs(&global.instances, None)?;
    match (jobs.pop(), jobs.len()) {
        (Some(job), 0) => Ok(job.instance),
        _ => Err(
            Report::new(Kind::Usage, "cannot show more than one instance")
                .with_hint("name one: -i dwh-1"),
        ),
    }
}

fn text(rule: &Words) -> String {
    let mut out = String::new();
    let mut line = |name: &str, text: &str| {
        let _ = writeln!(out, "{name:<14} {text}");
    };
    line("Check", &rule.check);
    if !rule.enabled {
        line("Alerts", "none: findings stay findings");
        return out;
    }
    let level = match rule.level.as_str() {
        "warning" => "of warnings and critical findings".to_owned(),
        level => format!("only of {level} findings"),
    };
    line("Alerts", &level);
    line("Class", rule.class);
    line(
        "Fires",
        &format!(
            "a warning after {}, a critical finding after {}, when {} samples are bad",
            rule.warning_for, rule.critical_for, rule.samples
        ),
    );
    let mut over = format!("when it is good for {}", rule.keep_firing);
    if let Some(clear) = &rule.clear {
        let _ = write!(over, " and on the good side of {clear}");
    }
    if rule.clear_margin_percent > 0.0 {
        let _ = write!(
            over,
            " and {} % better than its limit",
            rule.clear_margin_percent
        );
    }
    line(
        "Over",
        &(over + "; longer when it fired for longer or comes back often"),
    );
    let unseen = match rule.no_data {
        pawang_config::NoData::Keep => "what fired goes on firing, as not seen",
        pawang_config::NoData::Fire => "it fires",
        pawang_config::NoData::Resolve => "what fired counts as over",
    };
    line("Not seen", unseen);
    line(
        "Priority",
        rule.priority
            .as_deref()
            .unwrap_or("by level, class and role of the instance"),
    );
    if let Some(deviations) = rule.deviations {
        line(
            "Usual",
            &format!("warnings only from {deviations} deviations off what is usual at that hour"),
        );
    }
    if rule.expected_in_batch {
        line(
            "In batch",
            "warnings are expected while a batch window is open",
        );
    }
    if let Some(runbook) = &rule.runbook {
        line("Runbook", runbook);
    }
    out
}
