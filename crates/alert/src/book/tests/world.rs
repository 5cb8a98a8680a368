//! A small world: instances that are judged, a disk that keeps what was saved, recipients that read their messages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pawang_core::alert::{
    Alert, AlertEvent, Changes, Done, Entry, Group, Message, Order, Request, Saved, Silence, Tally,
    Window,
};
use pawang_core::{
    Evaluation, Finding, Instance, Level, Measure, Outcome, Report, Role, Server, Timestamp, Unit,
    Verdict, fingerprint,
};

use crate::book::{Book, Event, Subject};
use crate::setup::Setup;
use crate::span::later;

/// Everything is told at once and is over at once, so that only what a test is about takes time.
pub(super) const QUICK: &str = r#"
    [alert]
    group_wait = "1 s"
    [[alert.channel]]
    name = "mail"
    exec.command = ["true"]
    [[alert.rule]]
    check = "*"
    for = "0 s"
    for_critical = "0 s"
    keep_firing = "0 s"
    samples = "1 of 1"
"#;

/// A book, the time, and what was told.
pub(super) struct World {
    pub(super) book: Book,
    pub(super) now: Timestamp,
    pub(super) setup: Arc<Setup>,
    pub(super) inbox: Vec<Message>,
    /// What each recipient believes to fire.
    pub(super) belief: BTreeMap<String, BTreeSet<String>>,
    /// What is wrong now, by instance, check and object.
    pub(super) bad: BTreeMap<(String, String, String), (Level, f64)>,
    /// Checks that cannot see, by instance and check.
    pub(super) blind: BTreeSet<(String, String)>,
    /// The logs of all alerts.
    pub(super) events: Vec<AlertEvent>,
    /// The timelines of all incidents.
    pub(super) entries: Vec<Entry>,
    /// Whether nothing is known of servers but what the configuration says.
    pub(super) strange: bool,
    checks: BTreeSet<String>,
    instances: BTreeMap<String, bool>,
    disk: Disk,
}

/// What was saved.
#[derive(Default)]
struct Disk {
    alerts: BTreeMap<String, (Alert, Tally)>,
    groups: BTreeMap<String, Group>,
    silences: BTreeMap<i64, Silence>,
    windows: BTreeMap<String, Window>,
    incidents: BTreeMap<i64, pawang_core::alert::Incident>,
    keys: BTreeSet<String>,
}

/// Returns what a file means.
pub(super) fn setup(text: &str) -> Arc<Setup> {
    let config = pawang_config::parse(text, "pawang.toml").expect("the file is right");
    Arc::new(Setup::compile(&config).expect("so is what it says"))
}

/// Returns so many seconds.
pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl World {
    pub(super) fn new(text: &str) -> World {
        let now: Timestamp = "2026-11-16T00:00:00Z".parse().expect("a Monday");
        let setup = setup(text);
        World {
            book: Book::new(setup.clone(), Saved::default(), now),
            now,
            setup,
            inbox: Vec::new(),
            belief: BTreeMap::new(),
            bad: BTreeMap::new(),
            blind: BTreeSet::new(),
            events: Vec::new(),
            entries: Vec::new(),
            strange: false,
            checks: BTreeSet::new(),
            instances: BTreeMap::new(),
            disk: Disk::default(),
        }
    }

    /// Sets how bad something is, and judges its instance.
    pub(super) fn set(&mut self, instance: &str, check: &str, level: Level) {
        let value = if level == Level::Ok { 0.0 } else { 93.0 };
        self.put(instance, check, "", level, value);
        self.judge(instance);
    }

    /// Sets how bad something is.
    pub(super) fn put(
        &mut self,
        instance: &str,
        check: &str,
        object: &str,
        level: Level,
        value: f64,
    ) {
        self.instances.entry(instance.to_owned()).or_insert(true);
        self.checks.insert(check.to_owned());
        let place = (instance.to_owned(), check.to_owned(), object.to_owned());
        match level {
            Level::Ok => self.bad.remove(&place),
            level => self.bad.insert(place, (level, value)),
        };
    }

    /// Lets a server answer or not.
    pub(super) fn reach(&mut self, instance: &str, reached: bool) {
        self.instances.insert(instance.to_owned(), reached);
    }

    /// Judges an instance.
    pub(super) fn judge(&mut self, instance: &str) {
        let evaluation = Arc::new(self.evaluation(instance));
        let mut subject = subject(instance);
        if self.strange {
            (subject.role, subject.cluster) = (None, None);
        }
        let subject = Arc::new(subject);
        self.take(Event::Judged {
            evaluation,
            asked: None,
            subject,
        });
    }

    /// Judges all instances.
    pub(super) fn judge_all(&mut self) {
        let names: Vec<String> = self.instances.keys().cloned().collect();
        for name in names {
            self.judge(&name);
        }
    }

    /// Lets time go by; something is done whenever the book asks for it, and every instance is judged every minute.
    pub(super) fn wait(&mut self, time: Duration) {
        self.go(time, Some(seconds(60)));
    }

    /// Lets time go by; instances are judged every so often.
    pub(super) fn go(&mut self, time: Duration, judge: Option<Duration>) {
        let end = later(self.now, time);
        let mut judge_at = judge.map(|every| later(self.now, every));
        loop {
            let next = self
                .book
                .next_at()
                .filter(|at| *at <= end)
                .map(|at| at.max(self.now));
            let judged = judge_at.filter(|at| *at <= end);
            match (next, judged) {
                (None, None) => break,
                (Some(at), judged) if judged.is_none_or(|judged| at <= judged) => {
                    let stuck = at == self.now;
                    self.now = at;
                    self.take(Event::Tick);
                    assert!(
                        !stuck || self.book.next_at().is_none_or(|next| next > at),
                        "the book asks for the same time again and again"
                    );
                }
                (_, judged) => {
                    self.now = judged.expect("one of them is there");
                    judge_at = judge.map(|every| later(self.now, every));
                    self.judge_all();
                }
            }
        }
        self.now = end;
    }

    /// Lets something happen.
    pub(super) fn take(&mut self, event: Event) {
        let changes = self.book.step(event, self.now);
        self.save(changes);
    }

    /// Asks for something.
    pub(super) fn ask(&mut self, request: Request) -> Result<Done, Report> {
        let order = Order {
            by: "ayu".to_owned(),
            request,
        };
        let (done, changes) = self.book.order(&order, self.now)?;
        self.save(changes);
        Ok(done)
    }

    /// Puts another configuration in force.
    pub(super) fn configure(&mut self, text: &str) {
        self.setup = setup(text);
        // Whoever reads a channel that was taken out knows that nothing comes there any more.
        let channels = &self.setup.config.channels;
        self.belief.retain(|reader, _| {
            let channel = reader.split('/').next();
            channels
                .iter()
                .any(|known| Some(&known.name[..]) == channel)
        });
        self.take(Event::Setup(self.setup.clone()));
    }

    /// Stops and begins again with what was saved.
    pub(super) fn restart(&mut self) {
        let disk = &self.disk;
        let last = |ids: Option<(&i64, _)>| ids.map_or(0, |(id, ())| *id);
        let saved = Saved {
            alerts: disk.alerts.values().cloned().collect(),
            groups: disk.groups.values().cloned().collect(),
            silences: disk.silences.values().cloned().collect(),
            windows: disk.windows.values().cloned().collect(),
            incidents: disk
                .incidents
                .values()
                .filter(|i| i.closed.is_none())
                .cloned()
                .collect(),
            last_silence: last(disk.silences.last_key_value().map(|(id, _)| (id, ()))),
            last_window: disk.windows.len().try_into().expect("few"),
            last_incident: last(disk.incidents.last_key_value().map(|(id, _)| (id, ()))),
            ..Saved::default()
        };
        self.book = Book::new(self.setup.clone(), saved, self.now);
    }

    fn save(&mut self, changes: Changes) {
        self.events.extend(changes.events);
        self.entries.extend(changes.entries);
        for (alert, tally) in changes.alerts {
            self.disk
                .alerts
                .insert(alert.fingerprint.clone(), (alert, tally));
        }
        for name in changes.forgotten {
            self.disk.alerts.remove(&name);
        }
        for group in changes.groups {
            self.disk.groups.insert(group.key.clone(), group);
        }
        for key in changes.groups_gone {
            self.disk.groups.remove(&key);
        }
        self.disk
            .silences
            .extend(changes.silences.into_iter().map(|s| (s.id, s)));
        self.disk
            .windows
            .extend(changes.windows.into_iter().map(|w| (w.name.clone(), w)));
        self.disk
            .incidents
            .extend(changes.incidents.into_iter().map(|i| (i.id, i)));
        for message in changes.messages {
            assert!(
                self.disk.keys.insert(message.key.clone()),
                "two messages have one key"
            );
            let belief = self.belief.entry(message.recipient.key()).or_default();
            for notice in &message.notices {
                if notice.firing {
                    belief.insert(notice.fingerprint.clone());
                } else {
                    assert!(
                        belief.remove(&notice.fingerprint),
                        "an end without a begin: {}",
                        message.subject
                    );
                }
            }
            let shown = message.firing.saturating_sub(message.left_out);
            assert_eq!(
                shown,
                belief
                    .iter()
                    .filter(|name| { message.notices.iter().any(|n| n.fingerprint == **name) })
                    .count()
            );
            self.inbox.push(message);
        }
    }

    /// Returns the subjects of what was told since it was asked last, by recipient.
    pub(super) fn told(&mut self) -> Vec<String> {
        let all = std::mem::take(&mut self.inbox);
        all.iter()
            .map(|m| format!("{}: {}", m.recipient.key(), m.subject))
            .collect()
    }

    /// Returns the fingerprint of a check of an instance.
    pub(super) fn name(&self, instance: &str, check: &str) -> String {
        fingerprint(check, instance, None, "")
    }

    fn evaluation(&self, instance: &str) -> Evaluation {
        let reached = self.instances[instance];
        let verdicts = self
            .checks
            .iter()
            .map(|check| self.verdict(instance, check, reached));
        Evaluation {
            instance: Instance {
                name: instance.to_owned(),
                ..Instance::default()
            },
            at: self.now,
            server: reached.then(server),
            profile: None,
            verdicts: verdicts.collect(),
            costs: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    fn verdict(&self, instance: &str, check: &str, reached: bool) -> Verdict {
        let blind = self
            .blind
            .contains(&(instance.to_owned(), check.to_owned()));
        let judged = (reached || check == "connection") && !blind;
        let here = |place: &(String, String, String)| place.0 == instance && place.1 == check;
        let bad = self.bad.iter().filter(|(place, _)| judged && here(place));
        let findings: Vec<Finding> = bad
            .map(|((_, _, object), (level, value))| {
                finding(instance, check, object, *level, *value)
            })
            .collect();
        let measures = findings.iter().map(|finding| Measure {
            object: finding.object.clone(),
            value: finding.value.unwrap_or_default(),
            level: finding.level,
            warning: Some(90.0),
            critical: None,
        });
        Verdict {
            check: check.to_owned(),
            title: check.to_owned(),
            outcome: if judged {
                Outcome::Judged
            } else {
                Outcome::Unknown
            },
            level: findings
                .iter()
                .map(|finding| finding.level)
                .max()
                .unwrap_or(Level::Ok),
            unit: Unit::Percent,
            measures: measures.collect(),
            measures_total: findings.len(),
            findings_total: findings.len(),
            findings,
            note: None,
        }
    }
}

fn finding(instance: &str, check: &str, object: &str, level: Level, value: f64) -> Finding {
    Finding {
        check: check.to_owned(),
        object: object.to_owned(),
        database: None,
        level,
        title: format!("{value} % used (limit 90 %)"),
        value: Some(value),
        unit: Unit::Percent,
        threshold: Some(90.0),
        since: None,
        evidence: vec![("path".to_owned(), "/data".to_owned())],
        remedy: "free some space".to_owned(),
        blind: None,
        fingerprint: fingerprint(check, instance, None, object),
    }
}

fn subject(name: &str) -> Subject {
    Subject {
        name: name.to_owned(),
        group: Some("prod".to_owned()),
        role: Some(Role::Primary),
        production: true,
        host: Some(format!("host-of-{name}")),
        cluster: Some("7".to_owned()),
        labels: BTreeMap::from([("team".to_owned(), "dba".to_owned())]),
    }
}

fn server() -> Server {
    serde_json::from_value(serde_json::json!({
        "version": 180_000, "version_text": "18.0", "role": "primary",
        "epoch": { "system_identifier": 7, "timeline": 1, "started_at": "2026-11-01T00:00:00Z" },
        "user": "pawang", "superuser": false, "monitor": true, "database": "postgres",
        "data_directory": null, "local": false
    }))
    .expect("it is a server")
}
