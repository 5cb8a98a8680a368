//! Which file is which: what was read before under another name, compressed since, or copied and truncated.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::state::{FileState, MARK_BYTES, hash};
use crate::engine::pipe::Piped;
use crate::input::{MAGIC_BYTES, Peeked, compressed, is_archive};

/// A file as it is now.
pub(super) struct Sight {
    pub(super) name: String,
    pub(super) file: File,
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) modified: i64,
    pub(super) compressed: bool,
    /// The first bytes of its content.
    pub(super) head: Vec<u8>,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// It was not seen before.
    New,
    /// It is the file of this state, perhaps under a new name or compressed.
    Known(usize),
    /// It is a copy of a file that is there too.
    Copy(usize),
}

impl Sight {
    /// Looks at a file.
    pub(super) fn of(path: &Path) -> io::Result<Sight> {
        let file = File::open(path)?;
        let facts = file.metadata()?;
        if !facts.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let mut head = read_at_most(&file, 0, MARK_BYTES)?;
        let mut compressed = compressed(&head[..head.len().min(MAGIC_BYTES)]);
        if compressed {
            let (mut piped, _) = Piped::start(Box::new(file.try_clone()?))?;
            let mut content = Peeked::new(&mut piped);
            if is_archive(&mut content) {
                return Err(io::Error::other(
                    "it is an archive, which incremental reading does not open",
                ));
            }
            head = content.peek(MARK_BYTES).to_vec();
        } else if is_archive(&mut Peeked::new(&head[..])) {
            return Err(io::Error::other(
                "it is an archive, which incremental reading does not open",
            ));
        }
        // The compressor of a rotated file may not have written its first block yet.
        compressed |= head.is_empty() && facts.len() > 0;
        Ok(Sight {
            name: path.display().to_string(),
            file,
            device: facts.dev(),
            inode: facts.ino(),
            size: facts.len(),
            modified: facts.mtime(),
            compressed,
            head,
        })
    }

    /// Returns the first bytes of the content of a compressed file.
    pub(super) fn content(&self, count: usize) -> io::Result<Vec<u8>> {
        content(&self.file, count)
    }

    fn begins_as(&self, state: &FileState) -> bool {
        let count = state.head_bytes as usize;
        self.head
            .get(..count)
            .is_some_and(|head| hash(head) == state.head_hash)
    }

    /// Whether what was read before is still there; of compressed files the reading itself finds out.
    fn continues(&self, state: &FileState) -> bool {
        if self.compressed {
            return true;
        }
        let count = u64::from(state.last_bytes);
        self.size >= state.offset
            && state.offset.checked_sub(count).is_some_and(|from| {
                read_at_most(&self.file, from, state.last_bytes as usize)
                    .is_ok_and(|last| hash(&last) == state.last_hash)
            })
    }
}

fn content(file: &File, count: usize) -> io::Result<Vec<u8>> {
    let mut file = file.try_clone()?;
    file.seek(io::SeekFrom::Start(0))?;
    let (piped, _) = Piped::start(Box::new(file))?;
    Ok(Peeked::new(piped).peek(count).to_vec())
}

/// Returns up to so many bytes of a file.
pub(super) fn read_at_most(file: &File, offset: u64, count: usize) -> io::Result<Vec<u8>> {
    let left = file.metadata()?.len().saturating_sub(offset);
    let count = usize::try_from(left).unwrap_or(usize::MAX).min(count);
    let mut bytes = vec![0; count];
    let mut filled = 0;
    while filled < count {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Whether a file may be that of a state.
type Fits = dyn Fn(&Sight, &FileState) -> bool;

/// Returns what each file is.
pub(super) fn identify(sights: &[Sight], states: &[FileState]) -> Vec<Identity> {
    let mut identities = vec![Identity::New; sights.len()];
    let mut claimed = vec![false; states.len()];
    let same = |sight: &Sight, state: &FileState| {
        (sight.device, sight.inode, sight.compressed)
            == (state.device, state.inode, state.compressed)
            && !state.gone
    };
    let copied = |_: &Sight, state: &FileState| state.head_bytes > 0;
    let passes: [&Fits; 2] = [&same, &copied];
    for pass in passes {
        for (sight, identity) in sights.iter().zip(&mut identities) {
            if *identity != Identity::New {
                continue;
            }
            let fits = |(number, state): &(usize, &FileState)| {
                !claimed[*number]
                    && pass(sight, state)
                    && sight.begins_as(state)
                    && sight.continues(state)
            };
            if let Some((number, _)) = states.iter().enumerate().find(fits) {
                claimed[number] = true;
                *identity = Identity::Known(number);
            }
        }
    }
    for (sight, identity) in sights.iter().zip(&mut identities) {
        let copy = |(number, state): &(usize, &FileState)| {
            claimed[*number] && state.head_bytes > 0 && sight.begins_as(state)
        };
        if *identity == Identity::New
            && let Some((number, _)) = states.iter().enumerate().find(copy)
        {
            *identity = Identity::Copy(number);
        }
    }
    identities
}

/// Bytes that are passed over between two looks whether to stop.
const SKIP_BYTES: u64 = 1024 * 1024;

/// Returns a compressed file's content from `offset` on; none when what is before is not what was read before, or when it was stopped.
pub(super) fn skip_to(
    sight: &Sight,
    state: &FileState,
    offset: u64,
    stop: &dyn Fn() -> bool,
) -> io::Result<Option<Box<dyn Read>>> {
    let mut file = sight.file.try_clone()?;
    file.seek(io::SeekFrom::Start(0))?;
    let (mut piped, _) = Piped::start(Box::new(file))?;
    let before = offset.min(state.offset.saturating_sub(u64::from(state.last_bytes)));
    let mut skipped = 0;
    while skipped < before {
        let wanted = SKIP_BYTES.min(before - skipped);
        let count = io::copy(&mut (&mut piped).take(wanted), &mut io::sink())?;
        if count == 0 || stop() {
            return Ok(None);
        }
        skipped += count;
    }
    let mut last = Vec::new();
    (&mut piped)
        .take(state.offset - before)
        .read_to_end(&mut last)?;
    let marked = last
        .get(last.len().saturating_sub(state.last_bytes as usize)..)
        .unwrap_or_default();
    if (last.len() as u64) < state.offset - before
        || (state.last_bytes > 0 && hash(marked) != state.last_hash)
    {
        return Ok(None);
    }
    let again = last.split_off(usize::try_from(offset - before).expect("a mark is small"));
    Ok(Some(Box::new(io::Cursor::new(again).chain(piped))))
}
