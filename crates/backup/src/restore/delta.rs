//! What of a data directory can stay as it is: the files that are what the manifest of the backup says.
//!
//! Which members a part holds is computed from sizes; where that is wrong, all parts are read, so that nothing depends on it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::increment::PREFIX;
use super::tree::{Tree, below};
use super::unpack::{CONTROL, LABEL, holds_relations, is_left_out};
use crate::Error;
use crate::repository::{BackupKind, Commit, Part, Repository};
use crate::take::manifest::{Algorithm, FileChecksum, ManifestFile, read};

/// So much of a file is read at once.
const BUFFER_BYTES: usize = 256 << 10;
/// A member of an archive has a header of so many bytes, and is filled up to a multiple of it.
const TAR_BLOCK_BYTES: u64 = 512;

/// What stays, and what is read instead of the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// How many files stay.
    pub kept_files: u64,
    /// Their bytes.
    pub kept_bytes: u64,
    /// Bytes of the files that are written anew.
    pub written_bytes: u64,
    /// Bytes of the repository that are read.
    pub read_bytes: u64,
    /// Bytes of all parts.
    pub stored_bytes: u64,
    pub(super) kept: Arc<HashSet<PathBuf>>,
    /// Every file that must be there in the end, but for the two that are written last.
    pub(super) wanted: HashSet<PathBuf>,
    /// For each backup of the chain, the parts that are read.
    pub(super) parts: Vec<Vec<Part>>,
}

/// A file of the last backup.
struct Candidate {
    path: PathBuf,
    bytes: u64,
    checksum: Option<FileChecksum>,
    /// What the file is in the end is not in the manifest.
    changed: bool,
}

/// Compares the files of a data directory with the backups of a chain, and touches nothing.
///
/// # Errors
/// A manifest cannot be read.
pub(super) async fn compare(
    repository: &Repository,
    commits: &[Commit],
    tree: &Tree,
    workers: usize,
) -> Result<Delta, Error> {
    let mut manifests = Vec::with_capacity(commits.len());
    for commit in commits {
        manifests.push(manifest(repository, commit).await?);
    }
    let (Some(last), Some(commit)) = (manifests.last(), commits.last()) else {
        return Ok(Delta::default());
    };
    let candidates: Vec<Candidate> = last
        .iter()
        .filter_map(|file| candidate(file, commit, tree))
        .collect();
    let mut delta = Delta {
        wanted: candidates.iter().map(|file| file.path.clone()).collect(),
        written_bytes: candidates.iter().map(|file| file.bytes).sum(),
        ..Delta::default()
    };
    let kept = same(candidates, workers).await;
    for (path, bytes) in &kept {
        delta.kept_files += 1;
        delta.kept_bytes += bytes;
        delta.written_bytes -= bytes;
        debug_assert!(delta.wanted.contains(path), "only candidates stay");
    }
    let kept: HashSet<PathBuf> = kept.into_iter().map(|(path, _)| path).collect();
    for (commit, files) in commits.iter().zip(&manifests) {
        let parts = needed(commit, files, tree, &kept);
        delta.read_bytes += parts.iter().map(|part| part.bytes).sum::<u64>();
        delta.stored_bytes += commit.parts.iter().map(|part| part.bytes).sum::<u64>();
        delta.parts.push(parts);
    }
    delta.kept = Arc::new(kept);
    Ok(delta)
}

async fn manifest(repository: &Repository, commit: &Commit) -> Result<Vec<ManifestFile>, Error> {
    let path = commit.manifest_path();
    let object = &commit.manifest;
    let mut stored = repository.open_data(&path, object.bytes, &object.sha256);
    let work = move || {
        let mut files = Vec::new();
        let read = read(&mut stored, &mut |file| files.push(file));
        read.map(|_| files)
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.expect("reading does not panic")
        .map_err(|error| Error::Format {
            object: path,
            place: repository.place().to_owned(),
            problem: error.to_string(),
        })
}

/// Returns where a file of a manifest lies in the end, and whether the backup has only what changed of it.
fn place(file: &ManifestFile, commit: &Commit, tree: &Tree) -> Option<(PathBuf, bool)> {
    let (tablespace, within) = split(&file.path);
    let path = below(tree.root(tablespace)?, within)?;
    let inner =
        tablespace.is_some() || holds_relations(Path::new(std::ffi::OsStr::from_bytes(within)));
    let changed = path
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.strip_prefix(PREFIX))
        .filter(|_| inner && commit.kind == BackupKind::Incremental)
        .map(|name| path.with_file_name(name));
    Some(match changed {
        Some(path) => (path, true),
        None => (path, false),
    })
}

/// Splits the path of a file of a tablespace, which is in an archive of its own.
fn split(path: &[u8]) -> (Option<u32>, &[u8]) {
    let inside = path.strip_prefix(b"pg_tblspc/".as_slice());
    let parts = inside.and_then(|rest| {
        let slash = rest.iter().position(|byte| *byte == b'/')?;
        let oid = std::str::from_utf8(&rest[..slash]).ok()?.parse().ok()?;
        Some((Some(oid), &rest[slash + 1..]))
    });
    parts.unwrap_or((None, path))
}

fn candidate(file: &ManifestFile, commit: &Commit, tree: &Tree) -> Option<Candidate> {
    let is_last = [CONTROL, LABEL]
        .iter()
        .any(|name| file.path == name.as_bytes());
    if is_last || is_left_out(&file.path) {
        return None;
    }
    let (path, changed) = place(file, commit, tree)?;
    Some(Candidate {
        path,
        bytes: file.bytes,
        checksum: file.checksum.clone(),
        changed,
    })
}

/// Returns the files that are what they should be, with their bytes; several threads read.
async fn same(candidates: Vec<Candidate>, workers: usize) -> Vec<(PathBuf, u64)> {
    let candidates = Arc::new(candidates);
    let workers = workers.max(1);
    let threads = (0..workers).map(|first| {
        let candidates = Arc::clone(&candidates);
        tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; BUFFER_BYTES];
            let own = candidates.iter().skip(first).step_by(workers);
            own.filter(|file| is_same(file, &mut buffer))
                .map(|file| (file.path.clone(), file.bytes))
                .collect::<Vec<_>>()
        })
    });
    let found = futures_util::future::join_all(threads).await;
    found
        .into_iter()
        .flat_map(|found| found.expect("a worker does not panic"))
        .collect()
}

/// What cannot be read is written anew.
fn is_same(file: &Candidate, buffer: &mut [u8]) -> bool {
    let there = std::fs::symlink_metadata(&file.path);
    let likely = there.is_ok_and(|found| found.is_file() && found.len() == file.bytes);
    let Some(checksum) = file.checksum.as_ref().filter(|_| likely && !file.changed) else {
        return false;
    };
    if checksum.algorithm != Algorithm::Crc32c {
        return false;
    }
    let crc = File::open(&file.path).and_then(|mut file| crc(&mut file, buffer));
    crc.is_ok_and(|crc| checksum.digest == crc.to_le_bytes())
}

fn crc(file: &mut File, buffer: &mut [u8]) -> io::Result<u32> {
    let mut crc = 0;
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok(crc),
            Ok(read) => crc = crc32c::crc32c_append(crc, &buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Returns the parts with a file that does not stay; all of them where the sizes do not tell which files a part holds.
fn needed(
    commit: &Commit,
    files: &[ManifestFile],
    tree: &Tree,
    kept: &HashSet<PathBuf>,
) -> Vec<Part> {
    let stays = |file: &ManifestFile| {
        place(file, commit, tree).is_some_and(|(path, _)| kept.contains(&path))
    };
    let mut tablespaces: Vec<Option<u32>> = commit.parts.iter().map(|it| it.tablespace).collect();
    tablespaces.sort_unstable();
    tablespaces.dedup();
    let mut unneeded = HashSet::new();
    for tablespace in tablespaces {
        let own: Vec<&ManifestFile> = files
            .iter()
            .filter(|file| split(&file.path).0 == tablespace)
            .collect();
        let parts = commit
            .parts
            .iter()
            .filter(|part| part.tablespace == tablespace);
        let Some(held) = held(parts.clone(), &own) else {
            continue;
        };
        for (part, files) in parts.zip(held) {
            if own[files].iter().all(|file| stays(file)) {
                unneeded.insert(part.name.as_str());
            }
        }
    }
    let needed = |part: &&Part| !unneeded.contains(part.name.as_str());
    commit.parts.iter().filter(needed).cloned().collect()
}

/// Computes which files each part holds: members come in the order of the manifest, folders and headers have one block each.
fn held<'a>(
    parts: impl Iterator<Item = &'a Part>,
    files: &[&ManifestFile],
) -> Option<Vec<std::ops::Range<usize>>> {
    let mut at = 0;
    let mut all = Vec::new();
    for part in parts {
        let headers = u64::from(part.members) * TAR_BLOCK_BYTES;
        let mut content = part.raw_bytes.checked_sub(headers)?;
        let from = at;
        while content > 0 {
            content =
                content.checked_sub(files.get(at)?.bytes.next_multiple_of(TAR_BLOCK_BYTES))?;
            at += 1;
        }
        // Empty files at the border may be in this part or in the next.
        let empty = files[at..].iter().take_while(|file| file.bytes == 0);
        all.push(from..at + empty.count());
    }
    files[at..]
        .iter()
        .all(|file| file.bytes == 0)
        .then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(members: u32, raw_bytes: u64) -> Part {
        Part {
            name: format!("part-{raw_bytes}"),
            tablespace: None,
            bytes: 1,
            raw_bytes,
            members,
            sha256: String::new(),
        }
    }

    fn file(bytes: u64) -> ManifestFile {
        ManifestFile {
            path: b"base/1/1".to_vec(),
            bytes,
            modified: String::new(),
            checksum: None,
        }
    }

    #[test]
    fn sizes_tell_which_files_a_part_holds() {
        let files = [file(8192), file(100), file(0), file(24_576), file(0)];
        let files: Vec<&ManifestFile> = files.iter().collect();
        // Two files and a folder; then one file and one that is empty.
        let parts = [part(3, 3 * 512 + 8192 + 512), part(3, 3 * 512 + 24_576)];
        assert_eq!(held(parts.iter(), &files), Some(vec![0..3, 2..5]));
        let wrong = [part(3, 3 * 512 + 8192), part(3, 3 * 512 + 24_576)];
        assert_eq!(held(wrong.iter(), &files), None);
        assert_eq!(held(parts[..1].iter(), &files), None);
        let longer = [part(1, 512 + 8192 + 512 + 24_576 + 512)];
        assert_eq!(held(longer.iter(), &files), None);
    }

    #[test]
    fn files_of_tablespaces_are_in_archives_of_their_own() {
        assert_eq!(
            split(b"pg_tblspc/16385/PG_15/5/1"),
            (Some(16_385), b"PG_15/5/1".as_slice())
        );
        assert_eq!(split(b"base/1/2"), (None, b"base/1/2".as_slice()));
        assert_eq!(split(b"pg_tblspc/x/2"), (None, b"pg_tblspc/x/2".as_slice()));
    }
}
