//! What chunks cost: their number, the locks on them, the size of those being written.

use pawang_core::{Blind, ByteSize, Missing, Unit};

use super::hypertable;
use crate::{Check, Direction, Floor, Group, Observation, Scope, View};

pub(super) const CHUNK_COUNT: Check = Check {
    id: "timescaledb-chunk-count",
    group: Group::Timescaledb,
    title: "chunks per hypertable",
    scope: Scope::Database,
    needs: &["timescaledb-hypertables"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: Some(2_500.0),
    critical: Some(20_000.0),
    floors: &[],
    what: "Number of chunks of each hypertable, those under continuous aggregates included (timescaledb_information.chunks).",
    why: "Every chunk is a table with its indexes: planning, ANALYZE, pg_dump and pg_upgrade take time and memory for each.",
    fix: "SELECT set_chunk_time_interval('...', INTERVAL '...'); for chunks to come, a retention policy for old ones, \
          merge_chunks (2.18) for those that exist.",
    observe: chunk_count,
};

pub(super) const CHUNK_LOCKS: Check = Check {
    id: "timescaledb-chunk-locks",
    group: Group::Timescaledb,
    title: "locks for a whole hypertable",
    scope: Scope::Database,
    needs: &["timescaledb-hypertables", "settings"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: Some(50.0),
    critical: Some(100.0),
    floors: &[],
    what: "Locks that a statement without a condition on time takes on a hypertable (its chunks, each with the indexes of one \
           of the newest) as a share of the lock table: max_locks_per_transaction times (max_connections + \
           max_prepared_transactions).",
    why: "One such statement then fails with \"out of shared memory\", and so does whoever needs a lock at the same moment; \
          pg_dump and DDL on the hypertable lock every chunk too.",
    fix: "ALTER SYSTEM SET max_locks_per_transaction = ...; and restart (standbys first); or fewer chunks, see timescaledb-chunk-count.",
    observe: chunk_locks,
};

pub(super) const CHUNK_SIZE: Check = Check {
    id: "timescaledb-chunk-size",
    group: Group::Timescaledb,
    title: "newest chunks and memory",
    scope: Scope::Database,
    needs: &["timescaledb-hypertables", "settings"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: Some(100.0),
    critical: None,
    floors: &[Floor {
        name: "bytes",
        value: 1_073_741_824.0,
        unit: Unit::Bytes,
        ignores: "hypertables whose newest chunk is smaller",
    }],
    what: "Size of the largest of the three newest uncompressed chunks of each hypertable, with TOAST, indexes and all space \
           partitions, as a share of shared_buffers, which as a rule is a quarter of the memory. By pg_class.relpages, so as old as \
           the last VACUUM or ANALYZE; a chunk without pages is not judged.",
    why: "Rows go into the newest chunk; when it and its indexes do not stay in memory every insert reads from disk.",
    fix: "SELECT set_chunk_time_interval('...', INTERVAL '...'); with a shorter interval: it holds for chunks to come.",
    observe: chunk_size,
};

fn chunk_count(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let hypertables = view.here("timescaledb-hypertables")?;
    let observations = hypertables.rows().filter_map(|row| {
        let chunks = row.float("chunks")?;
        let interval = row.float("chunk_interval");
        let each = interval.map_or(String::new(), |s| format!(" of {}", Unit::Seconds.show(s)));
        Some(Observation {
            object: hypertable(&row),
            value: chunks,
            title: format!(
                "{} has {} chunks{each}",
                hypertable(&row),
                Unit::Count.show(chunks)
            ),
            evidence: row.evidence(&["chunks", "compressed_chunks", "chunk_interval"]),
            ..Observation::default()
        })
    });
    Ok(observations.collect())
}

/// Returns a numeric setting, in its own unit.
fn number(view: &View<'_>, name: &str) -> Result<f64, Missing> {
    let text = view.setting(name)?;
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        let what = format!("setting \"{name}\" could not be read");
        Blind::Failed { what }.into()
    })
}

fn chunk_locks(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let hypertables = view.here("timescaledb-hypertables")?;
    let sessions = number(view, "max_connections")? + number(view, "max_prepared_transactions")?;
    let slots = number(view, "max_locks_per_transaction")? * sessions;
    let observations = hypertables.rows().filter_map(|row| {
        let chunks = row.float("chunks").filter(|chunks| *chunks > 0.0)?;
        let relations = row.float("newest_chunk_relations").unwrap_or(1.0);
        let locks = chunks * relations;
        Some(Observation {
            object: hypertable(&row),
            value: 100.0 * locks / slots,
            title: format!(
                "a statement on all of {} takes about {} locks of {}",
                hypertable(&row),
                Unit::Count.show(locks),
                Unit::Count.show(slots)
            ),
            evidence: row.evidence(&["chunks", "newest_chunk_relations"]),
            ..Observation::default()
        })
    });
    Ok(observations.collect())
}

fn chunk_size(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let floor = view.floor("bytes");
    let hypertables = view.here("timescaledb-hypertables")?;
    let block = number(view, "block_size")?;
    let memory = number(view, "shared_buffers")? * block;
    let observations = hypertables.rows().filter_map(|row| {
        let bytes = row.float("newest_chunk_bytes").filter(|b| *b >= floor)?;
        Some(Observation {
            object: hypertable(&row),
            value: 100.0 * bytes / memory,
            title: format!(
                "a new chunk of {} takes {}, shared_buffers is {}",
                hypertable(&row),
                ByteSize(bytes as u64),
                ByteSize(memory as u64)
            ),
            evidence: row.evidence(&[
                "newest_chunk_bytes",
                "newest_chunk_index_bytes",
                "chunk_interval",
            ]),
            ..Observation::default()
        })
    });
    Ok(observations.collect())
}
