//! The thread that goes through the data directory, and hands on what is to be read.
//!
//! Small files it reads by itself; of larger ones it hands on where bytes lie, so that those who check and compress read them,
//! or the lanes.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pawang_core::Lsn;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::super::crew::PageCheck;
use super::super::cut::{CHANGED_HEAD_BYTES, CHANGED_MAGIC};
use super::super::line::{KeeperEnded, Line};
use super::super::manifest::WalRange;
use super::super::relation_file::{Fork, INCREMENTAL_PREFIX, RelationFile};
use super::super::source::{Piece, Source};
use super::super::tar::{self, Member, MemberKind};
use super::list::{FileIdentity, FileList, FileListWriter};
use super::scan::{Scan, Scanned};
use super::session::Stopped;
use super::tree::{Kind, Stat, Tree, failed};
use super::walk::{CONTROL, Entry, Walk, What};
use crate::Error;
use crate::repository::{Object, Position, Rate, Tablespace};

/// Files up to this size are read whole before they are handed on: an open file costs more than their bytes.
const SMALL_BYTES: u64 = 128 << 10;
/// Pages that are looked through by one thread at a time.
const SCAN_BLOCKS: u32 = 512;
/// So many of these are on their way.
const SCANS_MAX: usize = 8;
/// So much is waited for at once: whoever does not want to wait any more is heard in between.
const RATE_BYTES: u64 = 64 << 10;
/// A file of which more changed comes whole, as with PostgreSQL's own increments.
const CHANGED_SHARE_MAX: f64 = 0.9;
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const LABEL: &[u8] = b"backup_label";
const MAP: &[u8] = b"tablespace_map";

/// Why the reader did not come to its end.
#[derive(Debug)]
pub(super) enum Halt {
    /// The thread that keeps what comes ended, and knows why.
    Keeper,
    /// Nobody waits any more.
    Asked,
    /// A file could not be read, or the repository refused.
    Error(Error),
}

impl From<KeeperEnded> for Halt {
    fn from(KeeperEnded: KeeperEnded) -> Halt {
        Halt::Keeper
    }
}

/// What the reader and those who wait for it share.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared {
    /// So much was gone through.
    pub(super) bytes: Arc<AtomicU64>,
    /// Whether to end.
    pub(super) stop: Arc<AtomicBool>,
}

/// The backup that this one stands on.
pub(super) struct Since {
    /// Where it began.
    pub(super) lsn: Lsn,
    pub(super) files: FileList,
}

/// A file whose changed pages come.
struct Candidate {
    member: Member,
    source: Arc<Source>,
    relation: RelationFile,
}

/// Scans that are on their way, in order; with the last one of a file comes what to do then.
#[derive(Default)]
pub(super) struct Ahead {
    scans: VecDeque<(oneshot::Receiver<io::Result<Scanned>>, Option<Candidate>)>,
    blocks: Vec<u32>,
}

/// Reads.
pub(super) struct Reader {
    pub(super) line: Line,
    pub(super) tree: Arc<Tree>,
    pub(super) tablespaces: Vec<Tablespace>,
    pub(super) version_folder: String,
    pub(super) major: u32,
    pub(super) pages: PageCheck,
    pub(super) since: Option<Since>,
    pub(super) list: FileListWriter,
    pub(super) rate: Option<Rate>,
    pub(super) shared: Shared,
    /// What a person should know.
    pub(super) notes: Vec<String>,
    pub(super) ahead: Ahead,
    pub(super) now_s: u64,
}

/// Returns how many bytes there are to be read.
///
/// # Errors
/// A folder could not be listed.
pub(super) fn measure(
    tree: &Tree,
    tablespaces: &[Tablespace],
    version_folder: &str,
    major: u32,
) -> Result<u64, Error> {
    let mut bytes = 0u64;
    let mut each = |entry: &Entry<'_>| {
        if entry.what == What::File {
            bytes = bytes.saturating_add(entry.stat.bytes);
        }
        Ok(())
    };
    let root = tree.root();
    let mut walk = Walk {
        tree,
        tablespace: None,
        major,
        each: &mut each,
        unreadable: failed,
    };
    for space in tablespaces {
        walk.tablespace = Some(space.oid);
        walk.tablespace(&place_of(&root, space), version_folder)?;
    }
    walk.tablespace = None;
    walk.data_directory(&root)?;
    Ok(bytes)
}

fn place_of(root: &Path, space: &Tablespace) -> PathBuf {
    root.join("pg_tblspc").join(space.oid.to_string())
}

impl Reader {
    /// Reads all files, `pg_control` last, while the server is in backup mode.
    pub(super) fn files(mut self) -> Result<Reader, Halt> {
        let (tree, folder) = (Arc::clone(&self.tree), self.version_folder.clone());
        let root = tree.root();
        let major = self.major;
        let unreadable = |path: &Path, error| Halt::Error(failed(path, error));
        for space in self.tablespaces.clone() {
            self.line.cutter.archive(Some(space.oid));
            let mut walk = Walk {
                tree: &tree,
                tablespace: Some(space.oid),
                major,
                each: &mut |entry: &Entry<'_>| self.entry(entry, Some(space.oid)),
                unreadable,
            };
            walk.tablespace(&place_of(&root, &space), &folder)?;
            self.scanned(0)?;
            self.line.cutter.end();
        }
        self.line.cutter.archive(None);
        let mut walk = Walk {
            tree: &tree,
            tablespace: None,
            major,
            each: &mut |entry: &Entry<'_>| self.entry(entry, None),
            unreadable,
        };
        walk.data_directory(&root)?;
        self.scanned(0)?;
        self.control()?;
        Ok(self)
    }

    /// Adds what the server said at the end; returns the list of files.
    pub(super) fn end(mut self, stopped: &Stopped, from: Option<Position>) -> Result<Object, Halt> {
        let mut label = stopped.label.clone();
        if let Some(from) = from {
            // As in PostgreSQL's own: a server that knows them does not start on changed blocks alone.
            label.push_str(&format!(
                "INCREMENTAL FROM LSN: {}\nINCREMENTAL FROM TLI: {}\n",
                from.lsn, from.timeline.0
            ));
        }
        self.made(LABEL, label.as_bytes())?;
        if !stopped.map.is_empty() {
            self.made(MAP, stopped.map.as_bytes())?;
        }
        self.line.cutter.end();
        self.send()?;
        let list = self.list.finish().map_err(Halt::Error)?;
        self.line.end_blocking(WalRange {
            timeline: stopped.start.timeline,
            start: stopped.start.lsn,
            end: stopped.stop.lsn,
        })?;
        Ok(list)
    }

    fn entry(&mut self, entry: &Entry<'_>, tablespace: Option<u32>) -> Result<(), Halt> {
        let kind = match &entry.what {
            What::Folder => MemberKind::Folder,
            What::Link(_) => MemberKind::Link,
            What::File => return self.file(entry, tablespace),
            What::Special => {
                let name = String::from_utf8_lossy(entry.path).into_owned();
                self.notes.push(format!(
                    "\"{}\" is no file and no folder, and does not come",
                    name.escape_debug()
                ));
                return Ok(());
            }
        };
        let mut member = member(entry.path, kind, entry.stat);
        if let What::Link(target) = &entry.what {
            member.link.clone_from(target);
        }
        self.head(&member);
        self.send()
    }

    fn file(&mut self, entry: &Entry<'_>, tablespace: Option<u32>) -> Result<(), Halt> {
        let opened = self
            .tree
            .open(entry.place, entry.stat, entry.relation.as_ref());
        let opened = opened.map_err(|error| Halt::Error(failed(entry.place, error)))?;
        // Without it, it was dropped meanwhile.
        let Some((source, stat)) = opened else {
            return Ok(());
        };
        let source = Arc::new(source);
        let member = member(entry.path, MemberKind::File, &stat);
        self.shared.bytes.fetch_add(member.bytes, Ordering::Relaxed);
        let relation = entry
            .relation
            .filter(|relation| relation.fork == Fork::Main);
        let Some((relation, blocks)) = relation.zip(self.blocks(member.bytes)) else {
            return self.whole(&member, &source, entry.place);
        };
        let known = match stat.identity {
            Some(identity) => self.known(entry.path, tablespace, identity, blocks)?,
            None => None,
        };
        match known {
            Some((known, since)) if blocks > 0 => {
                let candidate = Candidate {
                    member,
                    source,
                    relation,
                };
                self.scan(candidate, blocks, known, since)
            }
            _ => self.whole(&member, &source, entry.place),
        }
    }

    /// Writes down what a file is; returns how many pages of it the other backup has, and since when they count as changed.
    fn known(
        &mut self,
        path: &[u8],
        tablespace: Option<u32>,
        identity: FileIdentity,
        blocks: u32,
    ) -> Result<Option<(u32, Lsn)>, Halt> {
        let path = match tablespace {
            None => path.to_vec(),
            Some(oid) => [format!("pg_tblspc/{oid}/").as_bytes(), path].concat(),
        };
        let listed = self.list.add(&path, identity, blocks);
        listed.map_err(Halt::Error)?;
        Ok(self.since.as_ref().and_then(|since| {
            let known = since.files.blocks(&path, identity)?;
            Some((known, since.lsn))
        }))
    }

    /// Returns how many pages so many bytes are, when they are whole pages.
    fn blocks(&self, bytes: u64) -> Option<u32> {
        let block_bytes = u64::from(self.pages.geometry.block_bytes);
        let blocks = u32::try_from(bytes / block_bytes).ok()?;
        let whole = bytes.is_multiple_of(block_bytes);
        (whole && blocks <= self.pages.geometry.segment_blocks).then_some(blocks)
    }

    fn whole(&mut self, member: &Member, source: &Arc<Source>, place: &Path) -> Result<(), Halt> {
        self.head(member);
        match &**source {
            Source::Held(content) => self.line.cutter.data(content),
            Source::File(_) if member.bytes <= SMALL_BYTES => {
                let mut content = vec![0; usize::try_from(member.bytes).expect("it is small")];
                let mut piece = [Piece {
                    source,
                    from: 0,
                    into: &mut content,
                    read: None,
                }];
                Piece::read_all(&mut piece, None)
                    .map_err(|error| Halt::Error(failed(place, error)))?;
                self.line.cutter.data(&content);
            }
            Source::File(_) | Source::Server(_) => self.pieces(source, 0, member.bytes)?,
        }
        self.pad(member.bytes);
        self.send()
    }

    /// Hands bytes of a file on, not much more than a chunk at a time: what waits to be sent has its file open.
    fn pieces(&mut self, source: &Arc<Source>, mut from: u64, mut bytes: u64) -> Result<(), Halt> {
        let most = u64::from(SCAN_BLOCKS) * u64::from(self.pages.geometry.block_bytes);
        while bytes > 0 {
            let now = bytes.min(most);
            self.line.cutter.file(source, from, now);
            self.send()?;
            from += now;
            bytes -= now;
        }
        Ok(())
    }

    fn scan(
        &mut self,
        candidate: Candidate,
        blocks: u32,
        known: u32,
        since: Lsn,
    ) -> Result<(), Halt> {
        let segment = candidate.relation.segment;
        let begin = segment.saturating_mul(self.pages.geometry.segment_blocks);
        let source = Arc::clone(&candidate.source);
        let mut candidate = Some(candidate);
        let mut first = 0;
        while first < blocks {
            let count = SCAN_BLOCKS.min(blocks - first);
            self.scanned(SCANS_MAX - 1)?;
            self.wait(u64::from(count) * u64::from(self.pages.geometry.block_bytes))?;
            let scan = self.line.crew.scan(Scan {
                source: Arc::clone(&source),
                first,
                count,
                begin,
                known,
                since,
            });
            first += count;
            let last = if first == blocks {
                candidate.take()
            } else {
                None
            };
            self.ahead.scans.push_back((scan, last));
        }
        Ok(())
    }

    /// Takes what scans found, until so many are left.
    fn scanned(&mut self, left: usize) -> Result<(), Halt> {
        while self.ahead.scans.len() > left {
            let Some((scan, last)) = self.ahead.scans.pop_front() else {
                break;
            };
            // Without its threads nothing is kept either, which says why.
            let scanned = scan.blocking_recv().map_err(|_| Halt::Keeper)?;
            let scanned = scanned.map_err(|error| Halt::Error(failed(&self.tree.root(), error)))?;
            self.ahead.blocks.extend_from_slice(&scanned.blocks);
            self.line.found(scanned.pages)?;
            if let Some(candidate) = last {
                let blocks = std::mem::take(&mut self.ahead.blocks);
                self.changed(candidate, &blocks)?;
            }
        }
        Ok(())
    }

    /// Hands on the changed pages of a file, in the form of PostgreSQL 17.
    fn changed(&mut self, candidate: Candidate, blocks: &[u32]) -> Result<(), Halt> {
        let Candidate {
            mut member, source, ..
        } = candidate;
        let block_bytes = u64::from(self.pages.geometry.block_bytes);
        let all = member.bytes / block_bytes;
        if blocks.len() as f64 > CHANGED_SHARE_MAX * all as f64 {
            let place = self.tree.root();
            return self.whole(&member, &source, &place);
        }
        let head = head(blocks, all, block_bytes);
        let name = member.path.iter().rposition(|byte| *byte == b'/');
        let name = name.map_or(0, |slash| slash + 1);
        member
            .path
            .splice(name..name, INCREMENTAL_PREFIX.iter().copied());
        member.bytes = head.len() as u64 + blocks.len() as u64 * block_bytes;
        self.head(&member);
        self.line.cutter.data(&head);
        for run in blocks.chunk_by(|one, next| one + 1 == *next) {
            let from = u64::from(run[0]) * block_bytes;
            self.pieces(&source, from, run.len() as u64 * block_bytes)?;
        }
        self.pad(member.bytes);
        self.send()
    }

    /// Reads `pg_control`, which the server writes while it is read.
    fn control(&mut self) -> Result<(), Halt> {
        let (content, stat) = self.tree.control().map_err(Halt::Error)?;
        let mut member = member(CONTROL, MemberKind::File, &stat);
        member.bytes = content.len() as u64;
        self.content(&member, &content)
    }

    /// Adds a file that is nowhere yet.
    fn made(&mut self, path: &[u8], content: &[u8]) -> Result<(), Halt> {
        let owner = self.tree.owner().map_err(Halt::Error)?;
        let member = Member {
            bytes: content.len() as u64,
            mode: FILE_MODE,
            modified_s: self.now_s,
            ..member(path, MemberKind::File, &owner)
        };
        self.content(&member, content)
    }

    fn content(&mut self, member: &Member, content: &[u8]) -> Result<(), Halt> {
        self.head(member);
        self.line.cutter.data(content);
        self.pad(member.bytes);
        self.send()
    }

    fn head(&mut self, member: &Member) {
        let mut header = Vec::with_capacity(tar::BLOCK_BYTES);
        tar::write_header(member, &mut header);
        self.line.cutter.member(member, &header);
    }

    fn pad(&mut self, bytes: u64) {
        const NOTHING: [u8; tar::BLOCK_BYTES] = [0; tar::BLOCK_BYTES];
        let padding = usize::try_from(tar::padding(bytes)).expect("it is less than a block");
        self.line.cutter.padding(&NOTHING[..padding]);
    }

    fn send(&mut self) -> Result<(), Halt> {
        let bytes = self.line.ready_bytes();
        if bytes > 0 {
            self.wait(bytes)?;
            self.line.send_blocking()?;
        }
        Ok(())
    }

    /// Waits until so much may be read, and ends when nobody waits for that.
    fn wait(&self, mut bytes: u64) -> Result<(), Halt> {
        while let Some(rate) = &self.rate
            && bytes > 0
            && !self.shared.stop.load(Ordering::Relaxed)
        {
            let now = bytes.min(RATE_BYTES);
            Handle::current().block_on(rate.take(now));
            bytes -= now;
        }
        if self.shared.stop.load(Ordering::Relaxed) {
            return Err(Halt::Asked);
        }
        Ok(())
    }
}

fn member(path: &[u8], kind: MemberKind, stat: &Stat) -> Member {
    Member {
        path: path.to_vec(),
        kind,
        bytes: match kind {
            MemberKind::File => stat.bytes,
            _ => 0,
        },
        // The folder that a link led to comes in its place.
        mode: match kind {
            MemberKind::Folder if stat.kind == Kind::Link => FOLDER_MODE,
            _ => stat.mode,
        },
        user: stat.user,
        group: stat.group,
        modified_s: stat.modified_s,
        link: Vec::new(),
    }
}

/// Returns the header of a file of changed blocks: which they are, and how many the file has.
fn head(blocks: &[u32], all: u64, block_bytes: u64) -> Vec<u8> {
    let number = |number: u64| u32::try_from(number).expect("a file has not so many blocks");
    let mut head = Vec::with_capacity(CHANGED_HEAD_BYTES + 4 * blocks.len());
    for word in [CHANGED_MAGIC, number(blocks.len() as u64), number(all)] {
        head.extend_from_slice(&word.to_le_bytes());
    }
    for block in blocks {
        head.extend_from_slice(&block.to_le_bytes());
    }
    if !blocks.is_empty() {
        let whole = (head.len() as u64).next_multiple_of(block_bytes);
        head.resize(usize::try_from(whole).expect("it is in memory"), 0);
    }
    head
}
