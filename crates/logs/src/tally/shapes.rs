//! Statements without their constants, each kept once.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use serde::{Deserialize, Serialize};

use crate::kind::KindId;
use crate::record::Record;
use crate::statement::{Normaliser, fingerprint, told};

/// Most shapes whose texts are kept.
pub const SHAPES_MAX: usize = 50_000;
/// Longest text of a shape that is kept; its id is of the whole.
const TEXT_BYTES_MAX: usize = 8 * 1024;
/// Most bytes of texts in all.
const TEXTS_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Texts whose shape is remembered; a power of two.
const CACHE_ENTRIES: usize = 1 << 16;

/// A hash of the normalised text; the same in every run and on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShapeId(pub u64);

impl fmt::Display for ShapeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// A map by shape; the id is a hash already.
pub(crate) type ByShape<T> = HashMap<ShapeId, T, BuildHasherDefault<ShapeHasher>>;

/// Takes a shape's id as its hash.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ShapeHasher(u64);

impl Hasher for ShapeHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }
}

/// The shapes of a part of a log and their texts.
///
/// Of more than [`SHAPES_MAX`] shapes, or of more text than is kept in all, the texts of those that came first are kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Shapes {
    texts: ByShape<Box<str>>,
    /// Bytes of the texts.
    bytes: usize,
    /// Whether texts were dropped for the bound.
    dropped: bool,
    #[serde(skip)]
    cache: Cache,
    #[serde(skip)]
    normaliser: Normaliser,
}

/// Remembers the shape of a text by its hash and length, without the text.
#[derive(Clone, Default)]
struct Cache {
    entries: Box<[Entry]>,
    hasher: foldhash::fast::FixedState,
    /// The part of the log that is being read, counted from 0.
    part: u32,
}

/// A text: its hash and its length plus one, which it is known by, and its shape.
#[derive(Clone, Copy, Default)]
struct Entry {
    hash: u64,
    length: u32,
    /// The part in which its shape was looked up last, so that its text is kept there.
    part: u32,
    shape: u64,
}

impl fmt::Debug for Cache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl Shapes {
    /// Returns the shape of the statement that a record tells of: its STATEMENT, or what its `duration:` or `statement:` message shows.
    ///
    /// A plan of auto_explain has its statement within its text; the plan's reader asks for its shape.
    #[inline]
    pub(crate) fn of_record(&mut self, record: &Record<'_>, _kind: KindId) -> Option<ShapeId> {
        if !record.statement.is_empty() {
            return Some(self.of(record.statement));
        }
        let told = told(record.message)?;
        (!told.text.is_empty()).then(|| self.of(told.text))
    }

    /// Returns the shape of a statement.
    #[inline]
    pub fn of(&mut self, statement: &[u8]) -> ShapeId {
        let hash = self.cache.hasher.hash_one(statement);
        let length = statement.len() as u32 + 1;
        let index = hash as usize % CACHE_ENTRIES;
        let part = self.cache.part;
        if let Some(entry) = self.cache.entries.get_mut(index)
            && entry.hash == hash
            && entry.length == length
        {
            let id = ShapeId(entry.shape);
            // What an earlier part knows, this one must keep the text of.
            if entry.part == part || self.texts.contains_key(&id) {
                entry.part = part;
                return id;
            }
        }
        let id = self.normalised(statement);
        if self.cache.entries.is_empty() {
            self.cache.entries = vec![Entry::default(); CACHE_ENTRIES].into_boxed_slice();
        }
        self.cache.entries[index] = Entry {
            hash,
            length,
            part,
            shape: id.0,
        };
        id
    }

    /// Returns what it has and goes on empty, with the memory of the texts that it has seen.
    pub(crate) fn hand_over(&mut self) -> Shapes {
        let mut done = std::mem::take(self);
        self.cache = std::mem::take(&mut done.cache);
        self.cache.part += 1;
        self.normaliser = std::mem::take(&mut done.normaliser);
        done
    }

    #[inline(never)]
    fn normalised(&mut self, statement: &[u8]) -> ShapeId {
        let text = self.normaliser.normalise(statement);
        let id = ShapeId(fingerprint(&text));
        if !self.texts.contains_key(&id) {
            let end = text.floor_char_boundary(TEXT_BYTES_MAX);
            let text = text[..end].into();
            self.put(id, text);
        }
        id
    }

    /// Keeps a text, or notes that it is dropped for the bounds.
    fn put(&mut self, id: ShapeId, text: Box<str>) {
        if self.texts.len() < SHAPES_MAX && self.bytes + text.len() <= TEXTS_BYTES_MAX {
            self.bytes += text.len();
            self.texts.insert(id, text);
        } else {
            self.dropped = true;
        }
    }

    /// Returns the normalised text of a shape; empty when it was dropped for the bound on shapes.
    pub fn text(&self, id: ShapeId) -> &str {
        self.texts.get(&id).map_or("", |text| text)
    }

    /// Tells whether no text was dropped.
    pub fn complete(&self) -> bool {
        !self.dropped
    }

    /// Adds the shapes of the part that follows.
    pub(crate) fn absorb(&mut self, later: Shapes) {
        self.dropped |= later.dropped;
        let mut texts: Vec<(ShapeId, Box<str>)> = later.texts.into_iter().collect();
        // In order, so that the same ones are dropped in every run.
        texts.sort_unstable_by_key(|(id, _)| *id);
        for (id, text) in texts {
            if !self.texts.contains_key(&id) {
                self.put(id, text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_remembered_and_its_shape_is_that_of_its_like() {
        let mut shapes = Shapes::default();
        let one = shapes.of(b"select 1");
        assert_eq!(shapes.of(b"select 1"), one);
        assert_eq!(shapes.of(b"SELECT  22"), one);
        assert_eq!(shapes.text(one), "select ?");
        assert_ne!(shapes.of(b"select 1, 2"), one);
        assert_eq!(one.to_string(), "89a29971661bae4f");
    }

    #[test]
    fn a_part_keeps_the_texts_that_an_earlier_one_remembers() {
        let mut shapes = Shapes::default();
        let one = shapes.of(b"select 1");
        shapes.of(b"select 2, 3");
        let first = shapes.hand_over();
        assert_eq!((first.texts.len(), shapes.texts.len()), (2, 0));
        for _ in 0..2 {
            assert_eq!(shapes.of(b"select 1"), one);
            assert_eq!(shapes.of(b"select 7"), one);
        }
        let second = shapes.hand_over();
        assert_eq!((second.texts.len(), second.text(one)), (1, "select ?"));
    }

    #[test]
    fn a_record_tells_its_statement() {
        let mut shapes = Shapes::default();
        let id = shapes.of(b"select 1");
        for (message, statement, expected) in [
            ("duration: 1.0 ms  statement: select 2", "", Some(id)),
            ("duration: 1.0 ms  bind <unnamed>: select 3", "", Some(id)),
            ("statement: select 3", "", Some(id)),
            ("deadlock detected", "select 4", Some(id)),
            ("duration: 1.0 ms  plan:\nQuery Text: select 1", "", None),
            ("duration: 1.0 ms", "", None),
            ("checkpoint starting: time", "", None),
        ] {
            let record = Record {
                message: message.as_bytes(),
                statement: statement.as_bytes(),
                ..Record::default()
            };
            assert_eq!(shapes.of_record(&record, KindId(0)), expected, "{message}");
        }
    }

    #[test]
    fn shapes_beyond_the_bound_are_dropped_and_it_says_so() {
        let mut shapes = Shapes::default();
        for index in 0..=SHAPES_MAX {
            assert!(shapes.complete());
            shapes.of(format!("select a{index}").as_bytes());
        }
        assert!(!shapes.complete());
        let long = Shapes::default().of(&b"x".repeat(TEXT_BYTES_MAX * 2));
        assert_ne!(
            long,
            Shapes::default().of(&b"x".repeat(TEXT_BYTES_MAX * 2 + 1))
        );
    }
}
