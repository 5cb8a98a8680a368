//! The directories that a restore writes: safe paths, owners, modes, and everything durable at the end.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use crate::Error;
use crate::owner::Owner;

/// PostgreSQL refuses a data directory that others may enter.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Where a backup is unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The data directory.
    pub data: PathBuf,
    /// The folders of tablespaces by their object id.
    pub tablespaces: BTreeMap<u32, PathBuf>,
    /// To whom its files are given; they stay the caller's without it.
    pub owner: Option<Owner>,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// It is made, or emptied.
    Empty,
    /// It is made when it is missing, and keeps what it has.
    Over,
    /// It is there.
    There,
}

impl Tree {
    /// Returns where the members of a part lie: the data directory, or a tablespace.
    pub(super) fn root(&self, tablespace: Option<u32>) -> Option<&Path> {
        match tablespace {
            None => Some(&self.data),
            Some(id) => self.tablespaces.get(&id).map(PathBuf::as_path),
        }
    }

    /// Makes a folder and those above it that are missing; a file in its place goes away.
    pub(super) fn make_folder(&self, path: &Path) -> Result<(), Error> {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(_) => fs::remove_file(path).map_err(|source| failed("replace", path, source))?,
            Err(_) => {
                if let Some(parent) = path.parent() {
                    self.make_folder(parent)?;
                }
            }
        }
        match DirBuilder::new().mode(FOLDER_MODE).create(path) {
            // Two parts may begin the same folder.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(failed("create", path, error))
            }
            _ => self.give(path),
        }
    }

    /// Opens a file for writing at any place.
    pub(super) fn open_file(&self, path: &Path, opening: Opening) -> Result<File, Error> {
        if let Some(parent) = path.parent() {
            self.make_folder(parent)?;
        }
        if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
            remove_any(path).map_err(|source| failed("replace", path, source))?;
        }
        let made = opening != Opening::There;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .mode(FILE_MODE)
            .create(made)
            .truncate(opening == Opening::Empty)
            .open(path)
            .map_err(|source| failed("write", path, source))?;
        if made {
            self.give(path)?;
        }
        Ok(file)
    }

    /// Writes a small file whole.
    pub(super) fn write_file(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        use std::io::Write as _;
        let mut file = self.open_file(path, Opening::Empty)?;
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .map_err(|source| failed("write", path, source))
    }

    /// Writes a small file under another name first, so that it is there whole or not at all.
    pub(super) fn put_file(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".pawang");
        let beside = PathBuf::from(beside);
        self.write_file(&beside, bytes)?;
        fs::rename(&beside, path).map_err(|source| failed("write", path, source))?;
        sync_folder(path.parent().unwrap_or(Path::new("/")))
    }

    /// Makes a link of a tablespace.
    pub(super) fn link(&self, from: &Path, to: &Path) -> Result<(), Error> {
        if let Some(parent) = from.parent() {
            self.make_folder(parent)?;
        }
        if fs::symlink_metadata(from).is_ok() {
            remove_any(from).map_err(|source| failed("replace", from, source))?;
        }
        std::os::unix::fs::symlink(to, from).map_err(|source| failed("create", from, source))?;
        self.give(from)
    }

    fn give(&self, path: &Path) -> Result<(), Error> {
        match self.owner {
            Some(owner) => owner
                .give(path)
                .map_err(|source| failed("give away", path, source)),
            None => Ok(()),
        }
    }

    /// Removes every file below the directories that is not wanted: those of backups before that the last one does not
    /// have any more. Folders stay, empty or not. Of a tablespace only folders with the prefix are its own: others are of
    /// clusters of other versions.
    pub(super) fn keep_only(&self, wanted: &HashSet<PathBuf>, prefix: &str) -> Result<u64, Error> {
        let mut removed = 0;
        for root in self.roots() {
            let mut folders = match root == self.data {
                true => vec![root.to_owned()],
                false => folders_with(root, prefix)?,
            };
            while let Some(folder) = folders.pop() {
                let entries =
                    fs::read_dir(&folder).map_err(|source| failed("read", &folder, source))?;
                for entry in entries {
                    let entry = entry.map_err(|source| failed("read", &folder, source))?;
                    let path = entry.path();
                    if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        folders.push(path);
                    } else if !wanted.contains(&path) {
                        fs::remove_file(&path).map_err(|source| failed("remove", &path, source))?;
                        removed += 1;
                    }
                }
            }
        }
        Ok(removed)
    }

    /// Returns the directories.
    pub(super) fn roots(&self) -> impl Iterator<Item = &Path> {
        let tablespaces = self.tablespaces.values().map(PathBuf::as_path);
        std::iter::once(self.data.as_path()).chain(tablespaces)
    }

    /// Makes everything durable that was written to the file systems of the directories.
    pub(super) fn sync(&self) -> Result<(), Error> {
        for root in self.roots() {
            let folder = File::open(root).map_err(|source| failed("synchronise", root, source))?;
            rustix::fs::syncfs(&folder)
                .map_err(|source| failed("synchronise", root, source.into()))?;
        }
        Ok(())
    }
}

/// Joins a path of an archive below a directory, if it stays there.
pub(super) fn below(root: &Path, member: &[u8]) -> Option<PathBuf> {
    if member.contains(&0) {
        return None;
    }
    let mut path = root.to_owned();
    for component in Path::new(OsStr::from_bytes(member)).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(path)
}

/// Makes the entries of a folder durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), Error> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| failed("synchronise", path, source))
}

/// Removes a file, a link or a whole folder.
pub(super) fn remove_any(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

/// Returns the folders in a folder whose names begin so.
fn folders_with(path: &Path, prefix: &str) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(path).map_err(|source| failed("read", path, source))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| failed("read", path, source))?;
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && entry.file_name().as_bytes().starts_with(prefix.as_bytes()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Removes what is in a folder but some entries, and leaves the folder.
pub(super) fn empty_but(path: &Path, kept: &[&str]) -> Result<(), Error> {
    let entries = fs::read_dir(path).map_err(|source| failed("read", path, source))?;
    for entry in entries {
        let entry = entry.map_err(|source| failed("read", path, source))?.path();
        let stays = kept
            .iter()
            .any(|kept| entry.file_name() == Some(OsStr::new(kept)));
        if !stays {
            remove_any(&entry).map_err(|source| failed("remove", &entry, source))?;
        }
    }
    Ok(())
}

/// Closes a folder to others, as PostgreSQL demands of a data directory.
pub(super) fn close(path: &Path) -> Result<(), Error> {
    fs::set_permissions(path, fs::Permissions::from_mode(FOLDER_MODE))
        .map_err(|source| failed("close", path, source))
}

/// Returns how many bytes the files below a folder have; what cannot be read does not count.
pub(super) fn bytes(root: &Path) -> u64 {
    let mut bytes = 0;
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => folders.push(entry.path()),
                Ok(found) if found.is_file() => bytes += found.len(),
                _ => {}
            }
        }
    }
    bytes
}

pub(super) fn failed(doing: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File {
        doing,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stay_below_their_directory() {
        let root = Path::new("/srv/data");
        for (member, expected) in [
            ("base/1/1259", Some("/srv/data/base/1/1259")),
            ("./PG_VERSION", Some("/srv/data/PG_VERSION")),
            ("base//1/", Some("/srv/data/base/1")),
            ("..", None),
            ("base/../../etc/passwd", None),
            ("/etc/passwd", None),
            ("base/\0", None),
        ] {
            let found = below(root, member.as_bytes());
            assert_eq!(found.as_deref(), expected.map(Path::new), "{member:?}");
        }
    }

    #[test]
    fn what_the_last_backup_does_not_have_goes() {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree {
            data: folder.path().to_owned(),
            tablespaces: BTreeMap::new(),
            owner: None,
        };
        let path = |name: &str| folder.path().join(name);
        for name in ["base/1/1", "base/1/2", "base/2/3"] {
            tree.write_file(&path(name), b"x").unwrap();
        }
        let wanted = HashSet::from([path("base/1/2")]);
        assert_eq!(tree.keep_only(&wanted, "PG_17_").unwrap(), 2);
        assert!(path("base/1/2").exists() && path("base/2").is_dir());
        assert!(!path("base/1/1").exists() && !path("base/2/3").exists());
        tree.write_file(&path("base/2"), b"a file now").unwrap();
        assert!(path("base/2").is_file());
        tree.make_folder(&path("base/2/4")).unwrap();
        assert!(path("base/2/4").is_dir());
    }
}
