//! Hands what is bad in a log to the daemon that runs, as alerts of somebody else: one a kind and minute.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use pawang_core::{Kind, Level, Report, Timestamp};
use pawang_logs::kind;
use pawang_logs::record::Record;
use pawang_report::one_line;
use serde_json::{Value, json};

use super::line::Judged;
use crate::cli::Global;
use crate::cli::account::state::directory_of;
use crate::daemon::{Answer, Wanted, order};
use crate::environment;
use crate::estate::{Estate, told};
use crate::output;

/// A kind is told so often at most.
const EVERY: Duration = Duration::from_secs(60);
/// A kind that did not come for so long is over.
const OVER: Duration = Duration::from_secs(600);
/// Alerts of one order, which the daemon's socket bounds in bytes.
const ORDER_MAX: usize = 10;
/// Orders that wait for a daemon that is busy; those of kinds that go on come again.
const WAITING_MAX: usize = 64;
/// Bytes of a message in an alert.
const MESSAGE_BYTES_MAX: usize = 400;
/// At the end the daemon gets so long.
const END_MAX: Duration = Duration::from_millis(500);
/// A record that is older than the start by more than this was there before.
const EARLIER_MICROSECONDS: i64 = 60_000_000;

/// What came of one kind.
struct Counted {
    count: u64,
    newest: String,
    first_at: Timestamp,
    seen: Instant,
    told: Option<Instant>,
}

/// Counts kinds and tells the daemon.
pub(super) struct Alarm {
    instance: String,
    kinds: BTreeMap<(String, Level), Counted>,
    started_at: Timestamp,
    orders: SyncSender<Vec<Value>>,
    done: Receiver<()>,
}

impl Alarm {
    /// Finds the daemon.
    ///
    /// # Errors
    /// None runs for this configuration.
    pub(super) fn start(global: &Global) -> Result<Alarm, Report> {
        let estate = Estate::load(global.config.as_deref()).map_err(told)?;
        let directory = directory_of(&estate)?;
        order(&directory, &Wanted::Status)?;
        let instance = match global.instances.as_slice() {
            [only] => only.clone(),
            _ => rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
        };
        let (orders, taken) = sync_channel(WAITING_MAX);
        let (end, done) = sync_channel(1);
        let tell = move || {
            tell_all(&directory, &taken);
            let _ = end.send(());
        };
        let thread = std::thread::Builder::new()
            .name("alerts".to_owned())
            .spawn(tell);
        thread.map_err(|error| {
            Report::new(Kind::Refused, "could not start to tell alerts")
                .with_detail(error.to_string())
        })?;
        Ok(Alarm {
            instance,
            kinds: BTreeMap::new(),
            started_at: environment::now(),
            orders,
            done,
        })
    }

    /// Counts a record.
    pub(super) fn take(
        &mut self,
        record: &Record<'_>,
        judged: &Judged<'_>,
        message: impl Fn() -> String,
    ) {
        let start = self
            .started_at
            .as_microsecond()
            .saturating_sub(EARLIER_MICROSECONDS);
        if record.at.is_some_and(|at| at < start) {
            return;
        }
        let now = Instant::now();
        let key = (judged.kind.to_owned(), judged.alert);
        let counted = self.kinds.entry(key).or_insert_with(|| Counted {
            count: 0,
            newest: String::new(),
            first_at: environment::now(),
            seen: now,
            told: None,
        });
        counted.seen = now;
        counted.count += 1;
        if counted.count == 1 {
            let text = one_line(&message());
            text[..text.floor_char_boundary(MESSAGE_BYTES_MAX)].clone_into(&mut counted.newest);
        }
    }

    /// Tells what is due.
    pub(super) fn tick(&mut self) {
        self.tell(Instant::now(), false);
    }

    /// Tells what was counted and not told, and gives the daemon a moment.
    pub(super) fn end(mut self) {
        self.tell(Instant::now(), true);
        drop(self.orders);
        let _ = self.done.recv_timeout(END_MAX);
    }

    fn tell(&mut self, now: Instant, all: bool) {
        let mut alerts = Vec::new();
        for ((name, level), counted) in &mut self.kinds {
            let rested = counted
                .told
                .is_none_or(|told| now.duration_since(told) >= EVERY);
            if counted.count > 0 && (rested || all) {
                alerts.push(alert(name, *level, &self.instance, counted, true));
                counted.told = Some(now);
                counted.count = 0;
            }
        }
        let instance = &self.instance;
        self.kinds.retain(|(name, level), counted| {
            let over = now.duration_since(counted.seen) >= OVER;
            if over {
                alerts.push(alert(name, *level, instance, counted, false));
            }
            !over
        });
        for part in alerts.chunks(ORDER_MAX) {
            if let Err(TrySendError::Full(_)) = self.orders.try_send(part.to_vec()) {
                output::talk("warning: the daemon does not keep up with alerts, some are left out");
            }
        }
    }
}

fn alert(name: &str, level: Level, instance: &str, counted: &Counted, firing: bool) -> Value {
    let times = match counted.count {
        1 => String::new(),
        count => format!(" ({count} times)"),
    };
    let facts = kind::find(name).map(kind::KindId::kind);
    let remedy = facts.map_or_else(String::new, |kind| {
        format!("{} {}", kind.meaning, kind.remedy)
    });
    json!({
        "status": if firing { "firing" } else { "resolved" },
        "labels": {
            "alertname": format!("log-{name}"),
            "instance": instance,
            "severity": level.as_str(),
        },
        "annotations": {
            "summary": format!("{}{times}", counted.newest),
            "description": format!("{} of kind {name} in the log of {instance}. {remedy}", counted.count),
        },
        "startsAt": counted.first_at.to_string(),
    })
}

/// Tells the daemon, one order after the other; trouble is said when it begins and when it ends.
fn tell_all(directory: &Path, orders: &Receiver<Vec<Value>>) {
    let mut trouble: Option<String> = None;
    for alerts in orders {
        let payload =
            json!({ "version": "4", "externalURL": "http://pawang-logs", "alerts": alerts });
        let now = tell(directory, payload);
        if now != trouble {
            match &now {
                Some(why) => {
                    output::talk(&format!("warning: the daemon did not take alerts: {why}"))
                }
                None => output::talk("note: the daemon takes alerts again"),
            }
        }
        trouble = now;
    }
}

fn tell(directory: &Path, payload: Value) -> Option<String> {
    match order(directory, &Wanted::External(payload)) {
        Ok(Answer::Done(_)) => None,
        Ok(Answer::Refused(reasons)) => {
            let reasons: Vec<String> = reasons.into_iter().map(|reason| reason.primary).collect();
            Some(reasons.join("; "))
        }
        Err(report) => Some(report.primary),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarm() -> (Alarm, Receiver<Vec<Value>>) {
        let (orders, taken) = sync_channel(WAITING_MAX);
        let (_, done) = sync_channel(1);
        let alarm = Alarm {
            instance: "dwh-1".to_owned(),
            kinds: BTreeMap::new(),
            started_at: environment::now(),
            orders,
            done,
        };
        (alarm, taken)
    }

    const JUDGED: Judged<'_> = Judged {
        file: "a.log",
        kind: "deadlock",
        group: "locks",
        level: Level::Warning,
        alert: Level::Warning,
    };

    #[test]
    fn a_kind_is_told_at_once_then_once_a_minute_with_its_count_and_over_in_the_end() {
        let (mut alarm, taken) = alarm();
        let count = |alarm: &mut Alarm| {
            alarm.take(&Record::default(), &JUDGED, || {
                "deadlock detected".to_owned()
            })
        };
        let begin = Instant::now();
        count(&mut alarm);
        alarm.tell(begin, false);
        let first = taken.try_recv().unwrap();
        assert_eq!(first[0]["labels"]["alertname"], "log-deadlock");
        assert_eq!(first[0]["annotations"]["summary"], "deadlock detected");
        count(&mut alarm);
        count(&mut alarm);
        alarm.tell(begin + Duration::from_secs(59), false);
        assert!(taken.try_recv().is_err());
        alarm.tell(begin + Duration::from_secs(60), false);
        let second = taken.try_recv().unwrap();
        assert_eq!(
            second[0]["annotations"]["summary"],
            "deadlock detected (2 times)"
        );
        assert_eq!(second[0]["labels"], first[0]["labels"]);
        alarm.tell(begin + OVER + Duration::from_secs(60), false);
        assert_eq!(taken.try_recv().unwrap()[0]["status"], "resolved");
        assert!(alarm.kinds.is_empty());
    }

    #[test]
    fn what_was_there_before_is_not_told() {
        let (mut alarm, _taken) = alarm();
        let old = Record {
            at: Some(0),
            ..Record::default()
        };
        alarm.take(&old, &JUDGED, String::new);
        assert!(alarm.kinds.is_empty());
    }
}
