//! Statements, events, connections and plans that are not written.

use pawang_core::Level;

use super::durations::slow;
use super::{Proposal, SLOW, View, quoted};

/// From which version on `log_connections` is a list.
const CONNECTIONS_LIST_MAJOR: u32 = 18;
/// Autovacuum of more milliseconds goes untold by default; runs from this on are worth a line.
const AUTOVACUUM_MS: i64 = 10_000;

pub(super) fn statements(view: &View<'_>, found: &mut Vec<Proposal>) {
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

pub(super) fn events(view: &View<'_>, found: &mut Vec<Proposal>) {
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

pub(super) fn connections(view: &View<'_>, found: &mut Vec<Proposal>) {
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

pub(super) fn plans(view: &View<'_>, found: &mut Vec<Proposal>) {
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
