//! How fast a server built indexes, by what the journal says of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use pawang_core::ByteSize;
use pawang_core::plan::{BuildRate, State};
use pawang_store::state::Entry;

use crate::journal::BEGUN;

/// The newest builds tell how the server is now.
const BUILDS_MAX: usize = 20;
/// Fewer tell nothing.
const BUILDS_MIN: usize = 3;
/// A smaller build is over before its rate shows: most of it is waiting for transactions.
const WORK_MIN: u64 = 10 << 20;

/// Returns how fast an instance built indexes, from its journal with the newest entry first; nothing when too little was
/// built to tell.
pub fn build_rate<'a>(
    entries: impl IntoIterator<Item = &'a Entry>,
    instance: &str,
) -> Option<BuildRate> {
    let mut ended: BTreeMap<&str, (Timestamp, u64)> = BTreeMap::new();
    let mut rates = Vec::new();
    let builds = entries.into_iter().filter(|entry| {
        let place = entry.object.split_once('/');
        entry.action == "reindex.apply" && place.is_some_and(|(name, _)| name == instance)
    });
    for entry in builds {
        let Some(intent) = entry.detail.get("intent").and_then(|name| name.as_str()) else {
            continue;
        };
        if entry.outcome != BEGUN {
            ended.extend(work(entry).map(|work| (intent, (entry.at, work))));
        } else if let Some((end, work)) = ended.remove(intent) {
            let seconds = end.duration_since(entry.at).as_secs_f64();
            rates.extend((seconds > 0.0).then(|| (work as f64 / seconds) as u64));
        }
        if rates.len() == BUILDS_MAX {
            break;
        }
    }
    rates.sort_unstable();
    (rates.len() >= BUILDS_MIN).then(|| BuildRate {
        usual: ByteSize(rates[(rates.len() - 1) / 2].max(1)),
        slowest: ByteSize(rates[0].max(1)),
        builds: rates.len(),
    })
}

/// Returns what a build that went well at the first try has read and written, when it was enough to tell.
fn work(entry: &Entry) -> Option<u64> {
    let detail = &entry.detail;
    let bytes = |when: &str, what: &str| -> Option<ByteSize> {
        let text = detail.get(when)?.get(what)?.as_str()?;
        text.parse().ok().map(ByteSize)
    };
    let done = detail.get("state") == Some(&serde_json::json!(State::Done));
    let once = detail.get("tries").and_then(serde_json::Value::as_u64) == Some(1);
    let table = bytes("after", "table_bytes").or_else(|| bytes("before", "table_bytes"))?;
    let work = BuildRate::work(table, bytes("after", "index_bytes")?).0;
    (done && once && work >= WORK_MIN).then_some(work)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns the two entries of a build, the end first.
    fn build(name: &str, seconds: i64, megabytes: u64, tries: u64) -> [Entry; 2] {
        let at = |second: i64| Timestamp::from_second(1_000 + second).unwrap();
        let entry = |at: Timestamp, outcome: &str, detail| Entry {
            at,
            actor: "daemon".to_owned(),
            action: "reindex.apply".to_owned(),
            object: "dwh-1/sales/dw.fact_idx".to_owned(),
            outcome: outcome.to_owned(),
            detail,
        };
        let sizes = json!({
            "table_bytes": (megabytes << 20).to_string(),
            "index_bytes": "0",
        });
        let end = json!({ "intent": name, "state": State::Done, "tries": tries, "after": sizes });
        [
            entry(at(seconds), "done", end),
            entry(at(0), BEGUN, json!({ "intent": name })),
        ]
    }

    fn rate(builds: &[[Entry; 2]]) -> Option<BuildRate> {
        build_rate(builds.iter().flatten(), "dwh-1")
    }

    #[test]
    fn the_journal_tells_how_fast_indexes_were_built() {
        let builds = [
            build("a", 10, 100, 1),
            build("b", 20, 100, 1),
            build("c", 40, 100, 1),
            // Too small, and tried twice.
            build("d", 100, 1, 1),
            build("e", 1_000, 100, 2),
        ];
        let mb = |mb: u64| ByteSize(mb << 20);
        let expected = BuildRate {
            usual: mb(10),
            slowest: mb(5),
            builds: 3,
        };
        assert_eq!(rate(&builds), Some(expected));
        assert_eq!(rate(&builds[1..]), None, "two tell nothing");
        assert_eq!(build_rate(builds.iter().flatten(), "dwh"), None);
    }

    #[test]
    fn only_the_newest_builds_count() {
        let newest = (0..BUILDS_MAX).map(|n| build(&format!("n{n}"), 10, 100, 1));
        let older = (0..50).map(|n| build(&format!("o{n}"), 100, 100, 1));
        let all: Vec<[Entry; 2]> = newest.chain(older).collect();
        let known = rate(&all).unwrap();
        assert_eq!((known.builds, known.slowest), (BUILDS_MAX, known.usual));
    }
}
