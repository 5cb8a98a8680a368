//! Who ran something: role, database, application and host, each combination once; and what several sections do with names and times.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;
use crate::record::Record;
use crate::report::Durations;
use crate::statement::cut;

/// Most combinations that are told apart by host and application.
const WHO_MAX: usize = 10_000;
/// Most that are told apart by role and database when there are more.
const WHO_COARSE_MAX: usize = 11_000;
/// Most names of one kind in the report.
const NAMES_MAX: usize = 1000;
/// Longest name that is kept.
const NAME_BYTES_MAX: usize = 256;
/// Processes whose combination is remembered; a power of two.
const RECENT: usize = 256;
/// The name of all names beyond a bound.
pub(crate) const OTHERS: &str = "(others)";

/// Who ran a statement; names that the log does not say are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Who {
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) application: String,
    pub(crate) host: String,
}

/// Combinations of names, known by their number.
///
/// Beyond a bound new ones are told apart by role and database alone, then not at all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct People {
    list: Vec<Who>,
    #[serde(skip)]
    index: HashMap<u64, u32, FixedState>,
    /// Numbers by process.
    #[serde(skip)]
    recent: Vec<u32>,
}

impl People {
    /// Returns the number of a record's combination.
    #[inline]
    pub(crate) fn number(&mut self, record: &Record<'_>) -> u32 {
        let slot = record.pid as usize % RECENT;
        if let Some(&number) = self.recent.get(slot)
            && let Some(who) = self.list.get(number as usize)
            && who.is(record)
        {
            return number;
        }
        let number = self.intern([
            record.user,
            record.database,
            record.application,
            record.host,
        ]);
        if self.recent.is_empty() {
            self.recent = vec![u32::MAX; RECENT];
        }
        self.recent[slot] = number;
        number
    }

    /// Returns a combination.
    pub(crate) fn get(&self, number: u32) -> &Who {
        &self.list[number as usize]
    }

    /// Returns all combinations in order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Who> {
        self.list.iter()
    }

    /// Adds the combinations of another, and returns their numbers here.
    pub(crate) fn absorb(&mut self, later: &People) -> Vec<u32> {
        let number = |who: &Who| {
            self.intern([
                who.user.as_bytes(),
                who.database.as_bytes(),
                who.application.as_bytes(),
                who.host.as_bytes(),
            ])
        };
        later.list.iter().map(number).collect()
    }

    #[inline(never)]
    fn intern(&mut self, names: [&[u8]; 4]) -> u32 {
        if self.index.is_empty() && !self.list.is_empty() {
            self.index_all();
        }
        let others = OTHERS.as_bytes();
        let coarse = [names[0], names[1], others, others];
        for (names, most) in [
            (names, WHO_MAX),
            (coarse, WHO_COARSE_MAX),
            ([others; 4], usize::MAX),
        ] {
            let hash = FixedState::default().hash_one(names);
            if let Some(&number) = self.index.get(&hash) {
                return number;
            }
            if self.list.len() < most {
                let number = self.list.len() as u32;
                let name = |index: usize| cut(names[index], NAME_BYTES_MAX).into_owned();
                self.list.push(Who {
                    user: name(0),
                    database: name(1),
                    application: name(2),
                    host: name(3),
                });
                self.index.insert(hash, number);
                return number;
            }
        }
        unreachable!("the last bound is never met")
    }

    fn index_all(&mut self) {
        for (number, who) in (0..).zip(&self.list) {
            let names =
                [&who.user, &who.database, &who.application, &who.host].map(|name| name.as_bytes());
            self.index
                .insert(FixedState::default().hash_one(names), number);
        }
    }
}

impl Who {
    #[inline]
    fn is(&self, record: &Record<'_>) -> bool {
        self.user.as_bytes() == record.user
            && self.database.as_bytes() == record.database
            && self.application.as_bytes() == record.application
            && self.host.as_bytes() == record.host
    }
}

/// Adds up histograms by name; an absent name has none, and beyond the bound the rarest are added up as others.
pub(crate) fn by_name<'a>(
    all: impl Iterator<Item = (&'a str, &'a Histogram)>,
) -> BTreeMap<String, Durations> {
    let mut names: BTreeMap<&str, Histogram> = BTreeMap::new();
    for (name, histogram) in all {
        if !name.is_empty() && histogram.count() > 0 {
            names.entry(name).or_default().merge(histogram);
        }
    }
    let mut names: Vec<(&str, Histogram)> = names.into_iter().collect();
    names.sort_by(|left, right| {
        right
            .1
            .count()
            .cmp(&left.1.count())
            .then(left.0.cmp(right.0))
    });
    let mut others = Histogram::default();
    for (_, histogram) in names.drain(NAMES_MAX.min(names.len())..) {
        others.merge(&histogram);
    }
    if let Some(named) = names.iter_mut().find(|(name, _)| *name == OTHERS) {
        named.1.merge(&others);
    } else if others.count() > 0 {
        names.push((OTHERS, others));
    }
    names
        .into_iter()
        .map(|(name, histogram)| (name.to_owned(), histogram.durations()))
        .collect()
}

/// Returns the earlier of two times; an absent one counts as later.
pub(crate) fn earlier(left: Option<i64>, right: Option<i64>) -> Option<i64> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.min(right)),
        (left, right) => left.or(right),
    }
}

/// Returns the later of two times; an absent one counts as earlier.
pub(crate) fn later(left: Option<i64>, right: Option<i64>) -> Option<i64> {
    left.max(right)
}

/// Returns a time as a key that sorts an absent one last.
pub(crate) fn early_first(at: Option<i64>) -> (bool, Option<i64>) {
    (at.is_none(), at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_combination_has_one_number_and_many_are_bounded() {
        let mut people = People::default();
        let record = |user: &'static str, pid| Record {
            user: user.as_bytes(),
            pid,
            ..Record::default()
        };
        assert_eq!(people.number(&record("a", 1)), 0);
        assert_eq!(people.number(&record("b", 1)), 1);
        assert_eq!(people.number(&record("a", 2)), 0);
        let mut other = People::default();
        assert_eq!(other.number(&record("b", 1)), 0);
        assert_eq!(people.absorb(&other), [1]);
        let mut back: People =
            serde_json::from_str(&serde_json::to_string(&people).unwrap()).unwrap();
        assert_eq!(back.number(&record("b", 9)), 1);
        for index in 0..20_000 {
            let host = index.to_string();
            people.number(&Record {
                user: b"u",
                host: host.as_bytes(),
                ..Record::default()
            });
        }
        assert_eq!(people.list.len(), WHO_MAX + 1);
        assert_eq!(people.list[WHO_MAX].host, OTHERS);
    }
}
