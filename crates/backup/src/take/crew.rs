//! Threads that check and compress chunks, several at a time; before them, threads that bring what is at the server.

use std::borrow::Cow;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::{io, thread};

use tokio::sync::oneshot;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use super::checksum::{PageRules, Problem, Verdict, judge};
use super::cut::{Chunk, Extent, Geometry, PageNumbers};
use super::lanes::Lane;
use super::local::again::PageSource;
use super::local::scan::{Scan, Scanned};
use super::local::walk::CONTROL;
use super::source::{Piece, Source};

/// A page that is wrong: where it lies, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WrongPage {
    /// The file within the data directory.
    pub(super) file: Arc<[u8]>,
    /// The page's number within the fork.
    pub(super) block: u32,
    pub(super) problem: Problem,
}

/// What the pages of some files said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PageTally {
    pub(super) checked: u64,
    pub(super) torn: u64,
    pub(super) wrong: u64,
    /// The first that are wrong.
    pub(super) first: Vec<WrongPage>,
}

/// So many wrong pages are remembered.
pub(super) const WRONG_PAGES_MAX: usize = 1000;

/// A chunk after the work.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) chunk: Chunk,
    /// Bytes of the archive in it.
    pub(super) bytes: usize,
    /// The CRC-32C of each of its extents.
    pub(super) sums: Vec<u32>,
    pub(super) pages: PageTally,
    /// What it has of `pg_control`.
    pub(super) control: Vec<u8>,
    /// One frame of zstd, or nothing when the chunk is empty.
    pub(super) frame: Vec<u8>,
}

enum Job {
    Chunk(Chunk, Vec<u8>, oneshot::Sender<io::Result<Done>>),
    Scan(Scan, oneshot::Sender<io::Result<Scanned>>),
}

/// What threads need to know of pages.
#[derive(Clone, Debug)]
pub(super) struct PageCheck {
    pub(super) rules: PageRules,
    pub(super) geometry: Geometry,
    /// Where wrong pages are read again, when the files are here.
    pub(super) source: Option<PageSource>,
}

/// The threads; they end when it is dropped.
pub(super) struct Crew {
    jobs: Option<Sender<Job>>,
    /// Jobs of those who bring what is at the server.
    far: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Crew {
    /// Starts so many threads, and one for each lane.
    pub(super) fn start(
        count: usize,
        level: i32,
        pages: &PageCheck,
        lanes: Vec<Lane>,
    ) -> io::Result<Crew> {
        let (jobs, queue) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        let mut crew = Crew {
            jobs: Some(jobs.clone()),
            far: None,
            threads: Vec::new(),
        };
        let (far, far_queue) = mpsc::channel();
        let far_queue = Arc::new(Mutex::new(far_queue));
        // They come first, since the others go on until nobody of these sends any more.
        for lane in lanes {
            crew.far.get_or_insert_with(|| far.clone());
            let queue = Arc::clone(&far_queue);
            let mut bringer = Bringer {
                lane,
                pages: pages.clone(),
                whole: Vec::new(),
                jobs: jobs.clone(),
            };
            let thread = thread::Builder::new().name("pawang-lane".to_owned());
            crew.threads
                .push(thread.spawn(move || bringer.work(&queue))?);
        }
        for _ in 0..count {
            let queue = Arc::clone(&queue);
            let mut worker = Worker {
                compressor: compressor(level)?,
                pages: pages.clone(),
                whole: Vec::new(),
            };
            let thread = thread::Builder::new().name("pawang-backup".to_owned());
            crew.threads
                .push(thread.spawn(move || worker.work(&queue))?);
        }
        Ok(crew)
    }

    /// Hands a chunk over, with a buffer for its frame; whoever calls bounds how many are on their way.
    pub(super) fn send(&self, chunk: Chunk, frame: Vec<u8>) -> oneshot::Receiver<io::Result<Done>> {
        let (done, result) = oneshot::channel();
        let far = chunk.is_far();
        self.job(Job::Chunk(chunk, frame, done), far);
        result
    }

    /// Hands over pages to be looked through; whoever calls bounds how many are on their way.
    pub(super) fn scan(&self, scan: Scan) -> oneshot::Receiver<io::Result<Scanned>> {
        let (done, result) = oneshot::channel();
        let far = matches!(*scan.source, Source::Server(_));
        self.job(Job::Scan(scan, done), far);
        result
    }

    fn job(&self, job: Job, far: bool) {
        let near = self.jobs.as_ref().expect("it is there until the end");
        let jobs = self.far.as_ref().filter(|_| far).unwrap_or(near);
        // When all threads have ended, the receiver says so.
        let _sent = jobs.send(job);
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.far = None;
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A panic has been told already, and the work that it lost is missed by whoever waits for it.
            let _ended = thread.join();
        }
    }
}

fn compressor(level: i32) -> io::Result<Compressor<'static>> {
    let mut compressor = Compressor::new(level)?;
    // Stock zstd then sees by itself what was damaged.
    compressor.set_parameter(CParameter::ChecksumFlag(true))?;
    Ok(compressor)
}

/// Brings what is at the server, and hands it on to those who check and compress.
struct Bringer {
    lane: Lane,
    pages: PageCheck,
    whole: Vec<u8>,
    jobs: Sender<Job>,
}

impl Bringer {
    fn work(&mut self, queue: &Mutex<Receiver<Job>>) {
        while let Some(job) = next(queue) {
            // Whoever asked may have given up, so that nobody hears.
            match job {
                Job::Chunk(mut chunk, frame, done) => match self.bring(&mut chunk) {
                    Ok(()) => {
                        let _sent = self.jobs.send(Job::Chunk(chunk, frame, done));
                    }
                    Err(error) => {
                        let _heard = done.send(Err(error));
                    }
                },
                Job::Scan(scan, done) => {
                    let scanned = scan.run(&self.pages, &mut self.whole, Some(&self.lane));
                    let _heard = done.send(scanned);
                }
            }
        }
    }

    /// Makes all bytes of a chunk its own.
    fn bring(&mut self, chunk: &mut Chunk) -> io::Result<()> {
        fill(chunk, &mut self.whole, Some(&self.lane))?;
        self.whole.truncate(chunk.bytes());
        std::mem::swap(&mut chunk.raw, &mut self.whole);
        chunk.fills.clear();
        chunk.filled = 0;
        Ok(())
    }
}

/// Waits for a job; none when there will be no more.
fn next(queue: &Mutex<Receiver<Job>>) -> Option<Job> {
    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
    next.ok()
}

struct Worker {
    compressor: Compressor<'static>,
    pages: PageCheck,
    /// The bytes of a chunk that come from files, between its own.
    whole: Vec<u8>,
}

impl Worker {
    fn work(&mut self, queue: &Mutex<Receiver<Job>>) {
        while let Some(job) = next(queue) {
            // Whoever asked may have given up, so that nobody hears.
            match job {
                Job::Chunk(chunk, frame, done) => {
                    let _heard = done.send(self.one(chunk, frame));
                }
                Job::Scan(scan, done) => {
                    let _heard = done.send(scan.run(&self.pages, &mut self.whole, None));
                }
            }
        }
    }

    fn one(&mut self, mut chunk: Chunk, mut frame: Vec<u8>) -> io::Result<Done> {
        let bytes = chunk.bytes();
        let whole = if chunk.fills.is_empty() {
            chunk.raw.as_mut_slice()
        } else {
            fill(&chunk, &mut self.whole, None)?
        };
        let mut pages = PageTally::default();
        let mut sums = Vec::with_capacity(chunk.extents.len());
        let mut control = Vec::new();
        for extent in &chunk.extents {
            let content = &mut whole[extent.from..extent.from + extent.bytes];
            check_pages(extent, content, &self.pages, &mut pages);
            sums.push(crc32c::crc32c(content));
            if *extent.file == *CONTROL {
                control.extend_from_slice(content);
            }
        }
        frame.clear();
        if !whole.is_empty() {
            frame.reserve(zstd::zstd_safe::compress_bound(whole.len()));
            self.compressor.compress_to_buffer(whole, &mut frame)?;
        }
        Ok(Done {
            chunk,
            bytes,
            sums,
            pages,
            control,
            frame,
        })
    }
}

/// Puts a chunk together from its own bytes and those of files.
fn fill<'a>(
    chunk: &Chunk,
    whole: &'a mut Vec<u8>,
    lane: Option<&Lane>,
) -> io::Result<&'a mut [u8]> {
    if whole.len() < chunk.bytes() {
        whole.resize(chunk.bytes(), 0);
    }
    let mut rest = &mut whole[..chunk.bytes()];
    let mut pieces = Vec::new();
    let (mut own, mut at) = (0, 0);
    for fill in &chunk.fills {
        let before = &chunk.raw[own..fill.behind];
        let (copied, after) = rest.split_at_mut(before.len());
        copied.copy_from_slice(before);
        let (into, after) = after.split_at_mut(fill.bytes);
        let mut piece = Piece {
            source: &fill.source,
            from: fill.from,
            into,
            read: None,
        };
        (own, at, rest) = (fill.behind, at + before.len(), after);
        match lane {
            Some(_) => pieces.push(piece),
            None => Piece::read_all(std::slice::from_mut(&mut piece), None)
                .map_err(|error| named(chunk, at, &error))?,
        }
        at += fill.bytes;
    }
    rest.copy_from_slice(&chunk.raw[own..]);
    // The server's own words name the file.
    Piece::read_all(&mut pieces, lane)?;
    Ok(&mut whole[..chunk.bytes()])
}

/// Says in an error which file could not be read.
fn named(chunk: &Chunk, at: usize, error: &io::Error) -> io::Error {
    let mut extents = chunk.extents.iter();
    let extent = extents.find(|extent| (extent.from..extent.from + extent.bytes).contains(&at));
    let file = extent.map_or(Cow::Borrowed("a file"), |extent| {
        String::from_utf8_lossy(&extent.file)
    });
    io::Error::new(error.kind(), format!("could not read \"{file}\": {error}"))
}

/// Checks the pages that content of a file has, as far as it is made of pages.
///
/// What is read again is put into the content.
pub(super) fn check_pages(
    extent: &Extent,
    content: &mut [u8],
    pages: &PageCheck,
    tally: &mut PageTally,
) {
    let block_bytes = pages.geometry.block_bytes as usize;
    let first = |from: u64| usize::try_from(from).unwrap_or(0) / block_bytes;
    for (place, page) in content.chunks_exact_mut(block_bytes).enumerate() {
        let block = match &extent.pages {
            PageNumbers::None => return,
            PageNumbers::From(begin) => {
                let within = first(extent.offset) + place;
                Some(begin.saturating_add(u32::try_from(within).unwrap_or(u32::MAX)))
            }
            PageNumbers::Listed(blocks, head) => {
                blocks.get(first(extent.offset - head) + place).copied()
            }
        };
        let Some(block) = block else { return };
        tally.checked += 1;
        let mut verdict = judge(page, block, &pages.rules);
        if let Verdict::Torn(_) | Verdict::Corrupt(_) = verdict
            && let Some(source) = &pages.source
        {
            verdict = source
                .again(&extent.file, block, page, pages)
                .unwrap_or(verdict);
        }
        match verdict {
            Verdict::Good | Verdict::Zero => {}
            Verdict::Torn(_) => tally.torn += 1,
            Verdict::Corrupt(problem) => tally.add(WrongPage {
                file: extent.file.clone(),
                block,
                problem,
            }),
        }
    }
}

impl PageTally {
    fn add(&mut self, page: WrongPage) {
        self.wrong += 1;
        if self.first.len() < WRONG_PAGES_MAX {
            self.first.push(page);
        }
    }

    /// Adds what other pages said.
    pub(super) fn join(&mut self, other: PageTally) {
        self.checked += other.checked;
        self.torn += other.torn;
        self.wrong += other.wrong;
        let room = WRONG_PAGES_MAX - self.first.len();
        self.first.extend(other.first.into_iter().take(room));
    }
}
