//! WAL is pushed ahead of `archive_command`: the server hands over one file at a time, and waits for each.
//!
//! What was pushed ahead is remembered in a small file. It saves time, nothing else: whatever is wrong with it, the file is
//! pushed again, and is found to be there already.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use futures_util::StreamExt;

use super::push::{Pushed, push};
use super::{Ending, SegmentName, WalFile};
use crate::Error;
use crate::repository::{ClusterId, Repository};

/// So many files are compressed and sent at once.
const LANES: usize = 4;
/// What is remembered is a line for each segment of a batch.
const MEMORY_BYTES_MAX: u64 = 1 << 20;
const FORMAT: &str = "pawang-pushed-1";

/// How a file is pushed, with those that wait behind it.
#[derive(Clone, Debug)]
pub struct PushSettings {
    /// The level of compression.
    pub level: i32,
    /// How many segments behind it are pushed too.
    pub ahead: usize,
    /// The file that remembers them.
    pub memory: PathBuf,
}

/// What became of a file that was handed over; it is in all repositories.
#[derive(Clone, Debug)]
pub struct Handed {
    /// What was pushed; `None` when it had been pushed ahead.
    pub pushed: Option<Pushed>,
    /// How many segments were pushed ahead.
    pub ahead: usize,
    /// What went wrong with one that was pushed ahead; it goes wrong again when its turn comes.
    pub trouble: Option<String>,
}

impl Handed {
    /// Says what is wrong with the WAL of a segment that was stored as it is, since the server has no other.
    pub fn damage(&self) -> Option<(SegmentName, pawang_core::Lsn, String)> {
        let packed = self.pushed.as_ref()?.segment.as_ref()?;
        match &packed.walked.ending {
            Ending::Whole | Ending::Switched => None,
            Ending::Cut { at } => Some((packed.name, *at, "it ends there".to_owned())),
            Ending::Stopped { at, problem } => Some((packed.name, *at, problem.clone())),
        }
    }
}

/// Pushes the file that the server hands over, and those that wait behind it.
///
/// # Errors
/// The file is not in all repositories.
pub async fn hand_over(
    repositories: &[Repository],
    cluster: &ClusterId,
    path: &Path,
    settings: &PushSettings,
) -> Result<Handed, Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let segment = match WalFile::parse(&name) {
        Some(WalFile::Segment(name)) if settings.ahead > 0 => name,
        _ => {
            let pushed = push(repositories, cluster, path, settings.level).await?;
            return Ok(Handed {
                pushed: Some(pushed),
                ahead: 0,
                trouble: None,
            });
        }
    };
    let owner = owner(repositories, cluster);
    let mut memory = Memory::read(&settings.memory, &owner);
    if let Some(known) = memory.segments.get(&segment)
        && known.is(path)
        && known.there(repositories).await
    {
        return Ok(Handed {
            pushed: None,
            ahead: 0,
            trouble: None,
        });
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let waiting = waiting(folder, &segment, settings.ahead);
    let count = waiting.len();
    let others = waiting.iter().map(|name| async move {
        let path = folder.join(name.to_string());
        let before = Seen::of(&path);
        (
            *name,
            before,
            push(repositories, cluster, &path, settings.level).await,
        )
    });
    let mut others = futures_util::stream::iter(others).buffer_unordered(LANES - 1);
    let batch = async {
        let mut done = Vec::with_capacity(count);
        while let Some(other) = others.next().await {
            done.push(other);
        }
        done
    };
    let (pushed, batch) = tokio::join!(push(repositories, cluster, path, settings.level), batch);
    let pushed = pushed?;
    memory.segments.clear();
    let mut trouble = None;
    for (name, before, other) in batch {
        match (other, before) {
            (Ok(other), Ok(seen)) => memory.keep(name, seen, &other),
            (Err(error), _) => trouble = Some(error.report().to_string()),
            (_, Err(error)) => trouble = Some(error.to_string()),
        }
    }
    let ahead = memory.segments.len();
    if let Err(error) = memory.write(&settings.memory, &owner) {
        trouble = Some(error.to_string());
    }
    Ok(Handed {
        pushed: Some(pushed),
        ahead,
        trouble,
    })
}

/// Returns the first segments behind one that the server has marked as ready.
fn waiting(folder: &Path, segment: &SegmentName, most: usize) -> Vec<SegmentName> {
    let Ok(entries) = fs::read_dir(folder.join("archive_status")) else {
        return Vec::new();
    };
    let ready = entries.filter_map(|entry| {
        let name = entry.ok()?.file_name();
        name.to_str()?.strip_suffix(".ready")?.parse().ok()
    });
    let mut behind: Vec<SegmentName> = ready.filter(|name| name > segment).collect();
    behind.sort_unstable();
    behind.truncate(most);
    behind
}

fn owner(repositories: &[Repository], cluster: &ClusterId) -> String {
    let mut owner = format!("{FORMAT}\t{cluster}");
    for repository in repositories {
        let _ = write!(owner, "\t{}", repository.place());
    }
    owner
}

/// A file as it was before it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    bytes: u64,
    inode: u64,
    modified_s: i64,
    modified_ns: i64,
}

impl Seen {
    fn of(path: &Path) -> io::Result<Seen> {
        let metadata = fs::metadata(path)?;
        Ok(Seen {
            bytes: metadata.len(),
            inode: metadata.ino(),
            modified_s: metadata.mtime(),
            modified_ns: metadata.mtime_nsec(),
        })
    }
}

/// A segment that was pushed ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    seen: Seen,
    crc: u32,
    stored_bytes: u64,
    object: String,
}

impl Known {
    /// Tells whether the file is the same, byte for byte.
    fn is(&self, path: &Path) -> bool {
        Seen::of(path).is_ok_and(|seen| seen == self.seen)
            && crc_of(path).is_ok_and(|crc| crc == self.crc)
    }

    async fn there(&self, repositories: &[Repository]) -> bool {
        for repository in repositories {
            let held = repository.holds_data(&self.object, self.stored_bytes);
            if !held.await {
                return false;
            }
        }
        true
    }
}

fn crc_of(path: &Path) -> io::Result<u32> {
    let mut file = fs::File::open(path)?;
    let mut chunk = vec![0; 1 << 18];
    let mut crc = 0;
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(crc);
        }
        crc = crc32c::crc32c_append(crc, &chunk[..read]);
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Memory {
    segments: BTreeMap<SegmentName, Known>,
}

impl Memory {
    fn read(path: &Path, owner: &str) -> Memory {
        let small = fs::metadata(path).is_ok_and(|found| found.len() <= MEMORY_BYTES_MAX);
        let text = small.then(|| fs::read_to_string(path).ok()).flatten();
        text.and_then(|text| Memory::parse(&text, owner))
            .unwrap_or_default()
    }

    fn parse(text: &str, owner: &str) -> Option<Memory> {
        let mut lines = text.lines();
        if lines.next()? != owner {
            return None;
        }
        let mut memory = Memory::default();
        for line in lines {
            let fields: Vec<&str> = line.split('\t').collect();
            let [name, bytes, inode, seconds, ns, crc, stored, object] = fields[..] else {
                return None;
            };
            let known = Known {
                seen: Seen {
                    bytes: bytes.parse().ok()?,
                    inode: inode.parse().ok()?,
                    modified_s: seconds.parse().ok()?,
                    modified_ns: ns.parse().ok()?,
                },
                crc: crc.parse().ok()?,
                stored_bytes: stored.parse().ok()?,
                object: object.to_owned(),
            };
            memory.segments.insert(name.parse().ok()?, known);
        }
        Some(memory)
    }

    fn keep(&mut self, name: SegmentName, seen: Seen, pushed: &Pushed) {
        let Some(packed) = &pushed.segment else {
            return;
        };
        let known = Known {
            seen,
            crc: packed.crc,
            stored_bytes: pushed.bytes,
            object: pushed.object.clone(),
        };
        self.segments.insert(name, known);
    }

    fn text(&self, owner: &str) -> String {
        let mut text = format!("{owner}\n");
        for (name, known) in &self.segments {
            let seen = &known.seen;
            let _ = writeln!(
                text,
                "{name}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
                seen.bytes,
                seen.inode,
                seen.modified_s,
                seen.modified_ns,
                known.crc,
                known.stored_bytes,
                known.object
            );
        }
        text
    }

    /// Replaces the file whole; that it may be lost with the machine's power is no harm.
    fn write(&self, path: &Path, owner: &str) -> io::Result<()> {
        if self.segments.is_empty() && !path.exists() {
            return Ok(());
        }
        let unfinished = path.with_extension("new");
        let mut file = fs::File::create(&unfinished)?;
        io::Write::write_all(&mut file, self.text(owner).as_bytes())?;
        fs::rename(unfinished, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_ahead_is_remembered_for_its_owner() {
        let mut memory = Memory::default();
        let known = Known {
            seen: Seen {
                bytes: 9,
                inode: 8,
                modified_s: 7,
                modified_ns: 6,
            },
            crc: 5,
            stored_bytes: 4,
            object: "cluster/7-17/wal/x".to_owned(),
        };
        let name = "0000000A0000000100000002".parse().unwrap();
        memory.segments.insert(name, known);
        let text = memory.text("owner");
        assert_eq!(Memory::parse(&text, "owner"), Some(memory));
        assert_eq!(Memory::parse(&text, "other"), None);
        assert_eq!(Memory::parse(&text[..text.len() - 30], "owner"), None);
        assert_eq!(Memory::parse("", "owner"), None);
    }
}
