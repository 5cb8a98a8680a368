//! Shared buffers: hits, evictions, and who writes.

use pawang_core::{Missing, Unit};

use super::{of_relation, per_database, sum};
use crate::wal::{number, seconds};
use crate::{Check, Direction, Floor, Group, Observation, Scope, View};

pub(super) const HIT_RATIO: Check = Check {
    id: "cache-hit-ratio",
    group: Group::Io,
    title: "cache hits",
    scope: Scope::Server,
    needs: &["database"],
    unit: Unit::Percent,
    direction: Direction::Below,
    warning: Some(95.0),
    critical: None,
    floors: &[Floor {
        name: "blocks_read",
        value: 10_000.0,
        unit: Unit::Count,
        ignores: "databases that read fewer blocks than this from outside the cache since the last sample",
    }],
    what: "Blocks found in shared buffers as a share of all blocks asked for since the last sample, per database (pg_stat_database). The \
           lifetime ratio hides every change; a block that the kernel had in its cache counts as read.",
    why: "A falling ratio means that the working set no longer fits, or that something scans what it should look up.",
    fix: "Find the statements with most shared_blks_read in pg_stat_statements; then raise shared_buffers or add the missing index.",
    observe: hit_ratio,
};

fn hit_ratio(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let floor = view.floor("blocks_read");
    per_database(view, |row, old, elapsed| {
        let (read, hit) = (row.growth(old, "blks_read")?, row.growth(old, "blks_hit")?);
        let share = 100.0 * hit / (hit + read);
        (read >= floor).then(|| Observation {
            value: share,
            title: format!(
                "{share:.1} % of blocks were found in shared buffers in the last {}",
                seconds(elapsed)
            ),
            evidence: vec![
                ("blks_hit".to_owned(), format!("{hit:.0}")),
                ("blks_read".to_owned(), format!("{read:.0}")),
            ],
            ..Observation::default()
        })
    })
}

pub(super) const TURNOVER: Check = Check {
    id: "buffer-turnover",
    group: Group::Io,
    title: "shared buffers replaced",
    scope: Scope::Server,
    needs: &["io", "settings"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: Some(60.0),
    critical: None,
    floors: &[Floor {
        name: "seconds",
        value: 30.0,
        unit: Unit::Seconds,
        ignores: "samples closer together than this",
    }],
    what: "How many times per hour all of shared buffers is replaced: evictions of context normal (pg_stat_io, PostgreSQL 16) against \
           shared_buffers. Ring buffers of bulk reads do not count.",
    why: "Pages that are thrown out within a minute are read again and again.",
    fix: "Raise shared_buffers (restart), or find what drags the data through: statements with most shared_blks_read.",
    observe: turnover,
};

fn turnover(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let normal =
        |row: &pawang_core::Row<'_>| row.text("context") == Some("normal") && of_relation(row);
    let ([evicted], elapsed) = sum(view, normal, ["evictions"])?;
    let buffers = number(view, "shared_buffers")?.unwrap_or(f64::NAN);
    if elapsed < view.floor("seconds") {
        return Ok(Vec::new());
    }
    let times = evicted / buffers * 3_600.0 / elapsed;
    Ok(vec![Observation {
        value: times,
        title: format!("shared buffers are replaced {times:.0} times per hour"),
        evidence: vec![("evictions".to_owned(), format!("{evicted:.0}"))],
        ..Observation::default()
    }])
}

pub(super) const BACKEND_WRITES: Check = Check {
    id: "backend-writes",
    group: Group::Io,
    title: "pages written by sessions themselves",
    scope: Scope::Server,
    needs: &["io"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: Some(50.0),
    critical: None,
    floors: &[Floor {
        name: "writes",
        value: 10_000.0,
        unit: Unit::Count,
        ignores: "intervals with fewer writes than this",
    }],
    what: "Writes of client backends in context normal as a share of all writes of that context (pg_stat_io, PostgreSQL 16). Bulk loads \
           write their own ring buffers on purpose and do not count. Before 16 the figures cannot be told apart.",
    why: "A session that has to write a dirty page before it can read one is slower, and its user waits.",
    fix: "Let the background writer do it: ALTER SYSTEM SET bgwriter_lru_maxpages = 500; SET bgwriter_delay = '50ms'; or raise shared_buffers.",
    observe: backend_writes,
};

fn backend_writes(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let normal =
        |row: &pawang_core::Row<'_>| row.text("context") == Some("normal") && of_relation(row);
    let ([all], _) = sum(view, normal, ["writes"])?;
    let client = |row: &pawang_core::Row<'_>| {
        normal(row) && row.text("backend_type") == Some("client backend")
    };
    let ([own], elapsed) = sum(view, client, ["writes"])?;
    if all < view.floor("writes") {
        return Ok(Vec::new());
    }
    Ok(vec![Observation {
        value: 100.0 * own / all,
        title: format!(
            "sessions wrote {own:.0} of {all:.0} pages themselves in the last {}",
            seconds(elapsed)
        ),
        evidence: vec![("writes".to_owned(), format!("{own:.0} of {all:.0}"))],
        ..Observation::default()
    }])
}

pub(super) const BACKEND_FSYNCS: Check = Check {
    id: "backend-fsyncs",
    group: Group::Io,
    title: "files flushed by sessions themselves",
    scope: Scope::Server,
    needs: &["bgwriter", "io"],
    unit: Unit::PerSecond,
    direction: Direction::Above,
    warning: Some(5.0),
    critical: None,
    floors: &[Floor {
        name: "seconds",
        value: 5.0,
        unit: Unit::Seconds,
        ignores: "samples closer together than this",
    }],
    what: "fsync calls of client backends per second: context normal of pg_stat_io from PostgreSQL 16, buffers_backend_fsync of \
           pg_stat_bgwriter before.",
    why: "The checkpointer's queue is full: each flush stops its session for as long as the disk takes.",
    fix: "Raise shared_buffers (the queue grows with it), and space checkpoints by a larger max_wal_size.",
    observe: backend_fsyncs,
};

fn backend_fsyncs(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let (calls, elapsed) = if view.server()?.major() >= 16 {
        let client = |row: &pawang_core::Row<'_>| {
            of_relation(row)
                && row.text("context") == Some("normal")
                && row.text("backend_type") == Some("client backend")
        };
        let ([calls], elapsed) = sum(view, client, ["fsyncs"])?;
        (calls, elapsed)
    } else {
        let growth = view.growth("bgwriter")?;
        let calls = growth
            .rows
            .iter()
            .filter_map(|(row, old)| row.growth((*old)?, "buffers_backend_fsync"));
        (calls.sum(), growth.seconds)
    };
    if elapsed < view.floor("seconds") {
        return Ok(Vec::new());
    }
    Ok(vec![Observation {
        value: calls / elapsed,
        title: format!(
            "sessions flushed {:.1} files per second to disk themselves",
            calls / elapsed
        ),
        evidence: vec![("fsyncs".to_owned(), format!("{calls:.0}"))],
        ..Observation::default()
    }])
}

pub(super) const MAXWRITTEN: Check = Check {
    id: "bgwriter-maxwritten",
    group: Group::Io,
    title: "background writer at its limit",
    scope: Scope::Server,
    needs: &["bgwriter"],
    unit: Unit::PerSecond,
    direction: Direction::Above,
    warning: Some(1.0),
    critical: None,
    floors: &[Floor {
        name: "seconds",
        value: 5.0,
        unit: Unit::Seconds,
        ignores: "samples closer together than this",
    }],
    what: "maxwritten_clean per second (pg_stat_bgwriter): rounds that the background writer broke off at bgwriter_lru_maxpages. With the \
           default bgwriter_delay there are 5 rounds a second.",
    why: "What it leaves dirty, sessions must write themselves.",
    fix: "ALTER SYSTEM SET bgwriter_lru_maxpages = 500; SELECT pg_reload_conf();",
    observe: maxwritten,
};

fn maxwritten(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let growth = view.growth("bgwriter")?;
    let rounds = growth
        .rows
        .iter()
        .filter_map(|(row, old)| row.growth((*old)?, "maxwritten_clean"));
    let rate = rounds.sum::<f64>() / growth.seconds;
    if growth.seconds < view.floor("seconds") {
        return Ok(Vec::new());
    }
    Ok(vec![Observation {
        value: rate,
        title: format!(
            "the background writer broke off {rate:.1} rounds per second at bgwriter_lru_maxpages"
        ),
        evidence: Vec::new(),
        ..Observation::default()
    }])
}

pub(super) const SLRU: Check = Check {
    id: "slru-misses",
    group: Group::Io,
    title: "misses of the SLRU caches",
    scope: Scope::Server,
    needs: &["slru"],
    unit: Unit::PerSecond,
    direction: Direction::Above,
    warning: Some(100.0),
    critical: Some(1_000.0),
    floors: &[Floor {
        name: "blocks_read",
        value: 1_000.0,
        unit: Unit::Count,
        ignores: "caches that read fewer blocks than this since the last sample",
    }],
    what: "Blocks read per second by each SLRU cache (pg_stat_slru): transaction status, subtransactions, multixacts, notifications.",
    why: "Reads of Subtrans or MultiXact come with one lock for everybody: the server stalls while its CPU is idle.",
    fix: "Subtransactions: fewer savepoints, shorter transactions. Multixacts: fewer shared row locks. From PostgreSQL 17 raise \
          subtransaction_buffers, multixact_member_buffers.",
    observe: slru,
};

fn slru(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let growth = view.growth("slru")?;
    let floor = view.floor("blocks_read");
    let observations = growth.rows.iter().filter_map(|(row, old)| {
        let old = (*old)?;
        let name = row.text("name")?;
        let read = row.growth(old, "blks_read")?;
        let rate = read / growth.seconds;
        (read >= floor).then(|| Observation {
            object: format!("cache \"{name}\""),
            value: rate,
            title: format!("the SLRU cache \"{name}\" read {rate:.0} blocks per second"),
            evidence: row.evidence(&["blks_read", "blks_hit"]),
            ..Observation::default()
        })
    });
    Ok(observations.collect())
}
