//! How much WAL is written, and how.

use pawang_core::{Blind, Missing, Row, Unit};

use super::{GIGABYTE, MEGABYTE, bytes, on_primary, seconds};
use crate::{Check, Direction, Floor, Group, Observation, Scope, View};

/// Bytes of a full-page image.
const PAGE: f64 = 8_192.0;

const SAMPLE: Floor = Floor {
    name: "seconds",
    value: 10.0,
    unit: Unit::Seconds,
    ignores: "samples closer together than this",
};

pub(super) const RATE: Check = Check {
    id: "wal-rate",
    group: Group::Wal,
    title: "WAL written per second",
    scope: Scope::Server,
    needs: &["wal"],
    unit: Unit::BytesPerSecond,
    direction: Direction::Above,
    warning: Some(200.0 * MEGABYTE),
    critical: None,
    floors: &[SAMPLE],
    what: "Growth of wal_bytes in pg_stat_wal since the last sample. Set the limit to what archive and standbys of this server can carry.",
    why: "Every byte is written, archived, sent to each standby and kept for the backups' retention.",
    fix: "Find the statements that write most (pg_stat_statements.wal_bytes), compress full-page images (wal_compression), and space checkpoints.",
    observe: rate,
};

/// The row of pg_stat_wal with its older self, and the seconds in between.
fn grown<'a>(view: &View<'a>) -> Result<Option<(Row<'a>, Row<'a>, f64)>, Missing> {
    on_primary(view)?;
    let growth = view.growth("wal")?;
    let seconds = growth.seconds;
    Ok(growth
        .rows
        .into_iter()
        .find_map(|(row, old)| Some((row, old?, seconds))))
}

fn rate(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let Some((row, old, elapsed)) = grown(view)? else {
        return Ok(Vec::new());
    };
    let Some(written) = row.growth(old, "wal_bytes") else {
        return Ok(Vec::new());
    };
    if elapsed < view.floor("seconds") {
        return Ok(Vec::new());
    }
    Ok(vec![Observation {
        value: written / elapsed,
        title: format!(
            "{} of WAL per second were written over the last {}",
            bytes(written / elapsed),
            seconds(elapsed)
        ),
        evidence: vec![("wal_bytes".to_owned(), bytes(written))],
        ..Observation::default()
    }])
}

pub(super) const FULL_PAGE_IMAGES: Check = Check {
    id: "full-page-images",
    group: Group::Wal,
    title: "share of full-page images in WAL",
    scope: Scope::Server,
    needs: &["wal"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: Some(80.0),
    critical: None,
    floors: &[Floor {
        name: "wal_bytes",
        value: GIGABYTE,
        unit: Unit::Bytes,
        ignores: "intervals with less WAL than this",
    }],
    what: "wal_fpi times the page size as a share of wal_bytes since the last sample; an upper bound, because images leave out the free \
           space of a page and may be compressed.",
    why: "A high share means that checkpoints are too close together or that random keys (UUID) touch every page: WAL is mostly overhead.",
    fix: "ALTER SYSTEM SET wal_compression = 'lz4'; raise max_wal_size and checkpoint_timeout; prefer ordered keys.",
    observe: full_page_images,
};

fn full_page_images(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let Some((row, old, elapsed)) = grown(view)? else {
        return Ok(Vec::new());
    };
    let (images, written) = (row.growth(old, "wal_fpi"), row.growth(old, "wal_bytes"));
    let (Some(images), Some(written)) = (images, written) else {
        return Ok(Vec::new());
    };
    if written < view.floor("wal_bytes") {
        return Ok(Vec::new());
    }
    let share = (100.0 * images * PAGE / written).min(100.0);
    Ok(vec![Observation {
        value: share,
        title: format!(
            "up to {share:.0} % of {} of WAL in the last {} are full-page images",
            bytes(written),
            seconds(elapsed)
        ),
        evidence: vec![("wal_fpi".to_owned(), format!("{images:.0}"))],
        ..Observation::default()
    }])
}

pub(super) const BUFFERS_FULL: Check = Check {
    id: "wal-buffers-full",
    group: Group::Wal,
    title: "WAL buffers full",
    scope: Scope::Server,
    needs: &["wal"],
    unit: Unit::PerSecond,
    direction: Direction::Above,
    warning: Some(50.0),
    critical: None,
    floors: &[SAMPLE],
    what: "Growth of wal_buffers_full in pg_stat_wal per second: how often a backend had to write WAL because the buffers were full.",
    why: "A backend that writes WAL in the middle of a statement holds locks that all others wait for.",
    fix: "ALTER SYSTEM SET wal_buffers = '64MB'; (restart)",
    observe: buffers_full,
};

fn buffers_full(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let Some((row, old, elapsed)) = grown(view)? else {
        return Ok(Vec::new());
    };
    let Some(times) = row.growth(old, "wal_buffers_full") else {
        return Ok(Vec::new());
    };
    if elapsed < view.floor("seconds") {
        return Ok(Vec::new());
    }
    Ok(vec![Observation {
        value: times / elapsed,
        title: format!(
            "WAL buffers were full {:.1} times per second",
            times / elapsed
        ),
        evidence: row.evidence(&["wal_buffers_full"]),
        ..Observation::default()
    }])
}

pub(super) const SYNC_LATENCY: Check = Check {
    id: "wal-sync-latency",
    group: Group::Wal,
    title: "time to flush WAL",
    scope: Scope::Server,
    needs: &["wal", "io", "settings"],
    unit: Unit::Milliseconds,
    direction: Direction::Above,
    warning: Some(20.0),
    critical: Some(100.0),
    floors: &[Floor {
        name: "syncs",
        value: 100.0,
        unit: Unit::Count,
        ignores: "intervals with fewer flushes than this",
    }],
    what: "Milliseconds per flush of WAL since the last sample, from pg_stat_wal (pg_stat_io from PostgreSQL 18); needs track_wal_io_timing.",
    why: "Every commit waits for one flush: this is the floor of every transaction's latency.",
    fix: "Put pg_wal on storage with a protected write cache, and keep batch writes away from it.",
    observe: sync_latency,
};

fn sync_latency(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    on_primary(view)?;
    if view.setting("track_wal_io_timing")? != Some("on") {
        let setting = "track_wal_io_timing = on".to_owned();
        return Err(Blind::Disabled { setting }.into());
    }
    let (syncs, spent) = if view.server()?.major() >= 18 {
        let growth = view.growth("io")?;
        let of_wal = growth
            .rows
            .iter()
            .filter(|(row, _)| row.text("object") == Some("wal"));
        of_wal.fold((0.0, 0.0), |sum, (row, old)| {
            let grown = |name| old.and_then(|old| row.growth(old, name)).unwrap_or(0.0);
            (sum.0 + grown("fsyncs"), sum.1 + grown("fsync_time"))
        })
    } else {
        let Some((row, old, _)) = grown(view)? else {
            return Ok(Vec::new());
        };
        let grown = |name| row.growth(old, name).unwrap_or(0.0);
        (grown("wal_sync"), grown("wal_sync_time"))
    };
    if syncs < view.floor("syncs") {
        return Ok(Vec::new());
    }
    Ok(vec![Observation {
        value: spent / syncs,
        title: format!(
            "a flush of WAL takes {:.1} ms on average of {syncs:.0}",
            spent / syncs
        ),
        evidence: vec![("syncs".to_owned(), format!("{syncs:.0}"))],
        ..Observation::default()
    }])
}
