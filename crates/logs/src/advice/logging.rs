//! Rules about the log itself: what is forged or missing, and what the server was not told to write although it had something to say.

use pawang_core::Level;

use super::{Rule, advice, many, set};
use crate::report::{Advice, OddLine, Report, Top};

/// Fewest records from which the absence of checkpoints says something, and the time that must have passed in microseconds.
const RECORDS_MIN: u64 = 1_000;
const QUIET_MICROS_MIN: u64 = 3_600_000_000;

pub(super) const RULES: &[Rule] = &[
    forged,
    gaps,
    line_numbers,
    disconnections_off,
    connections_off,
    lock_waits_off,
    checkpoints_off,
    autovacuum_off,
    temp_files_off,
    durations_off,
];

/// Returns how many lines a list has, at least.
fn lines(list: &Top<OddLine>) -> u64 {
    let shown: u64 = list.items.iter().map(|line| line.count).sum();
    shown.max(list.total)
}

fn forged(report: &Report) -> Option<Advice> {
    let count = lines(&report.integrity.forged);
    if count == 0 {
        return None;
    }
    advice(
        "forged-lines",
        Level::Critical,
        "Find out who writes line ends into the names of roles or databases, and log in a format that they cannot break",
        format!(
            "{} that no server wrote; none was counted, and a client needs no password for it",
            many(
                count,
                "line pretends to be a record",
                "lines pretend to be records"
            )
        ),
        format!(
            "{}  -- needs logging_collector = on; and pg_hba.conf: only addresses that you know",
            set("log_destination", "csvlog")
        ),
    )
}

fn gaps(report: &Report) -> Option<Advice> {
    let gaps = &report.integrity.gaps;
    if gaps.total == 0 {
        return None;
    }
    let largest = gaps.items.iter().max_by_key(|gap| gap.lines);
    let largest = largest.map_or_else(String::new, |gap| {
        format!(
            ", the largest of {} in process {}",
            many(gap.lines, "line", "lines"),
            gap.pid
        )
    });
    advice(
        "log-gaps",
        Level::Warning,
        "Find the records that are missing: a file that was not given, a full disk, a collector that dropped lines",
        format!(
            "{} in the line numbers of sessions{largest}",
            many(gaps.total, "hole", "holes")
        ),
        "give all files of the time, oldest first; look for \"could not write to log file\" on the server's own error output",
    )
}

fn line_numbers(report: &Report) -> Option<Advice> {
    let prefixes = report.source.files.iter().flat_map(|file| &file.prefixes);
    let without: Vec<&String> = prefixes.filter(|prefix| !numbered(prefix)).collect();
    let first = without.first()?;
    advice(
        "unlogged-line-numbers",
        Level::Info,
        "Number the lines, so that lost and forged ones are found",
        format!(
            "{} without %l, or without %c or %p: \"{first}\"; holes cannot be seen there",
            many(without.len() as u64, "prefix is", "prefixes are")
        ),
        set(
            "log_line_prefix",
            "%m [%p] %c %l user=%u,db=%d,app=%a,client=%h,state=%e ",
        ),
    )
}

/// Whether a prefix has the number of a line and whose line it is; padding may stand between.
fn numbered(prefix: &str) -> bool {
    let mut line = false;
    let mut session = false;
    let mut letters = prefix.chars();
    while let Some(letter) = letters.next() {
        if letter == '%' {
            match letters.find(|letter| *letter != '-' && !letter.is_ascii_digit()) {
                Some('l') => line = true,
                Some('p' | 'c') => session = true,
                _ => {}
            }
        }
    }
    line && session
}

fn disconnections_off(report: &Report) -> Option<Advice> {
    let sessions = &report.sessions;
    if sessions.authorized < 10 || sessions.lasted.count > 0 {
        return None;
    }
    advice(
        "log-disconnections-off",
        Level::Info,
        "Log the ends of sessions too",
        format!(
            "{} logins and not one end: how long sessions last and how many are open at once cannot be told",
            sessions.authorized
        ),
        set("log_disconnections", "on"),
    )
}

fn connections_off(report: &Report) -> Option<Advice> {
    let sessions = &report.sessions;
    if sessions.authorized > 0 || sessions.lasted.count < 10 {
        return None;
    }
    advice(
        "log-connections-off",
        Level::Info,
        "Log the logins too",
        format!(
            "{} ends of sessions and not one login: storms and refused logins cannot be told from usual ones",
            sessions.lasted.count
        ),
        set("log_connections", "on"),
    )
}

fn lock_waits_off(report: &Report) -> Option<Advice> {
    let locks = &report.locks;
    let refused: u64 = locks.refused.items.iter().map(|item| item.count).sum();
    if locks.waits > 0 || locks.deadlocks.total == 0 {
        return None;
    }
    advice(
        "log-lock-waits-off",
        Level::Info,
        "Log waits for locks",
        format!(
            "{} and {} on a lock, but no wait was logged: who holds the locks cannot be told",
            many(locks.deadlocks.total, "deadlock", "deadlocks"),
            many(refused, "statement that gave up", "statements that gave up")
        ),
        set("log_lock_waits", "on"),
    )
}

fn checkpoints_off(report: &Report) -> Option<Advice> {
    let checkpoints = &report.checkpoints;
    let quiet = checkpoints.count == 0 && checkpoints.reasons.is_empty();
    let writes = report.vacuums.vacuums + report.locks.deadlocks.total;
    let span = super::span(report)?;
    // Vacuums and deadlocks show that rows were changed, which a checkpoint must follow within the hour.
    if !quiet || writes == 0 || report.totals.records < RECORDS_MIN || span < QUIET_MICROS_MIN {
        return None;
    }
    advice(
        "log-checkpoints-off",
        Level::Info,
        "Log checkpoints",
        format!(
            "no checkpoint in {} although rows were changed; whether max_wal_size is large enough cannot be told",
            super::time(span)
        ),
        set("log_checkpoints", "on"),
    )
}

fn autovacuum_off(report: &Report) -> Option<Advice> {
    let vacuums = &report.vacuums;
    if vacuums.cancelled == 0 || vacuums.vacuums + vacuums.analyzes > 0 {
        return None;
    }
    advice(
        "log-autovacuum-off",
        Level::Info,
        "Log what autovacuum does",
        format!(
            "{} of autovacuum, but not one that was logged at its end",
            many(vacuums.cancelled, "cancelled task", "cancelled tasks")
        ),
        set("log_autovacuum_min_duration", "10s"),
    )
}

fn temp_files_off(report: &Report) -> Option<Advice> {
    let plans = report.plans.plans.items.iter();
    let spilled = plans.filter(|plan| {
        let mut rules = plan.findings.iter().map(|finding| &finding.rule);
        rules.any(|rule| rule.contains("spill"))
    });
    let spilled: u64 = spilled.map(|plan| plan.count).sum();
    if report.temp_files.count > 0 || spilled == 0 {
        return None;
    }
    advice(
        "log-temp-files-off",
        Level::Info,
        "Log temporary files",
        format!(
            "{} to disk, but no temporary file was logged: which statements need more work_mem cannot be told",
            many(spilled, "logged plan spilled", "logged plans spilled")
        ),
        set("log_temp_files", "1MB"),
    )
}

fn durations_off(report: &Report) -> Option<Advice> {
    let statements = &report.statements;
    let timed_out: u64 = statements
        .timed_out
        .items
        .iter()
        .map(|item| item.count)
        .sum();
    if statements.all.count > 0 || timed_out + statements.without_duration == 0 {
        return None;
    }
    advice(
        "log-durations-off",
        Level::Info,
        "Log how long slow statements take",
        format!(
            "{} logged without a duration and {} by statement_timeout, but not one duration",
            many(
                statements.without_duration,
                "statement was",
                "statements were"
            ),
            many(timed_out, "was cancelled", "were cancelled")
        ),
        set("log_min_duration_statement", "500ms"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;
    use crate::report::{Counted, Gap, PlanFinding, PlanShape, SourceFile};

    #[test]
    fn forged_and_missing_lines() {
        check(
            "forged-lines",
            |report| report.integrity.forged.total = 2,
            |report| report.integrity.raw.total = 2,
        );
        let found = check(
            "log-gaps",
            |report| {
                report.integrity.gaps.total = 1;
                report.integrity.gaps.items.push(Gap {
                    pid: 7,
                    at: None,
                    lines: 40,
                });
            },
            |report| report.integrity.cut = 1,
        );
        assert!(found.because.contains("40 lines in process 7"));
    }

    #[test]
    fn prefixes_without_numbers() {
        let file = |prefix: &str| SourceFile {
            prefixes: vec![prefix.to_owned()],
            ..SourceFile::default()
        };
        check(
            "unlogged-line-numbers",
            |report| report.source.files.push(file("%m [%p] %q%u@%d ")),
            |report| report.source.files.push(file("%m [%8p] %-4l %u ")),
        );
        assert!(!numbered("%%l %p"));
        assert!(!numbered("%l"));
    }

    #[test]
    fn ends_of_sessions_and_logins() {
        check(
            "log-disconnections-off",
            |report| report.sessions.authorized = 50,
            |report| {
                report.sessions.authorized = 50;
                report.sessions.lasted.count = 49;
            },
        );
        check(
            "log-connections-off",
            |report| report.sessions.lasted.count = 50,
            |report| {
                report.sessions.authorized = 50;
                report.sessions.lasted.count = 50;
            },
        );
    }

    #[test]
    fn what_the_server_was_not_told_to_write() {
        check(
            "log-lock-waits-off",
            |report| report.locks.deadlocks.total = 1,
            |report| {
                report.locks.deadlocks.total = 1;
                report.locks.waits = 2;
            },
        );
        let hours = |report: &mut Report, vacuums| {
            report.vacuums.vacuums = vacuums;
            report.totals.records = 5_000;
            (report.totals.first_at, report.totals.last_at) = (Some(0), Some(9_000_000_000));
        };
        check(
            "log-checkpoints-off",
            |report| hours(report, 5),
            |report| hours(report, 0),
        );
        check(
            "log-autovacuum-off",
            |report| report.vacuums.cancelled = 1,
            |report| {
                report.vacuums.cancelled = 1;
                report.vacuums.analyzes = 1;
            },
        );
        let spilled = |report: &mut Report| {
            report.plans.plans.items.push(PlanShape {
                count: 3,
                findings: vec![PlanFinding {
                    rule: "sort-spill".to_owned(),
                    level: Level::Warning,
                    node: String::new(),
                    title: String::new(),
                    remedy: String::new(),
                }],
                ..PlanShape::default()
            });
        };
        check("log-temp-files-off", spilled, |report| {
            spilled(report);
            report.temp_files.count = 1;
        });
        check(
            "log-durations-off",
            |report| {
                report.statements.timed_out.items.push(Counted {
                    count: 2,
                    ..Counted::default()
                })
            },
            |report| report.statements.all.count = 2,
        );
    }
}
