//! The history: every snapshot of every collector, in one SQLite file, at three resolutions.
//!
//! The unit is a collector's snapshot. Frames (`hot`) hold the newest hour, each as what differs from the one before;
//! finished hours and days are segments, column by column. `format/v1.md` describes the file.

mod builder;
mod encode;
mod frame;
mod index;
mod query;
mod reader;
mod rollup;
mod run;
pub(crate) mod schema;
mod segment;
mod shelf;
mod statements;
mod tend;
mod writer;

pub use encode::TEXT_BYTES_MAX;
pub use pawang_core::{Point, Reading, Series, Span};
pub use query::{
    Change, Fold, GROWTH_ROWS_MAX, Growth, GrowthQuery, POINTS_MAX, Rows, SERIES_MAX, STEPS_MAX,
    SeriesQuery,
};
pub use reader::Reader;
pub use statements::{STATEMENT_COLUMNS, Statement, StatementSums, Workload};
pub use writer::{Retention, Tended, Writer};
