//! Files that may have had their day: logs, temporary files of queries, archived WAL. Names, sizes and times only; none is read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pawang_core::{Blind, Missing, Timestamp, Value};

use super::{Fields, Host, Rows, missing, read, text, under, whole};

/// Files of one kind that are listed.
const FILES_MAX: usize = 100_000;
/// Hexadecimal digits of the name of a WAL segment.
const SEGMENT_DIGITS: usize = 24;

/// Lists the log directory; which file is written now stands in `current_logfiles` of the data directory.
pub(super) fn logs(host: &Host<'_>) -> Rows {
    let directory = host.log.as_ref().ok_or_else(|| Blind::NotConfigured {
        key: "log_directory".to_owned(),
        what: "the server does not tell where its log files are".to_owned(),
    })?;
    let current = host.data.as_ref().and_then(|data| {
        let listed = read(&under(host.root, &data.join("current_logfiles"))).ok()?;
        let paths = listed.lines().filter_map(|line| line.split_once(' '));
        Some(
            paths
                .map(|(_, path)| data.join(path))
                .collect::<Vec<PathBuf>>(),
        )
    });
    let mut rows = Vec::new();
    each(host, directory, &mut rows, |path, mut row| {
        // Without the list nobody knows: that is not the same as "no".
        if let Some(current) = &current {
            row.insert(
                "current",
                Value::Bool(current.iter().any(|other| other == path)),
            );
        }
        Some(row)
    })?;
    Ok(rows)
}

/// Lists the temporary files of queries, each with the process in its name.
pub(super) fn temporary(host: &Host<'_>) -> Rows {
    let data = host.data()?;
    let mut directories = vec![data.join("base/pgsql_tmp")];
    for link in entries(host, &data.join("pg_tblspc"))? {
        for version in entries(host, &link)? {
            directories.push(version.join("pgsql_tmp"));
        }
    }
    let mut rows = Vec::new();
    for directory in directories {
        each(host, &directory, &mut rows, |path, mut row| {
            let name = path.file_name()?.to_str()?;
            let (pid, number) = name.strip_prefix("pgsql_tmp")?.split_once('.')?;
            let pid: i64 = pid.parse().ok().filter(|_| number.parse::<u64>().is_ok())?;
            row.insert("pid", Value::Int(pid));
            row.insert(
                "alive",
                Value::Bool(host.path(&format!("/proc/{pid}")).exists()),
            );
            Some(row)
        })?;
    }
    Ok(rows)
}

/// Lists archived WAL: segments, backup history files and timeline history files.
pub(super) fn archive(host: &Host<'_>) -> Rows {
    let directory = host.archive.as_ref().ok_or_else(|| Blind::NotConfigured {
        key: "cleanup.archive_directory of the policy".to_owned(),
        what: "the folder of archived WAL".to_owned(),
    })?;
    let mut rows = Vec::new();
    each(host, directory, &mut rows, |path, mut row| {
        let name = path.file_name()?.to_str()?;
        let (kind, segment) = kind(name);
        row.insert("kind", text(kind));
        row.insert("segment", segment.map_or(Value::Null, text));
        Some(row)
    })?;
    Ok(rows)
}

/// Returns what an archived file is by its name, and the segment that it is or begins with.
fn kind(name: &str) -> (&'static str, Option<&str>) {
    let digits = |text: &str, number: usize| {
        text.len() == number
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))
    };
    let segment = name
        .get(..SEGMENT_DIGITS)
        .filter(|text| digits(text, SEGMENT_DIGITS));
    let rest = segment.map_or("", |segment| &name[segment.len()..]);
    let backup = rest
        .strip_suffix(".backup")
        .and_then(|rest| rest.strip_prefix('.'));
    match (segment, rest) {
        (Some(segment), "" | ".gz" | ".lz4" | ".zst" | ".bz2" | ".xz") => {
            ("segment", Some(segment))
        }
        (Some(segment), _) if backup.is_some_and(|offset| digits(offset, 8)) => {
            ("backup", Some(segment))
        }
        _ if name.ends_with(".history") => ("history", None),
        _ => ("other", None),
    }
}

/// Adds a row for each file of a folder that `describe` takes; a folder that is not there has no files.
fn each(
    host: &Host<'_>,
    directory: &Path,
    rows: &mut Vec<Fields>,
    describe: impl Fn(&Path, Fields) -> Option<Fields>,
) -> Result<(), Missing> {
    for path in entries(host, directory)? {
        let here = under(host.root, &path);
        let metadata = match fs::symlink_metadata(&here) {
            Ok(metadata) => metadata,
            // What was removed while we looked is no file any more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(missing(&path.to_string_lossy(), &error)),
        };
        if !metadata.is_file() {
            continue;
        }
        let modified = metadata
            .modified()
            .ok()
            .and_then(|at| Timestamp::try_from(at).ok());
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let row = Fields::from([
            ("path", text(path.to_string_lossy())),
            ("name", text(name)),
            ("size_bytes", whole(metadata.len())),
            ("modified_at", modified.map_or(Value::Null, Value::Time)),
        ]);
        rows.extend(describe(&path, row));
        if rows.len() > FILES_MAX {
            let what = format!(
                "folder \"{}\" holds more than {FILES_MAX} files",
                directory.display()
            );
            return Err(Blind::Failed { what }.into());
        }
    }
    Ok(())
}

/// Returns what is in a folder by name; nothing when it is not there.
fn entries(host: &Host<'_>, directory: &Path) -> Result<Vec<PathBuf>, Missing> {
    let error = |error: &io::Error| missing(&directory.to_string_lossy(), error);
    let listed = match fs::read_dir(under(host.root, directory)) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(problem) => return Err(error(&problem)),
    };
    let mut paths = Vec::new();
    for entry in listed {
        paths.push(directory.join(entry.map_err(|problem| error(&problem))?.file_name()));
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archived_files_are_told_apart_by_their_names() {
        for (name, expected) in [
            ("000000010000000A000000FF", "segment"),
            ("000000010000000A000000FF.gz", "segment"),
            ("000000010000000A000000FF.partial", "other"),
            ("000000010000000A000000FF.00000028.backup", "backup"),
            ("00000002.history", "history"),
            ("000000010000000A000000Ff", "other"),
            ("README", "other"),
        ] {
            assert_eq!(kind(name).0, expected, "{name}");
        }
    }
}
