//! The directory that a restore goes into: what is there, whether it may go, and how it is moved aside.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use pawang_core::{ByteSize, Kind, Lsn, Report};
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

use super::tree::{self, Tree, failed};
use crate::Error;
use crate::repository::{BackupId, ClusterId};
use crate::wal::SegmentName;

/// The file that says that a directory is a restore that was not finished; it goes when the restore is done.
pub const MARKER: &str = "pawang-restore.json";
/// The folder of WAL that only the old data directory had.
pub const SALVAGED: &str = "pawang-salvaged";
const PID_FILE: &str = "postmaster.pid";
/// Folders whose content no backup has.
const OWN_FOLDERS: [&str; 8] = [
    "pg_dynshmem",
    "pg_notify",
    "pg_replslot",
    "pg_serial",
    "pg_snapshots",
    "pg_stat_tmp",
    "pg_subtrans",
    "pg_wal",
];
/// How the history of a timeline is called.
const HISTORY: &str = ".history";
/// So much of a file that says what a directory is, is read.
const SMALL_BYTES_MAX: u64 = 64 << 10;
/// The disk of the data directory keeps so much room beside what is restored.
const ROOM_SPARE_BYTES: u64 = 64 << 20;
/// Where a page of WAL says which position it is: behind two numbers of two bytes and the timeline.
const PAGE_ADDRESS: std::ops::Range<usize> = 8..16;

/// What the marker says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Whose data are being restored.
    pub cluster: ClusterId,
    /// From which backup.
    pub backup: BackupId,
    /// When it began.
    pub began_at: Timestamp,
    /// Whether a data directory that was there is being changed, which may be the only copy of some of its WAL.
    #[serde(default)]
    pub in_place: bool,
}

/// What is where a restore should go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing, or an empty directory.
    Nothing,
    /// A restore that was not finished.
    Unfinished(Marker),
    /// The data directory of a stopped server of the same cluster.
    Data,
}

/// Looks at the directory that a restore should go into, and touches nothing.
///
/// # Errors
/// Something is there that a restore must not touch: a server that runs, another cluster, somebody's files.
pub fn look(into: &Path, cluster: &ClusterId) -> Result<Found, Error> {
    let metadata = match fs::metadata(into) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return absent(into),
        Err(source) => return Err(failed("read", into, source)),
    };
    if !metadata.is_dir() {
        return Err(refused(format!("\"{}\" is no directory", into.display())));
    }
    let mut entries = fs::read_dir(into).map_err(|source| failed("read", into, source))?;
    if entries.next().is_none() {
        return Ok(Found::Nothing);
    }
    refuse_running(into)?;
    // A restore that is done has a control file, and its marker only as long as the last steps take.
    let control = into.join("global/pg_control");
    if let Some(marker) = read_marker(into)?
        && !control.exists()
    {
        return Ok(Found::Unfinished(marker));
    }
    if !control.exists() {
        return Err(refused_with(
            format!(
                "directory \"{}\" is not empty, and no data directory",
                into.display()
            ),
            "choose another with --into",
        ));
    }
    let file = pawang_postgres::control_file::read(into)?;
    let found = ClusterId {
        system_identifier: file.system_identifier,
        major: file.major,
    };
    if found != *cluster {
        return Err(refused_with(
            format!(
                "directory \"{}\" is of cluster {found}, and the backup of cluster {cluster}",
                into.display()
            ),
            "choose another with --into",
        ));
    }
    Ok(Found::Data)
}

fn absent(into: &Path) -> Result<Found, Error> {
    match into.parent() {
        Some(parent) if parent.as_os_str().is_empty() || parent.is_dir() => Ok(Found::Nothing),
        _ => Err(refused(format!(
            "the folder above \"{}\" does not exist",
            into.display()
        ))),
    }
}

/// Refuses a directory that a server works in.
pub(super) fn refuse_running(data: &Path) -> Result<(), Error> {
    let text = match fs::read_to_string(data.join(PID_FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed("read", &data.join(PID_FILE), source)),
    };
    let number: Option<i32> = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse().ok());
    let Some(pid) = number.filter(|number| *number > 1).and_then(Pid::from_raw) else {
        return Err(refused(format!(
            "cannot read which process \"{}\" names, so a server may run there",
            data.join(PID_FILE).display()
        )));
    };
    // Whoever may not signal it knows at least that it is there.
    let alive = !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH));
    if alive {
        return Err(refused_with(
            format!(
                "a server runs in \"{}\": process {}",
                data.display(),
                pid.as_raw_nonzero()
            ),
            format!("pg_ctl stop -D {}", data.display()),
        ));
    }
    Ok(())
}

/// Reads the marker of a restore that was not finished.
pub(super) fn read_marker(data: &Path) -> Result<Option<Marker>, Error> {
    let path = data.join(MARKER);
    match fs::metadata(&path) {
        Ok(metadata) if metadata.len() <= SMALL_BYTES_MAX => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("read", &path, source)),
    }
    let bytes = fs::read(&path).map_err(|source| failed("read", &path, source))?;
    // The machine may have stopped while it was written; its name is ours alone.
    Ok(serde_json::from_slice(&bytes).ok())
}

/// Refuses a folder of a tablespace that holds something; what an unfinished restore left is its own.
///
/// # Errors
/// It is not empty, or no folder.
pub(super) fn look_at_tablespace(oid: u32, folder: &Path, unfinished: bool) -> Result<(), Error> {
    let remedy = format!("--tablespace {oid}=DIR puts it elsewhere");
    match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(failed("read", folder, source)),
        Ok(mut entries) => {
            if entries.next().is_none() || (unfinished && folder.join(MARKER).exists()) {
                return Ok(());
            }
            Err(refused_with(
                format!(
                    "the folder \"{}\" of tablespace {oid} is not empty",
                    folder.display()
                ),
                remedy,
            ))
        }
    }
}

/// Refuses when a restore that is whole waits for the name of the directory that it replaces: it has all that the old one had.
pub(super) fn look_for_a_whole_one(into: &Path, grown: &Path) -> Result<(), Error> {
    if read_marker(grown)?.is_none() || !grown.join("global/pg_control").exists() {
        return Ok(());
    }
    Err(refused_with(
        format!(
            "a restore that was interrupted is whole in \"{}\", and has only to be moved",
            grown.display()
        ),
        format!("mv {} {}", grown.display(), into.display()),
    ))
}

/// Refuses a directory whose WAL is elsewhere: changing it in place would bring WAL onto the disk of the data.
pub(super) fn look_at_wal(data: &Path) -> Result<(), Error> {
    let wal = data.join("pg_wal");
    if !wal.is_symlink() {
        return Ok(());
    }
    Err(refused_with(
        format!(
            "\"{}\" is a link, and would be replaced by a folder",
            wal.display()
        ),
        "--replace instead of --delta moves the directory aside, as it is",
    ))
}

/// Tells whether the link of a tablespace leads to a folder.
pub(super) fn leads_to(data: &Path, oid: u32, folder: &Path) -> bool {
    let link = fs::canonicalize(data.join("pg_tblspc").join(oid.to_string()));
    link.is_ok_and(|link| fs::canonicalize(folder).is_ok_and(|folder| folder == link))
}

/// Empties the folders in which a server keeps what is its own: no backup has any of it, and a server that finds a half
/// of it does not start.
pub(super) fn empty_own_folders(data: &Path) -> Result<(), Error> {
    for name in OWN_FOLDERS {
        let folder = data.join(name);
        if folder.is_dir() {
            tree::empty_but(&folder, &[])?;
        }
    }
    Ok(())
}

/// Refuses when a disk has no room for what directories need that come to lie on it; returns the room on the first one's.
///
/// # Errors
/// There is too little.
pub(super) fn look_for_room(needed: &[(PathBuf, u64)]) -> Result<u64, Error> {
    let mut disks: Vec<(u64, &Path, u64)> = Vec::new();
    for (folder, bytes) in needed {
        let there = folder.ancestors().find(|path| path.exists());
        let there = there.unwrap_or(Path::new("/"));
        let found = fs::metadata(there).map_err(|source| failed("look at", there, source))?;
        match disks.iter_mut().find(|(disk, ..)| *disk == found.dev()) {
            Some((_, _, sum)) => *sum = sum.saturating_add(*bytes),
            None => disks.push((found.dev(), there, *bytes)),
        }
    }
    let mut first = None;
    for (_, there, bytes) in disks {
        // Replay writes to the disk of the data directory.
        let spare = if first.is_none() { ROOM_SPARE_BYTES } else { 0 };
        let found =
            rustix::fs::statvfs(there).map_err(|source| failed("look at", there, source.into()))?;
        let room = found.f_bavail.saturating_mul(found.f_frsize);
        if room < bytes.saturating_add(spare) {
            return Err(refused_with(
                format!(
                    "\"{}\" has room for {}, and the data need {}",
                    there.display(),
                    ByteSize(room),
                    ByteSize(bytes)
                ),
                "choose another disk with --into, or for a tablespace with --tablespace OID=DIR",
            ));
        }
        first.get_or_insert(room);
    }
    Ok(first.unwrap_or(0))
}

/// Refuses a directory that a disk is mounted on: it cannot be moved aside.
pub(super) fn look_for_a_mount(data: &Path) -> Result<(), Error> {
    let device = |path: &Path| {
        fs::metadata(path)
            .map(|found| found.dev())
            .map_err(|source| failed("read", path, source))
    };
    match data.parent() {
        Some(parent) if device(parent)? == device(data)? => Ok(()),
        _ => Err(refused_with(
            format!(
                "a disk is mounted on \"{}\", which cannot be moved aside",
                data.display()
            ),
            "choose an empty directory with --into",
        )),
    }
}

/// Moves a data directory aside, under a name with the time; returns where it is.
pub(super) fn move_aside(data: &Path, now: Timestamp) -> Result<PathBuf, Error> {
    refuse_running(data)?;
    let mut name = data.file_name().unwrap_or_default().to_owned();
    name.push(now.strftime(".before-%Y%m%dT%H%M%SZ").to_string());
    let aside = data.with_file_name(name);
    if aside.exists() {
        return Err(refused(format!("\"{}\" is there already", aside.display())));
    }
    fs::rename(data, &aside).map_err(|source| failed("move", data, source))?;
    tree::sync_folder(data.parent().unwrap_or(Path::new("/")))?;
    Ok(aside)
}

/// Copies WAL that the archive does not have from the old data directory into a folder of the new one; returns the segments.
///
/// Not into `pg_wal`: what the archive has of a segment that is not whole there would take its place.
pub(super) fn salvage(
    old: &Path,
    tree: &Tree,
    archived_to: Lsn,
    segment_bytes: u32,
) -> Result<Vec<SegmentName>, Error> {
    let from = old.join("pg_wal");
    let entries = fs::read_dir(&from).map_err(|source| failed("read", &from, source))?;
    let mut salvaged = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| failed("read", &from, source))?;
        let file = entry.file_name();
        let text = file.to_str().unwrap_or_default();
        if text.ends_with(HISTORY) {
            // Without it nobody knows from where WAL of its timeline comes.
            let path = entry.path();
            let bytes = fs::read(&path).map_err(|source| failed("read", &path, source))?;
            tree.write_file(&tree.data.join(SALVAGED).join(text), &bytes)?;
        }
        let name: Option<SegmentName> = text.parse().ok();
        let Some(name) = name.filter(|name| name.end(segment_bytes) > archived_to) else {
            continue;
        };
        let path = entry.path();
        let bytes = fs::read(&path).map_err(|source| failed("read", &path, source))?;
        // The server keeps old segments under names to come; what is in them is something else.
        let address = bytes
            .get(PAGE_ADDRESS)
            .and_then(|bytes| bytes.try_into().ok());
        let is_its_own = address.map(u64::from_le_bytes) == Some(name.start(segment_bytes).0);
        if is_its_own && bytes.len() == segment_bytes as usize {
            tree.write_file(&tree.data.join(SALVAGED).join(name.to_string()), &bytes)?;
            salvaged.push(name);
        }
    }
    salvaged.extend(salvaged_before(old, tree, archived_to, segment_bytes)?);
    salvaged.sort();
    salvaged.dedup();
    if !salvaged.is_empty() {
        tree::sync_folder(&tree.data.join(SALVAGED))?;
        tree::sync_folder(&tree.data)?;
    }
    Ok(salvaged)
}

/// Takes over what an earlier restore had salvaged into the old data directory, unless its server has written more of it.
fn salvaged_before(
    old: &Path,
    tree: &Tree,
    archived_to: Lsn,
    segment_bytes: u32,
) -> Result<Vec<SegmentName>, Error> {
    let mut found = Vec::new();
    if is_stale(old)? {
        return Ok(found);
    }
    for path in salvaged_files(old)? {
        let file = path.file_name().and_then(|name| name.to_str());
        let Some(file) = file else { continue };
        let name: Option<SegmentName> = file.parse().ok();
        let wanted = name.map_or(file.ends_with(HISTORY), |name| {
            name.end(segment_bytes) > archived_to
        });
        let target = tree.data.join(SALVAGED).join(file);
        if wanted && !target.exists() {
            let bytes = fs::read(&path).map_err(|source| failed("read", &path, source))?;
            tree.write_file(&target, &bytes)?;
        }
        found.extend(name.filter(|_| wanted));
    }
    Ok(found)
}

/// Tells whether what was salvaged is of an attempt that had not begun to change anything: the server may have run since, and
/// then has more. A restore that is done but for its mark has the label of its backup.
pub(super) fn is_stale(data: &Path) -> Result<bool, Error> {
    let marker = read_marker(data)?;
    Ok(marker.is_some_and(|marker| marker.in_place) && !data.join("backup_label").exists())
}

/// Removes what an attempt salvaged that had not begun to change anything.
pub(super) fn forget_salvaged(data: &Path) -> Result<(), Error> {
    let folder = data.join(SALVAGED);
    match tree::remove_any(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(failed("remove", &folder, error))
        }
        _ => Ok(()),
    }
}

/// Returns the files that were salvaged.
pub(super) fn salvaged_files(data: &Path) -> Result<Vec<PathBuf>, Error> {
    let folder = data.join(SALVAGED);
    match fs::read_dir(&folder) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(failed("read", &folder, source)),
    }
}

/// Returns the segments that were salvaged before, and removes those that the archive has by now.
pub(super) fn salvaged(
    data: &Path,
    archived_to: Lsn,
    segment_bytes: u32,
) -> Result<Vec<SegmentName>, Error> {
    let mut salvaged = Vec::new();
    for path in salvaged_files(data)? {
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = name.and_then(|name| name.parse::<SegmentName>().ok()) else {
            continue;
        };
        if name.end(segment_bytes) > archived_to {
            salvaged.push(name);
        } else {
            fs::remove_file(&path).map_err(|source| failed("remove", &path, source))?;
        }
    }
    salvaged.sort();
    Ok(salvaged)
}

fn refused(primary: String) -> Error {
    Error::Refused(Box::new(Report::new(Kind::Refused, primary)))
}

fn refused_with(primary: String, hint: impl Into<String>) -> Error {
    Error::Refused(Box::new(
        Report::new(Kind::Refused, primary).with_hint(hint),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId {
        system_identifier: 7,
        major: 15,
    };

    fn primary(result: Result<Found, Error>) -> String {
        result.unwrap_err().report().primary
    }

    #[test]
    fn a_directory_that_is_not_ours_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert_eq!(look(&path("new"), &CLUSTER).unwrap(), Found::Nothing);
        assert_eq!(look(folder.path(), &CLUSTER).unwrap(), Found::Nothing);
        assert!(primary(look(&path("a/b"), &CLUSTER)).contains("does not exist"));
        let write = |name: &str, text: &str| {
            std::fs::File::create(path(name))
                .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        };
        write("notes", "mine").unwrap();
        assert!(primary(look(&path("notes"), &CLUSTER)).contains("no directory"));
        assert!(primary(look(folder.path(), &CLUSTER)).contains("not empty"));
        let own = std::process::id();
        write(PID_FILE, &format!("{own}\n/data\n")).unwrap();
        assert!(primary(look(folder.path(), &CLUSTER)).contains("a server runs"));
        write(PID_FILE, "garbage").unwrap();
        assert!(primary(look(folder.path(), &CLUSTER)).contains("cannot read which process"));
        std::fs::remove_file(path(PID_FILE)).unwrap();
        let marker = Marker {
            cluster: CLUSTER,
            backup: BackupId::new(Timestamp::UNIX_EPOCH, [1; 10]),
            began_at: Timestamp::UNIX_EPOCH,
            in_place: false,
        };
        write(MARKER, &serde_json::to_string(&marker).unwrap()).unwrap();
        assert_eq!(
            look(folder.path(), &CLUSTER).unwrap(),
            Found::Unfinished(marker)
        );
    }

    #[test]
    fn a_folder_of_a_tablespace_must_be_empty() {
        let folder = tempfile::tempdir().unwrap();
        assert!(look_at_tablespace(16385, &folder.path().join("new"), false).is_ok());
        assert!(look_at_tablespace(16385, folder.path(), false).is_ok());
        std::fs::create_dir(folder.path().join("PG_15_202209061")).unwrap();
        assert!(look_at_tablespace(16385, folder.path(), false).is_err());
        assert!(look_for_a_mount(Path::new("/proc")).is_err());
        assert!(look_for_a_mount(&folder.path().join("PG_15_202209061")).is_ok());
        let here = |bytes| (folder.path().to_owned(), bytes);
        assert!(look_for_room(&[here(u64::MAX / 2)]).is_err());
        assert!(look_for_room(&[here(1)]).unwrap() > 0);
        // What lies on one disk is added up.
        let room = look_for_room(&[here(1)]).unwrap();
        assert!(look_for_room(&[here(room / 3 * 2), here(room / 3 * 2)]).is_err());
    }

    #[test]
    fn only_wal_that_is_missing_and_real_is_salvaged() {
        const SEGMENT: u32 = 1 << 20;
        let old = tempfile::tempdir().unwrap();
        let new = tempfile::tempdir().unwrap();
        let tree = Tree {
            data: new.path().to_owned(),
            tablespaces: std::collections::BTreeMap::new(),
            owner: None,
        };
        let wal = old.path().join("pg_wal");
        std::fs::create_dir(&wal).unwrap();
        for (name, start) in [
            ("000000010000000000000003", 3u64),
            ("000000010000000000000004", 4),
            ("000000010000000000000005", 5),
            ("000000010000000000000006", 2),
        ] {
            let mut bytes = vec![0; SEGMENT as usize];
            bytes[PAGE_ADDRESS].copy_from_slice(&(start * u64::from(SEGMENT)).to_le_bytes());
            let mut file = std::fs::File::create(wal.join(name)).unwrap();
            std::io::Write::write_all(&mut file, &bytes).unwrap();
        }
        std::fs::create_dir(wal.join("archive_status")).unwrap();
        let archived = Lsn(4 * u64::from(SEGMENT) + 100);
        let salvaged = salvage(old.path(), &tree, archived, SEGMENT).unwrap();
        let names: Vec<String> = salvaged.iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            ["000000010000000000000004", "000000010000000000000005"]
        );
        assert!(new.path().join(SALVAGED).join(&names[0]).exists());
    }
}
