//! The history: every snapshot of every collector, in one SQLite file, at three resolutions.

mod query;
mod reader;
pub(crate) mod schema;
mod writer;

pub use query::{
    Change, Fold, Growth, GrowthQuery, Point, Reading, Rows, Series, SeriesQuery, Span,
};
pub use reader::Reader;
pub use writer::{Retention, Tended, Writer};
