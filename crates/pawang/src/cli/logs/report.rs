//! `pawang logs report`: everything that a log says, worst first.

use std::path::PathBuf;

use pawang_core::Report;
use pawang_logs::render;

use super::read::{self, FilesArgs};
use super::state;
use crate::cli::Global;
use crate::output::{self, Exit};

const EXAMPLES: &str = "\
Examples:
  pawang logs report /var/log/postgresql/*.log
  pawang logs report postgresql-*.json.zst --since 24h --html report.html
  pawang logs report --state /var/lib/pawang/dwh-1 /var/log/postgresql/*   from cron: reads only what is new
  journalctl -u postgresql -o export | pawang logs report -";

/// Report everything that a log says: advice, errors, slow statements, locks, checkpoints, vacuum, sessions
///
/// Formats: stderr with any log_line_prefix, csvlog, jsonlog, syslog, journald and those of hosting providers; plain or
/// compressed. The same events give the same report whatever the format. Secrets are redacted in every form.
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    files: FilesArgs,
    /// Read only what is new since the last run with this folder, and report all whole hours that it keeps
    ///
    /// The folder is made when it is not there. --since and --until choose whole hours. Without FILE nothing is read and the kept hours
    /// are reported, also those that a running daemon keeps in logs/NAME of its data folder.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Write one HTML file that needs no network and no script
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Markdown on standard output, for a ticket
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let (files, how) = (&args.files.files, &args.files.read);
    let report = match &args.state {
        Some(state) => state::read(state, files, how)?,
        None => read::read(files, how, global)?,
    };
    if let Some(path) = &args.html {
        output::replace_file(path, &render::html(&report, &title(&args.files.files)))?;
        if !global.quiet {
            output::talk(&format!("written to {}", path.display()));
        }
    }
    let style = read::style(global.color);
    if global.json {
        output::json("pawang.logs.report/1", &report)?;
    } else if args.markdown {
        output::data(&render::markdown(&report, &style))?;
    } else if args.html.is_none() {
        output::data(&render::text(&report, &style, global.verbose > 0))?;
    }
    Ok(read::exit(&report, Exit::Good))
}

fn title(files: &[String]) -> String {
    match files {
        [one] if one != "-" => format!("PostgreSQL log {one}"),
        _ => "PostgreSQL log".to_owned(),
    }
}
