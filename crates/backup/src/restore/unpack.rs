//! The parts of one backup into a tree: each part is read once, from the repository straight into the files.
//!
//! `pg_control` and `backup_label` are kept back: without them PostgreSQL refuses to start, so half a restore never runs.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tar::EntryType;

use super::increment;
use super::tree::{Tree, below, failed};
use crate::Error;

/// The files that are written last, or never.
pub(super) const CONTROL: &str = "global/pg_control";
pub(super) const LABEL: &str = "backup_label";
/// Links are made from the plan, which may move tablespaces; with the map the server would make them as they were.
const MAP: &str = "tablespace_map";
/// A standby's files: a restored server decides by its own settings what it is.
const SIGNALS: [&str; 2] = ["standby.signal", "recovery.signal"];
/// Both of the files kept back are small.
const KEPT_BYTES_MAX: u64 = 1 << 20;
/// So much is copied at once.
const BUFFER_BYTES: usize = 256 << 10;

/// What one part gave.
#[derive(Debug, Default)]
pub(super) struct Unpacked {
    /// `global/pg_control`, when it was in this part.
    pub(super) control: Option<Vec<u8>>,
    /// `backup_label`, when it was in this part.
    pub(super) label: Option<Vec<u8>>,
    /// The files that the part has.
    pub(super) files: HashSet<PathBuf>,
    /// Bytes written.
    pub(super) bytes: u64,
    /// Members read.
    pub(super) members: u32,
    /// Whether a path came twice.
    pub(super) twice: bool,
}

/// How parts are unpacked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner<'a> {
    /// Where to.
    pub(super) tree: &'a Tree,
    /// The tablespace of the part.
    pub(super) tablespace: Option<u32>,
    /// Bytes of a block.
    pub(super) block_bytes: u32,
    /// Whether files are in place that `INCREMENTAL.` files change.
    pub(super) incremental: bool,
    /// Files that are in place already as they are to be.
    pub(super) kept: &'a HashSet<PathBuf>,
}

/// What is wrong with a part, or with a file that is written.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The part is not what it should be, or could not be read to its end.
    Part(String),
    /// A file here.
    Here(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Here(error)
    }
}

/// Unpacks one part, given without compression.
pub(super) fn unpack(from: impl Read, manner: &Manner<'_>) -> Result<Unpacked, Trouble> {
    let root = manner.tree.root(manner.tablespace).ok_or_else(|| {
        Trouble::Part("it is of a tablespace that the commit does not name".to_owned())
    })?;
    let mut unpacked = Unpacked::default();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut archive = tar::Archive::new(from);
    let entries = archive.entries().map_err(unreadable)?;
    for entry in entries {
        let mut entry = entry.map_err(unreadable)?;
        unpacked.members += 1;
        let name = entry.path_bytes().into_owned();
        let shown = String::from_utf8_lossy(&name).into_owned();
        let path = below(root, &name).ok_or_else(|| {
            Trouble::Part(format!(
                "its member \"{}\" leads out of the directory",
                shown.escape_debug()
            ))
        })?;
        match entry.header().entry_type() {
            EntryType::Directory => manner.tree.make_folder(&path)?,
            EntryType::Regular | EntryType::Continuous => {
                let size = entry.size();
                let member = Member {
                    root,
                    path: &path,
                    size,
                };
                member.unpack(&mut entry, manner, &mut unpacked, &mut buffer)?;
            }
            // The folders that links of the data directory led to are members themselves.
            EntryType::Symlink if is_known_link(root, &path) => {}
            other => {
                return Err(Trouble::Part(format!(
                    "its member \"{}\" is no file and no folder ({other:?})",
                    shown.escape_debug()
                )));
            }
        }
    }
    Ok(unpacked)
}

/// Tells whether PostgreSQL puts a link there: a tablespace, or `pg_wal` on a disk of its own.
fn is_known_link(root: &Path, path: &Path) -> bool {
    path.parent() == Some(&root.join("pg_tblspc")) || path == root.join("pg_wal")
}

/// A file of a part.
struct Member<'a> {
    root: &'a Path,
    path: &'a Path,
    size: u64,
}

impl Member<'_> {
    fn unpack(
        &self,
        from: &mut impl Read,
        manner: &Manner<'_>,
        unpacked: &mut Unpacked,
        buffer: &mut [u8],
    ) -> Result<(), Trouble> {
        let within = self.path.strip_prefix(self.root).unwrap_or(self.path);
        if manner.tablespace.is_none() {
            let is = |name: &str| within == Path::new(name);
            if is_left_out(within.as_os_str().as_bytes()) {
                return Ok(());
            }
            if is(CONTROL) {
                unpacked.control = Some(self.kept(from)?);
                return Ok(());
            }
            if is(LABEL) {
                unpacked.label = Some(self.kept(from)?);
                return Ok(());
            }
        }
        let inner = manner.tablespace.is_some() || holds_relations(within);
        let name = self.path.file_name().and_then(|name| name.to_str());
        let changed = name
            .and_then(|name| name.strip_prefix(increment::PREFIX))
            .filter(|_| inner);
        let last = changed.map_or_else(
            || self.path.to_owned(),
            |name| self.path.with_file_name(name),
        );
        if manner.kept.contains(&last) {
            unpacked.files.insert(last);
            return Ok(());
        }
        let path = match changed {
            Some(name) if manner.incremental => {
                let path = self.path.with_file_name(name);
                let file = manner.tree.open_file(&path, false)?;
                let applied = increment::apply(from, &file, manner.block_bytes);
                unpacked.bytes += applied.map_err(|side| match side {
                    increment::Side::Read(error) => {
                        Trouble::Part(format!("its member \"{}\": {error}", within.display()))
                    }
                    increment::Side::Written(error) => Trouble::Here(failed("write", &path, error)),
                })?;
                path
            }
            Some(_) => {
                return Err(Trouble::Part(format!(
                    "\"{}\" is of an incremental backup, and this one is not",
                    within.display()
                )));
            }
            None => {
                let mut file = manner.tree.open_file(self.path, true)?;
                unpacked.bytes += self.copy(from, &mut file, buffer)?;
                self.path.to_owned()
            }
        };
        unpacked.twice |= !unpacked.files.insert(path);
        Ok(())
    }

    fn kept(&self, from: &mut impl Read) -> Result<Vec<u8>, Trouble> {
        if self.size > KEPT_BYTES_MAX {
            return Err(Trouble::Part(format!(
                "\"{}\" has {} bytes, too many for what it is",
                self.path.display(),
                self.size
            )));
        }
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).map_err(unreadable)?;
        Ok(bytes)
    }

    fn copy(&self, from: &mut impl Read, to: &mut File, buffer: &mut [u8]) -> Result<u64, Trouble> {
        use std::io::Write as _;
        let mut bytes = 0;
        loop {
            let read = match from.read(buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(error)),
            };
            to.write_all(&buffer[..read])
                .map_err(|source| failed("write", self.path, source))?;
            bytes += read as u64;
        }
        if bytes != self.size {
            return Err(Trouble::Part(format!(
                "\"{}\" ends after {bytes} of {} bytes",
                self.path.display(),
                self.size
            )));
        }
        Ok(bytes)
    }
}

/// Tells whether a member is not written at all.
pub(super) fn is_left_out(within: &[u8]) -> bool {
    within == MAP.as_bytes() || SIGNALS.iter().any(|name| within == name.as_bytes())
}

/// Elsewhere somebody may call a file of his own `INCREMENTAL.something`.
pub(super) fn holds_relations(within: &Path) -> bool {
    let mut names = within.components().map(|name| name.as_os_str());
    let first = names.next();
    let depth = names.count();
    match first.and_then(|name| name.to_str()) {
        Some("global") => depth == 1,
        Some("base" | "pg_tblspc") => depth >= 2,
        _ => false,
    }
}

fn unreadable(error: io::Error) -> Trouble {
    Trouble::Part(error.to_string())
}
