//! The files of a server as they are walked through: those of a folder here, or those that it lists over SQL.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use pawang_postgres::control_file;
use rustix::fs::OFlags;

use super::super::lanes::ServerTree;
use super::super::relation_file::RelationFile;
use super::super::source::Source;
use super::list::FileIdentity;
use super::walk::CONTROL;
use crate::Error;
use crate::repository::Tablespace;

/// Where the files are.
pub(crate) enum Tree {
    /// In this data directory here.
    Here(PathBuf),
    /// At the server.
    Server(Box<ServerTree>),
}

/// What kind of thing a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Folder,
    File,
    Link,
    /// Something that no data directory has.
    Special,
}

/// What is known of a file or folder.
#[derive(Clone, Debug)]
pub(crate) struct Stat {
    pub(crate) kind: Kind,
    pub(crate) bytes: u64,
    pub(crate) mode: u32,
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) modified_s: u64,
    /// What the file system says that it is, where that is asked.
    pub(crate) identity: Option<FileIdentity>,
}

/// What a folder has: all names in one piece, since there may be a million.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    names: Vec<u8>,
    all: Vec<Place>,
}

/// Where the name of a file or folder lies.
#[derive(Debug)]
struct Place {
    from: u32,
    bytes: u32,
    /// What the list says of it already.
    stat: Option<Box<Stat>>,
}

/// One of what a folder has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listed<'a> {
    pub(crate) name: &'a [u8],
    /// Where the list says it already.
    pub(crate) stat: Option<&'a Stat>,
}

impl Listing {
    /// Adds a name.
    pub(crate) fn push(&mut self, name: &[u8], stat: Option<Stat>) -> io::Result<()> {
        let number = |length: usize| u32::try_from(length).map_err(io::Error::other);
        self.all.push(Place {
            from: number(self.names.len())?,
            bytes: number(name.len())?,
            stat: stat.map(Box::new),
        });
        self.names.extend_from_slice(name);
        Ok(())
    }

    /// Returns what the folder has.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Listed<'_>> {
        self.all.iter().map(|place| Listed {
            name: place.name(&self.names),
            stat: place.stat.as_deref(),
        })
    }

    fn sort(&mut self) {
        let names = &self.names;
        self.all
            .sort_unstable_by(|one, other| one.name(names).cmp(other.name(names)));
    }
}

impl Place {
    fn name<'a>(&self, names: &'a [u8]) -> &'a [u8] {
        &names[self.from as usize..][..self.bytes as usize]
    }
}

impl Stat {
    fn of(metadata: &Metadata) -> Stat {
        let kind = metadata.file_type();
        Stat {
            kind: if kind.is_dir() {
                Kind::Folder
            } else if kind.is_file() {
                Kind::File
            } else if kind.is_symlink() {
                Kind::Link
            } else {
                Kind::Special
            },
            bytes: metadata.len(),
            mode: metadata.mode(),
            user: metadata.uid(),
            group: metadata.gid(),
            modified_s: u64::try_from(metadata.mtime()).unwrap_or(0),
            identity: FileIdentity::of(metadata),
        }
    }
}

impl Tree {
    /// Returns the data directory, to which paths of the server are relative.
    pub(crate) fn root(&self) -> PathBuf {
        match self {
            Tree::Here(root) => root.clone(),
            Tree::Server(_) => PathBuf::new(),
        }
    }

    /// Returns what a folder has, in the order of names, so that the same data make the same archive; none when it is gone.
    pub(crate) fn list(&self, folder: &Path) -> io::Result<Option<Listing>> {
        let listed = match self {
            Tree::Here(_) => names(folder),
            Tree::Server(server) => server.list(folder),
        };
        match listed {
            Ok(mut listed) => {
                listed.sort();
                Ok(Some(listed))
            }
            // A database that was dropped meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns what a path is, or nothing when it went away meanwhile.
    pub(crate) fn there(&self, place: &Path) -> io::Result<Option<Stat>> {
        match self {
            Tree::Here(_) => Ok(there(fs::symlink_metadata(place))?.map(|found| Stat::of(&found))),
            Tree::Server(server) => server.there(place),
        }
    }

    /// Returns where a link leads to, unless it went away.
    pub(crate) fn link(&self, place: &Path) -> io::Result<Option<Vec<u8>>> {
        match self {
            Tree::Here(_) => {
                let target = there(fs::read_link(place))?;
                Ok(target.map(|target| target.into_os_string().into_vec()))
            }
            Tree::Server(server) => Ok(server.link(place)),
        }
    }

    /// Opens a file, unless it went away, and says how long it is now.
    pub(crate) fn open(
        &self,
        place: &Path,
        stat: &Stat,
        relation: Option<&RelationFile>,
    ) -> io::Result<Option<(Source, Stat)>> {
        if let Tree::Server(server) = self {
            return server.open(place, stat, relation);
        }
        let opened = fs::OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(place);
        let Some(file) = there(opened)? else {
            return Ok(None);
        };
        let stat = Stat::of(&file.metadata()?);
        Ok(Some((Source::File(file), stat)))
    }

    /// Returns what `pg_control` holds, which the server writes while it is read.
    pub(crate) fn control(&self) -> Result<(Vec<u8>, Stat), Error> {
        match self {
            Tree::Here(root) => {
                let path = root.join(std::ffi::OsStr::from_bytes(CONTROL));
                let stat = fs::metadata(&path).map_err(|error| failed(&path, error))?;
                Ok((control_file::read_bytes(root)?, Stat::of(&stat)))
            }
            Tree::Server(server) => server.control(),
        }
    }

    /// Returns what the data directory is: files that are nowhere yet get its owner.
    pub(crate) fn owner(&self) -> Result<Stat, Error> {
        match self {
            Tree::Here(root) => {
                let stat = fs::metadata(root).map_err(|error| failed(root, error))?;
                Ok(Stat::of(&stat))
            }
            Tree::Server(_) => Ok(ServerTree::stat(Kind::Folder, 0, 0)),
        }
    }

    /// Returns the tablespaces, as links or folders in `pg_tblspc` say.
    pub(crate) fn tablespaces(&self) -> Result<Vec<Tablespace>, Error> {
        let mut found = match self {
            Tree::Here(root) => tablespaces(root)?,
            Tree::Server(server) => server.tablespaces(),
        };
        found.sort_unstable_by_key(|space| space.oid);
        Ok(found)
    }
}

/// Makes an error of what could not be read; what the server said stays as it was.
pub(crate) fn failed(path: &Path, error: io::Error) -> Error {
    Error::of_server(error).unwrap_or_else(|source| Error::File {
        doing: "read",
        path: path.to_owned(),
        source,
    })
}

fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn names(folder: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for entry in fs::read_dir(folder)? {
        listing.push(entry?.file_name().as_bytes(), None)?;
    }
    Ok(listing)
}

fn tablespaces(root: &Path) -> Result<Vec<Tablespace>, Error> {
    let folder = root.join("pg_tblspc");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(|error| failed(&folder, error))? {
        let entry = entry.map_err(|error| failed(&folder, error))?;
        let name = entry.file_name();
        let Some(oid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let path = entry.path();
        let kind = entry.file_type().map_err(|error| failed(&path, error))?;
        let location = if kind.is_symlink() {
            fs::read_link(&path).map_err(|error| failed(&path, error))?
        } else {
            PathBuf::from("pg_tblspc").join(&name)
        };
        found.push(Tablespace {
            oid,
            location: location.to_string_lossy().into_owned(),
        });
    }
    Ok(found)
}
