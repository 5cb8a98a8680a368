//! What a server does not log, what it would cost to log it, and the settings that change it. Nothing is changed here.

mod durations;
mod events;
mod lines;

use std::collections::BTreeMap;

use pawang_core::Level;
use serde::Serialize;

use crate::threshold::{Budget, Spread};
use events::{connections, events, plans, statements};
use lines::{files, prefix, texts};

/// Settings by name, with the values of `pg_settings.setting`: without unit, in the setting's own one.
pub type Settings = BTreeMap<String, String>;

/// The prefix that answers most questions: time, process, line, session, role, database, application, host, SQLSTATE, query.
pub const PREFIX: &str = "%m [%p] %l %c %q%u@%d %a %h %e %Q ";
const SLOW: &str = "log_min_duration_statement";

/// How long statements take on a server, and what may be written of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// How long the calls of each statement take.
    pub spreads: Vec<Spread>,
    /// Over how many seconds that was counted.
    pub seconds: f64,
    /// Where it is from: `pg_stat_statements over 3 days`.
    pub source: String,
    /// What the log may grow by.
    pub budget: Budget,
}

/// Who changes settings, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Platform {
    /// A superuser, by `ALTER SYSTEM`.
    Own,
    /// The parameter group of Amazon RDS or Aurora.
    Rds,
    /// The server parameters of Azure Database.
    Azure,
    /// The database flags of Cloud SQL.
    CloudSql,
}

/// Returns whose server it is, by the settings that only theirs have.
pub fn platform(settings: &Settings) -> Platform {
    let any = |start: &str| settings.keys().any(|name| name.starts_with(start));
    if any("rds.") {
        Platform::Rds
    } else if any("azure.") {
        Platform::Azure
    } else if any("cloudsql.") {
        Platform::CloudSql
    } else {
        Platform::Own
    }
}

/// A setting to change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proposal {
    /// Its name.
    pub setting: &'static str,
    /// How much it matters.
    pub level: Level,
    /// Its value now.
    pub current: String,
    /// The value to set, as SQL.
    pub wanted: String,
    /// What the log does not tell, or tells badly.
    pub missing: String,
    /// What the change costs.
    pub cost: String,
    /// Whether it takes a restart; else a reload is enough.
    pub restart: bool,
}

impl Proposal {
    /// Returns the statement that changes it.
    pub fn sql(&self) -> String {
        format!("ALTER SYSTEM SET {} = {};", self.setting, self.wanted)
    }

    /// Returns it as a hosted service wants it: a number in the setting's own unit.
    fn parameter(&self) -> String {
        let plain = self.wanted.trim_matches('\'');
        let number = |unit: &str, factor: i64| {
            let digits = plain.strip_suffix(unit)?;
            Some((digits.parse::<i64>().ok()? * factor).to_string())
        };
        // In milliseconds, kilobytes and minutes, which those settings count in.
        let own = number("ms", 1)
            .or_else(|| number("kB", 1))
            .or_else(|| number("MB", 1_024))
            .or_else(|| number("s", 1_000))
            .or_else(|| number("d", 1_440));
        format!(
            "{} = {}",
            self.setting,
            own.unwrap_or_else(|| plain.replace("', '", ","))
        )
    }
}

/// Returns what should be changed, what matters most first.
///
/// `workload` says how long statements take, where that is known.
pub fn propose(settings: &Settings, major: u32, workload: Option<&Workload>) -> Vec<Proposal> {
    let view = View {
        settings,
        major,
        workload,
    };
    let mut found = Vec::new();
    for judge in [statements, events, connections, prefix, texts, files, plans] {
        judge(&view, &mut found);
    }
    found.sort_by_key(|proposal| std::cmp::Reverse(proposal.level));
    found
}

/// Returns the proposals as a script: what a reload takes, the reload, and last what waits for a restart.
pub fn script(proposals: &[Proposal]) -> Vec<String> {
    let (later, now): (Vec<_>, Vec<_>) = proposals.iter().partition(|proposal| proposal.restart);
    let mut lines: Vec<String> = Vec::new();
    // The server refuses settings of a module that it has not seen.
    let module = |proposal: &Proposal| proposal.setting.starts_with("auto_explain.");
    if now.iter().any(|proposal| module(proposal)) {
        lines.push("LOAD 'auto_explain';".to_owned());
    }
    lines.extend(now.iter().map(|proposal| proposal.sql()));
    if !now.is_empty() {
        lines.push("SELECT pg_reload_conf();".to_owned());
    }
    if !later.is_empty() {
        lines.push("-- in force after the next restart:".to_owned());
        lines.extend(later.iter().map(|proposal| proposal.sql()));
    }
    lines
}

/// Returns the proposals as the one who may carry them out needs them.
pub fn script_for(platform: Platform, proposals: &[Proposal]) -> Vec<String> {
    let place = match platform {
        Platform::Own => return script(proposals),
        Platform::Rds => "the DB parameter group",
        Platform::Azure => "the server parameters",
        Platform::CloudSql => "the database flags",
    };
    let (later, now): (Vec<_>, Vec<_>) = proposals.iter().partition(|proposal| proposal.restart);
    let mut lines = Vec::new();
    for (head, proposals) in [
        ("in force at once", now),
        ("in force after the next restart", later),
    ] {
        if !proposals.is_empty() {
            lines.push(format!(
                "-- in {place}, {head}; the service may not offer each of them:"
            ));
            lines.extend(proposals.iter().map(|proposal| proposal.parameter()));
        }
    }
    lines
}

struct View<'a> {
    settings: &'a Settings,
    major: u32,
    workload: Option<&'a Workload>,
}

impl View<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.text(name) == Some(value)
    }

    fn propose(
        &self,
        setting: &'static str,
        level: Level,
        wanted: &str,
        missing: &str,
        cost: &str,
    ) -> Proposal {
        Proposal {
            setting,
            level,
            current: self.text(setting).unwrap_or_default().to_owned(),
            wanted: quoted(wanted),
            missing: missing.to_owned(),
            cost: cost.to_owned(),
            restart: false,
        }
    }
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

#[cfg(test)]
mod tests;
