//! `pawang check list`: every check with its limits.

use std::fmt::Write;

use pawang_check::{CHECKS, Check, Direction, Group};
use pawang_core::Report;
use serde_json::json;

use crate::cli::Global;
use crate::estate::{Estate, told};
use crate::output::{self, Exit};

/// List every check with its limits, your own of pawang.toml last
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this group, such as locks or replication
    #[arg(value_name = "GROUP")]
    group: Option<String>,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let wanted = |check: &&&Check<'_>| {
        args.group
            .as_ref()
            .is_none_or(|group| check.group.name() == group)
    };
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let own = estate.user_checks();
    let own: Vec<&Check<'_>> = own.iter().collect();
    let all = CHECKS.iter().chain(&own);
    let checks: Vec<&Check<'_>> = all.filter(wanted).copied().collect();
    if let (true, Some(group)) = (checks.is_empty(), &args.group) {
        let names: Vec<&str> = Group::ALL.iter().map(|(_, name, _)| *name).collect();
        let report = Report::new(
            pawang_core::Kind::Usage,
            format!("there is no group \"{group}\""),
        );
        return Err(report
            .with_detail(format!("the groups are {}", names.join(", ")))
            .with_hint("pawang check list"));
    }
    if global.json {
        let list: Vec<_> = checks.iter().map(|check| as_json(check)).collect();
        output::json("pawang.check.list/1", &list)?;
        return Ok(Exit::Good);
    }
    let mut out = String::new();
    for check in checks {
        let limits = check.limits_in_words(&check.defaults());
        if output::terminal() {
            let _ = writeln!(out, "{:<32}  {:<44}  {limits}", check.id, check.title);
        } else {
            let _ = writeln!(
                out,
                "{}\t{}\t{}\t{limits}",
                check.id,
                check.group.name(),
                check.title
            );
        }
    }
    output::data(&out)?;
    Ok(Exit::Good)
}

/// Returns everything that is declared about a check.
pub(in crate::cli) fn as_json(check: &Check<'_>) -> serde_json::Value {
    let floors = check.floors.iter();
    let floors: Vec<_> = floors
        .map(|floor| json!({"name": floor.name, "value": floor.value, "unit": floor.unit, "ignores": floor.ignores}))
        .collect();
    json!({
        "id": check.id,
        "group": check.group.name(),
        "title": check.title,
        "unit": check.unit,
        "direction": if check.direction == Direction::Above { "above" } else { "below" },
        "warning": check.warning,
        "critical": check.critical,
        "floors": floors,
        "collectors": check.needs,
        "what": check.what,
        "why": check.why,
        "fix": check.fix,
    })
}
