//! The write-ahead log in a repository: names, coverage, pushing, receiving, getting back.

pub mod ahead;
pub mod catalogue;
pub mod coverage;
#[cfg(test)]
mod forge;
pub(crate) mod frame;
pub mod gap;
pub mod get;
pub mod listing;
mod page;
pub mod push;
pub mod receive;
pub mod reread;
mod segment;
pub mod status;
pub mod timeline;
mod walk;

pub use ahead::{Handed, PushSettings, hand_over};
pub use catalogue::Catalogue;
pub use coverage::{Coverage, Hole, Interval};
pub use gap::Gap;
pub use get::{GetSettings, Got, get};
pub use listing::Listing;
pub use page::{SEGMENT_HEADER_BYTES, SegmentHeader};
pub use push::{Content, Stored, WalFile, store_segment};
pub use segment::{ParseSegmentError, SegmentName, Timeline};
pub use timeline::{Histories, History, Span, Switch};
pub(crate) use walk::NOTHING;
pub use walk::{CommitRecord, Ending, Mark, Walked, Walker, Watch};
