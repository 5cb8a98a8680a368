//! Logins, sessions and refusals: counters at once, how many sessions were open together from small events in the order of the log.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::minutes::Minutes;
use super::table::{Row, Table, top};
use super::{Event, Options};
use crate::extract::{after, clock, named, printable, value};
use crate::histogram::Histogram;
use crate::kind::{Group, kinds};
use crate::record::Record;
use crate::report;
use crate::severity::Severity;

/// Most roles, databases, hosts or applications that are told apart.
const NAMES_MAX: usize = 2_000;

/// Most combinations of kind, role, database and host of refused logins.
const REFUSALS_MAX: usize = 5_000;

/// Most minutes with a login that are kept, the latest: 69 days without a quiet minute.
const MINUTES_MAX: usize = 100_000;

/// Most sessions that are followed at once; with more, the log says nothing certain about how many were open.
const OPEN_MAX: usize = 100_000;

/// Most connections whose host is remembered until their login.
const ARRIVING_MAX: usize = 10_000;

/// Most events that wait to be joined.
const PENDING_MAX: usize = 1_000_000;

/// Longest name of a role or database, in bytes: what PostgreSQL allows, each as four.
const NAME_BYTES_MAX: usize = 252;

/// Longest host name that is kept until the login, in bytes.
const HOST_BYTES_MAX: usize = 240;

/// Logins, sessions and refusals.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sessions {
    received: u64,
    authorized: u64,
    lasted: Histogram,
    series: Minutes,
    minutes: BTreeMap<i64, u64>,
    users: Table<u64, NAMES_MAX>,
    databases: Table<u64, NAMES_MAX>,
    hosts: Table<u64, NAMES_MAX>,
    applications: Table<u64, NAMES_MAX>,
    refused: Table<Refusals, REFUSALS_MAX>,
    pending: Vec<Pending>,
    joined: Joined,
}

/// Refused logins of one kind, role, database and host.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Refusals {
    kind: String,
    user: String,
    database: String,
    host: String,
    count: u64,
    first_at: Option<i64>,
    last_at: Option<i64>,
}

impl Row for Refusals {
    fn absorb(&mut self, later: Refusals) {
        self.count += later.count;
        self.first_at = [self.first_at, later.first_at].into_iter().flatten().min();
        self.last_at = self.last_at.max(later.last_at);
    }

    fn count(&self) -> u64 {
        self.count
    }
}

/// What happened to a session, as small as can be.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pending {
    session: u64,
    at: Option<i64>,
    step: Step,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Step {
    /// It came from a host that its other records do not tell.
    Arrived(Box<str>),
    /// It logged in; whether its host is known.
    Opened(bool),
    /// It ended.
    Closed,
    /// It was refused after it had been authorized.
    Refused,
    /// The server started anew: no session is left.
    Restarted,
}

/// What the events up to now come to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Joined {
    arriving: BTreeMap<u64, Box<str>>,
    open: BTreeSet<u64>,
    /// Sessions open, less those that were open before the log began.
    running: i64,
    /// Sessions that ended without a beginning: they were open before the log began.
    base: i64,
    /// The most of `running` since the server started, and when.
    running_max: i64,
    running_max_at: Option<i64>,
    /// The most before the server started anew, and when.
    best: i64,
    best_at: Option<i64>,
    hosts: Table<u64, NAMES_MAX>,
    lost: bool,
}

impl Sessions {
    /// Adds one record of the groups Connections and Server.
    pub(crate) fn take(&mut self, event: &Event<'_>) {
        let record = event.record;
        let kind = &kinds()[usize::from(event.kind.0)];
        if kind.group == Group::Server {
            let restarted = record.message.starts_with(b"starting PostgreSQL ")
                || record
                    .message
                    .starts_with(b"all server processes terminated");
            // A session can raise any text; the postmaster has no role.
            if restarted && record.user.is_empty() {
                self.push(record, Step::Restarted);
            }
            return;
        }
        let message = record.message;
        if let Some(rest) = message.strip_prefix(b"connection received: ") {
            self.received += 1;
            if record.host.is_empty()
                && let Some(host) = value(rest, "host=", &[" port="])
            {
                let host = printable(host, HOST_BYTES_MAX).into();
                self.push(record, Step::Arrived(host));
            }
        } else if let Some(rest) = message.strip_prefix(b"connection authorized: ") {
            self.authorize(record, rest);
        } else if let Some(rest) = message.strip_prefix(b"disconnection: session time: ") {
            self.lasted.add(clock(rest).unwrap_or(0));
            self.push(record, Step::Closed);
        } else if record.severity == Severity::Fatal && refuses(record) {
            self.refuse(record, &kind.id);
            self.push(record, Step::Refused);
        }
    }

    fn authorize(&mut self, record: &Record<'_>, rest: &[u8]) {
        /// What may follow the name of the application.
        const SECURITY: [&str; 2] = [" SSL enabled (", " GSS ("];
        const FOLLOWING: [&str; 4] = [
            " database=",
            " application_name=",
            " SSL enabled (",
            " GSS (",
        ];
        self.authorized += 1;
        if let Some(at) = record.at {
            self.series.add(at, 1);
        }
        if let Some(at) = record.at {
            let minute = at.div_euclid(60_000_000);
            *self.minutes.entry(minute).or_default() += 1;
            self.shrink();
        }
        let told = |field: &[u8], key: &str, following: &[&str]| {
            let told = if field.is_empty() {
                value(rest, key, following).unwrap_or_default()
            } else {
                field
            };
            told.to_owned()
        };
        self.users.count(&told(record.user, "user=", &FOLLOWING));
        self.databases
            .count(&told(record.database, " database=", &FOLLOWING[1..]));
        // The name is set after this record, so only its text has it, in every format.
        self.applications
            .count(&told(b"", " application_name=", &SECURITY));
        self.hosts.count(record.host);
        self.push(record, Step::Opened(!record.host.is_empty()));
    }

    fn refuse(&mut self, record: &Record<'_>, kind: &str) {
        let key = [kind.as_bytes(), record.user, record.database, record.host].join(&b'\n');
        self.refused.change(&key, |row| {
            if row.count == 0 {
                row.kind = kind.to_owned();
                row.user = printable(&named(record.user), NAME_BYTES_MAX);
                row.database = printable(&named(record.database), NAME_BYTES_MAX);
                row.host = printable(record.host, HOST_BYTES_MAX);
                row.first_at = record.at;
            }
            row.count += 1;
            row.first_at = [row.first_at, record.at].into_iter().flatten().min();
            row.last_at = row.last_at.max(record.at);
        });
    }

    fn push(&mut self, record: &Record<'_>, step: Step) {
        // Without the process's number nothing can be joined.
        if record.pid == 0 && !matches!(step, Step::Restarted) {
            self.joined.lost = true;
            return;
        }
        if self.pending.len() >= PENDING_MAX {
            self.joined.lost = true;
            return;
        }
        self.pending.push(Pending {
            session: u64::from(record.pid) << 32 | u64::from(record.session_started),
            at: record.at,
            step,
        });
    }

    fn shrink(&mut self) {
        while self.minutes.len() > MINUTES_MAX {
            self.minutes.pop_first();
        }
    }

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, later: Sessions) {
        self.received += later.received;
        self.authorized += later.authorized;
        self.lasted.merge(&later.lasted);
        self.series.absorb(later.series);
        for (minute, count) in later.minutes {
            *self.minutes.entry(minute).or_default() += count;
        }
        self.shrink();
        self.users.absorb(later.users);
        self.databases.absorb(later.databases);
        self.hosts.absorb(later.hosts);
        self.applications.absorb(later.applications);
        self.refused.absorb(later.refused);
        self.joined.lost |= later.joined.lost;
        self.pending.extend(later.pending);
    }

    /// Joins what belongs together, in order.
    pub(crate) fn settle(&mut self) {
        for event in std::mem::take(&mut self.pending) {
            self.joined.step(event);
        }
    }

    /// Returns its part of the report.
    pub(crate) fn report(&self, options: &Options) -> report::Sessions {
        let (minute_max, minute_max_at) = self.busiest_minute();
        let (open_max, open_max_at) = match self.joined.most() {
            Some((most, at)) if self.authorized > 0 && self.lasted.count() > 0 => (Some(most), at),
            _ => (None, None),
        };
        let mut hosts = self.hosts.clone();
        hosts.absorb(self.joined.hosts.clone());
        report::Sessions {
            received: self.received,
            authorized: self.authorized,
            lasted: self.lasted.durations(),
            open_max,
            open_max_at,
            series: self.series.series(),
            minute_max,
            minute_max_at,
            minute_median: self.median_minute(),
            users: self.users.counts(),
            databases: self.databases.counts(),
            hosts: hosts.counts(),
            applications: self.applications.counts(),
            refused: self.refusals(options),
        }
    }

    fn busiest_minute(&self) -> (u64, Option<i64>) {
        let most = self
            .minutes
            .iter()
            .max_by_key(|&(minute, count)| (count, std::cmp::Reverse(minute)));
        most.map_or((0, None), |(&minute, &count)| {
            (count, Some(minute * 60_000_000))
        })
    }

    /// Returns the median over all minutes from the first login to the last, quiet ones too.
    fn median_minute(&self) -> u64 {
        let (Some((first, _)), Some((last, _))) = (
            self.minutes.first_key_value(),
            self.minutes.last_key_value(),
        ) else {
            return 0;
        };
        let all = last.abs_diff(*first).saturating_add(1);
        let mut counts: Vec<u64> = self.minutes.values().copied().collect();
        counts.sort_unstable();
        let quiet = all - counts.len() as u64;
        let middle = (all - 1) / 2;
        middle
            .checked_sub(quiet)
            .and_then(|index| usize::try_from(index).ok())
            .and_then(|index| counts.get(index).copied())
            .unwrap_or(0)
    }

    fn refusals(&self, options: &Options) -> report::Top<report::Refused> {
        let mut items: Vec<report::Refused> =
            self.refused.iter().map(|(_, row)| refused(row)).collect();
        items.sort_by(|left, right| {
            let key = |item: &report::Refused| {
                let texts = [&item.kind, &item.user, &item.database, &item.host];
                texts.map(String::clone)
            };
            key(left).cmp(&key(right))
        });
        top(items, options.items, self.refused.complete(), |item| {
            item.count
        })
    }
}

impl Joined {
    fn step(&mut self, event: Pending) {
        let Pending { session, at, step } = event;
        match step {
            Step::Arrived(host) => {
                if self.arriving.len() >= ARRIVING_MAX {
                    self.arriving.clear();
                }
                self.arriving.insert(session, host);
            }
            Step::Opened(host_known) => {
                if let Some(host) = self.arriving.remove(&session).filter(|_| !host_known) {
                    self.hosts.count(host.as_bytes());
                }
                if self.open.len() >= OPEN_MAX {
                    self.lost = true;
                    self.open.clear();
                }
                if self.open.insert(session) {
                    self.running += 1;
                }
                if self.running > self.running_max {
                    self.running_max = self.running;
                    self.running_max_at = at;
                }
            }
            Step::Closed => {
                self.running -= 1;
                if !self.open.remove(&session) {
                    self.base += 1;
                    // The session was open when the log began, so the maximum may be there.
                    self.running_max_at = self.running_max_at.or(at);
                }
            }
            Step::Refused => {
                self.arriving.remove(&session);
                if self.open.remove(&session) {
                    self.running -= 1;
                }
            }
            Step::Restarted => {
                if let Some((most, at)) = self.most() {
                    self.best = i64::try_from(most).unwrap_or(i64::MAX);
                    self.best_at = at;
                }
                self.open.clear();
                self.arriving.clear();
                (self.running, self.base) = (0, 0);
                (self.running_max, self.running_max_at) = (0, None);
            }
        }
    }

    /// Returns the most sessions at once, and when.
    fn most(&self) -> Option<(u64, Option<i64>)> {
        if self.lost {
            return None;
        }
        let now = self.base + self.running_max;
        let (most, at) = if now > self.best {
            (now, self.running_max_at)
        } else {
            (self.best, self.best_at)
        };
        u64::try_from(most).ok().map(|most| (most, at))
    }
}

/// Tells a refusal from the end of a session that had been let in.
fn refuses(record: &Record<'_>) -> bool {
    const ENDS: [&[u8; 5]; 8] = [
        b"57P01", b"57P02", b"57P04", b"57P05", b"25P03", b"25P04", b"08006", b"08003",
    ];
    !ENDS.contains(&&record.sqlstate)
        && !record.message.starts_with(b"terminating ")
        && after(record.message, "connection to client lost").is_none()
}

fn refused(row: &Refusals) -> report::Refused {
    report::Refused {
        kind: row.kind.clone(),
        user: row.user.clone(),
        database: row.database.clone(),
        host: row.host.clone(),
        count: row.count,
        first_at: row.first_at,
        last_at: row.last_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::KindId;
    use crate::tally::testing::kind;

    fn take(sessions: &mut Sessions, id: &str, pid: u32, second: i64, message: &str) {
        let severity = if id == "auth-failed" {
            Severity::Fatal
        } else {
            Severity::Log
        };
        let record = Record {
            at: Some(second * 1_000_000),
            pid,
            session_started: 5,
            severity,
            message: message.as_bytes(),
            ..Record::default()
        };
        let kind: KindId = kind(id);
        sessions.take(&Event {
            record: &record,
            kind,
            shape: None,
        });
    }

    fn open(sessions: &mut Sessions, pid: u32, second: i64) {
        let text = "connection authorized: user=ahli data database=Data Mart application_name=my app, v=1 SSL enabled \
                    (protocol=TLSv1.3, cipher=TLS_AES_256_GCM_SHA384, bits=256)";
        take(sessions, "connection-authorized", pid, second, text);
    }

    fn close(sessions: &mut Sessions, pid: u32, second: i64) {
        let text = "disconnection: session time: 0:00:01.234 user=ahli data database=Data Mart host=10.0.0.7 port=40000";
        take(sessions, "disconnection", pid, second, text);
    }

    fn settled(mut sessions: Sessions) -> report::Sessions {
        sessions.settle();
        sessions.report(&Options::default())
    }

    #[test]
    fn names_come_from_the_message_where_the_prefix_has_none() {
        let mut sessions = Sessions::default();
        take(
            &mut sessions,
            "connection-received",
            1,
            0,
            "connection received: host=10.0.0.7 port=40000",
        );
        open(&mut sessions, 1, 1);
        close(&mut sessions, 1, 2);
        let report = settled(sessions);
        assert_eq!((report.received, report.authorized), (1, 1));
        assert_eq!(report.users["ahli data"], 1);
        assert_eq!(report.databases["Data Mart"], 1);
        assert_eq!(report.applications["my app, v=1"], 1);
        assert_eq!(report.hosts["10.0.0.7"], 1);
        assert_eq!(report.lasted.max, 1_234_000);
        assert_eq!(
            (report.open_max, report.open_max_at),
            (Some(1), Some(1_000_000))
        );
    }

    #[test]
    fn sessions_open_before_the_log_count() {
        let mut sessions = Sessions::default();
        open(&mut sessions, 1, 1);
        open(&mut sessions, 2, 2);
        close(&mut sessions, 9, 3);
        close(&mut sessions, 1, 4);
        open(&mut sessions, 3, 5);
        let report = settled(sessions);
        assert_eq!(
            (report.open_max, report.open_max_at),
            (Some(3), Some(2_000_000))
        );
    }

    #[test]
    fn a_crash_ends_all_sessions() {
        let mut sessions = Sessions::default();
        for pid in 1..=3 {
            open(&mut sessions, pid, 1);
        }
        let text = "all server processes terminated; reinitializing";
        take(&mut sessions, "crash-cascade", 77, 2, text);
        for pid in 4..=5 {
            open(&mut sessions, pid, 3);
        }
        close(&mut sessions, 4, 4);
        assert_eq!(settled(sessions).open_max, Some(3));
    }

    #[test]
    fn nothing_is_said_of_open_sessions_without_their_ends() {
        let mut sessions = Sessions::default();
        open(&mut sessions, 1, 1);
        assert_eq!(settled(sessions).open_max, None);
        let mut sessions = Sessions::default();
        open(&mut sessions, 0, 1);
        close(&mut sessions, 0, 1);
        assert_eq!(settled(sessions).open_max, None, "no process numbers");
    }

    #[test]
    fn minutes_show_storms() {
        let mut sessions = Sessions::default();
        for minute in 0..10 {
            open(&mut sessions, 1, minute * 60);
        }
        for second in 300..350 {
            open(&mut sessions, 2, second);
        }
        let report = settled(sessions);
        assert_eq!(
            (report.minute_max, report.minute_max_at),
            (51, Some(300_000_000))
        );
        assert_eq!(report.minute_median, 1);
        let mut quiet = Sessions::default();
        open(&mut quiet, 1, 0);
        open(&mut quiet, 1, 6_000);
        assert_eq!(settled(quiet).minute_median, 0);
    }

    #[test]
    fn refusals_are_no_ends_of_sessions() {
        let mut sessions = Sessions::default();
        for (pid, text) in [
            (1, "password authentication failed for user \"a\""),
            (2, "password authentication failed for user \"a\""),
            (3, "terminating connection due to administrator command"),
        ] {
            take(&mut sessions, "auth-failed", pid, i64::from(pid), text);
        }
        let report = settled(sessions);
        assert_eq!(
            (report.refused.total, report.refused.items[0].count),
            (1, 2)
        );
        assert_eq!(report.refused.items[0].first_at, Some(1_000_000));
        assert_eq!(report.refused.items[0].last_at, Some(2_000_000));
    }

    #[test]
    fn a_refusal_after_authorization_is_not_open() {
        let mut sessions = Sessions::default();
        open(&mut sessions, 1, 1);
        take(
            &mut sessions,
            "auth-failed",
            1,
            2,
            "role \"nobody\" does not exist",
        );
        open(&mut sessions, 2, 3);
        close(&mut sessions, 2, 4);
        assert_eq!(settled(sessions).open_max, Some(1));
    }
}
