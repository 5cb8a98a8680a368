//! Temporary files: what does not fit into memory.

use pawang_core::{Missing, Unit};

use super::per_database;
use crate::wal::{GIGABYTE, MEGABYTE, bytes, seconds};
use crate::{Check, Direction, Floor, Group, Observation, Scope, View};

pub(super) const BYTES: Check = Check {
    id: "temp-bytes",
    group: Group::Io,
    title: "bytes spilled to temporary files",
    scope: Scope::Server,
    needs: &["database"],
    unit: Unit::BytesPerSecond,
    direction: Direction::Above,
    warning: Some(10.0 * MEGABYTE),
    critical: None,
    floors: &[Floor {
        name: "bytes",
        value: 64.0 * MEGABYTE,
        unit: Unit::Bytes,
        ignores: "databases that spilled less than this since the last sample",
    }],
    what: "Growth of temp_bytes per second, per database (pg_stat_database). A file counts when it is removed, so a running sort is not here \
           yet: see temp-space.",
    why: "Sorts, hashes and CREATE INDEX that do not fit into work_mem are written and read again: slower, and competing for the disk.",
    fix: "Find them by temp_blks_written in pg_stat_statements or with log_temp_files = '64MB'; raise work_mem for those roles only.",
    observe: temp_bytes,
};

fn temp_bytes(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let floor = view.floor("bytes");
    per_database(view, |row, old, elapsed| {
        let spilled = row.growth(old, "temp_bytes")?;
        let files = row.growth(old, "temp_files").unwrap_or(0.0);
        (spilled >= floor).then(|| Observation {
            value: spilled / elapsed,
            title: format!(
                "{} were spilled to {files:.0} temporary files in the last {}",
                bytes(spilled),
                seconds(elapsed)
            ),
            evidence: vec![
                ("temp_bytes".to_owned(), bytes(spilled)),
                ("temp_files".to_owned(), format!("{files:.0}")),
            ],
            ..Observation::default()
        })
    })
}

pub(super) const FILES: Check = Check {
    id: "temp-files",
    group: Group::Io,
    title: "temporary files created",
    scope: Scope::Server,
    needs: &["database"],
    unit: Unit::PerSecond,
    direction: Direction::Above,
    warning: Some(10.0),
    critical: Some(100.0),
    floors: &[Floor {
        name: "files",
        value: 100.0,
        unit: Unit::Count,
        ignores: "databases that created fewer files than this since the last sample",
    }],
    what: "Growth of temp_files per second, per database (pg_stat_database).",
    why: "Many small spills mean that work_mem is just too small for an everyday statement.",
    fix: "Find it by temp_blks_written and calls in pg_stat_statements, then: ALTER ROLE name SET work_mem = '32MB';",
    observe: temp_files,
};

fn temp_files(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let floor = view.floor("files");
    per_database(view, |row, old, elapsed| {
        let files = row.growth(old, "temp_files")?;
        (files >= floor).then(|| Observation {
            value: files / elapsed,
            title: format!(
                "{files:.0} temporary files were created in the last {}",
                seconds(elapsed)
            ),
            evidence: vec![("temp_files".to_owned(), format!("{files:.0}"))],
            ..Observation::default()
        })
    })
}

pub(super) const SPACE: Check = Check {
    id: "temp-space",
    group: Group::Io,
    title: "space taken by temporary files now",
    scope: Scope::Server,
    needs: &["wal-directory"],
    unit: Unit::Bytes,
    direction: Direction::Above,
    warning: Some(10.0 * GIGABYTE),
    critical: Some(100.0 * GIGABYTE),
    floors: &[],
    what: "Bytes in the temporary directories of all tablespaces at this moment (pg_ls_tmpdir).",
    why: "One cross join can fill the disk that the data are on.",
    fix: "Find the session (its pid is part of the file's name): SELECT * FROM pg_ls_tmpdir(); and set temp_file_limit.",
    observe: temp_space,
};

fn temp_space(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let row = view.row("wal-directory")?;
    let used = row.float("temporary_bytes").unwrap_or(f64::NAN);
    let files = row.float("temporary_files").unwrap_or(f64::NAN);
    Ok(vec![Observation {
        value: used,
        title: format!("{files:.0} temporary files take {}", bytes(used)),
        evidence: row.evidence(&["temporary_files", "temporary_bytes"]),
        ..Observation::default()
    }])
}
