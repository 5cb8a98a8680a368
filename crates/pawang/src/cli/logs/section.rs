//! `pawang logs errors`, `slow`, `locks`, `connections`, `checkpoints`, `vacuums`, `temp`, `plans`, `audit`: one question, one answer.

use pawang_core::{Kind, Report};
use pawang_logs::render::{self, Section};
use serde_json::json;

use super::read::{self, FilesArgs};
use crate::cli::Global;
use crate::output::{self, Exit};

/// What is read, and how it is shown.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    files: FilesArgs,
    /// Markdown on standard output, for a ticket
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

/// Runs the command.
pub(super) fn run(section: Section, args: &Args, global: &Global) -> Result<Exit, Report> {
    let report = read::read(&args.files.files, &args.files.read, global)?;
    let style = read::style(global.color);
    if global.json {
        let data = json!({
            "source": report.source,
            "totals": report.totals,
            section.name(): part(section, &report)?,
        });
        output::json(&format!("pawang.logs.{}/1", section.name()), &data)?;
    } else if args.markdown {
        output::data(&render::section_markdown(&report, section, &style))?;
    } else if output::terminal() || global.verbose > 0 {
        let long = global.verbose > 0;
        output::data(&render::section_text(&report, section, &style, long))?;
    } else {
        // A pipe gets rows, as of every table of ours.
        let rows = render::section_rows(&report, section, &style);
        let lines = rows.iter().map(|row| row.join("\t") + "\n");
        output::data(&lines.collect::<String>())?;
    }
    Ok(read::exit(&report, Exit::Good))
}

/// Returns the part of a report as JSON.
fn part(
    section: Section,
    report: &pawang_logs::report::Report,
) -> Result<serde_json::Value, Report> {
    let value = match section {
        Section::Errors => serde_json::to_value(&report.errors),
        Section::Slow => serde_json::to_value(&report.statements),
        Section::Locks => serde_json::to_value(&report.locks),
        Section::Connections => serde_json::to_value(&report.sessions),
        Section::Checkpoints => serde_json::to_value(&report.checkpoints),
        Section::Vacuums => serde_json::to_value(&report.vacuums),
        Section::Temp => serde_json::to_value(&report.temp_files),
        Section::Plans => serde_json::to_value(&report.plans),
        Section::Audit => serde_json::to_value(&report.audit),
        _ => serde_json::to_value(report),
    };
    value.map_err(|error| {
        Report::new(Kind::Usage, "could not write JSON").with_detail(error.to_string())
    })
}
