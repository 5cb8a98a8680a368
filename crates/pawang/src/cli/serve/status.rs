//! `pawang serve status`: how the running daemon is doing.

use std::fmt::Write;

use pawang_core::alert::ChannelStatus;
use pawang_core::{ByteSize, Kind, Report, Timestamp};

use super::Place;
use crate::cli::Global;
use crate::daemon::{Answer, InstanceStatus, LogReading, Status, Wanted};
use crate::environment;
use crate::estate::told;
use crate::output::{self, Exit};

/// Runs the command; exit code 1 when the daemon is in trouble.
pub(super) fn run(place: &Place, global: &Global) -> Result<Exit, Report> {
    let value = match place.order(Wanted::Status, global)? {
        Answer::Done(value) => value,
        Answer::Refused(reasons) => {
            return Err(told(
                reasons.into_iter().map(|reason| reason.report()).collect(),
            ));
        }
    };
    let status: Status = serde_json::from_value(value).map_err(|error| {
        Report::new(Kind::Target, "could not read the daemon's answer")
            .with_detail(error.to_string())
            .with_hint("pawang serve of another version runs there: start it again")
    })?;
    if global.json {
        output::json("pawang.serve.status/1", &status)?;
    } else {
        output::data(&text(&status, environment::now()))?;
    }
    let mute = |channel: &ChannelStatus| channel.trouble.is_some();
    let trouble = status.config_refused.is_some()
        || status.store_trouble.is_some()
        || status.channels.iter().any(mute);
    Ok(if trouble { Exit::Answer } else { Exit::Good })
}

fn text(status: &Status, now: Timestamp) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "{name:<14}  {value}");
    };
    line("version", &status.version);
    line(
        "process",
        &format!("{}, since {:.0}", status.pid, status.started_at),
    );
    line("dashboard", &status.address);
    line(
        "configuration",
        status
            .config_file
            .as_deref()
            .unwrap_or("none (libpq environment)"),
    );
    line(
        "data",
        &format!(
            "{} ({})",
            status.data_directory,
            ByteSize(status.store_bytes)
        ),
    );
    let written = status
        .committed_at
        .map_or("never".to_owned(), |at| ago(at, now));
    line(
        "written",
        &format!("{written}, {} snapshots wait", status.waiting_snapshots),
    );
    line(
        "cost",
        &format!(
            "{}, {:.1} s of CPU",
            ByteSize(status.memory_bytes),
            status.cpu_seconds
        ),
    );
    if status.dropped_snapshots > 0 {
        line(
            "dropped",
            &format!("{} snapshots", status.dropped_snapshots),
        );
    }
    if let Some(trouble) = &status.store_trouble {
        line("TROUBLE", trouble);
    }
    if let Some(refused) = &status.config_refused {
        line("REFUSED", &format!("the newest configuration: {refused}"));
    }
    for note in &status.notes {
        line("note", note);
    }
    for channel in &status.channels {
        line("channel", &channel_line(channel, now));
    }
    out.push('\n');
    for instance in &status.instances {
        out.push_str(&instance_line(instance, now));
    }
    out
}

fn channel_line(channel: &ChannelStatus, now: Timestamp) -> String {
    let ChannelStatus {
        name,
        kind,
        sent,
        waiting,
        dead,
        ..
    } = channel;
    let mut text = format!("{name} ({kind}): {sent} sent, {waiting} wait, {dead} given up");
    if let Some((since, why)) = &channel.trouble {
        let _ = write!(text, "; nothing gets through since {since:.0}: {why}");
    } else if let Some(at) = channel.sent_at {
        let _ = write!(text, "; the last one {}", ago(at, now));
    }
    text
}

fn instance_line(instance: &InstanceStatus, now: Timestamp) -> String {
    let level = instance.level.map_or("-", pawang_core::Level::as_str);
    let answered = instance
        .answered_at
        .map_or("never".to_owned(), |at| ago(at, now));
    let note = instance.silent.as_ref().or(instance.budget_note.as_ref());
    let note = note.map_or(String::new(), |note| format!("  {note}"));
    format!(
        "{:<20}  {level:<8}  critical {:<3} warning {:<3} unknown {:<3}  answered {answered}  cost {:.3} of {} %{note}\n",
        instance.name,
        instance.critical,
        instance.warning,
        instance.unknown,
        instance.cost_percent,
        instance.budget_percent,
    ) + &instance
        .log
        .as_ref()
        .map_or(String::new(), |log| log_line(log, now))
}

fn log_line(log: &LogReading, now: Timestamp) -> String {
    let mut text = match (log.read_at, &log.directory) {
        (Some(at), Some(directory)) => {
            let read = ago(at, now);
            format!("log in {directory} read {read}, {} records", log.records)
        }
        _ => "log not read".to_owned(),
    };
    if log.behind_bytes > 0 {
        let behind = ByteSize(log.behind_bytes);
        let _ = write!(text, ", {behind} to read");
    }
    if let Some(trouble) = &log.trouble {
        let _ = write!(text, ": {trouble}");
    }
    format!("{:<20}  {text}\n", "")
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs().max(0);
    format!("{} ago", pawang_core::Unit::Seconds.show(seconds as f64))
}
