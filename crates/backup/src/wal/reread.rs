//! Stored WAL is read again in its turn: whole segments, each as [`super::get()`] would give it to a server.
//!
//! Where no key is here, their bytes are compared with the hash that stands before them.
//!
//! A turn leaves one small object that says when each segment was read last, and which are wrong; the next goes on from there.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::frame::unpack;
use super::get::judge;
use super::{SegmentName, Walker};
use crate::Error;
use crate::repository::seal::{self, SUFFIX};
use crate::repository::{ClusterId, Entry, FORMAT, Repository};
use crate::rolling;
use crate::verify::Pace;

/// The largest segment that a server can be made with.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// What is known of the stored WAL by reading it again; each turn writes it anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reread {
    /// [`FORMAT`].
    pub format: u32,
    /// When the turn ended.
    pub ended_at: Timestamp,
    /// Bytes that it read, as they are stored.
    pub bytes: u64,
    /// When segments were read last, in the order of their names.
    pub runs: Vec<Run>,
    /// Those that are wrong, by name.
    #[serde(default)]
    pub wrong: BTreeMap<String, Wrong>,
    /// The program, with its version.
    pub tool: String,
}

/// Segments that were read in one turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The first.
    pub from: String,
    /// The last.
    pub to: String,
    /// When.
    pub at: Timestamp,
}

/// What is wrong with a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrong {
    /// What was found.
    pub problem: String,
    /// When.
    pub at: Timestamp,
}

/// How a turn reads.
pub struct RereadSettings<'a> {
    /// Within which time all is to be read.
    pub every: SignedDuration,
    /// How fast, and how long.
    pub pace: &'a Pace,
    /// The program, with its version.
    pub tool: String,
    /// What time it is.
    pub clock: fn() -> Timestamp,
}

impl Reread {
    /// Returns when a segment was read, or written when it was not read since.
    pub fn read_at(&self, name: &str, entry: &Entry) -> Timestamp {
        let behind = self.runs.partition_point(|run| run.to.as_str() < name);
        let run = self
            .runs
            .get(behind)
            .filter(|run| run.from.as_str() <= name);
        run.map_or(entry.modified, |run| run.at.max(entry.modified))
    }

    /// Returns the segments of a listing that are wrong, by name, and what is wrong with them.
    pub(crate) fn rotten(&self, entries: &[Entry]) -> BTreeMap<String, String> {
        let named = segments(entries).into_iter();
        let rotten = named.filter_map(|(name, entry)| {
            let problem = self.problem(&name, entry)?.problem.clone();
            Some((name, problem))
        });
        rotten.collect()
    }

    /// Returns what is wrong with a segment; one that was stored again since is another one.
    pub fn problem(&self, name: &str, entry: &Entry) -> Option<&Wrong> {
        let wrong = self.wrong.get(name)?;
        (entry.modified <= wrong.at).then_some(wrong)
    }
}

/// Returns the whole segments of a listing of WAL, by name.
pub(crate) fn segments(entries: &[Entry]) -> BTreeMap<String, &Entry> {
    let named = entries.iter().filter_map(|entry| {
        let (_, file) = entry.path.rsplit_once('/')?;
        let (name, rest) = file.split_once('.')?;
        let whole = name.parse::<SegmentName>().is_ok() && matches!(rest, "zst" | "zst.age");
        whole.then(|| (name.to_owned(), entry))
    });
    named.collect()
}

/// Reads what has to be read again now, writes down what was found, and returns what is known then; none when there is none, or
/// when it was told to end before anything was read.
///
/// # Errors
/// The store could not say; what was read until then is written down. What is wrong with a segment is no error.
pub async fn turn(
    repository: &Repository,
    cluster: &ClusterId,
    settings: &RereadSettings<'_>,
) -> Result<Option<Reread>, Error> {
    let began_at = (settings.clock)();
    let entries = repository.list(&cluster.wal()).await?;
    let segments = segments(&entries);
    let last = repository.reread(cluster).await?;
    let known = last.clone().unwrap_or_default();
    let aged = segments
        .iter()
        .map(|(name, entry)| (known.read_at(name, entry), name.as_str(), entry.bytes));
    let turn_at = last.as_ref().map(|last| last.ended_at);
    let due = rolling::due(aged.collect(), turn_at, settings.every, began_at);
    let mut found = Found::default();
    let mut read = Ok(());
    for name in due {
        match one(repository, cluster, name, segments[name], settings).await {
            Ok(One::Stopped) => break,
            Ok(One::Gone) => {}
            Ok(One::Read(problem)) => {
                found.bytes += segments[name].bytes;
                found.read.insert(name, problem);
            }
            Err(error) => {
                read = Err(error);
                break;
            }
        }
    }
    if found.read.is_empty() {
        return read.map(|()| None);
    }
    let now = (settings.clock)();
    let written = found.join(&segments, &known, now, &settings.tool);
    let path = cluster.reread(now);
    repository.create_json(&path, &written).await?;
    read.map(|()| Some(written))
}

/// What one turn found.
#[derive(Default)]
struct Found<'a> {
    bytes: u64,
    /// Each segment that was read, and what is wrong with it.
    read: BTreeMap<&'a str, Option<String>>,
}

impl Found<'_> {
    /// Adds it to what was known.
    fn join(
        mut self,
        segments: &BTreeMap<String, &Entry>,
        known: &Reread,
        now: Timestamp,
        tool: &str,
    ) -> Reread {
        let mut runs: Vec<Run> = Vec::new();
        let mut wrong = BTreeMap::new();
        let mut broken_off = true;
        for (name, entry) in segments {
            let read = self.read.remove(name.as_str());
            let at = match &read {
                Some(_) => now,
                None => known.read_at(name, entry),
            };
            match read {
                Some(problem) => {
                    let problem = problem.map(|problem| Wrong { problem, at: now });
                    wrong.extend(problem.map(|problem| (name.clone(), problem)));
                }
                None => {
                    let still = known.problem(name, entry);
                    wrong.extend(still.map(|still| (name.clone(), still.clone())));
                    // What was never read is in no run: its own age is that of the object.
                    if at == entry.modified {
                        broken_off = true;
                        continue;
                    }
                }
            }
            match runs.last_mut() {
                Some(run) if run.at == at && !broken_off => run.to.clone_from(name),
                _ => runs.push(Run {
                    from: name.clone(),
                    to: name.clone(),
                    at,
                }),
            }
            broken_off = false;
        }
        Reread {
            format: FORMAT,
            ended_at: now,
            bytes: self.bytes,
            runs,
            wrong,
            tool: tool.to_owned(),
        }
    }
}

/// How reading one segment ended.
enum One {
    /// It is right, or what is wrong with it.
    Read(Option<String>),
    /// It expired meanwhile.
    Gone,
    Stopped,
}

async fn one(
    repository: &Repository,
    cluster: &ClusterId,
    name: &str,
    entry: &Entry,
    settings: &RereadSettings<'_>,
) -> Result<One, Error> {
    if !(settings.pace.go_on)() {
        return Ok(One::Stopped);
    }
    settings.pace.rate.take(entry.bytes).await;
    let path = entry.path.strip_suffix(SUFFIX).unwrap_or(&entry.path);
    if repository.check_identity(&entry.path).is_err() {
        return without_key(repository, entry, path).await;
    }
    let frame = match repository.read_data(path).await {
        Ok(None) => return Ok(One::Gone),
        Ok(Some(frame)) => frame,
        Err(Error::Sealed { source, .. }) if source.by_keys() => {
            return without_key(repository, entry, path).await;
        }
        Err(Error::Sealed { source, .. }) => return Ok(One::Read(Some(source.to_string()))),
        Err(error) => return Err(error),
    };
    let name: SegmentName = name.parse().expect("it was a name when it was listed");
    let cluster = *cluster;
    let work = move || whole(&cluster, &name, &frame);
    let done = tokio::task::spawn_blocking(work).await;
    Ok(One::Read(done.expect("the walk does not panic").err()))
}

/// Compares a sealed segment with the hash that its header has for whoever has no key.
async fn without_key(repository: &Repository, entry: &Entry, path: &str) -> Result<One, Error> {
    let Some(sealed) = repository.read(&entry.path).await? else {
        return Ok(One::Gone);
    };
    let path = path.to_owned();
    let done = tokio::task::spawn_blocking(move || seal::rot(&path, &sealed)).await;
    Ok(One::Read(done.expect("hashing does not panic")))
}

/// Says what is wrong with a frame that should be a whole segment.
fn whole(cluster: &ClusterId, name: &SegmentName, frame: &Bytes) -> Result<(), String> {
    let mut walker = Walker::new(name.timeline);
    let mut feed = |bytes: &[u8]| -> io::Result<()> {
        walker.feed(bytes);
        Ok(())
    };
    let bytes = unpack(frame, SEGMENT_BYTES_MAX, &mut feed).map_err(|error| error.to_string())?;
    let walked = walker.finish()?;
    let size = walked.header.segment_bytes;
    if bytes != u64::from(size) {
        return Err(format!("it has {bytes} bytes instead of {size}"));
    }
    judge(cluster, name, size, &walked)
}

impl Repository {
    /// Returns what is known of a cluster's WAL by reading it again; none when nobody did.
    ///
    /// # Errors
    /// The store could not say, or the object cannot be read.
    pub async fn reread(&self, cluster: &ClusterId) -> Result<Option<Reread>, Error> {
        let entries = self.list(&cluster.rereads()).await?;
        match entries.iter().map(|entry| entry.path.as_str()).max() {
            Some(newest) => self.read_json(newest).await,
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn name(number: u64) -> String {
        format!("0000000100000000{number:08X}")
    }

    fn stored(numbers: impl Iterator<Item = u64>) -> Vec<Entry> {
        let entry = |number| Entry {
            path: format!(
                "cluster/1-17/wal/00000001/00000000000000/{}.zst",
                name(number)
            ),
            bytes: 10,
            modified: at(1),
        };
        numbers.map(entry).collect()
    }

    fn found<'a>(names: &'a [(String, Option<&str>)]) -> Found<'a> {
        let read = names.iter();
        let read = read.map(|(name, problem)| (name.as_str(), problem.map(str::to_owned)));
        Found {
            bytes: 10 * names.len() as u64,
            read: read.collect(),
        }
    }

    #[test]
    fn turns_leave_one_run_each_and_what_is_wrong_stays_until_it_is_right() {
        let mut entries = stored(0..6);
        for other in [
            "live/00000001/{}.00000000-00001000.zst",
            "00000001/0/{}.partial.zst",
        ] {
            let path = format!("cluster/1-17/wal/{}", other.replace("{}", &name(9)));
            entries.push(Entry {
                path,
                ..entries[0].clone()
            });
        }
        let there = segments(&entries);
        assert_eq!(there.len(), 6, "only whole ones are read");
        let first = [0, 1, 2].map(|number| (name(number), (number == 1).then_some("rot")));
        let one = found(&first).join(&there, &Reread::default(), at(10), "t");
        assert_eq!(one.runs.len(), 1);
        assert_eq!(one.read_at(&name(2), there[&name(2)]), at(10));
        assert_eq!(one.read_at(&name(3), there[&name(3)]), at(1));
        assert_eq!(one.wrong.len(), 1);

        let second = [3, 4].map(|number| (name(number), None));
        let two = found(&second).join(&there, &one, at(20), "t");
        assert_eq!(two.runs.len(), 2, "{:?}", two.runs);
        assert_eq!(two.read_at(&name(1), there[&name(1)]), at(10));
        assert_eq!(two.read_at(&name(4), there[&name(4)]), at(20));
        assert_eq!(two.read_at(&name(5), there[&name(5)]), at(1));
        let entry = |second| Entry {
            modified: at(second),
            ..there[&name(1)].clone()
        };
        assert_eq!(two.problem(&name(1), &entry(1)).unwrap().problem, "rot");
        assert_eq!(two.problem(&name(1), &entry(11)), None, "it is another one");
        // One that was stored again was read before that: its age is its own.
        assert_eq!(two.read_at(&name(1), &entry(30)), at(30));

        // What expired leaves; what is read again and is right is right.
        let entries = stored(1..6);
        let there = segments(&entries);
        let third = [1, 5].map(|number| (name(number), None));
        let three = found(&third).join(&there, &two, at(30), "t");
        assert_eq!(three.wrong, BTreeMap::new());
        assert_eq!(three.runs[0].from, name(1));
        assert_eq!(three.runs.len(), 4, "{:?}", three.runs);
    }

    #[test]
    fn what_was_not_read_between_two_that_were_is_not_taken_for_read() {
        let entries = stored(0..3);
        let there = segments(&entries);
        let ends = [0, 2].map(|number| (name(number), None));
        let read = found(&ends).join(&there, &Reread::default(), at(10), "t");
        assert_eq!(read.runs.len(), 2, "{:?}", read.runs);
        assert_eq!(read.read_at(&name(1), there[&name(1)]), at(1));
    }
}
