//! Statements without their constants, each kept once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::kind::KindId;
use crate::record::Record;

/// A hash of the normalised text; the same in every run and on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShapeId(pub u64);

/// The shapes of a part of a log and their texts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Shapes {
    texts: BTreeMap<ShapeId, String>,
}

impl Shapes {
    /// Returns the shape of the statement that a record tells of: its STATEMENT, or what its `duration:` or `statement:` message shows.
    pub(crate) fn of_record(&mut self, _record: &Record<'_>, _kind: KindId) -> Option<ShapeId> {
        None
    }

    /// Returns the shape of a statement.
    pub fn of(&mut self, statement: &[u8]) -> ShapeId {
        let text = String::from_utf8_lossy(statement).into_owned();
        let id = ShapeId(statement.iter().fold(7, |hash: u64, &byte| {
            hash.wrapping_mul(0x0000_0100_0000_01b3) ^ u64::from(byte)
        }));
        self.texts.entry(id).or_insert(text);
        id
    }

    /// Returns the normalised text of a shape; empty when it was dropped for the bound on shapes.
    pub fn text(&self, id: ShapeId) -> &str {
        self.texts.get(&id).map_or("", String::as_str)
    }

    /// Adds the shapes of the part that follows.
    pub(crate) fn absorb(&mut self, later: Shapes) {
        self.texts.extend(later.texts);
    }
}
