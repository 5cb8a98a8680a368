//! Runs one test: its samples become evaluations, its orders are given, and what came of it is compared.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use pawang_config::matches;
use pawang_core::alert::{Draft, Order, Request};
use pawang_core::{Level, Timestamp, fingerprint};
use serde::Serialize;

use super::look::{Asked, Graded, asked, evaluation};
use super::values::{Cell, cells};
use super::{Do, Expect, Fired, Given, Placed, Replay, Sample, Test, length};
use crate::book::Subject;
use crate::matcher;
use crate::setup::Setup;

/// Looks that one test may take.
const LOOKS_MAX: u64 = 200_000;
/// Who gives the orders of a test.
const TESTER: &str = "test";

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// When, as the test writes it.
    pub at: String,
    /// What: `disk-space /data: state`.
    pub what: String,
    /// What must be.
    pub expected: String,
    /// What is.
    pub found: String,
}

/// What came of one test.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// The test's name.
    pub name: String,
    /// What is not as it must be; nothing when the test is passed.
    pub differences: Vec<Difference>,
    /// Every time that an alert fired.
    pub fired: Vec<Fired>,
    /// Every message: when, to whom, and its subject.
    pub messages: Vec<(Timestamp, String, String)>,
}

/// Runs a test; `grade` says how bad a value is, or that there is no such check.
///
/// # Errors
/// The test cannot be run: samples that cannot be read, an order that is refused, too much time.
pub fn run(
    test: &Test,
    setup: &Arc<Setup>,
    subject: &Subject,
    grade: &dyn Fn(&Asked<'_>) -> Option<Graded>,
) -> Result<Outcome, String> {
    let mut points = points(test)?;
    points.sort_by_key(|(at, ..)| *at);
    for (_, placed, _) in &points {
        let asked = asked(test, subject, placed, None);
        grade(&asked).ok_or_else(|| format!("there is no check \"{}\"", placed.check))?;
    }
    let looks = looks(test, &points)?;
    let mut replay = Replay::new(Arc::clone(setup), test.starts);
    let subject = Arc::new(subject.clone());
    let mut seen: BTreeMap<Placed, Cell> = BTreeMap::new();
    let (mut points, mut orders) = (
        points.into_iter().peekable(),
        sorted(&test.orders, |o| o.at.0),
    );
    let mut expects = sorted(&test.expects, |expect| expect.at.0);
    let mut outcome = Outcome {
        name: test.name.clone(),
        ..Outcome::default()
    };
    for offset in looks {
        let now = instant(test, offset)?;
        while let Some((_, placed, cell)) = points.next_if(|(at, ..)| *at <= offset) {
            seen.insert(placed, cell);
        }
        // What is asked for between two looks is done and compared then.
        let before = offset.saturating_sub(Duration::from_nanos(1));
        between(
            test,
            &mut replay,
            &mut orders,
            &mut expects,
            before,
            &mut outcome,
        )?;
        if let Some((evaluation, asked)) = evaluation(test, &subject, &seen, now, grade) {
            replay.judged(
                Arc::new(evaluation),
                Some(Arc::new(asked)),
                Arc::clone(&subject),
            );
        } else {
            replay.advance(now);
        }
        between(
            test,
            &mut replay,
            &mut orders,
            &mut expects,
            offset,
            &mut outcome,
        )?;
    }
    outcome.fired = replay.fired().to_vec();
    let messages = replay.messages().iter();
    outcome.messages = messages
        .map(|m| (m.created_at, m.recipient.key(), m.subject.clone()))
        .collect();
    Ok(outcome)
}

fn sorted<T>(list: &[T], at: impl Fn(&T) -> Duration) -> VecDeque<&T> {
    let mut list: Vec<&T> = list.iter().collect();
    list.sort_by_key(|one| at(one));
    list.into()
}

fn instant(test: &Test, offset: Duration) -> Result<Timestamp, String> {
    test.starts
        .checked_add(offset)
        .map_err(|error| format!("the test is too long: {error}"))
}

/// Returns every sample of a test with its time.
fn points(test: &Test) -> Result<Vec<(Duration, Placed, Cell)>, String> {
    let mut points = Vec::new();
    for sample in &test.samples {
        let placed = Placed {
            check: sample.check.clone(),
            database: sample.database.clone(),
            object: sample.object.clone(),
        };
        let every = sample.every.unwrap_or(test.every).0;
        for (index, cell) in read(sample)?.into_iter().enumerate() {
            let index = u32::try_from(index).map_err(|_| "there are too many samples")?;
            let later = every
                .checked_mul(index)
                .and_then(|later| sample.at.0.checked_add(later));
            points.push((later.ok_or("the test is too long")?, placed.clone(), cell));
        }
    }
    Ok(points)
}

fn read(sample: &Sample) -> Result<Vec<Cell>, String> {
    let wrong = |text: &str| Err(format!("sample of check \"{}\": {text}", sample.check));
    match (sample.value, sample.level, &sample.values) {
        (Some(value), None, None) if value.is_finite() => Ok(vec![Cell::Value(value)]),
        (None, Some(Level::Info), None) => wrong("level info never becomes an alert"),
        (None, Some(level), None) => Ok(vec![Cell::Level(level)]),
        (None, None, Some(values)) => cells(values).or_else(|text| wrong(&text)),
        _ => wrong("exactly one of value, level and values is needed"),
    }
}

/// Returns when the instance is looked at: so often as the test says, and whenever there is a new sample.
fn looks(test: &Test, points: &[(Duration, Placed, Cell)]) -> Result<BTreeSet<Duration>, String> {
    if test.every.0.is_zero() {
        return Err("every must be longer than nothing".to_owned());
    }
    let ends = points.iter().map(|(at, ..)| *at);
    let ends = ends.chain(test.orders.iter().map(|order| order.at.0));
    let ends = ends.chain(test.expects.iter().map(|expect| expect.at.0));
    let end = ends.max().unwrap_or_default();
    let count = end.as_nanos() / test.every.0.as_nanos();
    if count > u128::from(LOOKS_MAX) {
        return Err(format!(
            "the test takes {count} looks of at most {LOOKS_MAX}; a longer every makes fewer"
        ));
    }
    let mut looks: BTreeSet<Duration> = points.iter().map(|(at, ..)| *at).collect();
    let mut at = Duration::ZERO;
    while at <= end {
        looks.insert(at);
        at += test.every.0;
    }
    looks.insert(end);
    Ok(looks)
}

/// Gives the orders and compares the expectations that are due until an offset, in their order.
fn between(
    test: &Test,
    replay: &mut Replay,
    orders: &mut VecDeque<&Given>,
    expects: &mut VecDeque<&Expect>,
    until: Duration,
    outcome: &mut Outcome,
) -> Result<(), String> {
    loop {
        let order = orders
            .front()
            .map(|order| order.at.0)
            .filter(|at| *at <= until);
        let expect = expects
            .front()
            .map(|expect| expect.at.0)
            .filter(|at| *at <= until);
        match (order, expect) {
            (Some(at), expect) if expect.is_none_or(|expect| at <= expect) => {
                let Some(order) = orders.pop_front() else {
                    return Ok(());
                };
                give(test, replay, order)?;
            }
            (_, Some(at)) => {
                let Some(expect) = expects.pop_front() else {
                    return Ok(());
                };
                replay.advance(instant(test, at)?);
                compare(test, replay, expect, &mut outcome.differences);
            }
            (_, None) => return Ok(()),
        }
    }
}

fn give(test: &Test, replay: &mut Replay, given: &Given) -> Result<(), String> {
    let now = instant(test, given.at.0)?;
    let done = request(test, given, now).and_then(|request| {
        let by = TESTER.to_owned();
        let done = replay.order(&Order { by, request }, now);
        done.map_err(|report| match report.detail {
            Some(detail) => format!("{}: {detail}", report.primary),
            None => report.primary,
        })
    });
    done.map(drop)
        .map_err(|text| format!("order at {}: {text}", length(given.at.0)))
}

fn request(test: &Test, given: &Given, now: Timestamp) -> Result<Request, String> {
    let alert = || {
        let check = given.check.as_deref().ok_or("check is needed")?;
        let database = given.database.as_deref();
        Ok::<String, String>(fingerprint(check, &test.instance, database, &given.object))
    };
    let end = given.length.map(|length| now.checked_add(length.0));
    let end = end.transpose().map_err(|error| error.to_string())?;
    let until = || end.ok_or_else(|| "for is needed".to_owned());
    let matchers = given.matchers.iter().map(|text| matcher::parse(text));
    let draft = Draft {
        matchers: matchers.collect::<Result<_, _>>()?,
        reason: TESTER.to_owned(),
        everything: true,
    };
    let (note, reason) = (String::new(), TESTER.to_owned());
    Ok(match given.what {
        Do::Acknowledge => Request::Acknowledge {
            alerts: vec![alert()?],
            until: end,
            note,
        },
        Do::Unacknowledge => Request::Unacknowledge {
            alerts: vec![alert()?],
        },
        Do::Snooze => Request::Snooze {
            alerts: vec![alert()?],
            until: until()?,
            note,
        },
        Do::Mute => Request::Mute {
            alert: alert()?,
            until: until()?,
            reason,
        },
        Do::Unmute => Request::Unmute { alert: alert()? },
        Do::Silence => Request::AddSilence {
            draft,
            starts_at: None,
            ends_at: until()?,
        },
        Do::Window => Request::AddWindow {
            draft,
            schedule: given.schedule.clone().ok_or("schedule is needed")?,
            name: None,
        },
    })
}

fn compare(test: &Test, replay: &Replay, expect: &Expect, differences: &mut Vec<Difference>) {
    let database = expect.database.as_deref().unwrap_or("");
    let name = match &expect.check {
        Some(check) => [check, database, &expect.object]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" "),
        None => "all".to_owned(),
    };
    let mut facts = about(test, replay, expect);
    facts.retain(|(_, expected, found)| expected != found);
    differences.extend(facts.into_iter().map(|(what, expected, found)| Difference {
        at: length(expect.at.0),
        what: format!("{name}: {what}"),
        expected,
        found,
    }));
}

/// Returns what must be and what is, of everything that is asked for.
fn about(test: &Test, replay: &Replay, expect: &Expect) -> Vec<(&'static str, String, String)> {
    let mut facts = Vec::new();
    let none = || "none".to_owned();
    if let Some(messages) = expect.messages {
        let found = replay.messages().len().to_string();
        facts.push(("messages", messages.to_string(), found));
    }
    let Some(check) = &expect.check else {
        return facts;
    };
    let database = expect.database.as_deref();
    let print = fingerprint(check, &test.instance, database, &expect.object);
    let alert = replay.alert(&print);
    if let Some(state) = &expect.state {
        let found = match alert.map_or("ok", |alert| alert.condition.as_str()) {
            "resolved" if state == "ok" => "ok",
            found => found,
        };
        facts.push(("state", state.clone(), found.to_owned()));
    }
    if let Some(level) = expect.level {
        let found = alert.and_then(|alert| alert.firing());
        let found = found.map_or_else(none, |level| level.to_string());
        facts.push(("level", level.to_string(), found));
    }
    if let Some(priority) = expect.priority {
        let found = alert.map_or_else(none, |alert| alert.priority.to_string());
        facts.push(("priority", priority.to_string(), found));
    }
    if let Some(handling) = &expect.handling {
        let found = alert.map_or_else(none, |alert| alert.handling.state().as_str().to_owned());
        facts.push(("handling", handling.clone(), found));
    }
    if let Some(told) = &expect.told {
        let told: BTreeSet<String> = told.iter().cloned().collect();
        facts.push(("told", names(told), names(replay.told(&print))));
    }
    facts
}

fn names(names: BTreeSet<String>) -> String {
    if names.is_empty() {
        return "nobody".to_owned();
    }
    names.into_iter().collect::<Vec<_>>().join(", ")
}

impl Test {
    /// Returns what is known of its instance, where the configuration does not know it.
    pub fn subject(&self, setup: &Setup) -> Subject {
        let group = self.group.as_deref();
        let mut patterns = setup.config.production.iter();
        let production = group.is_some_and(|group| patterns.any(|p| matches(p, group)));
        Subject {
            name: self.instance.clone(),
            group: self.group.clone(),
            labels: self.labels.clone(),
            host: self.host.clone(),
            cluster: None,
            role: self.role,
            production: production || setup.all_production,
        }
    }
}
