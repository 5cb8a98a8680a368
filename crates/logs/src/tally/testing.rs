//! Records for the tests of sections.

use super::Event;
use crate::kind::{KindId, classify, find};
use crate::record::Record;

/// Hands a record with one message to a section.
pub(crate) fn taken(message: &str, take: impl FnOnce(&Event<'_>)) {
    let record = Record {
        message: message.as_bytes(),
        at: Some(1_000_000),
        ..Record::default()
    };
    take(&Event {
        record: &record,
        kind: classify(&record),
        shape: None,
    });
}

/// Returns the kind of an id that is in the list.
pub(crate) fn kind(id: &str) -> KindId {
    find(id).expect("the kind is in kinds.toml")
}
