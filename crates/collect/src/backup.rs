//! Backups as they lie on this machine: files in a directory, or a pgBackRest repository.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::SignedDuration;
use pawang_config::matches;
use pawang_core::{Blind, Column, ColumnKind, Cost, Missing, Sighting, Snapshot, Timestamp, Value};
use serde::Deserialize;

/// Backups in one directory that are looked at.
const BACKUPS_MAX: usize = 10_000;
/// Files below one backup that are added up.
const FILES_MAX: usize = 1_000_000;
/// Folders inside folders that are followed.
const DEPTH_MAX: usize = 64;
/// What changed more recently than this may still be written.
const GROWING: SignedDuration = SignedDuration::from_secs(60);
/// Largest `backup.info` that is read.
const INFO_BYTES_MAX: u64 = 64 << 20;
/// Names that programs give to what is not finished.
const UNFINISHED: [&str; 4] = [".partial", ".part", ".tmp", ".incomplete"];

/// Where backups lie.
#[derive(Clone, Debug, PartialEq)]
pub struct BackupPlace {
    /// Name of the snapshot: `backup:` and what tells it from others of the same instance.
    pub name: String,
    /// What kind of place it is.
    pub kind: BackupKind,
}

/// What kind of place backups lie in.
#[derive(Clone, Debug, PartialEq)]
pub enum BackupKind {
    /// A directory: each file or folder in it is a backup.
    Directory {
        /// The directory.
        path: PathBuf,
        /// Names that are backups, with `*`; all but hidden ones when not set.
        pattern: Option<String>,
        /// A smaller one is not ok; one without a byte never is.
        minimum_bytes: u64,
    },
    /// A pgBackRest repository.
    Pgbackrest {
        /// The repository.
        path: PathBuf,
        /// The stanza.
        stanza: String,
    },
}

/// One backup; `ok` is `None` while it may still be written.
struct Backup {
    label: String,
    finished_at: Option<Timestamp>,
    size_bytes: u64,
    ok: Option<bool>,
}

/// Looks at a place of backups: one row per backup, oldest first.
pub(crate) fn observe(place: &BackupPlace, now: Timestamp) -> Sighting {
    let seen = match &place.kind {
        BackupKind::Directory {
            path,
            pattern,
            minimum_bytes,
        } => directory(path, pattern.as_deref(), *minimum_bytes, now),
        BackupKind::Pgbackrest { path, stanza } => pgbackrest(path, stanza),
    };
    let seen = seen.map(|mut backups| {
        backups.sort_by(|a, b| (a.finished_at, &a.label).cmp(&(b.finished_at, &b.label)));
        snapshot(&place.name, backups, now)
    });
    Sighting {
        collector: place.name.clone(),
        database: None,
        seen: seen.map(Arc::new).map_err(Missing::Blind),
    }
}

fn snapshot(name: &str, backups: Vec<Backup>, now: Timestamp) -> Snapshot {
    let columns = [
        ("label", ColumnKind::Label),
        ("finished_at", ColumnKind::Info),
        ("size_bytes", ColumnKind::Gauge),
        ("ok", ColumnKind::Info),
    ];
    let column = |(name, kind): (&str, ColumnKind)| Column {
        name: name.to_owned(),
        kind,
        unit: None,
    };
    let row = |backup: Backup| {
        vec![
            Value::Text(backup.label.into()),
            backup.finished_at.map_or(Value::Null, Value::Time),
            i64::try_from(backup.size_bytes).map_or(Value::Null, Value::Int),
            backup.ok.map_or(Value::Null, Value::Bool),
        ]
    };
    Snapshot {
        collector: name.to_owned(),
        database: None,
        at: now,
        epoch: None,
        cost: Cost {
            rows: backups.len(),
            ..Cost::default()
        },
        columns: columns.map(column).into(),
        rows: backups.into_iter().map(row).collect(),
    }
}

fn directory(
    path: &Path,
    pattern: Option<&str>,
    minimum_bytes: u64,
    now: Timestamp,
) -> Result<Vec<Backup>, Blind> {
    let mut backups = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| unread(path, &error))? {
        let entry = entry.map_err(|error| unread(path, &error))?;
        let label = entry.file_name().to_string_lossy().into_owned();
        let wanted = match pattern {
            Some(pattern) => matches(pattern, &label),
            None => !label.starts_with('.'),
        };
        if !wanted {
            continue;
        }
        if backups.len() == BACKUPS_MAX {
            let what = format!(
                "directory \"{}\" holds more than {BACKUPS_MAX} backups",
                path.display()
            );
            return Err(Blind::Failed { what });
        }
        // What retention removes while we look is no backup any more.
        let Some(size) = measure(&entry.path())? else {
            continue;
        };
        let named_unfinished = UNFINISHED.iter().any(|end| label.ends_with(end));
        let growing = now.duration_since(size.changed_at) < GROWING;
        let finished = !named_unfinished && !growing;
        backups.push(Backup {
            label,
            finished_at: finished.then_some(size.changed_at),
            size_bytes: size.bytes,
            ok: finished.then_some(size.bytes > 0 && size.bytes >= minimum_bytes),
        });
    }
    Ok(backups)
}

/// What a file or a folder with all its files comes to.
struct Size {
    bytes: u64,
    changed_at: Timestamp,
}

/// Adds up a backup; `None` when it is gone.
fn measure(path: &Path) -> Result<Option<Size>, Blind> {
    let mut total: Option<Size> = None;
    let mut left = vec![(path.to_owned(), 0)];
    let mut files = 0_usize;
    while let Some((path, depth)) = left.pop() {
        let metadata = match inspect(&path, depth)? {
            Some(metadata) => metadata,
            None => continue,
        };
        files += 1;
        if files > FILES_MAX || depth > DEPTH_MAX {
            let what = format!("backup \"{}\" has too many files to add up", path.display());
            return Err(Blind::Failed { what });
        }
        let changed_at = metadata.modified().map_err(|error| unread(&path, &error))?;
        let changed_at = Timestamp::try_from(changed_at).map_err(|error| Blind::Failed {
            what: format!("the time of \"{}\" cannot be read: {error}", path.display()),
        })?;
        let bytes = if metadata.is_file() {
            metadata.len()
        } else {
            0
        };
        total = Some(match total {
            None => Size { bytes, changed_at },
            Some(total) => Size {
                bytes: total.bytes.saturating_add(bytes),
                changed_at: total.changed_at.max(changed_at),
            },
        });
        if metadata.is_dir() {
            for entry in fs::read_dir(&path).map_err(|error| unread(&path, &error))? {
                let entry = entry.map_err(|error| unread(&path, &error))?;
                left.push((entry.path(), depth + 1));
            }
        }
    }
    Ok(total)
}

/// Reads what a path is; a backup may be a symbolic link, but links inside it are not followed.
fn inspect(path: &Path, depth: usize) -> Result<Option<Metadata>, Blind> {
    let metadata = if depth == 0 {
        fs::metadata(path)
    } else {
        fs::symlink_metadata(path)
    };
    match metadata {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unread(path, &error)),
    }
}

/// What pgBackRest writes about one backup.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Info {
    backup_timestamp_stop: i64,
    #[serde(default)]
    backup_info_size: u64,
    #[serde(default)]
    backup_error: Option<bool>,
}

fn pgbackrest(repository: &Path, stanza: &str) -> Result<Vec<Backup>, Blind> {
    let path = repository.join("backup").join(stanza).join("backup.info");
    let metadata = fs::metadata(&path).map_err(|error| unread(&path, &error))?;
    if metadata.len() > INFO_BYTES_MAX {
        let what = format!("\"{}\" is larger than any list of backups", path.display());
        return Err(Blind::Failed { what });
    }
    let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => Blind::Failed {
            what: format!(
                "\"{}\" is no text: the repository is encrypted",
                path.display()
            ),
        },
        _ => unread(&path, &error),
    })?;
    let mut backups = Vec::new();
    let mut current = false;
    for line in text.lines() {
        if let Some(section) = line.strip_prefix('[') {
            current = section == "backup:current]";
            continue;
        }
        let Some((label, json)) = line.split_once('=').filter(|_| current) else {
            continue;
        };
        let info: Info = serde_json::from_str(json).map_err(|error| Blind::Failed {
            what: format!(
                "backup \"{label}\" in \"{}\" cannot be read: {error}",
                path.display()
            ),
        })?;
        backups.push(Backup {
            label: label.to_owned(),
            finished_at: Timestamp::from_second(info.backup_timestamp_stop).ok(),
            size_bytes: info.backup_info_size,
            ok: Some(info.backup_error != Some(true)),
        });
    }
    Ok(backups)
}

fn unread(path: &Path, error: &std::io::Error) -> Blind {
    Blind::Failed {
        what: format!("could not read \"{}\": {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn write(path: &Path, bytes: usize, at: Timestamp) {
        fs::write(path, vec![b'x'; bytes]).unwrap();
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(at.into())
            .unwrap();
    }

    fn rows(kind: BackupKind, now: Timestamp) -> Vec<String> {
        let place = BackupPlace {
            name: "backup:test".to_owned(),
            kind,
        };
        let snapshot = observe(&place, now).seen.unwrap();
        let text = |row: &Vec<Value>| {
            row.iter()
                .map(Value::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        };
        snapshot.rows.iter().map(text).collect()
    }

    #[test]
    fn a_directory_shows_what_is_whole_too_small_and_unfinished() {
        let folder = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-08-21T06:00:00Z".parse().unwrap();
        let ago = |hours: i64| now - SignedDuration::from_hours(hours);
        write(&folder.path().join("dw-1.sql.gz"), 5_000, ago(48));
        write(&folder.path().join("dw-2.sql.gz"), 20, ago(24));
        write(&folder.path().join("dw-3.sql.gz"), 4_000, now);
        write(&folder.path().join("dw-4.sql.gz.partial"), 4_000, ago(1));
        write(&folder.path().join("notes.txt"), 4_000, ago(1));
        let kind = BackupKind::Directory {
            path: folder.path().to_owned(),
            pattern: Some("dw-*".to_owned()),
            minimum_bytes: 1_000,
        };
        assert_eq!(
            rows(kind, now),
            [
                "dw-3.sql.gz  4000 ",
                "dw-4.sql.gz.partial  4000 ",
                "dw-1.sql.gz 2026-08-19T06:00:00Z 5000 true",
                "dw-2.sql.gz 2026-08-20T06:00:00Z 20 false",
            ]
        );
    }

    #[test]
    fn a_folder_is_as_large_as_its_files_and_as_new_as_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("base-1/pg_wal");
        fs::create_dir_all(&inner).unwrap();
        let at: Timestamp = "2026-08-21T06:00:00Z".parse().unwrap();
        write(&inner.join("a"), 700, at);
        write(&folder.path().join("base-1/b"), 300, at);
        let size = measure(&folder.path().join("base-1")).unwrap().unwrap();
        assert_eq!(size.bytes, 1_000);
        assert!(size.changed_at >= at);
        assert!(measure(&folder.path().join("gone")).unwrap().is_none());
    }

    #[test]
    fn a_directory_that_is_not_there_is_not_seen() {
        let place = BackupPlace {
            name: "backup:test".to_owned(),
            kind: BackupKind::Directory {
                path: PathBuf::from("/does/not/exist"),
                pattern: None,
                minimum_bytes: 0,
            },
        };
        let seen = observe(&place, Timestamp::UNIX_EPOCH).seen;
        assert!(
            matches!(seen, Err(Missing::Blind(Blind::Failed { .. }))),
            "{seen:?}"
        );
    }

    #[test]
    fn a_repository_of_pgbackrest_lists_its_backups() {
        let folder = tempfile::tempdir().unwrap();
        let info = folder.path().join("backup/main");
        fs::create_dir_all(&info).unwrap();
        let text = "[backrest]\nbackrest-format=5\n\n[backup:current]\n\
            20260820-020000F={\"backup-error\":false,\"backup-info-size\":900,\"backup-timestamp-stop\":1787191200,\"backup-type\":\"full\"}\n\
            20260820-020000F_20260821-020000I={\"backup-error\":true,\"backup-info-size\":910,\"backup-timestamp-stop\":1787277600,\"backup-type\":\"incr\"}\n\n\
            [db]\ndb-id=1\n";
        fs::write(info.join("backup.info"), text).unwrap();
        let kind = |stanza: &str| BackupKind::Pgbackrest {
            path: folder.path().to_owned(),
            stanza: stanza.to_owned(),
        };
        assert_eq!(
            rows(kind("main"), Timestamp::UNIX_EPOCH),
            [
                "20260820-020000F 2026-08-20T02:00:00Z 900 true",
                "20260820-020000F_20260821-020000I 2026-08-21T02:00:00Z 910 false",
            ]
        );
        let place = BackupPlace {
            name: "backup:other".to_owned(),
            kind: kind("other"),
        };
        assert!(observe(&place, Timestamp::UNIX_EPOCH).seen.is_err());
    }
}
