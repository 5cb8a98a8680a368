//! Space that a rebuild would give back, told from statistics alone: no page of any relation is read.

mod estimate;
mod shape;
mod space;

pub use estimate::{Btree, Column, Estimate, Heap, Length, Pages, btree_pages, heap_pages};
pub use shape::{Needed, Sized, indexes, tables};
pub use space::{Space, SpaceKind, Waste, index_spaces, table_spaces};

use crate::Row;

/// Bytes of a page: the models hold for servers with this `block_size` only.
pub const PAGE_BYTES: u64 = 8192;
/// Chunks of an out-of-line value on one page of a TOAST table.
const CHUNKS_PER_PAGE: f64 = 4.0;

/// Returns the pages that a TOAST table of collector `tables` needs at most, or `None` when its rows were never counted.
///
/// Values whose last chunk is short need even less.
pub fn toast_pages(row: &Row<'_>) -> Option<f64> {
    let chunks = row.float("reltuples").filter(|rows| *rows >= 0.0)?;
    Some((chunks / CHUNKS_PER_PAGE).ceil())
}

impl Sized<'_> {
    /// Returns the share of its pages that a rebuild would give back, in percent, where that can be told.
    pub fn wasted_percent(&self) -> Option<f64> {
        match self.needed {
            Needed::Pages(pages) => Some(self.percent(pages.likely)),
            _ => None,
        }
    }

    /// Returns the share of pages that are more than `needed`, in percent.
    pub fn percent(&self, needed: f64) -> f64 {
        if self.pages > 0.0 {
            100.0 * (self.pages - needed).max(0.0) / self.pages
        } else {
            0.0
        }
    }
}
