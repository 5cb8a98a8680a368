//! Whether the plan of a statement changed, from the plans of it in the log.

use std::collections::{BTreeMap, BTreeSet};

use pawang_core::Timestamp;

use super::trail::{Log, PlanUse, Use};
use super::{Cause, CauseKind, HOUR_SECONDS};
use crate::plan::{self, Node};

const MICROSECONDS: i64 = 1_000_000;
/// A plan that was in use so long before the statement became slower is not new.
const NEW_AFTER_HOURS: i64 = 25;
/// A new plan of fewer than one in so many logged executions does not make the statement slower.
const RARE: u64 = 10;
/// Nodes of a plan that are named; more of them are counted.
const NODES_MAX: usize = 3;

/// What the log says of the plans of a statement.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Story {
    /// That it changed, with the proof of both plans.
    pub(super) changed: Option<Cause>,
    /// What the log says, for people.
    pub(super) told: String,
    /// Relations and indexes of its plans, in lower case.
    pub(super) names: BTreeSet<String>,
}

/// One plan of the statement over all of the log.
struct Known<'a> {
    plan: u64,
    sample: &'a str,
    used: Use,
    /// Uses since the hour before the one in which the statement became slower.
    fresh: Use,
    /// How many of them are since that hour.
    since: u64,
    /// Whether it was used within a day before that.
    usual: bool,
    by_id: bool,
}

impl Story {
    /// Returns what a log says of a statement that is slower since an hour.
    pub(super) fn of(log: &Log, query_ids: &[i64], text: Option<&str>, since_hour: i64) -> Story {
        if let Err(why) = &log.read {
            return Story {
                told: format!("the server log was not read: {why}"),
                ..Story::default()
            };
        }
        let uses = log.plans(query_ids, text);
        let known = known(&uses, since_hour);
        let names = known
            .values()
            .flat_map(|known| names(known.sample))
            .collect();
        let (changed, told) = judged(&uses, &known);
        Story {
            changed,
            told,
            names,
        }
    }
}

fn known<'a>(uses: &[PlanUse<'a>], since_hour: i64) -> BTreeMap<u64, Known<'a>> {
    let since = since_hour * HOUR_SECONDS * MICROSECONDS;
    let hour = HOUR_SECONDS * MICROSECONDS;
    let day = (since - NEW_AFTER_HOURS * hour)..(since - hour);
    let mut known: BTreeMap<u64, Known<'a>> = BTreeMap::new();
    for one in uses {
        let entry = known.entry(one.plan).or_insert(Known {
            plan: one.plan,
            sample: one.sample,
            used: Use::default(),
            fresh: Use::default(),
            since: 0,
            usual: false,
            by_id: true,
        });
        entry.used.absorb(one.used);
        entry.usual |= one.used.first_at < day.end && one.used.last_at >= day.start;
        entry.by_id &= one.by_id;
        if one.used.last_at >= since - hour {
            entry.fresh.absorb(one.used);
        }
        if one.used.last_at >= since {
            entry.since += one.used.count;
            // The sample of what is slow says more.
            entry.sample = one.sample;
        }
    }
    known
}

/// Compares the plans of before and since.
fn judged(uses: &[PlanUse<'_>], known: &BTreeMap<u64, Known<'_>>) -> (Option<Cause>, String) {
    let Some(now) = now(uses, known) else {
        let told = match known.is_empty() {
            true => "the server log holds no plan of it (auto_explain)",
            false => "the server log holds plans of it from before only",
        };
        return (None, told.to_owned());
    };
    let title = title(now.sample);
    if now.usual {
        let told = format!("the server log shows the same plan before and since: {title}");
        return (None, told);
    }
    let before = known
        .values()
        .filter(|other| other.plan != now.plan && other.used.first_at < now.fresh.first_at);
    match before.max_by_key(|other| (other.usual, other.used.count)) {
        None => (
            None,
            format!("the server log holds its plan since then only, none from before: {title}"),
        ),
        Some(before) => {
            let cause = flip(before, now);
            let told = "the server log holds its plans of before and since".to_owned();
            (Some(cause), told)
        }
    }
}

/// Returns the plan that the statement has since it is slower: the newest that is not rare, or the most frequent.
fn now<'k, 'a>(uses: &[PlanUse<'_>], known: &'k BTreeMap<u64, Known<'a>>) -> Option<&'k Known<'a>> {
    let fresh = known.values().filter(|known| known.since > 0);
    let common = |known: &&Known<'_>| {
        let later = uses
            .iter()
            .filter(|one| one.used.last_at >= known.fresh.first_at);
        let later: u64 = later.map(|one| one.used.count).sum();
        !known.usual && known.since * RARE >= later
    };
    let new = fresh.clone().filter(common);
    new.max_by_key(|known| known.fresh.first_at)
        .or_else(|| fresh.max_by_key(|known| (known.usual, known.since)))
}

fn flip(before: &Known<'_>, now: &Known<'_>) -> Cause {
    let at = |microsecond: i64| Timestamp::from_microsecond(microsecond).unwrap_or_default();
    let clock = |microsecond| at(microsecond).strftime("%Y-%m-%d %H:%M:%S UTC");
    let (old, new) = difference(before.sample, now.sample);
    let besides = match before.used.last_at > now.fresh.first_at {
        true => ", which is used besides",
        false => "",
    };
    let joined = match before.by_id && now.by_id {
        true => "query id",
        false => "text",
    };
    Cause {
        kind: CauseKind::Plan,
        what: format!("the plan changed: {old}{besides} -> {new}"),
        at: Some(at(now.fresh.first_at)),
        evidence: format!(
            "auto_explain in the server log, joined by {joined}: plan {:016x} {} times until {}, plan {:016x} {} times since {}",
            before.plan,
            before.used.count,
            clock(before.used.last_at),
            now.plan,
            now.fresh.count,
            clock(now.fresh.first_at)
        ),
        guess: false,
    }
}

/// Returns the nodes that only one of two plans has.
fn difference(before: &str, now: &str) -> (String, String) {
    let (Some(mut old), Some(mut new)) = (titles(before), titles(now)) else {
        return ("a plan".to_owned(), "another one".to_owned());
    };
    let whole = (old.clone(), new.clone());
    old.retain(|title| match new.iter().position(|other| other == title) {
        Some(at) => {
            new.remove(at);
            false
        }
        None => true,
    });
    match (old.is_empty(), new.is_empty()) {
        (true, true) => (
            format!("{} in one order", list(&whole.0)),
            "another order".to_owned(),
        ),
        (true, false) => (format!("without {}", list(&new)), "with it".to_owned()),
        (false, true) => (format!("with {}", list(&old)), "without it".to_owned()),
        (false, false) => (list(&old), list(&new)),
    }
}

fn list(titles: &[String]) -> String {
    let shown = titles.iter().take(NODES_MAX).cloned().collect::<Vec<_>>();
    match titles.len().saturating_sub(NODES_MAX) {
        0 => shown.join(" + "),
        more => format!("{} + {more} more", shown.join(" + ")),
    }
}

/// Returns what a plan reads, for people.
fn title(sample: &str) -> String {
    match titles(sample) {
        Some(mut titles) => {
            titles.retain(|title| title.contains(" on ") || title.contains("Scan"));
            list(&titles)
        }
        None => "a plan that is too long to be kept whole".to_owned(),
    }
}

fn titles(sample: &str) -> Option<Vec<String>> {
    let plan = plan::read(sample).ok()?;
    let mut titles = Vec::new();
    each(&plan.root, &mut |node| titles.push(node.title()));
    Some(titles)
}

fn names(sample: &str) -> Vec<String> {
    let mut names = Vec::new();
    if let Ok(plan) = plan::read(sample) {
        each(&plan.root, &mut |node| {
            let both = [&node.relation, &node.index];
            names.extend(both.into_iter().flatten().map(|name| name.to_lowercase()));
        });
    }
    names
}

fn each(node: &Node, visit: &mut impl FnMut(&Node)) {
    visit(node);
    node.children.iter().for_each(|child| each(child, visit));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regression::{PlanSeen, Trail};

    const SINCE: i64 = 490_000;
    const INDEX: &str = "Index Scan using orders_day on orders  (cost=0.42..8.44 rows=1 width=4)";
    const SEQUENTIAL: &str = "Seq Scan on orders  (cost=0.00..9.44 rows=1 width=4)";
    const TEXT: &str = "SELECT * FROM orders WHERE day = $1";

    fn log(uses: &[(&str, i64, i64)]) -> Log {
        let shape = crate::statement::fingerprint(&crate::statement::normalise(TEXT.as_bytes()));
        let trail = |(sample, hour, id): &(&str, i64, i64)| {
            let at = (SINCE + hour) * HOUR_SECONDS * MICROSECONDS + 7;
            let plan = plan::fingerprint(&plan::read(sample).unwrap());
            Trail {
                plans: vec![PlanSeen {
                    plan,
                    shape,
                    sample: (*sample).to_owned(),
                    uses: BTreeMap::from([(*id, Use::once(Some(at)))]),
                }],
                ..Trail::default()
            }
        };
        Log {
            read: Ok(uses.iter().map(trail).collect()),
        }
    }

    fn story(uses: &[(&str, i64, i64)]) -> Story {
        Story::of(&log(uses), &[5], Some(TEXT), SINCE)
    }

    #[test]
    fn a_plan_that_changed_is_told_with_both() {
        let found = story(&[(INDEX, -30, 5), (INDEX, -2, 5), (SEQUENTIAL, 0, 5)]);
        let cause = found.changed.unwrap();
        assert_eq!(
            cause.what,
            "the plan changed: Index Scan using orders_day on orders -> Seq Scan on orders"
        );
        assert!(cause.evidence.contains("joined by query id"), "{cause:?}");
        assert_eq!(cause.at.unwrap().as_second(), SINCE * HOUR_SECONDS);
        assert!(found.names.contains("orders_day"), "{:?}", found.names);
        let by_text = story(&[(INDEX, -2, 0), (SEQUENTIAL, 0, 0)])
            .changed
            .unwrap();
        assert!(by_text.evidence.contains("joined by text"), "{by_text:?}");
    }

    #[test]
    fn without_proof_of_both_nothing_is_claimed() {
        for (uses, told) in [
            (&[][..], "holds no plan of it"),
            (&[(INDEX, -2, 5)], "from before only"),
            (
                &[(SEQUENTIAL, 0, 5)],
                "none from before: Seq Scan on orders",
            ),
            (
                &[(SEQUENTIAL, -5, 5), (SEQUENTIAL, 1, 5)],
                "the same plan before and since",
            ),
            (&[(INDEX, -2, 9), (SEQUENTIAL, 0, 9)], "holds no plan of it"),
        ] {
            let found = story(uses);
            assert_eq!(found.changed, None, "{uses:?}");
            assert!(found.told.contains(told), "{}", found.told);
        }
        let unread = Log {
            read: Err("nobody reads it".to_owned()),
        };
        let told = Story::of(&unread, &[5], None, SINCE).told;
        assert_eq!(told, "the server log was not read: nobody reads it");
    }

    #[test]
    fn a_change_within_the_hour_is_found_and_a_rare_plan_is_none() {
        let mut log = log(&[(INDEX, 0, 5), (SEQUENTIAL, 0, 5)]);
        let count = |log: &mut Log, part: usize, count, first, last| {
            let uses = &mut log.read.as_mut().unwrap()[part].plans[0].uses;
            let begin = SINCE * HOUR_SECONDS * MICROSECONDS;
            let used = Use {
                count,
                first_at: begin + first,
                last_at: begin + last,
            };
            uses.insert(5, used);
        };
        count(&mut log, 0, 700, 1, 500);
        count(&mut log, 1, 60, 501, 900);
        let changed = |log: &Log| Story::of(log, &[5], Some(TEXT), SINCE).changed;
        assert!(changed(&log).is_some(), "all executions since have it");
        count(&mut log, 0, 700, 1, 900);
        assert_eq!(changed(&log), None, "few executions have it");
    }

    #[test]
    fn a_plan_that_comes_back_is_new_again_after_a_day() {
        let back = story(&[(SEQUENTIAL, -40, 5), (INDEX, -2, 5), (SEQUENTIAL, 0, 5)]);
        assert!(back.changed.is_some());
        let often = story(&[(SEQUENTIAL, -4, 5), (INDEX, -2, 5), (SEQUENTIAL, 0, 5)]);
        assert_eq!(often.changed, None);
    }
}
