//! What a server does not log, what it would cost to log it, and the settings that change it. Nothing is changed here.

use std::collections::BTreeMap;

use pawang_core::Level;
use serde::Serialize;

/// Settings by name, with the values of `pg_settings.setting`: without unit, in the setting's own one.
pub type Settings = BTreeMap<String, String>;

/// The prefix that answers most questions: time, process, line, session, role, database, application, host, SQLSTATE, query.
pub const PREFIX: &str = "%m [%p] %l %c %q%u@%d %a %h %e %Q ";
/// From which version on jsonlog exists.
const JSON_MAJOR: u32 = 15;
/// From which version on `log_connections` is a list.
const CONNECTIONS_LIST_MAJOR: u32 = 18;
/// Autovacuum of more milliseconds goes untold by default; runs from this on are worth a line.
const AUTOVACUUM_MS: i64 = 10_000;

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
    pub cost: &'static str,
    /// Whether it takes a restart; else a reload is enough.
    pub restart: bool,
}

impl Proposal {
    /// Returns the statement that changes it.
    pub fn sql(&self) -> String {
        format!("ALTER SYSTEM SET {} = {};", self.setting, self.wanted)
    }
}

/// Returns what should be changed, what matters most first.
pub fn propose(settings: &Settings, major: u32) -> Vec<Proposal> {
    let view = View { settings, major };
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

struct View<'a> {
    settings: &'a Settings,
    major: u32,
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
        cost: &'static str,
    ) -> Proposal {
        Proposal {
            setting,
            level,
            current: self.text(setting).unwrap_or_default().to_owned(),
            wanted: quoted(wanted),
            missing: missing.to_owned(),
            cost,
            restart: false,
        }
    }
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

fn statements(view: &View<'_>, found: &mut Vec<Proposal>) {
    let slow = "log_min_duration_statement";
    let sampled = view
        .number("log_min_duration_sample")
        .is_some_and(|ms| ms >= 0);
    match view.number(slow) {
        Some(-1) if !sampled => found.push(view.propose(
            slow,
            Level::Warning,
            "1s",
            "no statement is told with its duration, however slow",
            "a line per statement of a second and more; lower it once the histogram of a day shows how many that would be",
        )),
        Some(0) => found.push(view.propose(
            slow,
            Level::Warning,
            "100ms",
            "every statement is written: the log itself costs throughput and disk",
            "saves most of the log; log_min_duration_sample keeps a sample of the fast ones",
        )),
        _ => {}
    }
    if view.is("log_duration", "on") && view.number(slow) != Some(0) {
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
        assert_eq!(propose(&settings(&[]), 17), []);
        // What a server does not have is not asked of it.
        assert!(
            propose(&Settings::new(), 17)
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
            let found = propose(&settings(&[(name, value)]), 17);
            let told: Vec<_> = found.iter().map(|p| (p.level, p.sql())).collect();
            assert_eq!(told, [(level, sql.to_owned())], "{name} = {value}");
        }
    }

    #[test]
    fn versions_differ() {
        let found = propose(&settings(&[("log_destination", "stderr")]), 14);
        assert_eq!(found[0].wanted, "'stderr,csvlog'");
        let found = propose(&settings(&[("log_connections", "")]), 18);
        assert_eq!(found[0].wanted, "'receipt,authentication,authorization'");
    }

    #[test]
    fn the_script_reloads_before_what_waits_for_a_restart() {
        let found = propose(
            &settings(&[("logging_collector", "off"), ("log_lock_waits", "off")]),
            17,
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
