//! All instances, worst first.

use pawang_core::{Level, Role, Timestamp, Unit};

use super::glyph;
use crate::memory::{Memory, Seen};
use crate::table::{Cell, Heading, Line, Table};
use crate::words::{NOTHING, age, number, short};

const HEADINGS: [Heading; 8] = [
    Heading::text("", 2),
    Heading::text("instance", 16),
    Heading::text("group", 6),
    Heading::text("version", 7),
    Heading::text("role", 7),
    Heading::number("tps", 6),
    Heading::number("active", 6),
    Heading::text("worst finding", 0),
];

pub(super) fn table(memory: &Memory, now: Timestamp) -> Table {
    let mut lines: Vec<(Level, Line)> = memory
        .instances()
        .iter()
        .map(|seen| line(seen, now))
        .collect();
    lines.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
    Table {
        headings: HEADINGS.to_vec(),
        lines: lines.into_iter().map(|(_, line)| line).collect(),
        notes: Vec::new(),
        empty: "no instance has been seen yet".to_owned(),
    }
}

fn line(seen: &Seen, now: Timestamp) -> (Level, Line) {
    let present = &seen.present;
    let (version, role, mut level) = match &present.facts.server {
        Ok(server) => (
            server.short_version(),
            match server.role {
                Role::Primary => "primary",
                Role::Standby => "standby",
            },
            Level::Unknown,
        ),
        Err(_) => (NOTHING.to_owned(), NOTHING, Level::Critical),
    };
    let mut worst = match &present.facts.server {
        Err(blind) => blind.sentence(),
        Ok(_) => "not judged yet".to_owned(),
    };
    if let (Some(evaluation), Ok(_)) = (&present.evaluation, &present.facts.server) {
        level = evaluation.level();
        worst = match evaluation.findings().first() {
            Some(finding) => format!("{} {}", finding.check, finding.title),
            None => format!("{} ok", evaluation.count(Level::Ok)),
        };
    }
    if let Some(since) = present
        .answered_at
        .filter(|_| present.facts.server.is_err())
    {
        worst = format!("{worst}, last answer {} ago", age(since, now));
    }
    let rates = seen.rows("database");
    let rates = rates
        .iter()
        .filter_map(|pair| Some(pair.rate("xact_commit")? + pair.rate("xact_rollback")?));
    let tps = rates.fold(None, |sum: Option<f64>, rate| {
        Some(sum.unwrap_or(0.0) + rate)
    });
    let sessions = seen.rows("sessions");
    let active = sessions.first().and_then(|pair| pair.row.float("active"));
    let cells = vec![
        Cell::number(glyph(level).to_owned(), Some(f64::from(level as u8))),
        Cell::text(&*present.instance.name),
        Cell::text(present.instance.group.as_deref().unwrap_or(NOTHING)),
        Cell::text(version),
        Cell::text(role),
        Cell::number(short(tps), tps),
        Cell::number(number(active, Unit::Count), active),
        Cell::text(worst),
    ];
    let line = Line {
        key: present.instance.name.clone(),
        cells,
        level: (level > Level::Info).then_some(level),
        detail: Vec::new(),
    };
    (level, line)
}
