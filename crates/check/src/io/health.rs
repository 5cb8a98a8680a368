//! Damaged blocks, and resources that were not to be had.

use pawang_core::{Level, Missing, Unit};

use super::per_database;
use crate::wal::{GIGABYTE, bytes, number, seconds};
use crate::{Check, Direction, Floor, Group, Observation, Scope, View};

pub(super) const CHECKSUMS: Check = Check {
    id: "checksum-failures",
    group: Group::Io,
    title: "blocks with wrong checksums",
    scope: Scope::Server,
    needs: &["database"],
    unit: Unit::Count,
    direction: Direction::Above,
    warning: None,
    critical: Some(1.0),
    floors: &[],
    what: "checksum_failures of each database and of shared objects since the last reset of statistics (pg_stat_database); NULL where data \
           checksums are off. The lifetime counter is right here: damage does not go away by itself.",
    why: "The storage returned other bytes than were written: data are damaged, and backups taken since may be too.",
    fix: "Do not vacuum or dump over it. Find the blocks in the log, run pg_amcheck and pg_verifybackup on the last backup, restore the \
          damaged relations, replace the disk; then SELECT pg_stat_reset();",
    observe: checksums,
};

fn checksums(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let rows = view.snapshot("database")?.rows();
    if rows
        .clone()
        .all(|row| row.float("checksum_failures").is_none())
    {
        return Err(Missing::NotApplicable("data checksums are off".to_owned()));
    }
    let observations = rows.filter_map(|row| {
        let failures = row.float("checksum_failures")?;
        let object = row.text("datname").map_or_else(
            || "shared objects".to_owned(),
            |database| format!("database \"{database}\""),
        );
        Some(Observation {
            title: format!("{failures:.0} blocks of {object} had a wrong checksum"),
            object,
            value: failures,
            since: row.time("checksum_last_failure"),
            evidence: row.evidence(&["checksum_failures", "checksum_last_failure", "stats_reset"]),
            ..Observation::default()
        })
    });
    Ok(observations.collect())
}

pub(super) const PARALLEL: Check = Check {
    id: "parallel-workers",
    group: Group::Io,
    title: "parallel workers denied",
    scope: Scope::Server,
    needs: &["database"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: Some(25.0),
    critical: None,
    floors: &[Floor {
        name: "workers",
        value: 50.0,
        unit: Unit::Count,
        ignores: "databases that asked for fewer workers than this since the last sample",
    }],
    what: "Parallel workers that were planned and could not be launched since the last sample, per database (parallel_workers_to_launch and \
           parallel_workers_launched of pg_stat_database, PostgreSQL 18).",
    why: "A plan made for four workers runs with one: reports take a multiple of their usual time, without any other sign.",
    fix: "Raise max_parallel_workers and max_worker_processes, or lower max_parallel_workers_per_gather.",
    observe: parallel,
};

fn parallel(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    if view.server()?.major() < 18 {
        return Err(Missing::NotApplicable("needs PostgreSQL 18".to_owned()));
    }
    let floor = view.floor("workers");
    per_database(view, |row, old, elapsed| {
        let wanted = row.growth(old, "parallel_workers_to_launch")?;
        let denied = wanted - row.growth(old, "parallel_workers_launched")?;
        (wanted >= floor).then(|| Observation {
            value: 100.0 * denied / wanted,
            title: format!(
                "{denied:.0} of {wanted:.0} parallel workers were not to be had in the last {}",
                seconds(elapsed)
            ),
            evidence: vec![(
                "parallel_workers_to_launch".to_owned(),
                format!("{wanted:.0}"),
            )],
            ..Observation::default()
        })
    })
}

pub(super) const HUGE_PAGES: Check = Check {
    id: "huge-pages-status",
    group: Group::Io,
    title: "huge pages in use",
    scope: Scope::Server,
    needs: &["settings"],
    unit: Unit::State,
    direction: Direction::Above,
    warning: None,
    critical: None,
    floors: &[Floor {
        name: "shared_buffers",
        value: 8.0 * GIGABYTE,
        unit: Unit::Bytes,
        ignores: "servers with smaller shared buffers than this",
    }],
    what: "huge_pages_status (PostgreSQL 17): whether shared memory really is in huge pages, which huge_pages = try does not promise.",
    why: "Without them every connection keeps its own page table of the buffers: gigabytes of memory with hundreds of sessions.",
    fix: "Set vm.nr_hugepages to what postgres -C shared_memory_size_in_huge_pages says, and restart.",
    observe: huge_pages,
};

fn huge_pages(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let Some(status) = view.setting("huge_pages_status")? else {
        return Err(Missing::NotApplicable("needs PostgreSQL 17".to_owned()));
    };
    let block = number(view, "block_size")?.unwrap_or(8_192.0);
    let buffers = number(view, "shared_buffers")?.unwrap_or(0.0) * block;
    let missing = status == "off" && buffers >= view.floor("shared_buffers");
    Ok(vec![Observation {
        value: f64::from(u8::from(missing)),
        level: Some(if missing { Level::Warning } else { Level::Ok }),
        title: format!("shared buffers of {} are not in huge pages", bytes(buffers)),
        evidence: vec![("huge_pages_status".to_owned(), status.to_owned())],
        ..Observation::default()
    }])
}
