//! Rules about locks, deadlocks, timeouts and crashes.

use pawang_core::Level;

use super::{Rule, advice, beginning, many, time};
use crate::report::{Advice, Crash, Report};

/// Fewest waits, or microseconds of waiting, that are worth a word.
const WAITS_MIN: u64 = 10;
const WAITED_MIN: u64 = 60_000_000;

/// Waiting in all that somebody should act on today, in microseconds.
const WAITED_MUCH: u64 = 600_000_000;

/// Fewest statements that ran into a timeout.
const TIMEOUTS_MIN: u64 = 5;

/// Fewest statements that were refused a lock.
const REFUSED_MIN: u64 = 5;

pub(super) const RULES: &[Rule] = &[
    killed,
    crashed,
    lock_waits,
    deadlocks,
    lock_refusals,
    statement_timeouts,
];

fn killed(report: &Report) -> Option<Advice> {
    let killed = report.server.crashes.iter();
    let killed: Vec<&Crash> = killed.filter(|crash| crash.signal == 9).collect();
    let last = killed.last()?;
    let victims: u64 = killed.iter().map(|crash| crash.victims).sum();
    advice(
        "server-process-killed",
        Level::Critical,
        "Keep the kernel from killing server processes for memory",
        format!(
            "{} killed with signal 9, which ended {} with it; the last was {} {}{}",
            many(killed.len() as u64, "process was", "processes were"),
            many(victims, "other session", "other sessions"),
            last.process,
            last.pid,
            if last.memory.is_empty() {
                String::new()
            } else {
                format!("; {}", last.memory)
            }
        ),
        "journalctl -k --grep 'Out of memory|oom-kill'; if it was the kernel: sysctl -w vm.overcommit_memory=2, and less work_mem, \
         shared_buffers or max_connections",
    )
}

fn crashed(report: &Report) -> Option<Advice> {
    let crashes = report.server.crashes.iter();
    let crashes: Vec<&Crash> = crashes.filter(|crash| crash.signal != 9).collect();
    let last = crashes.last()?;
    advice(
        "server-process-crashed",
        Level::Critical,
        "Find out why server processes crash",
        format!(
            "{}; the last was {} {} with {}: {}",
            many(crashes.len() as u64, "crash", "crashes"),
            last.process,
            last.pid,
            match last.signal {
                0 => format!("exit code {}", last.exit_code),
                signal => format!("signal {signal}"),
            },
            last.cause
        ),
        "keep a core file (LimitCORE=infinity in the unit of the service), then: coredumpctl gdb; and update to the last minor release: \
         SELECT version(), extname, extversion FROM pg_extension;",
    )
}

fn lock_waits(report: &Report) -> Option<Advice> {
    let locks = &report.locks;
    if locks.waits < WAITS_MIN && locks.waited.total < WAITED_MIN {
        return None;
    }
    let blockers = &locks.blockers.items;
    let root = blockers.iter().find(|blocker| blocker.root);
    let blocker = root.or(blockers.first());
    let who = blocker.map_or_else(String::new, |blocker| {
        format!(
            "; process {}{} made {} wait for {}{}",
            blocker.pid,
            if blocker.who.is_empty() {
                String::new()
            } else {
                format!(" ({})", blocker.who)
            },
            many(blocker.victims, "process", "processes"),
            time(blocker.cost),
            if blocker.statement.is_empty() {
                String::new()
            } else {
                format!(", last seen with: {}", beginning(&blocker.statement))
            }
        )
    });
    let level = if locks.waited.total >= WAITED_MUCH {
        Level::Warning
    } else {
        Level::Info
    };
    advice(
        "lock-waits",
        level,
        "Shorten the transactions that others wait for",
        format!(
            "{} took {} in all, the longest {}{who}",
            many(locks.waits, "wait for a lock", "waits for locks"),
            time(locks.waited.total),
            time(locks.waited.max),
        ),
        "commit before waiting for people or other systems; for the role of the blocker: ALTER ROLE <role> SET \
         idle_in_transaction_session_timeout = '5min'; before DDL: SET lock_timeout = '5s';",
    )
}

fn deadlocks(report: &Report) -> Option<Advice> {
    let deadlocks = &report.locks.deadlocks;
    if deadlocks.total == 0 {
        return None;
    }
    let statements = deadlocks.items.first().map_or_else(String::new, |latest| {
        let statements = latest.edges.iter().map(|edge| &edge.statement);
        let mut statements: Vec<String> = statements
            .filter(|text| !text.is_empty())
            .map(|text| beginning(text))
            .collect();
        statements.dedup();
        match statements.is_empty() {
            true => String::new(),
            false => format!("; the latest was between: {}", statements.join(" | ")),
        }
    });
    advice(
        "deadlocks",
        Level::Warning,
        "Let transactions lock rows in one order",
        format!(
            "{}, each of which failed a statement{statements}",
            many(deadlocks.total, "deadlock", "deadlocks")
        ),
        "lock first what will be changed, in one order: SELECT ... FROM <table> WHERE ... ORDER BY <primary key> FOR UPDATE; and repeat \
         transactions that fail with SQLSTATE 40P01",
    )
}

fn lock_refusals(report: &Report) -> Option<Advice> {
    let refused = &report.locks.refused.items;
    let count: u64 = refused.iter().map(|statement| statement.count).sum();
    let top = refused.iter().max_by_key(|statement| statement.count)?;
    if count < REFUSED_MIN {
        return None;
    }
    advice(
        "lock-refused",
        Level::Info,
        "See what holds the locks that statements give up on",
        format!(
            "{count} statements gave up on a lock (lock_timeout or NOWAIT); most often, {}: {}",
            many(top.count, "time", "times"),
            beginning(&top.text)
        ),
        "SELECT pid, pg_blocking_pids(pid), state, xact_start, left(query, 60) FROM pg_stat_activity WHERE \
         cardinality(pg_blocking_pids(pid)) > 0;",
    )
}

fn statement_timeouts(report: &Report) -> Option<Advice> {
    let timed_out = &report.statements.timed_out.items;
    let count: u64 = timed_out.iter().map(|statement| statement.count).sum();
    let top = timed_out.iter().max_by_key(|statement| statement.count)?;
    if count < TIMEOUTS_MIN {
        return None;
    }
    advice(
        "statement-timeouts",
        Level::Info,
        "Make the statements that run into statement_timeout faster, or give them their own limit",
        format!(
            "{count} statements were cancelled by statement_timeout; most often, {}: {}",
            many(top.count, "time", "times"),
            beginning(&top.text)
        ),
        "EXPLAIN (COSTS, SETTINGS) <statement>; or for a job that may take long: SET LOCAL statement_timeout = '30min';",
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;
    use crate::report::{Blocker, Counted, Deadlock, Edge};

    #[test]
    fn crashes_call_for_somebody() {
        let crash = |signal| Crash {
            signal,
            pid: 4_242,
            process: "server process".to_owned(),
            victims: 12,
            ..Crash::default()
        };
        let found = check(
            "server-process-killed",
            |report| report.server.crashes.push(crash(9)),
            |report| report.server.crashes.push(crash(11)),
        );
        assert_eq!(found.level, Level::Critical);
        assert!(found.because.contains("12 other sessions"));
        check(
            "server-process-crashed",
            |report| report.server.crashes.push(crash(11)),
            |report| report.server.crashes.push(crash(9)),
        );
    }

    #[test]
    fn waits_name_the_blocker() {
        let waits = |report: &mut Report, count, total| {
            report.locks.waits = count;
            report.locks.waited.total = total;
            report.locks.blockers.items.push(Blocker {
                pid: 77,
                cost: total,
                victims: 3,
                root: true,
                who: "etl@dwh".to_owned(),
                statement: "update orders".to_owned(),
                ..Blocker::default()
            });
        };
        let found = check(
            "lock-waits",
            |report| waits(report, 20, 700_000_000),
            |report| waits(report, 2, 3_000_000),
        );
        assert_eq!(found.level, Level::Warning);
        assert!(
            found.because.contains("process 77 (etl@dwh)"),
            "{}",
            found.because
        );
    }

    #[test]
    fn deadlocks_and_timeouts() {
        let found = check(
            "deadlocks",
            |report| {
                report.locks.deadlocks.total = 2;
                let statement = |text: &str| Edge {
                    statement: text.to_owned(),
                    ..Edge::default()
                };
                report.locks.deadlocks.items.push(Deadlock {
                    edges: vec![statement("update a"), statement("update b")],
                    ..Deadlock::default()
                });
            },
            |report| report.locks.waits = 1,
        );
        assert!(found.because.contains("update a | update b"));
        let counted = |count| Counted {
            count,
            text: "select ?".to_owned(),
            ..Counted::default()
        };
        check(
            "lock-refused",
            |report| report.locks.refused.items.push(counted(9)),
            |report| report.locks.refused.items.push(counted(1)),
        );
        check(
            "statement-timeouts",
            |report| report.statements.timed_out.items.push(counted(9)),
            |report| report.statements.timed_out.items.push(counted(1)),
        );
    }
}
