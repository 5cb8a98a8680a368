//! File systems and block devices that hold the server's files.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pawang_core::Value;

use super::{Fields, Host, Rows, denied, missing, text, under, whole};

/// One line of `/proc/self/mountinfo`.
struct Mount {
    device: String,
    point: PathBuf,
    kind: String,
    source: String,
}

/// A place of the server's: what it is for, whose it is, and where.
struct Place {
    purpose: &'static str,
    name: String,
    /// The path after all links were followed, or why they could not be.
    path: Result<PathBuf, (PathBuf, io::Error)>,
}

/// One row per place; several places may share a file system.
pub(super) fn filesystems(host: &Host<'_>) -> Rows {
    host.data()?;
    let mounts = mounts(host);
    let rows = places(host).into_iter();
    Ok(rows.map(|place| filesystem(place, &mounts)).collect())
}

fn filesystem(place: Place, mounts: &[Mount]) -> Fields {
    let mut row = Fields::from([("purpose", text(place.purpose)), ("name", text(place.name))]);
    let path = match place.path {
        Ok(path) => path,
        Err((path, error)) => {
            row.insert("path", text(path.to_string_lossy()));
            row.insert("problem", text(problem(&path, &error)));
            row.insert("permission_denied", Value::Bool(is_denied(&error)));
            return row;
        }
    };
    row.insert("path", text(path.to_string_lossy()));
    if let Some(mount) = mount_of(mounts, &path) {
        row.insert("mount_point", text(mount.point.to_string_lossy()));
        row.insert("device", text(mount.device.as_str()));
        row.insert("source", text(mount.source.as_str()));
        row.insert("file_system", text(mount.kind.as_str()));
    }
    match rustix::fs::statvfs(&path) {
        Ok(seen) => {
            let bytes = |blocks: u64| whole(blocks.saturating_mul(seen.f_frsize));
            let read_only = seen.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
            row.insert("read_only", Value::Bool(read_only));
            row.insert("total_bytes", bytes(seen.f_blocks));
            row.insert("free_bytes", bytes(seen.f_bfree));
            row.insert("available_bytes", bytes(seen.f_bavail));
            row.insert("inodes", whole(seen.f_files));
            row.insert("inodes_free", whole(seen.f_ffree));
        }
        Err(error) => {
            let error = io::Error::from(error);
            row.insert("problem", text(problem(&path, &error)));
            row.insert("permission_denied", Value::Bool(is_denied(&error)));
        }
    }
    row
}

/// One row per block device that holds files of the server.
pub(super) fn disks(host: &Host<'_>) -> Rows {
    host.data()?;
    let mounts = mounts(host);
    let used: Vec<(&'static str, &Mount)> = places(host)
        .iter()
        .filter_map(|place| {
            let mount = mount_of(&mounts, place.path.as_ref().ok()?)?;
            Some((place.purpose, mount))
        })
        .collect();
    let mut rows = Vec::new();
    for line in host.read("/proc/diskstats")?.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [major, minor, device, numbers @ ..] = words.as_slice() else {
            continue;
        };
        let number = format!("{major}:{minor}");
        let here = |mount: &Mount| mount.device == number || source_name(mount) == **device;
        let mut purposes: Vec<String> = used
            .iter()
            .filter(|(_, mount)| here(mount))
            .map(|(purpose, _)| (*purpose).to_owned())
            .collect();
        if purposes.is_empty() {
            continue;
        }
        purposes.dedup();
        let at = |index: usize| {
            let number = numbers.get(index).and_then(|word| word.parse().ok());
            number.map_or(Value::Null, Value::Int)
        };
        rows.push(Fields::from([
            ("device", text(*device)),
            ("purposes", Value::List(purposes)),
            ("reads", at(0)),
            ("reads_merged", at(1)),
            ("sectors_read", at(2)),
            ("read_ms", at(3)),
            ("writes", at(4)),
            ("writes_merged", at(5)),
            ("sectors_written", at(6)),
            ("write_ms", at(7)),
            ("in_flight", at(8)),
            ("busy_ms", at(9)),
            ("queue_ms", at(10)),
            ("flushes", at(15)),
            ("flush_ms", at(16)),
        ]));
    }
    Ok(rows)
}

/// One row: whose the data directory is, and who else may enter it.
pub(super) fn directory(host: &Host<'_>) -> Rows {
    let path = host.data()?;
    let seen = fs::metadata(under(host.root, path))
        .map_err(|error| missing(&path.to_string_lossy(), &error))?;
    let users = host.read("/etc/passwd").unwrap_or_default();
    let postmaster = host.postmaster();
    let running_as = postmaster.and_then(|pid| {
        let status = host.read(&format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        line.split_ascii_whitespace().nth(1)?.parse().ok()
    });
    Ok(vec![Fields::from([
        ("path", text(path.to_string_lossy())),
        ("mode", text(format!("{:04o}", seen.mode() & 0o7777))),
        ("owner", text(user_name(&users, seen.uid()))),
        (
            "postmaster_user",
            running_as.map_or(Value::Null, |uid| text(user_name(&users, uid))),
        ),
    ])])
}

/// Returns a user's name by `/etc/passwd`, else its number.
pub(crate) fn user_name(users: &str, uid: u32) -> String {
    let number = uid.to_string();
    let line = users
        .lines()
        .find(|line| line.split(':').nth(2) == Some(number.as_str()));
    let name = line.and_then(|line| line.split(':').next());
    name.map_or(number.clone(), str::to_owned)
}

fn places(host: &Host<'_>) -> Vec<Place> {
    let mut places = Vec::new();
    let mut add = |purpose, name: &str, path: PathBuf| {
        let path = under(host.root, &path);
        places.push(Place {
            purpose,
            name: name.to_owned(),
            path: fs::canonicalize(&path).map_err(|error| (path, error)),
        });
    };
    let Some(data) = &host.data else {
        return places;
    };
    add("data", "", data.clone());
    add("wal", "", data.join("pg_wal"));
    if let Some(log) = &host.log {
        add("log", "", log.clone());
    }
    for (name, path) in &host.tablespaces {
        add("tablespace", name, path.clone());
    }
    places
}

fn mounts(host: &Host<'_>) -> Vec<Mount> {
    let text = host.read("/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let mut right = right.split(' ');
    Some(Mount {
        device: (*left.get(2)?).to_owned(),
        point: PathBuf::from(unescape(left.get(4)?)),
        kind: right.next()?.to_owned(),
        source: unescape(right.next()?),
    })
}

/// The last mount over the longest prefix is the one that is seen.
fn mount_of<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    let over = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    over.max_by_key(|mount| mount.point.components().count())
}

/// Returns the kernel's name of the device that a mount names, for file systems with device numbers of their own.
fn source_name(mount: &Mount) -> String {
    if !mount.source.starts_with("/dev/") {
        return String::new();
    }
    let path = fs::canonicalize(&mount.source).unwrap_or_else(|_| PathBuf::from(&mount.source));
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Reads the `\040` of the kernel's tables back into a blank.
fn unescape(word: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = word.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

fn problem(path: &Path, error: &io::Error) -> String {
    if is_denied(error) {
        denied(&path.to_string_lossy()).sentence()
    } else {
        format!("\"{}\": {error}", path.display())
    }
}

/// Returns bytes total, bytes available, inodes total and inodes free of the file system that holds `path`.
pub(crate) fn space(path: &Path) -> io::Result<[u64; 4]> {
    let seen = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(seen.f_frsize);
    Ok([
        bytes(seen.f_blocks),
        bytes(seen.f_bavail),
        seen.f_files,
        seen.f_ffree,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_that_is_seen_is_the_last_over_the_longest_prefix() {
        let text = "21 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                    30 21 0:29 / /srv/pg\\040data rw - tmpfs tmpfs rw\n\
                    31 30 8:1 / /srv/pg\\040data rw - xfs /dev/sda1 rw";
        let mounts: Vec<Mount> = text.lines().filter_map(mount).collect();
        for (path, device) in [
            ("/", "254:0"),
            ("/srv", "254:0"),
            ("/srv/pg data/base", "8:1"),
            ("/srv/pg database", "254:0"),
        ] {
            assert_eq!(
                mount_of(&mounts, Path::new(path)).unwrap().device,
                device,
                "{path}"
            );
        }
    }

    #[test]
    fn users_without_a_name_keep_their_number() {
        let users = "root:x:0:0::/root:/bin/sh\npostgres:x:105:113::/:/bin/sh";
        assert_eq!(user_name(users, 105), "postgres");
        assert_eq!(user_name(users, 1000), "1000");
    }
}
