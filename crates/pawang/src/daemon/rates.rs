//! Older snapshots, for rates: of each collector as many as are needed to look back by one span.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use pawang_collect::Catalog;
use pawang_core::{Facts, Sighting, Snapshot, Timestamp};

/// Rates look back by at least this long, so that one burst of seconds is not taken for a trend.
const SPAN_MIN: Duration = Duration::from_secs(50);
/// The share of a collector's interval that a rate spans at least; rounds come a little early or late.
const SPAN_PERCENT: u32 = 80;
/// Snapshots kept of one collector: more are never needed, since those too close together are not kept.
const KEPT_MAX: usize = 4;

/// Older snapshots by collector and database, oldest first.
#[derive(Default)]
pub(crate) struct Rates {
    kept: BTreeMap<(String, Option<String>), VecDeque<Arc<Snapshot>>>,
}

impl Rates {
    /// Keeps what a round saw of the collectors whose growth matters.
    pub(crate) fn absorb(&mut self, facts: &Facts, catalog: &Catalog) {
        for sighting in &facts.sightings {
            let Some(collector) = catalog.collectors.get(&sighting.collector) else {
                continue;
            };
            let (true, Ok(snapshot)) = (collector.header.remember, &sighting.seen) else {
                continue;
            };
            let key = (sighting.collector.clone(), sighting.database.clone());
            let kept = self.kept.entry(key).or_default();
            keep(kept, snapshot, span(collector.header.interval));
        }
    }

    /// Forgets the databases that are no longer there.
    pub(super) fn retain_databases(&mut self, databases: &[String]) {
        self.kept.retain(|(_, database), _| {
            database
                .as_ref()
                .is_none_or(|name| databases.binary_search(name).is_ok())
        });
    }

    /// Returns the facts that the newest ones are compared with.
    pub(crate) fn older(&self, newest: &Facts, catalog: &Catalog) -> Option<Facts> {
        let mut sightings = Vec::new();
        for sighting in &newest.sightings {
            let key = (sighting.collector.clone(), sighting.database.clone());
            let (Some(kept), Ok(newer)) = (self.kept.get(&key), &sighting.seen) else {
                continue;
            };
            let Some(collector) = catalog.collectors.get(&sighting.collector) else {
                continue;
            };
            let span = span(collector.header.interval);
            if let Some(older) = pick(kept, newer.at, span) {
                sightings.push(Sighting {
                    seen: Ok(Arc::clone(older)),
                    ..sighting.clone()
                });
            }
        }
        (!sightings.is_empty()).then(|| Facts {
            sightings,
            notes: Vec::new(),
            down: None,
            ..newest.clone()
        })
    }
}

/// Returns how far a rate of a collector looks back at least.
fn span(interval: Duration) -> Duration {
    SPAN_MIN.max(interval * SPAN_PERCENT / 100)
}

/// Adds the newest snapshot and drops those that no rate will need.
fn keep(kept: &mut VecDeque<Arc<Snapshot>>, newest: &Arc<Snapshot>, span: Duration) {
    // After the clock went back, what is "older" is in the future: nothing can be compared with it.
    kept.retain(|older| older.at < newest.at);
    // The newest but one stays only when it is far enough from the one before it; else it adds nothing.
    if let [.., before, last] = kept.make_contiguous()
        && age(last, before.at) < span / 2
    {
        kept.pop_back();
    }
    kept.push_back(Arc::clone(newest));
    while kept.len() > 1 && age_at(&kept[1], newest.at) >= span {
        kept.pop_front();
    }
    while kept.len() > KEPT_MAX {
        kept.pop_front();
    }
}

/// Returns the newest snapshot that lies at least one span before `at`.
fn pick(kept: &VecDeque<Arc<Snapshot>>, at: Timestamp, span: Duration) -> Option<&Arc<Snapshot>> {
    kept.iter().rev().find(|older| age_at(older, at) >= span)
}

/// Returns how much later `snapshot` is than `before`.
fn age(snapshot: &Snapshot, before: Timestamp) -> Duration {
    Duration::try_from(snapshot.at.duration_since(before)).unwrap_or_default()
}

/// Returns how old `snapshot` is at `at`.
fn age_at(snapshot: &Snapshot, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(snapshot.at)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use pawang_core::Cost;

    use super::*;

    fn snapshot(second: i64) -> Arc<Snapshot> {
        Arc::new(Snapshot {
            collector: "wal".to_owned(),
            database: None,
            at: Timestamp::from_second(second).unwrap(),
            epoch: None,
            cost: Cost::default(),
            columns: [].into(),
            rows: Vec::new(),
        })
    }

    /// Returns how many seconds a rate spans after each of `times`, and the most that is ever kept.
    fn spans(interval: u64, times: impl Iterator<Item = i64>) -> (Vec<Option<i64>>, usize) {
        let span = span(Duration::from_secs(interval));
        let (mut kept, mut spans, mut most) = (VecDeque::new(), Vec::new(), 0);
        for second in times {
            let newest = snapshot(second);
            keep(&mut kept, &newest, span);
            most = most.max(kept.len());
            let older = pick(&kept, newest.at, span);
            spans.push(older.map(|older| second - older.at.as_second()));
        }
        (spans, most)
    }

    #[test]
    fn a_rate_spans_at_least_one_interval_and_never_much_more() {
        for interval in [10, 30, 60, 300, 3_600] {
            let step = i64::try_from(interval).unwrap();
            // Rounds come up to a tenth early or late.
            let jitter = |index: i64| index * step + (index * 7 % 3 - 1) * step / 10;
            let (spans, most) = spans(interval, (0..200).map(jitter));
            let shortest = i64::try_from(span(Duration::from_secs(interval)).as_secs()).unwrap();
            let known = spans.iter().position(Option::is_some).unwrap();
            assert!(known <= 6, "{interval}: the first rate comes after {known}");
            for span in &spans[known..] {
                let span = span.expect("once there is a rate, there always is");
                assert!(span >= shortest, "{interval}: {span}");
                assert!(span <= shortest * 2 + step, "{interval}: {span}");
            }
            assert!(most <= KEPT_MAX, "{interval}: {most}");
        }
    }

    #[test]
    fn a_clock_that_goes_back_gives_no_rate_until_it_has_run_on() {
        let times = [1_000, 1_060, 1_120, 100, 160, 220];
        let (spans, _) = spans(60, times.into_iter());
        assert_eq!(spans, [None, Some(60), Some(60), None, Some(60), Some(60)]);
    }
}
