//! `pawang explain <check>`: what it looks at, why it matters, its limits, what to do, and its SQL.

use std::fmt::Write;

use pawang_check::{Check, Policy, Resolved};
use pawang_collect::Catalog;
use pawang_core::{Kind, Report};

use crate::cli::Global;
use crate::cli::check::as_json;
use crate::estate::{CommandLimits, Estate, Limited, known, nearest_check, told};
use crate::output::{self, Exit};

const EXAMPLES: &str = "\
Examples:
  pawang explain xid-wraparound
  pawang explain index-bloat --sql
  pawang explain connections --json";

/// Explain a check: what it looks at, why it matters, its limits, what to do, and its SQL
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Args {
    /// Id of a check, or a name of another plugin that is one of ours
    #[arg(value_name = "CHECK")]
    check: String,
    /// Also print the statements of its collectors
    #[arg(long)]
    sql: bool,
}

/// Runs the command.
///
/// # Errors
/// There is no such check.
pub(crate) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let meant = crate::alias::checks(&args.check).unwrap_or_default();
    // A name that several checks answer to explains none of them.
    let meant = match &meant[..] {
        [only] => only,
        _ => &args.check,
    };
    let built_in = pawang_check::find(&args.check).or_else(|| pawang_check::find(meant));
    if let (Some(check), true) = (built_in, global.instances.is_empty()) {
        return tell(args, global, check, &[]);
    }
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let own = estate.user_checks();
    let own = own.iter().find(|check| check.id == args.check);
    let Some(check) = built_in.or(own) else {
        let report = Report::new(Kind::Usage, format!("there is no check \"{}\"", args.check));
        if let Some(several) = crate::alias::checks(&args.check) {
            let report = Report::new(Kind::Usage, format!("\"{}\" is several checks", args.check));
            return Err(report
                .with_detail(several.join(", "))
                .with_hint(format!("pawang explain {}", several[0])));
        }
        return Err(match nearest_check(&args.check) {
            Some(nearest) => report.with_hint(format!("pawang explain {nearest}")),
            None => report.with_hint("pawang check list"),
        });
    };
    if global.instances.is_empty() {
        return tell(args, global, check, &[]);
    }
    let known = [known(check)];
    let in_force = estate
        .jobs(&global.instances, None)?
        .into_iter()
        .map(|job| {
            let limited = Limited {
                config: &estate.config,
                instance: &job.instance,
                known: &known,
                limits: CommandLimits::default(),
            };
            let resolved = limited.resolve(check, None, None);
            (job.instance.name, resolved)
        });
    tell(args, global, check, &in_force.collect::<Vec<_>>())
}

/// Tells everything about a check, and the limits that are in force on the instances that were asked for.
fn tell(
    args: &Args,
    global: &Global,
    check: &Check<'_>,
    in_force: &[(String, Resolved)],
) -> Result<Exit, Report> {
    if global.json {
        output::json("pawang.explain/1", &as_json(check))?;
        return Ok(Exit::Good);
    }
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{}: {}  ({})\n",
        check.id,
        check.title,
        check.group.name()
    );
    let _ = writeln!(out, "What    {}\n", wrap(check.what));
    let _ = writeln!(out, "Why     {}\n", wrap(check.why));
    let _ = writeln!(out, "Limits  {}", check.limits_in_words(&check.defaults()));
    for floor in check.floors {
        let _ = writeln!(
            out,
            "        {} = {}: ignores {}",
            floor.name,
            floor.unit.show(floor.value),
            floor.ignores
        );
    }
    for (instance, resolved) in in_force {
        let words = if resolved.enabled {
            check.limits_in_words(&resolved.limits)
        } else {
            "switched off".to_owned()
        };
        let _ = writeln!(out, "        on {instance}: {words}");
    }
    let _ = writeln!(out, "\nFix     {}\n", wrap(check.fix));
    if check.needs.is_empty() {
        let _ = writeln!(out, "Reads   the statement above");
    } else {
        let _ = writeln!(out, "Reads   {}", check.needs.join(", "));
    }
    if args.sql || check.needs.is_empty() {
        let catalog = Catalog::built_in();
        for name in check.needs {
            for (version, sql) in &catalog.collector(name).statements {
                let _ = writeln!(
                    out,
                    "\n-- {name}, from version {}.{}\n{}",
                    version.0,
                    version.1,
                    sql.trim_end()
                );
            }
        }
    } else {
        let _ = writeln!(
            out,
            "        pawang explain {} --sql shows the statements",
            check.id
        );
    }
    output::data(&out)?;
    Ok(Exit::Good)
}

/// Wraps a paragraph at 92 columns with the indent of the labels.
fn wrap(text: &str) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        if column > 0 && column + 1 + word.chars().count() > 84 {
            out.push_str("\n        ");
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += word.chars().count();
    }
    out
}
