//! Events of the server log: which kinds a check is about, and how many records of them there were.

use pawang_core::{Missing, Row, Timestamp};
use pawang_logs::kind::{Kind, find};

use crate::{Observation, View};

/// What a finding shows of an event.
const EVIDENCE: &[&str] = &[
    "sample",
    "first_at",
    "last_at",
    "directory",
    "files",
    "truncated",
];

/// Logins that the server refused because of who or what came.
const LOGINS: &[&str] = &[
    "auth-failed",
    "authentication-timeout",
    "database-closed",
    "database-missing",
    "gss-failed",
    "hba-reject",
    "no-hba-entry",
    "role-missing",
    "role-no-login",
    "tls-failed",
];

/// FATAL records that no fault of the server explains: refused for a while, ended on purpose, or no client of PostgreSQL at all.
const EXPECTED: &[&str] = &[
    "auth-detail",
    "bad-protocol",
    "bad-startup-parameter",
    "database-limit",
    "not-ready",
    "parallel-terminated",
    "role-limit",
    "startup-garbage",
    "terminated-by-admin",
];

/// The kinds of each check that names some.
const KINDS: &[(&str, &[&str])] = &[
    (
        "logs-crash",
        &[
            "backend-crash",
            "crash-cascade",
            "crash-victim",
            "oom-killed",
            "shutdown-abnormal",
            "unexpected-quit",
        ],
    ),
    ("logs-disk-full", &["disk-full"]),
    (
        "logs-out-of-memory",
        &[
            "fork-failed",
            "out-of-memory",
            "out-of-shared-memory",
            "shared-memory-failed",
        ],
    ),
    (
        "logs-corruption",
        &[
            "catalog-corrupted",
            "checksum-failure",
            "clog-missing",
            "data-file-missing",
            "fsync-failed",
            "index-corrupted",
            "invalid-page",
            "io-error",
            "page-zeroed",
            "read-only-filesystem",
            "toast-missing",
            "visibility-map-corrupted",
            "xmin-corrupted",
        ],
    ),
    ("logs-deadlock", &["deadlock"]),
    ("logs-login-failures", LOGINS),
    (
        "logs-archive-failed",
        &["archive-failed", "archive-gave-up"],
    ),
    ("logs-slot-lost", &["slot-invalidated", "wal-removed"]),
    (
        "logs-wraparound",
        &[
            "horizon-old",
            "multixact-stop",
            "multixact-warning",
            "wraparound-stop",
            "wraparound-warning",
        ],
    ),
    ("logs-forged", &["log-forgery-suspected"]),
];

fn kinds_of(check: &str) -> &'static [&'static str] {
    let found = KINDS.iter().find(|(id, _)| *id == check);
    found.map_or(&[], |(_, kinds)| kinds)
}

/// An event as the collector counted it.
struct Event<'a> {
    row: Row<'a>,
    kind: &'a str,
}

impl Event<'_> {
    fn number(&self, column: &str) -> f64 {
        self.row.float(column).unwrap_or(f64::NAN)
    }

    /// Returns what this version knows of the kind; a history may hold kinds of another one.
    fn known(&self) -> Option<&'static Kind> {
        find(self.kind).map(|id| id.kind())
    }

    /// Builds the observation of so many records.
    fn observe(&self, value: f64, severity: &str) -> Observation {
        let known = self.known();
        let meaning = known.map_or(self.kind, |kind| kind.meaning.trim_end_matches('.'));
        Observation {
            object: self.kind.to_owned(),
            value,
            title: format!("{value:.0} {severity} in the last hour: {meaning}"),
            since: self.row.time("first_at"),
            evidence: self.row.evidence(EVIDENCE),
            remedy: known.map(|kind| kind.remedy.clone()),
            ..Observation::default()
        }
    }
}

fn events<'a>(view: &View<'a>) -> Result<Vec<Event<'a>>, Missing> {
    let log = view.snapshot("host-log-events")?;
    let event = |row: Row<'a>| {
        let kind = row.text("kind")?;
        Some(Event { row, kind })
    };
    Ok(log.rows().filter_map(event).collect())
}

/// Observes the records of the last hour of each kind that the check is about.
pub(super) fn of_kinds(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let kinds = kinds_of(view.check);
    let mut events = events(view)?;
    events.retain(|event| kinds.contains(&event.kind));
    let observe = |event: &Event<'_>| event.observe(event.number("records"), "records");
    Ok(events.iter().map(observe).collect())
}

/// Observes FATAL records, but for those of refused logins and of sessions that somebody ended.
pub(super) fn fatal(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let mut events = events(view)?;
    events.retain(|event| {
        let expected = LOGINS.contains(&event.kind) || EXPECTED.contains(&event.kind);
        !expected && event.number("fatals") > 0.0
    });
    let observe = |event: &Event<'_>| event.observe(event.number("fatals"), "FATAL records");
    Ok(events.iter().map(observe).collect())
}

/// Observes PANIC records of every kind.
pub(super) fn panics(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let mut events = events(view)?;
    events.retain(|event| event.number("panics") > 0.0);
    let observe = |event: &Event<'_>| event.observe(event.number("panics"), "PANIC records");
    Ok(events.iter().map(observe).collect())
}

/// Observes the refused logins of the last five minutes as a whole: who guesses tries many ways.
pub(super) fn logins(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let mut events = events(view)?;
    events.retain(|event| LOGINS.contains(&event.kind) && event.number("records_5m") > 0.0);
    let value: f64 = events.iter().map(|event| event.number("records_5m")).sum();
    let last_at = |event: &&Event<'_>| -> Option<Timestamp> { event.row.time("last_at") };
    let Some(last) = events.iter().max_by_key(last_at) else {
        return Ok(Vec::new());
    };
    let number = |event: &Event<'_>| {
        (
            event.kind.to_owned(),
            format!("{}", event.number("records_5m")),
        )
    };
    let mut evidence: Vec<(String, String)> = events.iter().map(number).collect();
    evidence.extend(last.row.evidence(EVIDENCE));
    Ok(vec![Observation {
        value,
        title: format!("{value:.0} logins refused in five minutes"),
        evidence,
        remedy: last.known().map(|kind| kind.remedy.clone()),
        ..Observation::default()
    }])
}

#[cfg(test)]
mod tests {
    use pawang_core::Level;

    use super::*;

    #[test]
    fn every_kind_that_a_check_names_exists_and_has_its_level() {
        for (check, kinds) in KINDS {
            let check = crate::find(check).unwrap_or_else(|| panic!("no check {check}"));
            for id in *kinds {
                let kind = find(id)
                    .unwrap_or_else(|| panic!("{}: no kind {id}", check.id))
                    .kind();
                assert!(
                    kind.level >= Level::Warning,
                    "{}: {id} is not collected",
                    check.id
                );
                if check.critical == Some(1.0) {
                    assert_eq!(kind.level, Level::Critical, "{}: {id}", check.id);
                }
            }
        }
        for id in EXPECTED {
            assert!(find(id).is_some(), "no kind {id}");
        }
    }

    #[test]
    fn every_check_of_events_is_about_something() {
        for check in super::super::CHECKS {
            let events = check.needs.contains(&"host-log-events");
            let named = !kinds_of(check.id).is_empty();
            let by_severity = ["logs-fatal", "logs-panic"].contains(&check.id);
            assert_eq!(events, named || by_severity, "{}", check.id);
        }
    }
}
