//! The history: every snapshot of every collector, in one SQLite file, at three resolutions.

mod query;
mod reader;
mod writer;

pub use query::{
    Change, Fold, Growth, GrowthQuery, Point, Reading, Rows, Series, SeriesQuery, Span,
};
pub use reader::Reader;
pub use writer::{Retention, Tended, Writer};
