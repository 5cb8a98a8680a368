//! How lines are written, and where: prefix, language, files.

use pawang_core::Level;

use super::{PREFIX, Proposal, View};

/// From which version on jsonlog exists.
const JSON_MAJOR: u32 = 15;

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

pub(super) fn prefix(view: &View<'_>, found: &mut Vec<Proposal>) {
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

pub(super) fn texts(view: &View<'_>, found: &mut Vec<Proposal>) {
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

pub(super) fn files(view: &View<'_>, found: &mut Vec<Proposal>) {
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
