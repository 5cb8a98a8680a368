//! Vacuum, statistics, freezing and bloat.

mod autovacuum;
mod bloat;
mod table;
mod threshold;

use crate::Check;

pub(crate) static CHECKS: &[Check] = &[
    autovacuum::AUTOVACUUM_DISABLED,
    autovacuum::AUTOVACUUM_DISABLED_TABLES,
    autovacuum::AUTOVACUUM_WORKERS,
    autovacuum::AUTOVACUUM_THROTTLED,
    autovacuum::VACUUM_DUE,
    autovacuum::VACUUM_STARVED,
    autovacuum::VACUUM_HELD_BACK,
    autovacuum::VACUUM_STUCK,
    table::DEAD_TUPLES,
    table::NEVER_VACUUMED,
    table::NEVER_ANALYZED,
    table::STALE_STATISTICS,
    table::FREEZE_DEBT,
    table::VISIBILITY_MAP,
    table::HOT_UPDATES,
    bloat::TABLE_BLOAT,
    bloat::INDEX_BLOAT,
    bloat::TOAST_BLOAT,
    bloat::CATALOG_BLOAT,
];
