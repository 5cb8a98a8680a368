//! Bounded tables of counters that parts of a log can add to each other, exactly and whatever the split.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ShapeId;
use crate::extract::{named, printable};
use crate::report::{Counted, Top};

/// Longest name that a table keeps, in bytes; longer ones are cut, and the same beginning is the same name.
const NAME_BYTES_MAX: usize = 240;

/// What stands for the names that had no room.
pub(crate) const OTHERS: &str = "(others)";

/// Something that is counted for a name.
pub(crate) trait Row: Default {
    /// Adds the row of the part that follows.
    fn absorb(&mut self, later: Self);
    /// Returns how often the name came.
    fn count(&self) -> u64;
}

impl Row for u64 {
    fn absorb(&mut self, later: u64) {
        *self += later;
    }

    fn count(&self) -> u64 {
        *self
    }
}

/// Rows by name, at most `MOST`.
///
/// When there are more names, those with the smallest hashes stay. A name that stays was never out, so its row is exact, and which names
/// stay depends on the names alone: not on their order, nor on how the log was split.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Table<V, const MOST: usize> {
    rows: BTreeMap<u64, (String, V)>,
    others: u64,
}

impl<V, const MOST: usize> Default for Table<V, MOST> {
    fn default() -> Self {
        Table {
            rows: BTreeMap::new(),
            others: 0,
        }
    }
}

impl<V: Row, const MOST: usize> Table<V, MOST> {
    /// Changes the row of a name, if there is room for it.
    pub(crate) fn change(&mut self, name: &[u8], change: impl FnOnce(&mut V)) {
        let name = named(name);
        let name = &name[..name.len().min(NAME_BYTES_MAX)];
        let hash = hash(name);
        if let Some((_, row)) = self.rows.get_mut(&hash) {
            change(row);
            return;
        }
        let mut row = V::default();
        change(&mut row);
        self.rows
            .insert(hash, (printable(name, NAME_BYTES_MAX), row));
        self.shrink();
    }

    /// Adds the table of the part that follows.
    pub(crate) fn absorb(&mut self, later: Self) {
        self.others += later.others;
        for (hash, (name, row)) in later.rows {
            match self.rows.get_mut(&hash) {
                Some((_, earlier)) => earlier.absorb(row),
                None => {
                    self.rows.insert(hash, (name, row));
                    self.shrink();
                }
            }
        }
    }

    /// Returns names and rows, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.rows.values().map(|(name, row)| (name.as_str(), row))
    }

    /// Whether every name had room.
    pub(crate) fn complete(&self) -> bool {
        self.others == 0
    }

    fn shrink(&mut self) {
        while self.rows.len() > MOST {
            let (_, (_, row)) = self.rows.pop_last().expect("it has more than MOST rows");
            self.others += row.count().max(1);
        }
    }
}

impl<const MOST: usize> Table<u64, MOST> {
    /// Counts a name once; an empty one is no name.
    pub(crate) fn count(&mut self, name: &[u8]) {
        if !name.is_empty() {
            self.change(name, |count| *count += 1);
        }
    }

    /// Returns the counts, with those that had no room under one name.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for (name, &count) in self.iter() {
            *counts.entry(name.to_owned()).or_default() += count;
        }
        if self.others > 0 {
            *counts.entry(OTHERS.to_owned()).or_default() += self.others;
        }
        counts
    }
}

/// A number, a sum, a maximum and the last time of something.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Amount {
    /// How often.
    pub(crate) count: u64,
    /// The sum.
    pub(crate) total: u64,
    /// The largest.
    pub(crate) max: u64,
    /// When last.
    pub(crate) last_at: Option<i64>,
}

impl Amount {
    /// Adds one.
    pub(crate) fn add(&mut self, at: Option<i64>, value: u64) {
        self.absorb(Amount {
            count: 1,
            total: value,
            max: value,
            last_at: at,
        });
    }

    /// Returns it as an item of a list.
    pub(crate) fn counted(&self, id: String, text: &str) -> Counted {
        Counted {
            id,
            text: text.to_owned(),
            count: self.count,
            total: self.total,
            max: self.max,
            last_at: self.last_at,
        }
    }
}

impl Row for Amount {
    fn absorb(&mut self, later: Amount) {
        self.count += later.count;
        self.total = self.total.saturating_add(later.total);
        self.max = self.max.max(later.max);
        self.last_at = self.last_at.max(later.last_at);
    }

    fn count(&self) -> u64 {
        self.count
    }
}

/// Amounts by shape, at most `MOST`; the shape's id is its hash, so the smallest ids stay.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Shaped<const MOST: usize> {
    rows: BTreeMap<u64, Amount>,
    none: Amount,
    dropped: bool,
}

impl<const MOST: usize> Shaped<MOST> {
    /// Adds one.
    pub(crate) fn add(&mut self, shape: Option<ShapeId>, at: Option<i64>, value: u64) {
        match shape {
            Some(ShapeId(id)) => self.rows.entry(id).or_default().add(at, value),
            None => self.none.add(at, value),
        }
        self.shrink();
    }

    /// Adds those of the part that follows.
    pub(crate) fn absorb(&mut self, later: Self) {
        self.none.absorb(later.none);
        self.dropped |= later.dropped;
        for (id, amount) in later.rows {
            self.rows.entry(id).or_default().absorb(amount);
            self.shrink();
        }
    }

    /// Returns the list, most total first.
    pub(crate) fn top<'a>(&self, most: usize, text: impl Fn(ShapeId) -> &'a str) -> Top<Counted> {
        let rows = self
            .rows
            .iter()
            .map(|(&id, amount)| amount.counted(format!("{id:016x}"), text(ShapeId(id))));
        let none = (self.none.count > 0).then(|| self.none.counted(String::new(), ""));
        top(rows.chain(none).collect(), most, !self.dropped, |item| {
            (item.total, item.count)
        })
    }

    fn shrink(&mut self) {
        while self.rows.len() > MOST {
            self.rows.pop_last();
            self.dropped = true;
        }
    }
}

/// Returns the first of a list by falling weight; equal ones keep their order.
pub(crate) fn top<T, W: Ord>(
    mut items: Vec<T>,
    most: usize,
    complete: bool,
    weight: impl Fn(&T) -> W,
) -> Top<T> {
    let total = items.len() as u64;
    items.sort_by_key(|item| std::cmp::Reverse(weight(item)));
    items.truncate(most);
    Top {
        items,
        total,
        complete,
    }
}

/// Returns the hash of a name: FNV-1a with a finisher, the same in every run and on every machine.
fn hash(name: &[u8]) -> u64 {
    let mut hash = name.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash
}

/// Maps whose keys are no strings, as lists of pairs, so that every format can hold them.
pub(crate) mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(crate) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?
            .into_iter()
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_without_room_are_counted_together() {
        let mut table = Table::<u64, 2>::default();
        for name in ["a", "b", "c", "c", ""] {
            table.count(name.as_bytes());
        }
        assert_eq!(table.counts().values().sum::<u64>(), 4);
        assert!(table.counts().contains_key(OTHERS));
        assert!(!table.complete());
    }

    #[test]
    fn shapes_without_a_statement_have_a_row() {
        let mut shaped = Shaped::<1>::default();
        shaped.add(None, Some(1), 5);
        shaped.add(Some(ShapeId(7)), Some(2), 3);
        let top = shaped.top(5, |_| "select ?");
        assert_eq!(top.items[0].id, "");
        assert_eq!(top.items[1].id, "0000000000000007");
        assert!(top.complete);
    }

    proptest! {
        #[test]
        fn tables_do_not_depend_on_the_split(
            names in proptest::collection::vec(0_u8..12, 0..60), split in 0_usize..60,
        ) {
            let mut whole = Table::<u64, 5>::default();
            let (mut first, mut second) = (Table::<u64, 5>::default(), Table::<u64, 5>::default());
            for (index, &name) in names.iter().enumerate() {
                whole.count(&[b'a' + name]);
                if index < split { first.count(&[b'a' + name]) } else { second.count(&[b'a' + name]) }
            }
            first.absorb(second);
            prop_assert_eq!(first.counts(), whole.counts());
        }
    }
}
