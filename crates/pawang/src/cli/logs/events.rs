//! `pawang logs events`: every kind of event that a log can have.

use std::fmt::Write;

use pawang_core::{Kind, Report};
use pawang_logs::kind::{self, Group};
use serde_json::json;

use crate::cli::Global;
use crate::grid::Grid;
use crate::output::{self, Exit};

const EXAMPLES: &str = "\
Examples:
  pawang logs events
  pawang logs events locks                     those of one group
  pawang logs events deadlock                  meaning, cause and remedy of one";

/// List every kind of event, or explain one: meaning, cause, remedy
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct Args {
    /// A kind such as deadlock, or a group such as locks
    #[arg(value_name = "KIND")]
    kind: Option<String>,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let kinds = kind::kinds();
    let Some(name) = &args.kind else {
        return list(kinds.iter(), global);
    };
    if let Some(found) = kind::find(name) {
        return explain(&kinds[usize::from(found.0)], global);
    }
    let of_group: Vec<&kind::Kind> = kinds
        .iter()
        .filter(|kind| word(kind.group) == *name)
        .collect();
    if !of_group.is_empty() {
        return list(of_group.into_iter(), global);
    }
    let report = Report::new(Kind::Usage, format!("there is no kind of event \"{name}\""));
    let names = kinds.iter().map(|kind| kind.id.as_str());
    Err(match pawang_config::nearest(name, names) {
        Some(nearest) => report.with_hint(format!("pawang logs events {nearest}")),
        None => report.with_hint("pawang logs events"),
    })
}

fn word(group: Group) -> String {
    let word = serde_json::to_value(group).unwrap_or_default();
    word.as_str().unwrap_or_default().to_owned()
}

fn list<'a>(kinds: impl Iterator<Item = &'a kind::Kind>, global: &Global) -> Result<Exit, Report> {
    if global.json {
        let list: Vec<_> = kinds.map(as_json).collect();
        output::json("pawang.logs.events/1", &list)?;
        return Ok(Exit::Good);
    }
    let mut grid = Grid::new(&["kind", "level", "group", "meaning"]);
    for kind in kinds {
        grid.row(vec![
            kind.id.clone(),
            kind.level.to_string(),
            word(kind.group),
            kind.meaning.clone(),
        ]);
    }
    output::data(&grid.text())?;
    Ok(Exit::Good)
}

fn explain(kind: &kind::Kind, global: &Global) -> Result<Exit, Report> {
    if global.json {
        output::json("pawang.logs.events/1", &[as_json(kind)])?;
        return Ok(Exit::Good);
    }
    let mut out = format!("{}: {} ({})\n", kind.id, kind.level, word(kind.group));
    for (name, text) in [
        ("What", &kind.meaning),
        ("Why", &kind.cause),
        ("Do", &kind.remedy),
    ] {
        if !text.is_empty() {
            let _ = writeln!(out, "\n{name:<6}  {text}");
        }
    }
    output::data(&out)?;
    Ok(Exit::Good)
}

fn as_json(kind: &kind::Kind) -> serde_json::Value {
    json!({
        "kind": kind.id,
        "level": kind.level,
        "group": kind.group,
        "meaning": kind.meaning,
        "cause": kind.cause,
        "remedy": kind.remedy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_the_names_of_the_data() {
        assert_eq!(word(Group::Connections), "connections");
        assert_eq!(word(Group::Pgbouncer), "pgbouncer");
    }
}
