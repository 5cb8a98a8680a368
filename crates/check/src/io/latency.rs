//! How long reads and writes take.

use pawang_core::{Blind, Missing, Unit};

use super::{of_relation, per_database, sum};
use crate::wal::seconds;
use crate::{Check, Direction, Floor, Group, Observation, Scope, View};

pub(super) const READ: Check = Check {
    id: "read-latency",
    group: Group::Io,
    title: "time to read a block",
    scope: Scope::Server,
    needs: &["database", "settings"],
    unit: Unit::Milliseconds,
    direction: Direction::Above,
    warning: Some(10.0),
    critical: Some(50.0),
    floors: &[Floor {
        name: "blocks_read",
        value: 1_000.0,
        unit: Unit::Count,
        ignores: "databases that read fewer blocks than this since the last sample",
    }],
    what: "blk_read_time per block read since the last sample, per database (pg_stat_database); needs track_io_timing. Blocks from the \
           kernel's cache count as fast reads, so a slow disk shows only when the cache does not help.",
    why: "It is the storage as the database feels it, whatever the storage says about itself.",
    fix: "Look at the host's disk latency and queue; find who reads: pg_stat_io by backend_type and context.",
    observe: read,
};

/// Stops a check of times that the server does not take.
fn timed(view: &View<'_>) -> Result<(), Missing> {
    match view.setting("track_io_timing")? {
        Some("on") => Ok(()),
        _ => Err(Blind::Disabled {
            setting: "track_io_timing = on".to_owned(),
        }
        .into()),
    }
}

fn read(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    timed(view)?;
    let floor = view.floor("blocks_read");
    per_database(view, |row, old, elapsed| {
        let (blocks, spent) = (
            row.growth(old, "blks_read")?,
            row.growth(old, "blk_read_time")?,
        );
        (blocks >= floor).then(|| Observation {
            value: spent / blocks,
            title: format!(
                "a block takes {:.2} ms to read, on average of {blocks:.0} in the last {}",
                spent / blocks,
                seconds(elapsed)
            ),
            evidence: vec![("blks_read".to_owned(), format!("{blocks:.0}"))],
            ..Observation::default()
        })
    })
}

pub(super) const WRITE: Check = Check {
    id: "write-latency",
    group: Group::Io,
    title: "time to write a block",
    scope: Scope::Server,
    needs: &["io", "settings"],
    unit: Unit::Milliseconds,
    direction: Direction::Above,
    warning: Some(10.0),
    critical: Some(50.0),
    floors: &[Floor {
        name: "writes",
        value: 1_000.0,
        unit: Unit::Count,
        ignores: "intervals with fewer writes than this",
    }],
    what: "write_time per write of relation data since the last sample, over all backends (pg_stat_io, PostgreSQL 16); needs \
           track_io_timing. Writes go to the kernel's cache, so a slow write means that the kernel itself must wait for the disk.",
    why: "When the kernel stops taking writes, everything stops.",
    fix: "Lower vm.dirty_background_bytes, spread checkpoints (checkpoint_completion_target = 0.9), or move to faster storage.",
    observe: write,
};

fn write(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    timed(view)?;
    let ([writes, spent], elapsed) = sum(view, of_relation, ["writes", "write_time"])?;
    if writes < view.floor("writes") {
        return Ok(Vec::new());
    }
    Ok(vec![Observation {
        value: spent / writes,
        title: format!(
            "a write takes {:.2} ms, on average of {writes:.0} in the last {}",
            spent / writes,
            seconds(elapsed)
        ),
        evidence: vec![("writes".to_owned(), format!("{writes:.0}"))],
        ..Observation::default()
    }])
}
