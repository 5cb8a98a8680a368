//! What statements did between two looks at pg_stat_statements, and what cannot be told of it.
//!
//! Pure: whoever has a connection hands over looks. Nothing is ever negative: an entry that began again in between counts from its new
//! beginning, and whatever may be missing is counted and named.

use std::collections::BTreeMap;

use pawang_core::Timestamp;
use serde::Serialize;

/// What tells entries apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Key {
    /// The role's oid.
    pub user_id: i64,
    /// The database's oid.
    pub database_id: i64,
    /// PostgreSQL's query identifier.
    pub queryid: i64,
    /// Whether it was called by a client itself, not by a function.
    pub toplevel: bool,
}

/// What all calls of an entry did since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Counters {
    /// Calls.
    pub calls: f64,
    /// Execution time, in milliseconds.
    pub total_ms: f64,
    /// Rows returned or changed.
    pub rows: f64,
    /// Blocks found in shared buffers.
    pub hit: f64,
    /// Blocks read.
    pub read: f64,
    /// Temporary blocks, read and written.
    pub temp: f64,
    /// WAL.
    pub wal_bytes: f64,
    /// Planning time, where it is tracked, in milliseconds.
    pub plan_ms: f64,
}

/// One entry of pg_stat_statements.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// What tells it apart.
    pub key: Key,
    /// The database.
    pub database: String,
    /// The role.
    pub role: String,
    /// When it began, where the extension says so (1.11, PostgreSQL 17).
    pub since: Option<Timestamp>,
    /// What it did since then.
    pub counters: Counters,
}

/// One look at all entries.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// The server's clock.
    pub at: Timestamp,
    /// When all entries were last thrown away.
    pub reset_at: Option<Timestamp>,
    /// How often entries had to go for lack of room.
    pub evictions: i64,
    /// The entries that the role may tell apart.
    pub entries: Vec<Entry>,
    /// Whether there were more than were read.
    pub cut: bool,
    /// Entries of other roles that the role may not tell apart.
    pub hidden: u64,
    /// What those took, in milliseconds.
    pub hidden_ms: f64,
}

/// What cannot be told of a growth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Doubts {
    /// All entries were thrown away in between: what was done until then is missing.
    pub reset: bool,
    /// How often entries had to go for lack of room: what those did until then is missing.
    pub evictions: u64,
    /// Entries that began again in between: what they did until then is missing.
    pub restarted: u64,
    /// Entries that were there before and are not any more.
    pub gone: u64,
    /// Entries of which it is not known whether they are new: left out.
    pub unsure: u64,
}

/// What statements did between two looks.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Growth {
    /// The entries that did something, with what they did.
    pub entries: Vec<Entry>,
    /// Entries among them that were not there before.
    pub fresh: u64,
    /// Seconds between the looks, or since everything was thrown away.
    pub seconds: f64,
    /// What entries took that the role may not tell apart, in milliseconds.
    pub hidden_ms: f64,
    /// What cannot be told.
    pub doubts: Doubts,
}

impl Counters {
    fn all(&self) -> [f64; 8] {
        [
            self.calls,
            self.total_ms,
            self.rows,
            self.hit,
            self.read,
            self.temp,
            self.wal_bytes,
            self.plan_ms,
        ]
    }

    /// Returns the growth since an earlier reading; `None` when any of them went down.
    fn since(&self, earlier: &Counters) -> Option<Counters> {
        let pairs = self.all().into_iter().zip(earlier.all());
        if pairs.clone().any(|(now, before)| now < before) {
            return None;
        }
        let mut grown = pairs.map(|(now, before)| now - before);
        let mut next = || grown.next().unwrap_or_default();
        Some(Counters {
            calls: next(),
            total_ms: next(),
            rows: next(),
            hit: next(),
            read: next(),
            temp: next(),
            wal_bytes: next(),
            plan_ms: next(),
        })
    }

    fn nothing(&self) -> bool {
        self.all().iter().all(|value| *value == 0.0)
    }
}

/// Returns what was done between two looks.
pub fn growth(before: &Look, after: Look) -> Growth {
    let reset = before.reset_at != after.reset_at;
    let begin = match after.reset_at {
        Some(at) if reset => at.max(before.at),
        _ => before.at,
    };
    let mut known: BTreeMap<&Key, &Entry> = BTreeMap::new();
    if !reset {
        known.extend(before.entries.iter().map(|entry| (&entry.key, entry)));
    }
    let mut found = Growth {
        seconds: after.at.duration_since(begin).as_secs_f64().max(0.0),
        doubts: Doubts {
            reset,
            evictions: u64::try_from(if reset {
                after.evictions
            } else {
                after.evictions - before.evictions
            })
            .unwrap_or(0),
            ..Doubts::default()
        },
        hidden_ms: match reset {
            true => after.hidden_ms,
            false => (after.hidden_ms - before.hidden_ms).max(0.0),
        },
        ..Growth::default()
    };
    for mut entry in after.entries {
        entry.counters = match known.remove(&entry.key) {
            Some(earlier) => {
                let same = entry.since == earlier.since;
                match entry.counters.since(&earlier.counters).filter(|_| same) {
                    Some(grown) => grown,
                    None => {
                        found.doubts.restarted += 1;
                        entry.counters
                    }
                }
            }
            // It may have been there before, among those that were not read.
            None if before.cut && !reset && entry.since.is_none_or(|since| since < before.at) => {
                found.doubts.unsure += 1;
                continue;
            }
            None => {
                found.fresh += 1;
                entry.counters
            }
        };
        if !entry.counters.nothing() {
            found.entries.push(entry);
        }
    }
    // Of an answer that was cut, whoever is missing may still be there.
    if !after.cut {
        found.doubts.gone = known.len() as u64;
    }
    found
}

/// Returns what was done since the entries began: everything that a look shows.
pub fn totals(look: Look) -> Growth {
    let oldest = look
        .reset_at
        .or_else(|| look.entries.iter().filter_map(|entry| entry.since).min());
    Growth {
        seconds: oldest.map_or(0.0, |at| look.at.duration_since(at).as_secs_f64().max(0.0)),
        doubts: Doubts {
            evictions: u64::try_from(look.evictions).unwrap_or(0),
            ..Doubts::default()
        },
        hidden_ms: look.hidden_ms,
        fresh: 0,
        entries: look.entries,
    }
}

impl Growth {
    /// Returns what cannot be told, in words; nothing when all is certain.
    pub fn doubts(&self) -> Vec<String> {
        let doubts = &self.doubts;
        let counted = |count: u64, one: &str, more: &str| match count {
            1 => format!("1 {one}"),
            count => format!("{count} {more}"),
        };
        let mut told = Vec::new();
        if doubts.reset {
            told.push(
                "pg_stat_statements was reset in between: only what was done since then is counted"
                    .to_owned(),
            );
        }
        if doubts.evictions > 0 {
            told.push(format!(
                "pg_stat_statements had to forget entries {}: what those did is missing; raise pg_stat_statements.max",
                counted(doubts.evictions, "time", "times")
            ));
        }
        if doubts.restarted > 0 {
            told.push(format!(
                "{} in between: what they did until then is missing",
                counted(doubts.restarted, "entry began again", "entries began again")
            ));
        }
        if doubts.gone > 0 && !doubts.reset {
            told.push(format!(
                "{} in between: what they did until then is missing",
                counted(doubts.gone, "entry went", "entries went")
            ));
        }
        if doubts.unsure > 0 {
            told.push(format!(
                "{} out: the first look did not reach that far",
                counted(doubts.unsure, "entry is left", "entries are left")
            ));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time of this century")
    }

    fn entry(queryid: i64, calls: f64, since: Option<i64>) -> Entry {
        Entry {
            key: Key {
                user_id: 10,
                database_id: 5,
                queryid,
                toplevel: true,
            },
            database: "dwh".to_owned(),
            role: "etl".to_owned(),
            since: since.map(at),
            counters: Counters {
                calls,
                total_ms: calls * 2.0,
                ..Counters::default()
            },
        }
    }

    fn look(second: i64, entries: Vec<Entry>) -> Look {
        Look {
            at: at(second),
            reset_at: Some(at(-1_000)),
            evictions: 0,
            entries,
            cut: false,
            hidden: 0,
            hidden_ms: 0.0,
        }
    }

    fn calls(growth: &Growth) -> Vec<(i64, f64)> {
        let entries = growth.entries.iter();
        entries
            .map(|entry| (entry.key.queryid, entry.counters.calls))
            .collect()
    }

    #[test]
    fn growth_is_what_was_added() {
        let before = look(0, vec![entry(1, 10.0, None), entry(2, 5.0, None)]);
        let after = look(
            10,
            vec![
                entry(1, 14.0, None),
                entry(2, 5.0, None),
                entry(3, 1.0, None),
            ],
        );
        let found = growth(&before, after);
        assert_eq!(calls(&found), [(1, 4.0), (3, 1.0)]);
        assert_eq!((found.fresh, found.seconds), (1, 10.0));
        assert!(found.doubts().is_empty());
    }

    #[test]
    fn an_entry_that_began_again_counts_from_there() {
        // Any counter that went down tells it, and where the extension says when it began, that does.
        for (earlier, later, expected) in [
            (entry(1, 10.0, None), entry(1, 3.0, None), 3.0),
            (entry(1, 10.0, Some(-50)), entry(1, 30.0, Some(4)), 30.0),
        ] {
            let found = growth(&look(0, vec![earlier]), look(10, vec![later]));
            assert_eq!(calls(&found), [(1, expected)]);
            assert_eq!(found.doubts.restarted, 1);
            assert!(found.doubts()[0].contains("1 entry began again"));
        }
    }

    #[test]
    fn a_reset_of_all_counts_from_the_reset() {
        let before = look(0, vec![entry(1, 10.0, None), entry(2, 10.0, None)]);
        let mut after = look(10, vec![entry(1, 30.0, None)]);
        after.reset_at = Some(at(6));
        let found = growth(&before, after);
        assert_eq!((calls(&found), found.seconds), (vec![(1, 30.0)], 4.0));
        assert_eq!(found.doubts().len(), 1, "{:?}", found.doubts());
    }

    #[test]
    fn what_was_evicted_and_what_was_out_of_reach_is_said() {
        let mut before = look(0, vec![entry(1, 10.0, None), entry(2, 10.0, None)]);
        let mut after = look(
            10,
            vec![
                entry(1, 12.0, None),
                entry(3, 9.0, None),
                entry(4, 2.0, Some(5)),
            ],
        );
        after.evictions = 3;
        let found = growth(&before, after.clone());
        assert_eq!(
            found.doubts,
            Doubts {
                evictions: 3,
                gone: 1,
                ..Doubts::default()
            }
        );
        before.cut = true;
        let found = growth(&before, after);
        assert_eq!(
            calls(&found),
            [(1, 2.0), (4, 2.0)],
            "3 may have had its calls before"
        );
        assert_eq!(found.doubts.unsure, 1);
    }

    proptest! {
        #[test]
        fn nothing_is_ever_negative_or_more_than_there_is(
            before in prop::collection::btree_map(0_i64..20, (0_u32..100, prop::option::of(-9_i64..9)), 0..20),
            after in prop::collection::btree_map(0_i64..20, (0_u32..100, prop::option::of(-9_i64..9)), 0..20),
            cut: bool, reset: bool, evictions in -5_i64..5,
        ) {
            let entries = |all: BTreeMap<i64, (u32, Option<i64>)>| -> Vec<Entry> {
                all.into_iter().map(|(id, (calls, since))| entry(id, f64::from(calls), since)).collect()
            };
            let mut first = look(0, entries(before));
            first.cut = cut;
            let mut second = look(10, entries(after));
            second.evictions = evictions;
            if reset {
                second.reset_at = Some(at(3));
            }
            let there: f64 = second.entries.iter().map(|entry| entry.counters.calls).sum();
            let found = growth(&first, second);
            prop_assert!(found.entries.iter().all(|entry| entry.counters.all().iter().all(|value| *value >= 0.0)));
            prop_assert!(found.entries.iter().map(|entry| entry.counters.calls).sum::<f64>() <= there);
        }
    }
}
