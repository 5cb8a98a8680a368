//! Requests that wait on disk: bounded, in order, and still there after kill -9. The files are those of
//! `format/queue-v1.md`.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::Error;

const MAGIC: &[u8; 8] = b"PAWANGQ1";
const HEAD_BYTES: u64 = 12;
/// Length of a segment: what is dropped at once when the queue is full, and removed at once when all of it was sent.
const SEGMENT_BYTES: u64 = 4 << 20;
/// A queue has room for at least so many segments, whatever its bound.
const SEGMENTS_MIN: u64 = 8;
/// Longest request; ours are some hundred kilobytes.
const RECORD_BYTES_MAX: u32 = 64 << 20;
const CURSOR: &str = "cursor";
const ENDING: &str = ".queue";

/// Requests that wait on disk, oldest first.
pub(crate) struct Queue {
    directory: PathBuf,
    bytes_max: u64,
    segment_bytes: u64,
    segments: VecDeque<Segment>,
    /// Where the first record begins that is not acknowledged; in the oldest segment.
    offset: u64,
    /// The newest segment, open for writing.
    newest: Option<File>,
    /// The oldest segment, open for reading.
    oldest: Option<File>,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    number: u64,
    bytes: u64,
    /// Samples in records that are not acknowledged.
    samples: u64,
}

/// A request that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) samples: u32,
    pub(crate) body: Vec<u8>,
    /// Segment and offset.
    place: (u64, u64),
}

impl Queue {
    /// Opens the queue, and makes its folder when there is none; cuts off what a killed process left half written.
    pub(crate) fn open(directory: &Path, bytes_max: u64) -> Result<Queue, Error> {
        let fail = |source| file_error(directory, source);
        fs::create_dir_all(directory).map_err(fail)?;
        let mut queue = Queue {
            directory: directory.to_owned(),
            bytes_max,
            segment_bytes: SEGMENT_BYTES.min(bytes_max / SEGMENTS_MIN).max(1),
            segments: VecDeque::new(),
            offset: MAGIC.len() as u64,
            newest: None,
            oldest: None,
        };
        let mut numbers = numbers(directory).map_err(fail)?;
        numbers.sort_unstable();
        let cursor = read_cursor(directory);
        for (place, number) in numbers.iter().enumerate() {
            if cursor.is_some_and(|(first, _)| *number < first) {
                fs::remove_file(queue.path(*number)).map_err(fail)?;
                continue;
            }
            let begin = match cursor {
                Some((first, offset)) if first == *number => offset,
                _ => MAGIC.len() as u64,
            };
            let is_newest = place + 1 == numbers.len();
            let segment = queue.survey(*number, begin, is_newest).map_err(fail)?;
            if queue.segments.is_empty() {
                queue.offset = begin;
            }
            queue.segments.push_back(segment);
        }
        Ok(queue)
    }

    /// Returns the bytes that wait.
    pub(crate) fn bytes(&self) -> u64 {
        let all: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        all.saturating_sub(if self.segments.is_empty() {
            0
        } else {
            self.offset
        })
    }

    /// Appends a request; returns how many samples were dropped to make room.
    pub(crate) fn push(&mut self, samples: u32, body: &[u8]) -> Result<u64, Error> {
        let bytes = HEAD_BYTES + body.len() as u64;
        let mut dropped = 0;
        while self.disk_bytes() + bytes > self.bytes_max && !self.segments.is_empty() {
            dropped += self.drop_oldest()?;
        }
        let full = self
            .segments
            .back()
            .is_none_or(|s| s.bytes + bytes > self.segment_bytes);
        if full || self.newest.is_none() && !self.reopen()? {
            self.new_segment()?;
        }
        let mut record = Vec::with_capacity(body.len() + HEAD_BYTES as usize);
        let length = u32::try_from(body.len()).expect("a request is far smaller than 4 GiB");
        record.extend_from_slice(&length.to_le_bytes());
        record.extend_from_slice(&checksum(samples, body).to_le_bytes());
        record.extend_from_slice(&samples.to_le_bytes());
        record.extend_from_slice(body);
        let directory = &self.directory;
        let (Some(file), Some(segment)) = (&mut self.newest, self.segments.back_mut()) else {
            unreachable!("a segment was opened above");
        };
        if let Err(source) = file.write_all(&record) {
            // Half a record would hide those that come after it.
            let _restored = file
                .set_len(segment.bytes)
                .and_then(|()| file.seek(SeekFrom::Start(segment.bytes)));
            return Err(file_error(directory, source));
        }
        segment.bytes += bytes;
        segment.samples += u64::from(samples);
        Ok(dropped)
    }

    /// Returns the oldest request; a damaged segment is given up, and its samples are added to `lost`.
    pub(crate) fn front(&mut self, lost: &mut u64) -> Result<Option<Record>, Error> {
        while let Some(segment) = self.segments.front().copied() {
            if self.offset < segment.bytes {
                match self.read(segment.number)? {
                    Some(record) => return Ok(Some(record)),
                    None => *lost += segment.samples,
                }
            }
            if self.segments.len() == 1 && self.offset >= segment.bytes {
                return Ok(None);
            }
            self.drop_oldest()?;
        }
        Ok(None)
    }

    /// Removes the request that [`Queue::front`] returned, unless it was dropped meanwhile.
    pub(crate) fn pop(&mut self, record: &Record) -> Result<(), Error> {
        let oldest = self.segments.front().map(|segment| segment.number);
        if oldest.map(|number| (number, self.offset)) != Some(record.place) {
            return Ok(());
        }
        self.offset += HEAD_BYTES + record.body.len() as u64;
        let Some(segment) = self.segments.front_mut() else {
            return Ok(());
        };
        segment.samples = segment.samples.saturating_sub(u64::from(record.samples));
        if self.offset >= segment.bytes && self.segments.len() > 1 {
            self.drop_oldest()?;
            return Ok(());
        }
        self.write_cursor()
    }

    fn disk_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:020}{ENDING}"))
    }

    /// Removes the oldest segment and returns how many of its samples nobody has acknowledged.
    fn drop_oldest(&mut self) -> Result<u64, Error> {
        let Some(segment) = self.segments.pop_front() else {
            return Ok(0);
        };
        self.offset = MAGIC.len() as u64;
        self.oldest = None;
        if self.segments.is_empty() {
            self.newest = None;
        }
        fs::remove_file(self.path(segment.number)).map_err(|e| file_error(&self.directory, e))?;
        self.write_cursor()?;
        Ok(segment.samples)
    }

    /// Opens the newest segment of an earlier process for writing; says whether there is one.
    fn reopen(&mut self) -> Result<bool, Error> {
        let Some(segment) = self.segments.back() else {
            return Ok(false);
        };
        let open = || -> io::Result<File> {
            let mut file = OpenOptions::new()
                .write(true)
                .open(self.path(segment.number))?;
            file.seek(SeekFrom::Start(segment.bytes))?;
            Ok(file)
        };
        self.newest = Some(open().map_err(|e| file_error(&self.directory, e))?);
        Ok(true)
    }

    fn new_segment(&mut self) -> Result<(), Error> {
        let number = match self.segments.back() {
            Some(segment) => segment.number + 1,
            None => read_cursor(&self.directory).map_or(1, |(number, _)| number + 1),
        };
        let create = || -> io::Result<File> {
            let mut file = File::create(self.path(number))?;
            file.write_all(MAGIC)?;
            Ok(file)
        };
        self.newest = Some(create().map_err(|e| file_error(&self.directory, e))?);
        if self.segments.is_empty() {
            self.offset = MAGIC.len() as u64;
        }
        self.segments.push_back(Segment {
            number,
            bytes: MAGIC.len() as u64,
            samples: 0,
        });
        Ok(())
    }

    /// Reads the first record that is not acknowledged; nothing when it is damaged.
    fn read(&mut self, number: u64) -> Result<Option<Record>, Error> {
        let path = self.path(number);
        let mut read = || -> io::Result<Option<Record>> {
            if self.oldest.is_none() {
                self.oldest = Some(File::open(&path)?);
            }
            let Some(file) = &mut self.oldest else {
                return Ok(None);
            };
            file.seek(SeekFrom::Start(self.offset))?;
            read_record(file, (number, self.offset))
        };
        read().map_err(|source| file_error(&self.directory, source))
    }

    /// Counts the samples that wait in a segment; in the newest one the end is checked, and cut off where it is torn.
    fn survey(&self, number: u64, begin: u64, is_newest: bool) -> io::Result<Segment> {
        let path = self.path(number);
        let mut file = File::open(&path)?;
        let length = file.metadata()?.len();
        let mut magic = [0_u8; MAGIC.len()];
        let whole = file.read_exact(&mut magic).is_ok() && magic == *MAGIC;
        let mut segment = Segment {
            number,
            bytes: MAGIC.len() as u64,
            samples: 0,
        };
        while whole && segment.bytes < length {
            let record = if is_newest {
                read_record(&mut file, (number, segment.bytes))?
                    .map(|r| (r.samples, r.body.len() as u64))
            } else {
                skip_record(&mut file, length)?
            };
            let Some((samples, bytes)) = record else {
                break;
            };
            if segment.bytes >= begin {
                segment.samples += u64::from(samples);
            }
            segment.bytes += HEAD_BYTES + bytes;
        }
        if is_newest && segment.bytes != length {
            let mut file = OpenOptions::new().write(true).open(&path)?;
            if !whole {
                file.write_all(MAGIC)?;
            }
            file.set_len(segment.bytes)?;
        }
        Ok(segment)
    }

    fn write_cursor(&self) -> Result<(), Error> {
        let Some(segment) = self.segments.front() else {
            return Ok(());
        };
        let mut bytes = [segment.number.to_le_bytes(), self.offset.to_le_bytes()].concat();
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        let path = self.directory.join(CURSOR);
        let new = self.directory.join("cursor.new");
        let write = || -> io::Result<()> {
            File::create(&new)?.write_all(&bytes)?;
            fs::rename(&new, &path)
        };
        write().map_err(|source| file_error(&self.directory, source))
    }
}

fn file_error(path: &Path, source: io::Error) -> Error {
    Error::File {
        path: path.to_owned(),
        source,
    }
}

fn checksum(samples: u32, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&samples.to_le_bytes()), body)
}

/// Reads a record where the file stands; nothing when it is torn or damaged.
fn read_record(file: &mut File, place: (u64, u64)) -> io::Result<Option<Record>> {
    let Some((length, sum, samples)) = read_head(file)? else {
        return Ok(None);
    };
    let mut body = Vec::new();
    file.take(u64::from(length)).read_to_end(&mut body)?;
    let whole = body.len() == length as usize && checksum(samples, &body) == sum;
    Ok(whole.then_some(Record {
        samples,
        body,
        place,
    }))
}

/// Returns samples and length of a record without reading its body.
fn skip_record(file: &mut File, file_bytes: u64) -> io::Result<Option<(u32, u64)>> {
    let Some((length, _, samples)) = read_head(file)? else {
        return Ok(None);
    };
    let end = file.seek(SeekFrom::Current(i64::from(length)))?;
    Ok((end <= file_bytes).then_some((samples, u64::from(length))))
}

fn read_head(file: &mut File) -> io::Result<Option<(u32, u32, u32)>> {
    let mut head = Vec::with_capacity(HEAD_BYTES as usize);
    file.take(HEAD_BYTES).read_to_end(&mut head)?;
    let number = |from: usize| -> Option<u32> {
        let bytes = head.get(from..from + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    let (Some(length), Some(sum), Some(samples)) = (number(0), number(4), number(8)) else {
        return Ok(None);
    };
    Ok((length <= RECORD_BYTES_MAX).then_some((length, sum, samples)))
}

fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(ENDING));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    Ok(numbers)
}

fn read_cursor(directory: &Path) -> Option<(u64, u64)> {
    let bytes = fs::read(directory.join(CURSOR)).ok()?;
    let number = |from: usize| -> Option<u64> {
        Some(u64::from_le_bytes(
            bytes.get(from..from + 8)?.try_into().ok()?,
        ))
    };
    let sum = u32::from_le_bytes(bytes.get(16..20)?.try_into().ok()?);
    (crc32c::crc32c(&bytes[..16]) == sum).then_some((number(0)?, number(8)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    fn all(queue: &mut Queue) -> Vec<(u32, Vec<u8>)> {
        let mut records = Vec::new();
        let mut lost = 0;
        while let Some(record) = queue.front(&mut lost).unwrap() {
            queue.pop(&record).unwrap();
            records.push((record.samples, record.body));
        }
        assert_eq!(queue.bytes(), 0);
        records
    }

    #[test]
    fn what_waits_is_there_after_a_restart() {
        let directory = TempDir::new().unwrap();
        let open = || Queue::open(directory.path(), 1 << 20).unwrap();
        let mut queue = open();
        for number in 0..10_u32 {
            assert_eq!(queue.push(number, &[7; 30_000]).unwrap(), 0);
        }
        let mut lost = 0;
        for number in 0..4 {
            let record = queue.front(&mut lost).unwrap().unwrap();
            assert_eq!(record.samples, number);
            queue.pop(&record).unwrap();
        }
        let bytes = queue.bytes();
        drop(queue);
        let mut queue = open();
        assert_eq!(queue.bytes(), bytes);
        queue.push(10, b"new").unwrap();
        let samples: Vec<u32> = all(&mut queue)
            .into_iter()
            .map(|(samples, _)| samples)
            .collect();
        assert_eq!(samples, [4, 5, 6, 7, 8, 9, 10]);
        drop(queue);
        assert!(
            all(&mut open()).is_empty(),
            "what was sent is not sent again"
        );
    }

    #[test]
    fn a_full_queue_drops_the_oldest_and_counts() {
        let directory = TempDir::new().unwrap();
        let mut queue = Queue::open(directory.path(), 100_000).unwrap();
        let mut dropped = 0;
        for _ in 0..200 {
            dropped += queue.push(5, &[1; 1_000]).unwrap();
            assert!(queue.disk_bytes() <= 100_000);
        }
        let left = all(&mut queue).len() as u64;
        assert!(left > 80, "{left}");
        assert_eq!(dropped + left * 5, 200 * 5);
        let files = numbers(directory.path()).unwrap();
        assert_eq!(files.len(), 1, "what was sent is removed");
    }

    #[test]
    fn a_record_that_was_dropped_meanwhile_is_not_popped_again() {
        let directory = TempDir::new().unwrap();
        let mut queue = Queue::open(directory.path(), 8_000).unwrap();
        queue.push(1, &[1; 900]).unwrap();
        let record = queue.front(&mut 0).unwrap().unwrap();
        for _ in 0..20 {
            queue.push(2, &[2; 900]).unwrap();
        }
        let before = queue.bytes();
        queue.pop(&record).unwrap();
        assert_eq!(queue.bytes(), before);
    }

    #[test]
    fn a_file_that_ends_anywhere_loses_no_more_than_its_last_record() {
        let directory = TempDir::new().unwrap();
        let mut queue = Queue::open(directory.path(), 1 << 20).unwrap();
        for number in 1..=3 {
            queue.push(number, &[number as u8; 40]).unwrap();
        }
        let path = queue.path(1);
        drop(queue);
        let whole = fs::read(&path).unwrap();
        let record = 40 + HEAD_BYTES as usize;
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let mut queue = Queue::open(directory.path(), 1 << 20).unwrap();
            queue.push(9, b"next").unwrap();
            let _removed = fs::remove_file(directory.path().join(CURSOR));
            let mut queue = Queue::open(directory.path(), 1 << 20).unwrap();
            let found: Vec<u32> = all(&mut queue)
                .into_iter()
                .map(|(samples, _)| samples)
                .collect();
            let left = length.saturating_sub(MAGIC.len()) / record;
            let expected: Vec<u32> = (1..=left as u32).chain([9]).collect();
            assert_eq!(found, expected, "{length}");
            let _removed = fs::remove_file(directory.path().join(CURSOR));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damage_never_breaks_the_queue(at in 0_usize..2_000, byte: u8, cursor in proptest::collection::vec(any::<u8>(), 0..24)) {
            let directory = TempDir::new().unwrap();
            let mut queue = Queue::open(directory.path(), 4_000).unwrap();
            for number in 0..12 {
                queue.push(number, &[7; 100]).unwrap();
            }
            drop(queue);
            fs::write(directory.path().join(CURSOR), cursor).unwrap();
            let numbers = numbers(directory.path()).unwrap();
            let path = directory.path().join(format!("{:020}{ENDING}", numbers[at % numbers.len()]));
            let mut bytes = fs::read(&path).unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            fs::write(&path, bytes).unwrap();
            let mut queue = Queue::open(directory.path(), 4_000).unwrap();
            queue.push(99, b"new").unwrap();
            let found = all(&mut queue);
            prop_assert!(found.iter().all(|(_, body)| body == b"new" || *body == vec![7; 100]));
            prop_assert_eq!(found.last().map(|(samples, _)| *samples), Some(99));
        }
    }
}
