//! `pawang incident show`: one incident with its timeline.

use std::fmt::Write;

use pawang_core::{Report, Timestamp};
use pawang_report::one_line;
use serde_json::json;

use super::list::{clock, word};
use super::story::{Story, kind};
use crate::cli::Global;
use crate::cli::alert::words;
use crate::environment;
use crate::output::{self, Exit};

/// Show an incident: clock, alerts, timeline, similar ones of the past
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its number
    #[arg(value_name = "NUMBER")]
    incident: i64,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Report> {
    let story = Story::read(args.incident, global)?;
    if global.json {
        let timeline: Vec<_> = story
            .timeline
            .iter()
            .map(|line| json!({ "at": line.at, "kind": line.kind, "by": line.by, "text": line.text }))
            .collect();
        let data = json!({
            "incident": story.incident,
            "alerts": story.alerts,
            "timeline": timeline,
            "similar": story.similar,
        });
        output::json("pawang.incident.show/1", &data)?;
    } else {
        output::data(&text(&story, environment::now()))?;
    }
    Ok(Exit::Good)
}

fn text(story: &Story, now: Timestamp) -> String {
    let incident = &story.incident;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{} incident {}: {}\n",
        incident.priority,
        incident.id,
        one_line(&incident.title)
    );
    let mut line = |name: &str, text: String| {
        let _ = writeln!(out, "{name:<10} {}", one_line(&text));
    };
    line("State", word(incident.state).to_owned());
    line("Began", format!("{:.0}", incident.began_at));
    line(
        "Opened",
        format!("{:.0} by {}", incident.opened_at, incident.opened_by),
    );
    line("Clock", clock(incident, now));
    if let Some(at) = incident.mitigated_at {
        line("Mitigated", format!("{at:.0}"));
    }
    if let Some((at, by)) = &incident.closed {
        line("Closed", format!("{at:.0} by {by}"));
    }
    line("Instances", incident.instances.join(" "));
    for alert in &story.alerts {
        let state = alert.condition.as_str();
        line(
            "Alert",
            format!(
                "{} {} {state} {} {}: {}",
                words::short(&alert.fingerprint),
                alert.priority,
                alert.finding.check,
                words::subject(alert),
                alert.finding.title
            ),
        );
    }
    for similar in &story.similar {
        line(
            "Similar",
            format!(
                "{} of {:.0}: {}",
                similar.id, similar.opened_at, similar.title
            ),
        );
    }
    if let Some(review) = &incident.review {
        line("Review", review.clone());
    }
    out.push('\n');
    for line in &story.timeline {
        let by = line.by.as_ref().map(|by| format!(" ({by})"));
        let _ = writeln!(
            out,
            "{:.0}  {:<9} {}{}",
            line.at,
            kind(line.kind),
            one_line(&line.text),
            by.unwrap_or_default()
        );
    }
    out
}
