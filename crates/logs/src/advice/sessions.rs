//! Rules about logins and poolers.

use pawang_core::Level;

use super::{Rule, advice, many, percent, span, time};
use crate::report::{Advice, PoolerStats, Refused, Report};

/// Fewest logins of the busiest minute, and how far above the median they must be, to be a storm.
const STORM_MIN: u64 = 60;
const STORM_FACTOR: u64 = 10;

/// Sessions at least, their rate per minute, and the most that half of them last, to call for a pooler.
const SHORT_SESSIONS_MIN: u64 = 100;
const SHORT_RATE_MIN: u64 = 10;
const SHORT_MICROS_MAX: u64 = 1_000_000;

/// Fewest failed logins that are worth a word, and their rate per minute that looks like guessing.
const FAILED_MIN: u64 = 10;
const FAILED_RATE_MAX: u64 = 10;

/// Longest mean wait of clients for a pooled server, in microseconds.
const POOL_WAIT_MAX: u64 = 100_000;

pub(super) const RULES: &[Rule] = &[
    auth_failures,
    slots_exhausted,
    storm,
    short_sessions,
    pooler_waits,
];

fn auth_failures(report: &Report) -> Option<Advice> {
    let failed = report.sessions.refused.items.iter();
    let failed: Vec<&Refused> = failed
        .filter(|refused| refused.kind == "auth-failed")
        .collect();
    let count: u64 = failed.iter().map(|refused| refused.count).sum();
    let worst = failed.iter().max_by_key(|refused| refused.count)?;
    if count < FAILED_MIN {
        return None;
    }
    let minutes = match (worst.first_at, worst.last_at) {
        (Some(first), Some(last)) => last.abs_diff(first) / 60_000_000 + 1,
        _ => 1,
    };
    let rate = worst.count / minutes;
    let guessing = rate >= FAILED_RATE_MAX;
    let from = if worst.host.is_empty() {
        "an address that the log does not tell"
    } else {
        &worst.host
    };
    advice(
        "auth-failures",
        if guessing {
            Level::Critical
        } else {
            Level::Warning
        },
        if guessing {
            "Somebody guesses passwords: shut the address out"
        } else {
            "See who logs in with a wrong password"
        },
        format!(
            "{count} failed logins; {} for role \"{}\" from {from} within {}, {rate} a minute",
            worst.count,
            worst.user,
            many(minutes, "minute", "minutes")
        ),
        "in pg_hba.conf, above the other lines: host all all <address>/32 reject; then: SELECT pg_reload_conf();",
    )
}

fn slots_exhausted(report: &Report) -> Option<Advice> {
    let full = report.sessions.refused.items.iter();
    let full = full.filter(|refused| refused.kind == "slots-exhausted");
    let count: u64 = full.map(|refused| refused.count).sum();
    if count == 0 {
        return None;
    }
    let seen = report.sessions.open_max.map_or_else(String::new, |most| {
        format!("; {most} sessions were open at once")
    });
    advice(
        "connections-exhausted",
        Level::Critical,
        "Put a pooler before the server, or end idle sessions",
        format!(
            "{} refused since all max_connections were taken{seen}",
            many(count, "login was", "logins were")
        ),
        super::set("idle_session_timeout", "30min"),
    )
}

fn storm(report: &Report) -> Option<Advice> {
    let sessions = &report.sessions;
    let usual = sessions.minute_median.max(1);
    if sessions.minute_max < STORM_MIN || sessions.minute_max / usual < STORM_FACTOR {
        return None;
    }
    advice(
        "connection-storm",
        Level::Warning,
        "Put a pooler between the application and the server",
        format!(
            "{} logins within one minute, where {} are usual",
            sessions.minute_max, sessions.minute_median
        ),
        "pgbouncer.ini: pool_mode = transaction, default_pool_size = 20, max_client_conn = 1000; and let clients wait longer after each \
         failed attempt to connect",
    )
}

fn short_sessions(report: &Report) -> Option<Advice> {
    let lasted = &report.sessions.lasted;
    let minutes = span(report)? / 60_000_000 + 1;
    let rate = lasted.count / minutes;
    if lasted.count < SHORT_SESSIONS_MIN || lasted.p50 > SHORT_MICROS_MAX || rate < SHORT_RATE_MIN {
        return None;
    }
    let users = report.sessions.users.iter();
    let top = users.max_by_key(|(name, count)| (**count, std::cmp::Reverse(*name)));
    let top = top.map_or_else(String::new, |(name, &count)| {
        format!(
            "; {} % of the logins are of role \"{name}\"",
            percent(count, report.sessions.authorized)
        )
    });
    advice(
        "short-sessions",
        Level::Info,
        "Keep connections open, or put a pooler before the server",
        format!(
            "half of {} sessions lasted {} or less, at {rate} logins a minute; each login costs a new process{top}",
            lasted.count,
            time(lasted.p50)
        ),
        "a pool in the application, or pgbouncer.ini: pool_mode = transaction, default_pool_size = 20",
    )
}

fn pooler_waits(report: &Report) -> Option<Advice> {
    let stats = &report.pgbouncer.stats;
    let slow = stats.iter().filter(|line| line.wait_time > POOL_WAIT_MAX);
    let slow: Vec<&PoolerStats> = slow.collect();
    let worst = slow.iter().map(|line| line.wait_time).max()?;
    advice(
        "pooler-waits",
        Level::Warning,
        "Give the pool more server connections, or make transactions shorter",
        format!(
            "in {} of {} minutes clients of PgBouncer waited more than {} on average, in the worst {}",
            slow.len(),
            stats.len(),
            time(POOL_WAIT_MAX),
            time(worst)
        ),
        "pgbouncer.ini: default_pool_size = <twice the value now>; then: RELOAD; SHOW POOLS;",
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    fn refused(kind: &str, count: u64, minutes: i64) -> Refused {
        Refused {
            kind: kind.to_owned(),
            user: "app".to_owned(),
            host: "203.0.113.9".to_owned(),
            count,
            first_at: Some(0),
            last_at: Some(minutes * 60_000_000),
            ..Refused::default()
        }
    }

    #[test]
    fn failed_logins_are_told_from_guessing() {
        let found = check(
            "auth-failures",
            |report| {
                report
                    .sessions
                    .refused
                    .items
                    .push(refused("auth-failed", 600, 9));
            },
            |report| {
                report
                    .sessions
                    .refused
                    .items
                    .push(refused("auth-failed", 2, 0));
            },
        );
        assert_eq!(found.level, Level::Critical);
        assert!(found.because.contains("60 a minute"), "{}", found.because);
        let found = check(
            "auth-failures",
            |report| {
                report
                    .sessions
                    .refused
                    .items
                    .push(refused("auth-failed", 30, 600));
            },
            |report| {
                report
                    .sessions
                    .refused
                    .items
                    .push(refused("database-missing", 300, 0));
            },
        );
        assert_eq!(found.level, Level::Warning);
    }

    #[test]
    fn full_servers_and_storms() {
        check(
            "connections-exhausted",
            |report| {
                report
                    .sessions
                    .refused
                    .items
                    .push(refused("slots-exhausted", 3, 0));
            },
            |report| {
                report
                    .sessions
                    .refused
                    .items
                    .push(refused("role-limit", 3, 0));
            },
        );
        let logins = |report: &mut Report, max, median| {
            report.sessions.minute_max = max;
            report.sessions.minute_median = median;
        };
        check(
            "connection-storm",
            |report| logins(report, 900, 4),
            |report| logins(report, 900, 400),
        );
    }

    #[test]
    fn short_sessions_and_waiting_clients() {
        let sessions = |report: &mut Report, lasted| {
            report.sessions.lasted.count = 6_000;
            report.sessions.lasted.p50 = lasted;
            (report.totals.first_at, report.totals.last_at) = (Some(0), Some(3_600_000_000));
        };
        check(
            "short-sessions",
            |report| sessions(report, 20_000),
            |report| sessions(report, 600_000_000),
        );
        let stats = |wait_time| PoolerStats {
            wait_time,
            ..PoolerStats::default()
        };
        check(
            "pooler-waits",
            |report| report.pgbouncer.stats = vec![stats(5), stats(900_000)],
            |report| report.pgbouncer.stats = vec![stats(5), stats(9)],
        );
    }
}
