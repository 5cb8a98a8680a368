//! What a server does not log, what it would cost to log it, and the settings that change it. Nothing is changed here.

use std::collections::BTreeMap;

use pawang_core::Level;
use serde::Serialize;

use crate::threshold::{self, Budget, Choice, Cost, Spread};

/// Settings by name, with the values of `pg_settings.setting`: without unit, in the setting's own one.
pub type Settings = BTreeMap<String, String>;

/// The prefix that answers most questions: time, process, line, session, role, database, application, host, SQLSTATE, query.
pub const PREFIX: &str = "%m [%p] %l %c %q%u@%d %a %h %e %Q ";
/// From which version on jsonlog exists.
const JSON_MAJOR: u32 = 15;
/// From which version on `log_connections` is a list.
const CONNECTIONS_LIST_MAJOR: u32 = 18;
const SLOW: &str = "log_min_duration_statement";
/// A threshold that is so many times higher than it need be hides statements.
const LOWER_FROM: f64 = 10.0;
/// Autovacuum of more milliseconds goes untold by default; runs from this on are worth a line.
const AUTOVACUUM_MS: i64 = 10_000;

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

/// Proposes from which duration on statements are written, by how long they take where that is known.
fn slow(view: &View<'_>, found: &mut Vec<Proposal>) {
    let Some(now) = view.number(SLOW) else {
        return;
    };
    let sampled = view
        .number("log_min_duration_sample")
        .is_some_and(|ms| ms >= 0);
    let choice = view.workload.and_then(|known| {
        let choice = threshold::choose(&known.spreads, known.seconds, known.budget)?;
        Some((known, choice))
    });
    let Some((known, choice)) = choice else {
        match now {
            -1 if !sampled => found.push(view.propose(
                SLOW,
                Level::Warning,
                "1s",
                "no statement is told with its duration, however slow",
                "a line per statement of a second and more; how many that is is not known: nothing counts durations here",
            )),
            0 => found.push(view.propose(
                SLOW,
                Level::Warning,
                "100ms",
                "every statement is written: the log itself costs throughput and disk",
                "saves most of the log; log_min_duration_sample keeps a sample of the fast ones",
            )),
            _ => {}
        }
        return;
    };
    let duration = choice.duration_ms as f64;
    let at = |duration_ms: i64| {
        threshold::cost(
            &known.spreads,
            known.seconds,
            duration_ms.max(0).unsigned_abs(),
        )
    };
    let (level, missing) = match now {
        -1 if sampled => return,
        -1 => (
            Level::Warning,
            "no statement is told with its duration, however slow".to_owned(),
        ),
        0 => (
            Level::Warning,
            format!(
                "every statement is written, {}: the log itself costs throughput and disk",
                at(0).sentence()
            ),
        ),
        now if (now as f64) < duration && over(&at(now), &known.budget) => (
            Level::Warning,
            format!(
                "so many statements are written that the log is hard to read: {}",
                at(now).sentence()
            ),
        ),
        now if now as f64 >= duration * LOWER_FROM => (
            Level::Info,
            format!(
                "statements from {} on could be told too within the budget",
                length(choice.duration_ms)
            ),
        ),
        _ => return,
    };
    let cost = cost_of(known, &choice);
    found.push(view.propose(SLOW, level, &length(choice.duration_ms), &missing, &cost));
    sample(view, known, &choice, found);
}

fn over(cost: &Cost, budget: &Budget) -> bool {
    cost.lines_per_second > budget.lines_per_second || cost.bytes_per_day > budget.bytes_per_day
}

/// Says what a threshold costs, where that is from, and how certain it is.
fn cost_of(known: &Workload, choice: &Choice) -> String {
    let budget = format!(
        "{} lines a second and {:.0} MB a day",
        known.budget.lines_per_second,
        known.budget.bytes_per_day / 1e6
    );
    let verdict = match choice.beyond {
        true => format!("beyond the budget of {budget}, as every threshold is"),
        false => format!("the smallest within the budget of {budget}"),
    };
    format!(
        "{}; {verdict}; by {}: an estimate from mean and deviation of each statement, and a bound that holds whatever \
         their distribution; constants and parameters make lines longer",
        choice.cost.sentence(),
        known.source
    )
}

/// Proposes a sample of the statements that are faster than a high threshold.
fn sample(view: &View<'_>, known: &Workload, choice: &Choice, found: &mut Vec<Proposal>) {
    let Some(sample) = choice.sample else {
        return;
    };
    let told = format!(
        "of statements between {} and {} nothing is told, and all of them would be too much",
        length(sample.duration_ms),
        length(choice.duration_ms)
    );
    let cost = format!("{}; by {}", sample.cost.sentence(), known.source);
    let rate = sample.rate.to_string();
    if view.text("log_min_duration_sample").is_some() {
        let wanted = length(sample.duration_ms);
        found.push(view.propose(
            "log_min_duration_sample",
            Level::Info,
            &wanted,
            &told,
            &cost,
        ));
        found.push(view.propose(
            "log_statement_sample_rate",
            Level::Info,
            &rate,
            &told,
            "the share of them that is written",
        ));
    }
}

/// Returns milliseconds as a setting is written.
fn length(milliseconds: u64) -> String {
    match milliseconds {
        ms if ms >= 1_000 && ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

fn statements(view: &View<'_>, found: &mut Vec<Proposal>) {
    slow(view, found);
    if view.is("log_duration", "on") && view.number(SLOW) != Some(0) {
        found.push(view.propose(
            "log_duration",
            Level::Info,
            "off",
            "durations without their statements, one line each",
            "saves a line per statement",
        ));
    }
    if view.is("log_statement", "none") {
        found.push(view.propose(
            "log_statement",
            Level::Info,
            "ddl",
            "changes of tables and roles are not told",
            "a line per CREATE, ALTER and DROP",
        ));
    }
    if matches!(
        view.text("log_min_error_statement"),
        Some("fatal" | "panic" | "log")
    ) {
        found.push(view.propose(
            "log_min_error_statement",
            Level::Warning,
            "error",
            "errors are told without the statement that failed",
            "a line per error",
        ));
    }
}

fn events(view: &View<'_>, found: &mut Vec<Proposal>) {
    if view.is("log_checkpoints", "off") {
        found.push(view.propose(
            "log_checkpoints",
            Level::Warning,
            "on",
            "checkpoints, their reasons and their cost",
            "two lines per checkpoint",
        ));
    }
    if view.is("log_lock_waits", "off") {
        found.push(view.propose(
            "log_lock_waits",
            Level::Warning,
            "on",
            "who waited for whom longer than deadlock_timeout",
            "two lines per such wait",
        ));
    }
    if view.number("log_temp_files") == Some(-1) {
        found.push(view.propose(
            "log_temp_files",
            Level::Warning,
            "10MB",
            "statements that spill to disk because work_mem does not hold them",
            "a line per temporary file of 10 MB and more",
        ));
    }
    match view.number("log_autovacuum_min_duration") {
        Some(-1) => found.push(view.propose(
            "log_autovacuum_min_duration",
            Level::Warning,
            "10s",
            "what autovacuum did, how long it took and what it could not remove",
            "a line per run of ten seconds and more",
        )),
        Some(ms) if ms > AUTOVACUUM_MS => found.push(view.propose(
            "log_autovacuum_min_duration",
            Level::Info,
            "10s",
            "runs of autovacuum that took less",
            "a line per run of ten seconds and more",
        )),
        _ => {}
    }
    if view.is("log_recovery_conflict_waits", "off") {
        found.push(view.propose(
            "log_recovery_conflict_waits",
            Level::Info,
            "on",
            "on a standby, replay that waits for a query",
            "a line per such wait",
        ));
    }
    if view.is("log_replication_commands", "off") {
        found.push(view.propose(
            "log_replication_commands",
            Level::Info,
            "on",
            "standbys, slots and backups that come and go",
            "a line per command of replication",
        ));
    }
}

fn connections(view: &View<'_>, found: &mut Vec<Proposal>) {
    let list = view.major >= CONNECTIONS_LIST_MAJOR;
    if matches!(view.text("log_connections"), Some("off" | "")) {
        found.push(view.propose(
            "log_connections",
            Level::Info,
            if list { "receipt,authentication,authorization" } else { "on" },
            "who logs in, from where, and storms of connections",
            "two to three lines per login; with many short sessions a pooler saves more than this costs",
        ));
    }
    if view.is("log_disconnections", "off") {
        found.push(view.propose(
            "log_disconnections",
            Level::Info,
            "on",
            "how long sessions last and how many are open at once",
            "a line per session",
        ));
    }
    if view.is("log_hostname", "on") {
        found.push(view.propose(
            "log_hostname",
            Level::Warning,
            "off",
            "every login waits for a name server",
            "names of hosts become addresses",
        ));
    }
}

/// What a prefix should have, with what is not known without it, and how much that matters.
const ESCAPES: [(&str, &str, Level); 9] = [
    ("mtn", "the time (%m)", Level::Critical),
    ("p", "the process (%p), which joins lines", Level::Warning),
    ("u", "the role (%u)", Level::Warning),
    ("d", "the database (%d)", Level::Warning),
    (
        "e",
        "the SQLSTATE (%e), which tells errors apart in any language",
        Level::Info,
    ),
    (
        "l",
        "the line number (%l), which shows holes and forgeries",
        Level::Info,
    ),
    ("a", "the application (%a)", Level::Info),
    ("hr", "the host (%h)", Level::Info),
    ("c", "the session (%c)", Level::Info),
];

fn prefix(view: &View<'_>, found: &mut Vec<Proposal>) {
    let Some(prefix) = view.text("log_line_prefix") else {
        return;
    };
    let destination = view.text("log_destination").unwrap_or("stderr");
    // Time and process are in every line of syslog, and everything is in csvlog and jsonlog.
    if !destination.contains("stderr") && !destination.contains("syslog") {
        return;
    }
    let has = escapes(prefix);
    let missing: Vec<_> = ESCAPES
        .iter()
        .filter(|(any, ..)| !any.chars().any(|escape| has.contains(&escape)))
        .collect();
    let Some(level) = missing.iter().map(|(_, _, level)| *level).max() else {
        return;
    };
    let names: Vec<&str> = missing.iter().map(|(_, name, _)| *name).collect();
    let text = format!("lines do not tell {}", names.join(", "));
    let wanted = if view.major >= 14 {
        PREFIX
    } else {
        PREFIX.trim_end_matches("%Q ")
    };
    found.push(view.propose(
        "log_line_prefix",
        level,
        wanted,
        &text,
        "some 60 bytes per line; programs that read this log must learn the new prefix",
    ));
}

/// Returns the escapes of a prefix, without padding.
fn escapes(prefix: &str) -> Vec<char> {
    let mut found = Vec::new();
    let mut rest = prefix.chars();
    while let Some(c) = rest.next() {
        if c == '%' {
            let escape = rest.by_ref().find(|c| !matches!(c, '-' | '0'..='9'));
            found.extend(escape);
        }
    }
    found
}

fn texts(view: &View<'_>, found: &mut Vec<Proposal>) {
    if view.is("log_error_verbosity", "terse") {
        found.push(view.propose(
            "log_error_verbosity",
            Level::Warning,
            "default",
            "DETAIL, HINT and CONTEXT of errors",
            "one to three lines per error",
        ));
    }
    if matches!(
        view.text("log_min_messages"),
        Some("error" | "log" | "fatal" | "panic")
    ) {
        found.push(view.propose(
            "log_min_messages",
            Level::Warning,
            "warning",
            "warnings, and from some settings on errors",
            "a line per warning",
        ));
    }
    if view.is("compute_query_id", "off") {
        found.push(view.propose(
            "compute_query_id",
            Level::Info,
            "auto",
            "the query identifier that joins log, statistics and plans",
            "nothing that could be measured here",
        ));
    }
}

fn files(view: &View<'_>, found: &mut Vec<Proposal>) {
    let destination = view.text("log_destination").unwrap_or("stderr");
    let structured = destination.contains("csvlog") || destination.contains("jsonlog");
    if view.is("logging_collector", "off") {
        if destination.contains("stderr") || structured {
            let level = if structured {
                Level::Warning
            } else {
                Level::Info
            };
            let mut proposal = view.propose(
                "logging_collector",
                level,
                "on",
                "csvlog and jsonlog, rotation by the server, and lines of long messages that are never torn apart",
                "a process of its own; the files are in log_directory then",
            );
            proposal.restart = true;
            found.push(proposal);
        }
        return;
    }
    if !structured {
        let json = view.major >= JSON_MAJOR;
        found.push(view.propose(
            "log_destination",
            Level::Info,
            &format!("{destination},{}", if json { "jsonlog" } else { "csvlog" }),
            "a form that no name of a user can forge and that needs no prefix",
            "the log is written twice: about two and a half times the bytes until stderr is taken away",
        ));
    }
    let never = |name: &str| view.number(name) == Some(0);
    if never("log_rotation_age") && never("log_rotation_size") {
        found.push(view.propose(
            "log_rotation_age",
            Level::Warning,
            "1d",
            "one file that grows for ever",
            "a file per day; log_filename must have the day in it",
        ));
    }
    // A name with a weekday or an hour comes again, and without truncation old lines stand before the new ones.
    let name = view.text("log_filename").unwrap_or_default();
    let again = ["%a", "%A", "%H", "%d"]
        .iter()
        .any(|part| name.contains(part))
        && !["%Y", "%y", "%G", "%s", "%j"]
            .iter()
            .any(|part| name.contains(part));
    if again && view.is("log_truncate_on_rotation", "off") {
        found.push(view.propose(
            "log_truncate_on_rotation",
            Level::Warning,
            "on",
            "files whose names come again hold lines of several weeks",
            "lines older than one round of names are gone",
        ));
    }
}

fn plans(view: &View<'_>, found: &mut Vec<Proposal>) {
    let listed = |name: &str| -> Vec<String> {
        let items = view.text(name).unwrap_or_default().split(',');
        items
            .map(|item| item.trim().trim_matches('"').to_owned())
            .filter(|item| !item.is_empty())
            .collect()
    };
    // Who may not see the lists cannot tell whether it is loaded.
    if view.text("session_preload_libraries").is_none() {
        return;
    }
    let mut own = listed("session_preload_libraries");
    let loaded = [&own, &listed("shared_preload_libraries")]
        .iter()
        .any(|list| list.iter().any(|item| item.ends_with("auto_explain")));
    if !loaded {
        own.push("auto_explain".to_owned());
        let mut proposal = view.propose(
            "session_preload_libraries",
            Level::Info,
            "",
            "the plans of slow statements",
            "for new sessions; nothing until auto_explain.log_min_duration is set, and from 1 ms on too little to measure",
        );
        // Each library is a constant of its own, else the list is taken for one name.
        let items: Vec<String> = own.iter().map(|item| quoted(item)).collect();
        proposal.wanted = items.join(", ");
        found.push(proposal);
    }
    match view.number("auto_explain.log_min_duration") {
        None if loaded => {}
        None | Some(-1) => found.push(view.propose(
            "auto_explain.log_min_duration",
            Level::Info,
            "1s",
            "the plans of statements of a second and more",
            "a plan, some kilobytes, per such statement; keep log_timing off where clocks are slow",
        )),
        Some(0) => found.push(view.propose(
            "auto_explain.log_min_duration",
            Level::Warning,
            "1s",
            "a plan of every statement is written, which costs a third of the throughput",
            "plans of fast statements are not told any more",
        )),
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(changes: &[(&str, &str)]) -> Settings {
        let good = [
            ("log_min_duration_statement", "500"),
            ("log_min_duration_sample", "-1"),
            ("log_statement", "ddl"),
            ("log_duration", "off"),
            ("log_min_error_statement", "error"),
            ("log_checkpoints", "on"),
            ("log_lock_waits", "on"),
            ("log_temp_files", "0"),
            ("log_autovacuum_min_duration", "1000"),
            ("log_connections", "on"),
            ("log_disconnections", "on"),
            ("log_line_prefix", PREFIX),
            ("log_destination", "stderr,jsonlog"),
            ("logging_collector", "on"),
            ("log_rotation_age", "1440"),
            ("log_rotation_size", "0"),
            ("log_filename", "postgresql-%Y-%m-%d.log"),
            ("log_truncate_on_rotation", "off"),
            ("log_error_verbosity", "default"),
            ("log_min_messages", "warning"),
            ("session_preload_libraries", "auto_explain"),
            ("auto_explain.log_min_duration", "1000"),
        ];
        let all = good.iter().chain(changes);
        all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_server_that_logs_well_is_left_alone() {
        assert_eq!(propose(&settings(&[]), 17, None), []);
        // What a server does not have is not asked of it.
        assert!(
            propose(&Settings::new(), 17, None)
                .iter()
                .all(|p| p.level < Level::Warning)
        );
    }

    #[test]
    fn each_gap_has_its_statement() {
        for (name, value, level, sql) in [
            (
                "log_checkpoints",
                "off",
                Level::Warning,
                "ALTER SYSTEM SET log_checkpoints = 'on';",
            ),
            (
                "log_temp_files",
                "-1",
                Level::Warning,
                "ALTER SYSTEM SET log_temp_files = '10MB';",
            ),
            (
                "log_min_duration_statement",
                "-1",
                Level::Warning,
                "ALTER SYSTEM SET log_min_duration_statement = '1s';",
            ),
            (
                "log_line_prefix",
                "",
                Level::Critical,
                "ALTER SYSTEM SET log_line_prefix = '%m [%p] %l %c %q%u@%d %a %h %e %Q ';",
            ),
            (
                "log_line_prefix",
                "%m [%-8p] %q%u@%d ",
                Level::Info,
                "ALTER SYSTEM SET log_line_prefix = '%m [%p] %l %c %q%u@%d %a %h %e %Q ';",
            ),
            (
                "log_destination",
                "stderr",
                Level::Info,
                "ALTER SYSTEM SET log_destination = 'stderr,jsonlog';",
            ),
            (
                "session_preload_libraries",
                "pg_hint_plan",
                Level::Info,
                "ALTER SYSTEM SET session_preload_libraries = 'pg_hint_plan', 'auto_explain';",
            ),
            (
                "log_filename",
                "postgresql-%a.log",
                Level::Warning,
                "ALTER SYSTEM SET log_truncate_on_rotation = 'on';",
            ),
        ] {
            let found = propose(&settings(&[(name, value)]), 17, None);
            let told: Vec<_> = found.iter().map(|p| (p.level, p.sql())).collect();
            assert_eq!(told, [(level, sql.to_owned())], "{name} = {value}");
        }
    }

    #[test]
    fn versions_differ() {
        let found = propose(&settings(&[("log_destination", "stderr")]), 14, None);
        assert_eq!(found[0].wanted, "'stderr,csvlog'");
        let found = propose(&settings(&[("log_connections", "")]), 18, None);
        assert_eq!(found[0].wanted, "'receipt,authentication,authorization'");
    }

    /// A hundred fast calls a second, and one in ten seconds that takes three.
    fn workload(fast_ms: f64) -> Workload {
        let spread = |calls: f64, ms: f64| Spread {
            calls,
            mean_ms: ms,
            deviation_ms: ms / 10.0,
            min_ms: ms * 0.8,
            max_ms: ms * 1.3,
            text_bytes: 80.0,
            seconds: 86_400.0,
        };
        Workload {
            spreads: vec![spread(8_640_000.0, fast_ms), spread(8_640.0, 3_000.0)],
            seconds: 86_400.0,
            source: "pg_stat_statements over 1 day".to_owned(),
            budget: Budget::default(),
        }
    }

    fn of_workload(now: &str, fast_ms: f64) -> Vec<(Level, String)> {
        let settings = settings(&[
            ("log_min_duration_statement", now),
            ("log_statement_sample_rate", "1"),
        ]);
        let found = propose(&settings, 17, Some(&workload(fast_ms)));
        found
            .iter()
            .map(|proposal| (proposal.level, proposal.sql()))
            .collect()
    }

    #[test]
    fn the_threshold_is_chosen_by_how_long_statements_take() {
        let to = |level, wanted: &str| {
            (
                level,
                format!("ALTER SYSTEM SET log_min_duration_statement = '{wanted}';"),
            )
        };
        assert_eq!(of_workload("-1", 30.0), [to(Level::Warning, "50ms")]);
        assert_eq!(of_workload("0", 30.0), [to(Level::Warning, "50ms")]);
        assert_eq!(
            of_workload("10", 30.0),
            [to(Level::Warning, "50ms")],
            "too many are written"
        );
        assert_eq!(of_workload("100", 30.0), []);
        assert_eq!(
            of_workload("5000", 30.0),
            [to(Level::Info, "50ms")],
            "much is hidden"
        );
        let found = of_workload("-1", 300.0);
        assert_eq!(found[0], to(Level::Warning, "500ms"));
        assert_eq!(
            found[1].1,
            "ALTER SYSTEM SET log_min_duration_sample = '50ms';"
        );
        assert_eq!(
            found[2].1,
            "ALTER SYSTEM SET log_statement_sample_rate = '0.04';"
        );
        let found = propose(
            &settings(&[("log_min_duration_statement", "-1")]),
            17,
            Some(&workload(30.0)),
        );
        for words in [
            "lines a second",
            "MB a day",
            "at most",
            "pg_stat_statements over 1 day",
            "budget of 10 lines",
        ] {
            assert!(found[0].cost.contains(words), "{}", found[0].cost);
        }
    }

    #[test]
    fn hosted_servers_get_parameters_in_their_own_units() {
        let own = settings(&[
            ("log_min_duration_statement", "-1"),
            ("log_temp_files", "-1"),
            ("rds.extensions", ""),
        ]);
        assert_eq!(platform(&settings(&[])), Platform::Own);
        assert_eq!(platform(&own), Platform::Rds);
        let script = script_for(Platform::Rds, &propose(&own, 17, None));
        assert!(script[0].contains("parameter group"), "{script:?}");
        assert_eq!(
            script[1..],
            [
                "log_min_duration_statement = 1000",
                "log_temp_files = 10240"
            ]
        );
    }

    #[test]
    fn the_script_reloads_before_what_waits_for_a_restart() {
        let found = propose(
            &settings(&[("logging_collector", "off"), ("log_lock_waits", "off")]),
            17,
            None,
        );
        assert_eq!(
            script(&found),
            [
                "ALTER SYSTEM SET log_lock_waits = 'on';",
                "SELECT pg_reload_conf();",
                "-- in force after the next restart:",
                "ALTER SYSTEM SET logging_collector = 'on';"
            ]
        );
        assert!(script(&[]).is_empty());
    }
}
