//! Telling the verdicts: format, file, log and operations log.

use std::fmt::Write;
use std::path::Path;

use pawang_core::{Evaluation, Report};
use pawang_report::{Detail, Style, html, markdown, nagios, operations_log, text, tsv};

use super::{Format, Run};
use crate::cli::Global;
use crate::output::{self, Exit};

/// Writes everything that was asked for; a plugin's format brings its own exit code.
pub(super) fn show(
    args: &Run,
    global: &Global,
    evaluations: &[Evaluation],
) -> Result<Option<Exit>, Report> {
    let format = if global.json {
        Format::Json
    } else {
        args.format.unwrap_or_else(|| default_format(args))
    };
    let style = if args.output.is_some() {
        output::file_style()
    } else {
        output::style(global.color)
    };
    let answer = render(format, global, evaluations, &style)?;
    match &args.output {
        Some(path) => output::replace_file(path, &answer)?,
        None => output::data(&answer)?,
    }
    if let Some(path) = &args.append_log {
        append(path, evaluations)?;
    }
    if let Some(path) = &args.operations_log {
        write_operations_log(path, evaluations)?;
    }
    Ok((format == Format::Nagios).then(|| Exit::Plugin(nagios(evaluations).code)))
}

/// Text for people, tab-separated lines for a pipe.
fn default_format(args: &Run) -> Format {
    if output::terminal() || args.output.is_some() {
        Format::Text
    } else {
        Format::Tsv
    }
}

fn render(
    format: Format,
    global: &Global,
    evaluations: &[Evaluation],
    style: &Style,
) -> Result<String, Report> {
    let detail = match (global.quiet, global.verbose) {
        (true, _) => Detail::Quiet,
        (false, 0) => Detail::Short,
        (false, _) => Detail::Long,
    };
    let each = |one: &dyn Fn(&Evaluation) -> String| {
        evaluations.iter().map(one).collect::<Vec<_>>().join("\n")
    };
    Ok(match format {
        Format::Text if evaluations.len() == 1 => {
            each(&|evaluation| text(evaluation, style, detail))
        }
        Format::Text => each(&|evaluation| {
            let text = text(evaluation, style, detail);
            let head = style.heading(&evaluation.instance.name);
            if text.is_empty() { text } else { head + &text }
        }),
        Format::Tsv => evaluations.iter().map(tsv).collect(),
        Format::Markdown => each(&|evaluation| markdown(evaluation, style)),
        Format::Html => html(evaluations, style),
        Format::Json => output::envelope("pawang.check.run/1", &evaluations)?,
        Format::Nagios => nagios(evaluations).line + "\n",
    })
}

/// Appends one line per verdict, with time and instance, to a log that grows for years.
fn append(path: &Path, evaluations: &[Evaluation]) -> Result<(), Report> {
    let mut lines = String::new();
    for evaluation in evaluations {
        for line in tsv(evaluation).lines() {
            let _ = writeln!(lines, "{}\t{line}", evaluation.at);
        }
    }
    output::append_file(path, &lines)
}

fn write_operations_log(path: &Path, evaluations: &[Evaluation]) -> Result<(), Report> {
    let [evaluation] = evaluations else {
        unreachable!("several instances were refused before anything was asked");
    };
    let log = operations_log(evaluation, &output::file_style());
    let is_page = path
        .extension()
        .is_some_and(|extension| extension == "html" || extension == "htm");
    output::replace_file(path, if is_page { &log.html } else { &log.markdown })
}
