//! Plans of auto_explain, by statement and plan.
//!
//! Of more pairs than fit, those with the smallest keys stay, so that the same ones stay however the log was cut, with exact numbers.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::{Event, Options, ShapeId, Shapes};
use crate::kind::{self, KindId};
use crate::plan;
use crate::regression::{PlanSeen, Use};
use crate::report::{self, PlanFinding, Top};

/// Most pairs of statement and plan.
const MAX_PAIRS: usize = 5_000;
/// Most bytes of a sample.
const MAX_SAMPLE: usize = 16 << 10;
/// Most findings of a sample.
const MAX_FINDINGS: usize = 20;
/// Most query identifiers of one pair: of databases that have the same tables.
const MAX_QUERY_IDS: usize = 16;

/// Plans of auto_explain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plans {
    count: u64,
    unread: u64,
    /// In the order of their keys.
    pairs: Vec<Pair>,
    /// Some pair had to go.
    #[serde(default)]
    dropped: bool,
}

/// One statement with one plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pair {
    plan: u64,
    shape: ShapeId,
    count: u64,
    total: u64,
    max: u64,
    /// The plan of the first of the longest.
    sample: String,
    findings: Vec<PlanFinding>,
    /// When it was used, by query identifier; 0 where the log does not say.
    uses: BTreeMap<i64, Use>,
}

impl Pair {
    fn key(&self) -> (u64, ShapeId) {
        (self.plan, self.shape)
    }

    /// Adds uses; of more identifiers than fit, the smallest stay.
    fn used(&mut self, query_id: i64, more: Use) {
        let known = self.uses.entry(query_id).or_default();
        known.absorb(more);
        if self.uses.len() > MAX_QUERY_IDS {
            self.uses.pop_last();
        }
    }
}

impl Plans {
    /// Adds one record.
    pub(crate) fn take(&mut self, event: &Event<'_>, shapes: &mut Shapes) {
        static PLAN: LazyLock<Option<KindId>> = LazyLock::new(|| kind::find("plan"));
        if Some(event.kind) != *PLAN {
            return;
        }
        self.count += 1;
        let message = String::from_utf8_lossy(event.record.message);
        let Ok(plan) = plan::read(&message) else {
            self.unread += 1;
            return;
        };
        let shape = match &plan.query {
            Some(query) => shapes.of(query.as_bytes()),
            None => event.shape.unwrap_or(ShapeId(0)),
        };
        let duration = microseconds(&message).unwrap_or_default();
        let key = (plan::fingerprint(&plan), shape);
        let (query_id, one) = (query_id(&plan, event), Use::once(event.record.at));
        match self.pairs.binary_search_by_key(&key, Pair::key) {
            Ok(at) => {
                let pair = &mut self.pairs[at];
                pair.count += 1;
                pair.total = pair.total.saturating_add(duration);
                if duration > pair.max {
                    pair.max = duration;
                    pair.sample = sample(&message);
                    pair.findings = findings(&plan);
                }
                pair.used(query_id, one);
            }
            Err(at) if at >= MAX_PAIRS => self.dropped = true,
            Err(at) => {
                let pair = Pair {
                    plan: key.0,
                    shape,
                    count: 1,
                    total: duration,
                    max: duration,
                    sample: sample(&message),
                    findings: findings(&plan),
                    uses: BTreeMap::from([(query_id, one)]),
                };
                self.pairs.insert(at, pair);
                self.bound();
            }
        }
    }

    fn bound(&mut self) {
        self.dropped |= self.pairs.len() > MAX_PAIRS;
        self.pairs.truncate(MAX_PAIRS);
    }

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, later: Plans) {
        self.count += later.count;
        self.unread += later.unread;
        self.dropped |= later.dropped;
        let mut merged: Vec<Pair> = Vec::with_capacity(self.pairs.len() + later.pairs.len());
        let mut own = std::mem::take(&mut self.pairs).into_iter().peekable();
        for pair in later.pairs {
            while let Some(before) = own.next_if(|own| own.key() <= pair.key()) {
                merged.push(before);
            }
            match merged.last_mut().filter(|last| last.key() == pair.key()) {
                Some(last) => {
                    last.count += pair.count;
                    last.total = last.total.saturating_add(pair.total);
                    if pair.max > last.max {
                        last.max = pair.max;
                        last.sample = pair.sample;
                        last.findings = pair.findings;
                    }
                    for (query_id, more) in pair.uses {
                        last.used(query_id, more);
                    }
                }
                None => merged.push(pair),
            }
        }
        merged.extend(own);
        self.pairs = merged;
        self.bound();
    }

    /// Returns when each plan of each statement was used.
    pub(crate) fn seen(&self) -> Vec<PlanSeen> {
        let seen = self.pairs.iter().map(|pair| PlanSeen {
            plan: pair.plan,
            shape: pair.shape.0,
            sample: pair.sample.clone(),
            uses: pair.uses.clone(),
        });
        seen.collect()
    }

    /// Tells whether no pair had to go.
    pub(crate) fn complete(&self) -> bool {
        !self.dropped
    }

    /// Returns its part of the report.
    pub(crate) fn report(&self, shapes: &Shapes, options: &Options) -> report::Plans {
        let mut pairs: Vec<&Pair> = self.pairs.iter().collect();
        pairs.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.key().cmp(&b.key())));
        let items = pairs
            .into_iter()
            .take(options.items)
            .map(|pair| report::PlanShape {
                shape: format!("{:016x}", pair.shape.0),
                text: shapes.text(pair.shape).to_owned(),
                plan: format!("{:016x}", pair.plan),
                count: pair.count,
                total: pair.total,
                max: pair.max,
                sample: pair.sample.clone(),
                findings: pair.findings.clone(),
            });
        report::Plans {
            count: self.count,
            unread: self.unread,
            plans: Top {
                items: items.collect(),
                total: self.pairs.len() as u64,
                complete: !self.dropped,
            },
        }
    }
}

/// Returns the query identifier of a plan; 0 when the log does not say.
///
/// What the prefix says is that of the statement that the client sent: a plan with a context is that of another one within it.
fn query_id(plan: &plan::Plan, event: &Event<'_>) -> i64 {
    match plan.query_id {
        0 if event.record.context.is_empty() => event.record.query_id,
        own => own,
    }
}

/// Returns the plan as text without constants, cut to its bound.
fn sample(message: &str) -> String {
    let mut sample = plan::mask(message);
    if sample.len() > MAX_SAMPLE {
        let mut end = MAX_SAMPLE;
        while !sample.is_char_boundary(end) {
            end -= 1;
        }
        sample.truncate(end);
        sample.shrink_to_fit();
    }
    sample
}

/// Returns what is wrong with a plan, whose texts have no constants.
fn findings(plan: &plan::Plan) -> Vec<PlanFinding> {
    let mut findings = plan::review(plan);
    findings.truncate(MAX_FINDINGS);
    findings
}

/// Reads the duration of a message, in microseconds, without going through floating point.
fn microseconds(message: &str) -> Option<u64> {
    let (_, rest) = message.split_once("duration: ")?;
    let number = rest.split(' ').next()?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = format!("{fraction:0<3}");
    let thousandths: u64 = fraction.get(..3)?.parse().ok()?;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(1_000)?
        .checked_add(thousandths)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::Record;

    fn message(duration: u32, table: u8, secret: u32) -> String {
        format!(
            "duration: {}.{:03} ms  plan:\nQuery Text: select * from t{table} where a = {secret}\nSeq Scan on t{table}  (cost=0.00..1.01 rows=1 width=4)\n  Filter: (a = {secret})",
            duration / 1000,
            duration % 1000
        )
    }

    fn take(plans: &mut Plans, shapes: &mut Shapes, message: &str) {
        let record = Record {
            message: message.as_bytes(),
            ..Record::default()
        };
        let event = Event {
            record: &record,
            kind: kind::find("plan").unwrap(),
            shape: None,
        };
        plans.take(&event, shapes);
    }

    fn tally(messages: &[String], shapes: &mut Shapes) -> Plans {
        let mut plans = Plans::default();
        messages
            .iter()
            .for_each(|message| take(&mut plans, shapes, message));
        plans
    }

    #[test]
    fn plans_add_up_by_statement_and_plan() {
        let mut shapes = Shapes::default();
        let messages = [
            message(1_500, 1, 7),
            message(2_750, 1, 7),
            message(900, 2, 7),
            "duration: 1.000 ms  plan:\nnonsense".to_owned(),
        ];
        let plans = tally(&messages, &mut shapes);
        let report = plans.report(&shapes, &Options::default());
        assert_eq!((report.count, report.unread), (4, 1));
        let first = &report.plans.items[0];
        assert_eq!((first.count, first.total, first.max), (2, 4_250, 2_750));
        assert!(first.sample.contains("Filter: (a = ?)"), "{}", first.sample);
        assert!(!first.sample.contains('7'), "{}", first.sample);
    }

    #[test]
    fn durations_are_read_exactly() {
        assert_eq!(microseconds("duration: 12.345 ms  plan:"), Some(12_345));
        assert_eq!(microseconds("duration: 12 ms  plan:"), Some(12_000));
        assert_eq!(microseconds("duration: x"), None);
    }

    #[test]
    fn the_same_pairs_stay_whatever_the_order() {
        let mut shapes = Shapes::default();
        let messages: Vec<String> = (0..40)
            .map(|n| message(1_000 + n, u8::try_from(n).unwrap(), n))
            .collect();
        let mut forward = tally(&messages, &mut shapes);
        forward.pairs.truncate(MAX_PAIRS);
        let reversed: Vec<String> = messages.iter().rev().cloned().collect();
        assert_eq!(forward, tally(&reversed, &mut shapes));
    }

    proptest! {
        #[test]
        fn any_split_adds_up_to_the_same(records in prop::collection::vec((1_u32..5_000, 0_u8..6, 0_u32..99), 1..60), cut in 0_usize..60, second in 0_usize..60) {
            let mut shapes = Shapes::default();
            let messages: Vec<String> = records.iter().map(|(duration, table, secret)| message(*duration, *table, *secret)).collect();
            let whole = tally(&messages, &mut shapes);
            let cut = cut.min(messages.len());
            let second = second.clamp(cut, messages.len());
            let parts = [&messages[..cut], &messages[cut..second], &messages[second..]];
            let [a, b, c] = parts.map(|part| tally(part, &mut shapes));
            let mut left = a.clone();
            left.absorb(b.clone());
            left.absorb(c.clone());
            let mut right = b;
            right.absorb(c);
            let mut all = a;
            all.absorb(right);
            prop_assert_eq!(&left, &whole);
            prop_assert_eq!(&all, &whole);
        }
    }
}
