//! Indexes, keys, sequences, partitions and other objects.

mod index;
mod key;
mod object;
mod overlap;
mod partition;

use crate::Check;

pub(crate) static CHECKS: &[Check] = &[
    index::INVALID_INDEX,
    index::UNUSED_INDEX,
    overlap::DUPLICATE_INDEX,
    overlap::REDUNDANT_INDEX,
    index::MISSING_FK_INDEX,
    index::SEQUENTIAL_SCANS,
    index::INDEX_COUNT,
    index::REINDEX_UNSAFE,
    key::INTEGER_KEY,
    key::SEQUENCE_EXHAUSTION,
    key::PRIMARY_KEY,
    object::COLUMN_LIMIT,
    object::DISABLED_TRIGGERS,
    object::UNLOGGED_TABLES,
    object::NOT_VALID_CONSTRAINTS,
    object::EXTENSION_UPDATE,
    object::COLLATION_VERSION,
    partition::PARTITIONS_AHEAD,
    partition::DEFAULT_PARTITION,
    partition::PARTITION_COUNT,
    partition::PARTITIONED_STATISTICS,
];
