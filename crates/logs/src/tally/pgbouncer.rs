//! PgBouncer's log: logins, server connections, why connections were closed, and its own statistics.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::table::Table;
use super::{Event, Options};
use crate::extract::{after, number_after, number_before, until};
use crate::report::{self, PoolerStats};

/// Most reasons that are told apart.
const REASONS_MAX: usize = 500;

/// Most lines of statistics that are kept, the latest: a day of one a minute.
const STATS_MAX: usize = 1_500;

/// PgBouncer's log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct PgBouncer {
    records: u64,
    logins: u64,
    server_connections: u64,
    closings: Table<u64, REASONS_MAX>,
    errors: Table<u64, REASONS_MAX>,
    stats: VecDeque<PoolerStats>,
}

impl PgBouncer {
    /// Adds one record.
    pub(crate) fn take(&mut self, event: &Event<'_>) {
        let message = event.record.message;
        self.records += 1;
        if let Some(numbers) = after(message, "stats: ")
            && after(numbers, " xacts/s").is_some()
        {
            self.stats.push_back(stats(event.record.at, numbers));
            self.shrink();
        } else if let Some(reason) = after(message, "closing because: ") {
            self.closings.count(reason_of(reason));
        } else if let Some(reason) = after(message, "pooler error: ") {
            self.errors.count(reason_of(reason));
        } else if after(message, "login attempt: ").is_some() {
            self.logins += 1;
        } else if after(message, "new connection to server").is_some() {
            self.server_connections += 1;
        }
    }

    fn shrink(&mut self) {
        let surplus = self.stats.len().saturating_sub(STATS_MAX);
        self.stats.drain(..surplus);
    }

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, later: PgBouncer) {
        self.records += later.records;
        self.logins += later.logins;
        self.server_connections += later.server_connections;
        self.closings.absorb(later.closings);
        self.errors.absorb(later.errors);
        self.stats.extend(later.stats);
        self.shrink();
    }

    /// Returns its part of the report.
    pub(crate) fn report(&self, _options: &Options) -> report::PgBouncer {
        let mut stats: Vec<PoolerStats> = self.stats.iter().cloned().collect();
        stats.sort_by_key(|line| line.at);
        report::PgBouncer {
            records: self.records,
            logins: self.logins,
            server_connections: self.server_connections,
            closings: self.closings.counts(),
            errors: self.errors.counts(),
            stats,
        }
    }
}

/// Cuts the age and what names a role, a database or an address, so that equal reasons are one.
fn reason_of(text: &[u8]) -> &[u8] {
    let reason = until(until(text, " (age="), ":");
    until(until(reason, " \""), "\n").trim_ascii()
}

fn stats(at: Option<i64>, text: &[u8]) -> PoolerStats {
    PoolerStats {
        at,
        xacts: number_before(text, " xacts/s").unwrap_or(0),
        queries: number_before(text, " queries/s").unwrap_or(0),
        query_time: number_after(text, ", query ").unwrap_or(0),
        wait_time: number_after(text, ", wait ").unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::testing::taken;

    fn of(messages: &[&str]) -> report::PgBouncer {
        let mut pgbouncer = PgBouncer::default();
        for message in messages {
            taken(message, |event| pgbouncer.take(event));
        }
        pgbouncer.report(&Options::default())
    }

    #[test]
    fn statistics_of_old_and_new_versions_are_read() {
        let report = of(&[
            "stats: 12 xacts/s, 34 queries/s, in 1 B/s, out 2 B/s, xact 3 us, query 4 us, wait 5 us",
            "stats: 6 xacts/s, 7 queries/s, 1 client parses/s, 2 server parses/s, 3 binds/s, in 1 B/s, out 2 B/s, xact 3 us, \
             query 8 us, wait 9 us",
        ]);
        let numbers =
            |line: &PoolerStats| (line.xacts, line.queries, line.query_time, line.wait_time);
        assert_eq!(numbers(&report.stats[0]), (12, 34, 4, 5));
        assert_eq!(numbers(&report.stats[1]), (6, 7, 8, 9));
    }

    #[test]
    fn reasons_are_told_apart_without_ages_and_names() {
        let report = of(&[
            "C-0x55d0: shop/app@10.0.0.7:40000 login attempt: db=shop user=app tls=no",
            "S-0x55d1: shop/app@10.0.0.1:5432 new connection to server (from 10.0.0.2:41000)",
            "C-0x55d0: shop/app@10.0.0.7:40000 closing because: client close request (age=0s)",
            "C-0x55d2: shop/app@10.0.0.7:40001 closing because: client close request (age=12s)",
            "C-0x55d3: (nodb)/(nouser)@10.0.0.7:40002 pooler error: no such database: x",
            "C-0x55d4: (nodb)/(nouser)@10.0.0.7:40003 pooler error: no such database: y",
            "process up: PgBouncer 1.21.0",
        ]);
        assert_eq!(
            (report.records, report.logins, report.server_connections),
            (7, 1, 1)
        );
        assert_eq!(report.closings["client close request"], 2);
        assert_eq!(report.errors["no such database"], 2);
    }
}
