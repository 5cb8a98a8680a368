//! What a review says, whatever it is written in.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use pawang_core::alert::{Alert, EntryKind, Incident, IncidentState, Mute};
use pawang_core::{Timestamp, Unit};

use super::Story;
use crate::incident::overdue;
use crate::template::{lasts, when};

/// Most alerts, lines of the timeline and remedies that are shown; more are counted.
const ALERTS_MAX: usize = 200;
const LINES_MAX: usize = 2_000;
const REMEDIES_MAX: usize = 10;

/// What a review says.
pub(super) struct Review {
    pub(super) title: String,
    pub(super) sections: Vec<Section>,
}

/// A heading and what is under it.
pub(super) struct Section {
    pub(super) heading: &'static str,
    pub(super) blocks: Vec<Block>,
}

/// A part of a section; texts are as they came, and escaped where they are shown.
pub(super) enum Block {
    Text(String),
    /// Several lines as they were written.
    Quote(String),
    List(Vec<String>),
    /// Things to do.
    Tasks(Vec<String>),
    Table(Vec<&'static str>, Vec<Vec<String>>),
}

/// Returns all sections in the order of reading.
pub(super) fn review(story: &Story<'_>) -> Review {
    let incident = story.incident;
    let clean = story.clean;
    Review {
        title: format!("Incident {}: {}", incident.id, clean(&incident.title)),
        sections: [
            summary(story),
            impact(story),
            clock(story),
            timeline(story),
            alerts(story),
            muted(story),
            actions(story),
            similar(story),
            went_well(story),
            went_badly(story),
            tasks(story),
        ]
        .into_iter()
        .flatten()
        .collect(),
    }
}

fn section(heading: &'static str, blocks: Vec<Block>) -> Option<Section> {
    Some(Section { heading, blocks })
}

fn summary(story: &Story<'_>) -> Option<Section> {
    let incident = story.incident;
    let state = match incident.state {
        IncidentState::Open => "it goes on",
        IncidentState::Mitigated => "nothing of it fires any more; it waits for its review",
        IncidentState::Closed => "it is closed",
    };
    let cause = incident.alerts.first().and_then(|first| {
        story
            .alerts
            .iter()
            .find(|alert| alert.fingerprint == *first)
    });
    let mut blocks = vec![Block::Text(format!(
        "{}, {state}. It began at {} and was opened by {}.",
        incident.priority,
        when(incident.began_at, story.zone),
        incident.opened_by
    ))];
    if let Some(cause) = cause {
        let title = (story.clean)(&cause.finding.title);
        blocks.push(Block::Text(format!(
            "First of its alerts: {} ({}).",
            title, cause.finding.check
        )));
    }
    if let Some(review) = incident
        .review
        .as_deref()
        .filter(|review| !review.trim().is_empty())
    {
        blocks.push(Block::Quote((story.clean)(review)));
    }
    section("Summary", blocks)
}

fn impact(story: &Story<'_>) -> Option<Section> {
    let incident = story.incident;
    let instances = if incident.instances.is_empty() {
        "none named".to_owned()
    } else {
        incident.instances.join(", ")
    };
    let (end, so_far) = end(story);
    let mut rows = vec![
        pair("Instances", instances),
        pair("Alerts", incident.alerts.len().to_string()),
        pair(
            "Lasted",
            format!("{}{so_far}", length(incident.began_at, end)),
        ),
    ];
    rows.push(pair(
        "Who waited",
        story
            .waited
            .map_or_else(|| "not known".to_owned(), story.clean),
    ));
    section("Impact", vec![Block::Table(vec!["what", "how much"], rows)])
}

fn pair(name: &str, value: String) -> Vec<String> {
    vec![name.to_owned(), value]
}

/// Returns when it was over, and what is to say when it is not.
fn end(story: &Story<'_>) -> (Timestamp, &'static str) {
    let incident = story.incident;
    let closed = incident.closed.as_ref().map(|(at, _)| *at);
    match incident.mitigated_at.or(closed) {
        Some(at) => (at, ""),
        None => (story.now, " so far"),
    }
}

fn length(from: Timestamp, to: Timestamp) -> String {
    lasts(to.duration_since(from).as_secs_f64())
}

fn clock(story: &Story<'_>) -> Option<Section> {
    let incident = story.incident;
    let at = |at: Timestamp| when(at, story.zone);
    let after = |at: Timestamp| length(incident.began_at, at);
    let row = |what: &str, time: Timestamp, more: String| {
        vec![what.to_owned(), at(time), after(time), more]
    };
    let mut rows = vec![
        row("Began", incident.began_at, String::new()),
        row(
            "Detected",
            incident.opened_at,
            format!("opened by {}", incident.opened_by),
        ),
    ];
    let told = story
        .timeline
        .iter()
        .find(|line| line.kind == EntryKind::Message);
    if let Some(told) = told {
        rows.push(row("Somebody was told", told.at, String::new()));
    }
    let target = length(incident.opened_at, incident.respond_by);
    let late = if overdue(incident, story.now) {
        "late"
    } else {
        "in time"
    };
    rows.push(match &incident.responded {
        Some((time, by)) => {
            let took = length(incident.opened_at, *time);
            row(
                "Responded",
                *time,
                format!("{by}, after {took} of {target}: {late}"),
            )
        }
        None => {
            let late = if late == "late" {
                "late"
            } else {
                "there is time until then"
            };
            row(
                "Nobody responded; due",
                incident.respond_by,
                format!("{target}: {late}"),
            )
        }
    });
    if let Some(time) = incident.mitigated_at {
        rows.push(row(
            "Mitigated",
            time,
            "nothing of it fires any more".to_owned(),
        ));
    }
    if let Some((time, by)) = &incident.closed {
        rows.push(row("Closed", *time, format!("by {by}")));
    }
    let head = vec!["what", "when", "after the begin", "more"];
    section("Clock", vec![Block::Table(head, rows)])
}

fn timeline(story: &Story<'_>) -> Option<Section> {
    let rows: Vec<Vec<String>> = story
        .timeline
        .iter()
        .take(LINES_MAX)
        .map(|line| {
            let by = line.by.clone().unwrap_or_default();
            vec![when(line.at, story.zone), (story.clean)(&line.text), by]
        })
        .collect();
    let mut blocks = vec![if rows.is_empty() {
        Block::Text("Nothing was written down.".to_owned())
    } else {
        Block::Table(vec!["when", "what", "by"], rows)
    }];
    blocks.extend(left_out(story.timeline.len(), LINES_MAX));
    section("Timeline", blocks)
}

fn left_out(there: usize, shown: usize) -> Option<Block> {
    let more = there.checked_sub(shown).filter(|more| *more > 0)?;
    Some(Block::Text(format!("{more} more are left out here.")))
}

fn alerts(story: &Story<'_>) -> Option<Section> {
    let show =
        |value: Option<f64>, unit: Unit| value.map_or(String::new(), |value| unit.show(value));
    let rows = story.alerts.iter().take(ALERTS_MAX).map(|alert| {
        let finding = &alert.finding;
        vec![
            finding.level.to_string(),
            alert.instance.clone(),
            finding.check.clone(),
            (story.clean)(&finding.title),
            show(finding.value, finding.unit),
            show(finding.threshold, finding.unit),
            when(alert.opened_at, story.zone),
        ]
    });
    let head = vec![
        "level", "instance", "check", "what", "value", "limit", "since",
    ];
    let rows: Vec<Vec<String>> = rows.collect();
    let mut blocks = vec![if rows.is_empty() {
        Block::Text("None: it was opened by hand.".to_owned())
    } else {
        Block::Table(head, rows)
    }];
    blocks.extend(left_out(story.incident.alerts.len(), ALERTS_MAX));
    section("Alerts", blocks)
}

fn muted(story: &Story<'_>) -> Option<Section> {
    let name = |fingerprint: &str| {
        let known = story
            .alerts
            .iter()
            .find(|alert| alert.fingerprint == fingerprint);
        known.map_or_else(|| fingerprint.to_owned(), place)
    };
    let mut lines = Vec::new();
    for alert in story.alerts.iter().take(ALERTS_MAX) {
        for mute in &alert.handling.mutes {
            let why = match mute {
                Mute::Silenced { silence } => format!("silence {silence}"),
                Mute::Maintenance { window } => format!("window {window}"),
                Mute::Inhibited { by, rule } => format!("{} ({rule})", name(by)),
            };
            lines.push(format!("{} by {why}", place(alert)));
        }
    }
    if lines.is_empty() {
        return None;
    }
    section("What was muted", vec![Block::List(lines)])
}

fn place(alert: &Alert) -> String {
    let finding = &alert.finding;
    [&alert.instance, &finding.check, &finding.object]
        .map(String::as_str)
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn actions(story: &Story<'_>) -> Option<Section> {
    let acted = story
        .timeline
        .iter()
        .filter(|line| line.kind == EntryKind::Action);
    let lines: Vec<String> = acted
        .take(LINES_MAX)
        .map(|line| {
            let by = line.by.as_deref().unwrap_or("pawang");
            format!(
                "{}, {by}: {}",
                when(line.at, story.zone),
                (story.clean)(&line.text)
            )
        })
        .collect();
    if lines.is_empty() {
        return None;
    }
    section("What was done", vec![Block::List(lines)])
}

fn similar(story: &Story<'_>) -> Option<Section> {
    if story.similar.is_empty() {
        return None;
    }
    let lines = story.similar.iter().map(|other| {
        let end = other
            .mitigated_at
            .or(other.closed.as_ref().map(|(at, _)| *at));
        let lasted = end.map_or(String::new(), |end| {
            format!(", lasted {}", length(other.began_at, end))
        });
        let review = other
            .review
            .as_deref()
            .and_then(|review| review.lines().next());
        let review = review.map_or(String::new(), |review| format!("; {review}"));
        let told = format!("{}{lasted}{review}", other.title);
        format!(
            "{}, incident {}: {}",
            when(other.opened_at, story.zone),
            other.id,
            (story.clean)(&told)
        )
    });
    section("Similar incidents", vec![Block::List(lines.collect())])
}

/// Returns what is known already, and a place for the rest.
fn points(heading: &'static str, mut known: Vec<String>) -> Option<Section> {
    known.push("...".to_owned());
    section(heading, vec![Block::List(known)])
}

fn went_well(story: &Story<'_>) -> Option<Section> {
    let incident = story.incident;
    let mut known = Vec::new();
    let detected = incident.opened_at.duration_since(incident.began_at);
    if incident.opened_by == "pawang" && detected <= SignedDuration::from_mins(5) {
        known.push(format!(
            "detected {} after it began",
            length(incident.began_at, incident.opened_at)
        ));
    }
    if let Some((at, by)) = incident
        .responded
        .as_ref()
        .filter(|_| !overdue(incident, story.now))
    {
        let (took, target) = (
            length(incident.opened_at, *at),
            length(incident.opened_at, incident.respond_by),
        );
        known.push(format!(
            "{by} responded after {took}, within the target of {target}"
        ));
    }
    points("What went well", known)
}

fn went_badly(story: &Story<'_>) -> Option<Section> {
    let incident = story.incident;
    let mut known = Vec::new();
    if overdue(incident, story.now) {
        let target = length(incident.opened_at, incident.respond_by);
        known.push(match &incident.responded {
            Some((at, by)) => format!(
                "{by} responded after {}; the target was {target}",
                length(incident.opened_at, *at)
            ),
            None => format!("nobody responded within the target of {target}"),
        });
    }
    let escalated = story.alerts.iter().filter(|alert| {
        let reached = alert.handling.escalation.as_ref();
        reached.is_some_and(|ladder| ladder.step > 0 || ladder.rounds > 0)
    });
    let escalated = escalated.count();
    if escalated > 0 {
        known.push(format!("{escalated} of its alerts had to be escalated"));
    }
    let flaps: u32 = story
        .alerts
        .iter()
        .map(|alert| alert.flaps)
        .fold(0, u32::saturating_add);
    if flaps > 0 {
        known.push(format!("its alerts cleared and came back {flaps} times"));
    }
    if let Some(last) = story.similar.first() {
        known.push(format!(
            "it was so before: incident {} at {}",
            last.id,
            when(last.opened_at, story.zone)
        ));
    }
    points("What went badly", known)
}

fn tasks(story: &Story<'_>) -> Option<Section> {
    let mut tasks = Vec::new();
    let mut seen = BTreeSet::new();
    for alert in story.alerts {
        let remedy = (story.clean)(&alert.finding.remedy);
        let new = !remedy.trim().is_empty() && tasks.len() < REMEDIES_MAX;
        if new && seen.insert((alert.finding.check.clone(), remedy.clone())) {
            tasks.push(format!("{}: {remedy}", place(alert)));
        }
    }
    tasks.extend(story.similar.first().map(|last: &&Incident| {
        format!(
            "find out why what was done after incident {} did not prevent it",
            last.id
        )
    }));
    tasks.push("...".to_owned());
    section("Action items", vec![Block::Tasks(tasks)])
}
