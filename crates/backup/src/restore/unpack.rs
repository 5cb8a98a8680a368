//! The parts of one backup into a tree: each part is read once, from the repository straight into the files.
//!
//! `pg_control` and `backup_label` are kept back: without them PostgreSQL refuses to start, so half a restore never runs.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::archive::Archive;
use super::choice::{Choice, Survey};
use super::increment::{self, Header, Run};
use super::tree::{Opening, Tree, below, failed};
use crate::Error;
use crate::take::read_or_zero;
use crate::take::tar::{Member, MemberKind};

/// The files that are written last, or never.
pub(super) const CONTROL: &str = "global/pg_control";
pub(super) const LABEL: &str = "backup_label";
/// Links are made from the plan, which may move tablespaces; with the map the server would make them as they were.
const MAP: &str = "tablespace_map";
/// A standby's files: a restored server decides by its own settings what it is.
const SIGNALS: [&str; 2] = ["standby.signal", "recovery.signal"];
/// Both of the files kept back are small.
const KEPT_BYTES_MAX: u64 = 1 << 20;
/// So much is written at once. For more, Linux takes larger pieces of memory into its cache of files, which took seven times as
/// long where that memory had first to be got from a hypervisor.
const WRITE_BYTES_MAX: usize = 256 << 10;

/// What one part gave.
#[derive(Debug, Default)]
pub(super) struct Unpacked {
    /// `global/pg_control`, when it was in this part.
    pub(super) control: Option<Vec<u8>>,
    /// `backup_label`, when it was in this part.
    pub(super) label: Option<Vec<u8>>,
    /// The files that were made.
    pub(super) files: HashSet<PathBuf>,
    /// Bytes written.
    pub(super) bytes: u64,
    /// Members read.
    pub(super) members: u32,
    /// Whether a path came twice.
    pub(super) twice: bool,
}

/// How a part is unpacked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner<'a> {
    /// Where to.
    pub(super) tree: &'a Tree,
    /// The tablespace of the part.
    pub(super) tablespace: Option<u32>,
    /// Bytes of a block.
    pub(super) block_bytes: u32,
    /// Whether the backup is one of changes.
    pub(super) incremental: bool,
    /// Files that are in place already as they are to be.
    pub(super) kept: &'a HashSet<PathBuf>,
    /// What is taken of the backup with this number; without it all, over what the backups before left.
    pub(super) choice: Option<(&'a Choice, u8)>,
    /// Whether the backup is the last of its chain: it says which folders there are, and how the server starts.
    pub(super) last: bool,
    /// Whether no part of another backup is unpacked before all of this one is.
    pub(super) is_first: bool,
    /// Whether pages that are there as they are to be are left alone.
    pub(super) in_place: bool,
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

/// What a file of a part is.
enum Held {
    /// It is not written at all.
    LeftOut,
    Control,
    Label,
    /// The file with this path.
    Whole(PathBuf),
    /// Changes of the file with this path.
    Changes(PathBuf),
}

/// Unpacks one part.
pub(super) fn unpack(archive: &mut Archive<'_>, manner: &Manner<'_>) -> Result<Unpacked, Trouble> {
    let mut unpacked = Unpacked::default();
    let root = manner.root()?;
    while let Some(member) = archive.next().map_err(unreadable)? {
        unpacked.members += 1;
        let path = path(root, &member)?;
        match member.kind {
            MemberKind::Folder if manner.last || manner.choice.is_none() => {
                manner.tree.make_folder(&path)?;
            }
            MemberKind::Folder => {}
            MemberKind::File => match manner.held(&path)? {
                Held::LeftOut => {}
                Held::Control if manner.last => unpacked.control = Some(small(archive, &member)?),
                Held::Label if manner.last => unpacked.label = Some(small(archive, &member)?),
                Held::Control | Held::Label => {}
                Held::Whole(path) | Held::Changes(path) if manner.kept.contains(&path) => {}
                Held::Whole(path) => manner.whole(archive, path, &mut unpacked)?,
                Held::Changes(path) => manner.changes(archive, path, &mut unpacked)?,
            },
            // The folders that links of the data directory led to are members themselves.
            MemberKind::Link if is_known_link(root, &path) => {}
            MemberKind::Link | MemberKind::Other(_) => {
                return Err(Trouble::Part(format!(
                    "its member \"{}\" is no file and no folder",
                    shown(&member)
                )));
            }
        }
    }
    Ok(unpacked)
}

/// Adds to a survey what a part of an increment holds; returns the files, and how many members there are.
pub(super) fn survey(
    archive: &mut Archive<'_>,
    manner: &Manner<'_>,
    survey: &Survey,
    backup: u8,
) -> Result<(Vec<PathBuf>, u32), Trouble> {
    let root = manner.root()?;
    let (mut files, mut members) = (Vec::new(), 0);
    while let Some(member) = archive.next().map_err(unreadable)? {
        members += 1;
        if member.kind != MemberKind::File {
            continue;
        }
        let path = match manner.held(&path(root, &member)?)? {
            Held::Whole(path) | Held::Changes(path) if manner.kept.contains(&path) => continue,
            Held::Whole(path) => {
                survey.add(backup, &path, None);
                path
            }
            Held::Changes(path) => {
                let header = manner.header(archive, &path)?;
                survey.add(backup, &path, Some(&header));
                path
            }
            Held::LeftOut | Held::Control | Held::Label => continue,
        };
        files.push(path);
    }
    Ok((files, members))
}

fn path(root: &Path, member: &Member) -> Result<PathBuf, Trouble> {
    below(root, &member.path).ok_or_else(|| {
        Trouble::Part(format!(
            "its member \"{}\" leads out of the directory",
            shown(member)
        ))
    })
}

fn shown(member: &Member) -> String {
    let path = String::from_utf8_lossy(&member.path);
    path.escape_debug().to_string()
}

/// Tells whether PostgreSQL puts a link there: a tablespace, or `pg_wal` on a disk of its own.
fn is_known_link(root: &Path, path: &Path) -> bool {
    path.parent() == Some(&root.join("pg_tblspc")) || path == root.join("pg_wal")
}

/// Reads one of the files that are kept back.
fn small(archive: &mut Archive<'_>, member: &Member) -> Result<Vec<u8>, Trouble> {
    if member.bytes > KEPT_BYTES_MAX {
        return Err(Trouble::Part(format!(
            "\"{}\" has {} bytes, too many for what it is",
            shown(member),
            member.bytes
        )));
    }
    let mut bytes = Vec::new();
    archive.read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

impl Manner<'_> {
    fn root(&self) -> Result<&Path, Trouble> {
        self.tree.root(self.tablespace).ok_or_else(|| {
            Trouble::Part("it is of a tablespace that the commit does not name".to_owned())
        })
    }

    /// Tells what a file is.
    fn held(&self, path: &Path) -> Result<Held, Trouble> {
        let within = path.strip_prefix(self.root()?).unwrap_or(path);
        if self.tablespace.is_none() {
            if is_left_out(within.as_os_str().as_bytes()) {
                return Ok(Held::LeftOut);
            }
            if within == Path::new(CONTROL) {
                return Ok(Held::Control);
            }
            if within == Path::new(LABEL) {
                return Ok(Held::Label);
            }
        }
        let inner = self.tablespace.is_some() || holds_relations(within);
        let name = path.file_name().and_then(|name| name.to_str());
        let changed = name
            .and_then(|name| name.strip_prefix(increment::PREFIX))
            .filter(|_| inner);
        match changed {
            None => Ok(Held::Whole(path.to_owned())),
            Some(name) if self.incremental => Ok(Held::Changes(path.with_file_name(name))),
            Some(_) => Err(Trouble::Part(format!(
                "\"{}\" is of an incremental backup, and this one is not",
                within.display()
            ))),
        }
    }

    fn header(&self, archive: &mut Archive<'_>, path: &Path) -> Result<Header, Trouble> {
        let bytes = archive.left();
        let wrong = |problem: String| {
            Trouble::Part(format!("its changes of \"{}\": {problem}", path.display()))
        };
        let header = Header::read(archive, self.block_bytes);
        let header = header.map_err(|error| wrong(error.to_string()))?;
        match header.member_bytes(self.block_bytes) {
            said if said == bytes => Ok(header),
            said => Err(wrong(format!("they have {bytes} bytes, and say {said}"))),
        }
    }

    /// Takes a file that the backup has whole.
    fn whole(
        &self,
        archive: &mut Archive<'_>,
        path: PathBuf,
        unpacked: &mut Unpacked,
    ) -> Result<(), Trouble> {
        let bytes = archive.left();
        let wish = match self.choice.map(|(choice, backup)| choice.of(backup, &path)) {
            // It is another backup's.
            Some(None) => return Ok(()),
            Some(wish) => wish,
            None => None,
        };
        let wants = |block| wish.is_none_or(|wish| wish.wants(block));
        let runs = increment::runs_of_whole(bytes, self.block_bytes, &wants);
        if let Some(wish) = wish.filter(|wish| !wish.alone()) {
            let mut out = self.open(&path, Opening::There)?;
            let comes_later = |block| self.is_first && wish.comes_later(block);
            out.take(
                archive,
                increment::bridged(runs, self.block_bytes, &comes_later),
            )?;
            // In a file that was made for this, they are zeroes already.
            for block in wish
                .behind(bytes / u64::from(self.block_bytes))
                .filter(|_| self.in_place)
            {
                out.zero(self.at(block))?;
            }
            unpacked.bytes += out.written;
        } else {
            let mut out = self.open(&path, self.anew())?;
            out.take(archive, runs)?;
            let left = wish.map_or(bytes, |wish| bytes.min(self.at(wish.cut())));
            let length = wish.and_then(|wish| wish.length());
            out.resize(left)?;
            out.resize(length.map_or(left, |length| self.at(length)))?;
            unpacked.bytes += out.written;
        }
        unpacked.twice |= !unpacked.files.insert(path);
        Ok(())
    }

    /// Takes what changed of a file.
    fn changes(
        &self,
        archive: &mut Archive<'_>,
        path: PathBuf,
        unpacked: &mut Unpacked,
    ) -> Result<(), Trouble> {
        let wish = match self.choice.map(|(choice, backup)| choice.of(backup, &path)) {
            Some(None) => return Ok(()),
            Some(wish) => wish,
            None => None,
        };
        let header = self.header(archive, &path)?;
        let mut out = self.open(&path, Opening::There)?;
        if wish.is_none() {
            // What was cut off and grew again without WAL is zeroes, as it is on the server.
            out.resize(self.at(header.truncation))?;
            out.resize(self.at(header.length()))?;
        }
        let wants = |block| wish.is_none_or(|wish| wish.wants(block));
        out.take(archive, header.runs(self.block_bytes, &wants))?;
        unpacked.bytes += out.written;
        if wish.is_none() {
            unpacked.twice |= !unpacked.files.insert(path);
        }
        Ok(())
    }

    fn at(&self, block: u32) -> u64 {
        u64::from(block) * u64::from(self.block_bytes)
    }

    /// Says how a file is opened that comes from one backup.
    fn anew(&self) -> Opening {
        match self.in_place {
            true => Opening::Over,
            false => Opening::Empty,
        }
    }

    fn open<'a>(&self, path: &'a Path, opening: Opening) -> Result<Out<'a>, Error> {
        Ok(Out {
            file: self.tree.open_file(path, opening)?,
            path,
            page_bytes: self.in_place.then_some(self.block_bytes as usize),
            there: Vec::new(),
            written: 0,
        })
    }
}

/// A file that is written.
struct Out<'a> {
    file: File,
    path: &'a Path,
    /// How much is compared at a time with what is there; nothing where all is written.
    page_bytes: Option<usize>,
    there: Vec<u8>,
    written: u64,
}

impl Out<'_> {
    /// Writes what is wanted of a member, and passes over the rest.
    fn take(
        &mut self,
        archive: &mut Archive<'_>,
        runs: impl Iterator<Item = Run>,
    ) -> Result<(), Trouble> {
        for run in runs {
            if !run.wanted {
                archive.skip(run.bytes).map_err(unreadable)?;
                continue;
            }
            let mut done = 0;
            while done < run.bytes {
                let there = archive.fill_buf().map_err(unreadable)?;
                let left = usize::try_from(run.bytes - done).unwrap_or(usize::MAX);
                let piece = &there[..there.len().min(left).min(WRITE_BYTES_MAX)];
                self.put(piece, run.at + done)?;
                let bytes = piece.len();
                archive.consume(bytes);
                done += bytes as u64;
            }
        }
        Ok(())
    }

    /// Writes a piece, or what of it is not there yet.
    fn put(&mut self, piece: &[u8], at: u64) -> Result<(), Error> {
        let Some(page_bytes) = self.page_bytes else {
            return self.write(piece, at);
        };
        let mut there = std::mem::take(&mut self.there);
        there.resize(piece.len().max(there.len()), 0);
        let read = read_or_zero(&self.file, at, &mut there[..piece.len()]);
        let read = read.map_err(|source| failed("read", self.path, source))?;
        let ends = (0..piece.len()).step_by(page_bytes);
        let pages: Vec<(usize, usize, bool)> = ends
            .map(|from| {
                let to = piece.len().min(from + page_bytes);
                (from, to, to <= read && piece[from..to] == there[from..to])
            })
            .collect();
        self.there = there;
        for run in pages.chunk_by(|one, next| one.2 == next.2) {
            let (from, to) = (run[0].0, run[run.len() - 1].1);
            if !run[0].2 {
                self.write(&piece[from..to], at + from as u64)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, piece: &[u8], at: u64) -> Result<(), Error> {
        self.file
            .write_all_at(piece, at)
            .map_err(|source| failed("write", self.path, source))?;
        self.written += piece.len() as u64;
        Ok(())
    }

    /// Makes a page zero.
    fn zero(&mut self, at: u64) -> Result<(), Error> {
        let page = vec![0; self.page_bytes.unwrap_or(0)];
        self.put(&page, at)
    }

    fn resize(&self, bytes: u64) -> Result<(), Error> {
        self.file
            .set_len(bytes)
            .map_err(|source| failed("write", self.path, source))
    }
}

impl Unpacked {
    /// Adds what another part gave, of the same backup or of another one of the chain.
    pub(super) fn add(&mut self, other: Unpacked) {
        self.twice |= other.twice
            || (self.control.is_some() && other.control.is_some())
            || (self.label.is_some() && other.label.is_some());
        self.control = other.control.or(self.control.take());
        self.label = other.label.or(self.label.take());
        self.bytes += other.bytes;
        self.members += other.members;
        let before = self.files.len() + other.files.len();
        if self.files.is_empty() {
            self.files = other.files;
        } else {
            self.files.extend(other.files);
        }
        self.twice |= self.files.len() < before;
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
