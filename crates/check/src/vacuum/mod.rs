//! Vacuum, statistics, freezing and bloat.

mod bloat;
mod estimate;
mod shape;

use crate::Check;

pub(crate) static CHECKS: &[Check] = &[
    bloat::TABLE_BLOAT,
    bloat::INDEX_BLOAT,
    bloat::TOAST_BLOAT,
    bloat::CATALOG_BLOAT,
];
