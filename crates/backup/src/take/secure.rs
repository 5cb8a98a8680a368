//! The WAL of a backup: it must be in the repository before the backup exists. Somebody else may bring it; if nobody does, the
//! backup fetches it from the server, which keeps it meanwhile.

use std::convert::Infallible;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use pawang_core::{Kind, Lsn, Report};
use pawang_postgres::replication::{Replication, WalEvent, WalStream};
use tokio::time::{Instant, sleep, timeout};

use super::contact::Contact;
use super::lanes::{WAL_READ_BYTES, WalFiles};
use super::preflight::Known;
use super::{Progress, TakeRequest};
use crate::Error;
use crate::repository::Position;
use crate::wal::frame::content_digest;
use crate::wal::{Content, History, Listing, SegmentName, Timeline, store_segment};

/// How often the repository is asked whether WAL came that somebody else brings.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often the server is asked how much WAL there is, while files are read.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);
/// How long a primary may take to send the rest of the segment that it left when the backup ended.
const SWITCH_WAIT: Duration = Duration::from_secs(5);
/// Segments up to this size are kept whole; of larger ones pieces of this size.
const PIECE_BYTES: u32 = 64 << 20;
const LEVEL: i32 = 1;

/// Where a backup fetches WAL from that nobody else brings.
pub(super) enum WalSource {
    /// The replication protocol; with a slot that keeps it meanwhile, where there was one.
    Replication(Option<Box<Hold>>),
    /// The files of the server, as long as they are there: what is whole is fetched meanwhile, up to this position so far.
    Files(Lsn),
}

/// A connection whose slot makes the server keep WAL while a backup is taken; both end together.
pub(super) struct Hold {
    replication: Replication,
    slot: String,
}

impl WalSource {
    /// Chooses by how the server is asked.
    pub(super) async fn of(
        contact: &Contact,
        request: &TakeRequest,
        observe: &mut (dyn FnMut(Progress) + Send),
    ) -> WalSource {
        match contact {
            Contact::Replication(_) => {
                WalSource::Replication(Hold::begin(request, observe).await.map(Box::new))
            }
            Contact::Sql(_, refused) => {
                observe(Progress::Note(format!(
                    "the server does not keep WAL for this backup ({}): what nobody brings is read from its files",
                    refused.report().primary
                )));
                WalSource::Files(Lsn(0))
            }
        }
    }

    /// Works while files are read; what the server would remove is fetched beside that, once it is known where the backup began.
    pub(super) async fn meanwhile<T>(
        &mut self,
        request: &TakeRequest,
        known: &Known,
        begun: &OnceLock<Lsn>,
        work: impl Future<Output = T>,
    ) -> T {
        let WalSource::Files(ours) = self else {
            return work.await;
        };
        let beside = async {
            loop {
                // It is tried again: what could not be fetched is missed in the end, if nobody else brings it.
                let Err(_) = follow(request, known, begun, ours).await;
            }
        };
        tokio::select! {
            biased;
            done = work => done,
            done = beside => done,
        }
    }
}

/// Fetches whole segments from the server's files, as long as nobody else brings WAL; returns why it cannot.
async fn follow(
    request: &TakeRequest,
    known: &Known,
    begun: &OnceLock<Lsn>,
    ours: &mut Lsn,
) -> Result<Infallible, Error> {
    let mut files = None;
    let mut whole = Lsn(0);
    loop {
        sleep(FOLLOW_EVERY).await;
        let Some(start) = begun.get() else { continue };
        let files = match &mut files {
            Some(files) => files,
            None => files.insert(WalFiles::open(&request.target).await?),
        };
        let bytes = u64::from(known.segment_bytes);
        let written = files.written().await?;
        let until = Lsn(written.0 / bytes * bytes);
        if until <= whole.max(*start) {
            continue;
        }
        whole = until;
        let needed = Needed {
            timeline: known.timeline,
            start: *start,
            stop: until,
        };
        if let Some(Missing { from, fed: false }) = missing(request, known, &needed, *ours).await? {
            let mut fetch = Fetch::beginning(request, known, needed.timeline, from);
            fetch.files(files, until).await?;
            *ours = until;
        }
    }
}

impl Hold {
    /// Makes the server keep WAL from now on; without a free slot or sender it is told that it does not.
    pub(super) async fn begin(
        request: &TakeRequest,
        observe: &mut (dyn FnMut(Progress) + Send),
    ) -> Option<Hold> {
        let begun = async {
            let mut replication = Replication::connect(&request.target, "backup-wal").await?;
            let slot = format!("pawang_backup_{}", request.backup.as_str().to_lowercase());
            replication.create_temporary_slot(&slot).await?;
            Ok::<_, pawang_postgres::Error>(Hold { replication, slot })
        };
        begun
            .await
            .inspect_err(|error| {
                observe(Progress::Note(format!(
                    "the server does not keep WAL for this backup: {}",
                    error.report().primary
                )));
            })
            .ok()
    }
}

/// What WAL must be there.
pub(super) struct Needed {
    pub(super) timeline: Timeline,
    pub(super) start: Lsn,
    pub(super) stop: Lsn,
}

/// Returns when all WAL of a backup is durable in its repository.
///
/// # Errors
/// Nobody brought it, and the server has it no more.
pub(super) async fn secure(
    request: &TakeRequest,
    known: &Known,
    from: WalSource,
    needed: &Needed,
    observe: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), Error> {
    let deadline = Instant::now() + request.wal_wait;
    let mut told = false;
    let ours = match from {
        WalSource::Files(ours) => ours,
        WalSource::Replication(_) => Lsn(0),
    };
    let mut missing = missing(request, known, needed, ours).await?;
    while let Some(Missing { fed: true, .. }) = missing {
        if Instant::now() >= deadline {
            break;
        }
        if !told {
            observe(Progress::Wal {
                stop: needed.stop,
                fetching: false,
            });
            told = true;
        }
        sleep(LOOK_EVERY).await;
        missing = self::missing(request, known, needed, ours).await?;
    }
    let Some(first) = missing else {
        return Ok(());
    };
    observe(Progress::Wal {
        stop: needed.stop,
        fetching: true,
    });
    let mut fetch = Fetch::beginning(request, known, needed.timeline, first.from);
    let begin = fetch.reached;
    let (mut replication, slot) = match from {
        WalSource::Replication(Some(hold)) => (Some(hold.replication), Some(hold.slot)),
        WalSource::Replication(None) => {
            let replication = Replication::connect(&request.target, "backup-wal").await?;
            (Some(replication), None)
        }
        WalSource::Files(_) => (None, None),
    };
    match &mut replication {
        Some(replication) => {
            let timeline = needed.timeline.0;
            let stream = replication.start_replication(slot.as_deref(), begin, timeline);
            fetch.until(&mut stream.await?, needed.stop).await?;
        }
        None => {
            let files = WalFiles::open(&request.target).await?;
            fetch.files(&files, needed.stop).await?;
        }
    }
    match self::missing(request, known, needed, ours).await? {
        None => Ok(()),
        Some(still) => Err(not_there(request, needed, still.from)),
    }
}

/// Keeps the history of the backup's timeline, which tells a restore where it came from.
///
/// # Errors
/// The server or the repository refused.
pub(super) async fn history(
    request: &TakeRequest,
    known: &Known,
    contact: &mut Contact,
    timeline: Timeline,
) -> Result<(), Error> {
    let path = known.cluster.history(timeline);
    if timeline.0 > 1 && request.repository.read(&path).await?.is_none() {
        let bytes = contact.history(request, timeline).await?;
        request.repository.create(&path, bytes).await?;
    }
    Ok(())
}

/// WAL that is not there yet.
struct Missing {
    /// Where the first of it begins.
    from: Lsn,
    /// Whether somebody else brings WAL of that time.
    fed: bool,
}

async fn missing(
    request: &TakeRequest,
    known: &Known,
    needed: &Needed,
    ours: Lsn,
) -> Result<Option<Missing>, Error> {
    let listing = Listing::read(&request.repository, &known.cluster).await?;
    let coverage = listing.coverage(known.segment_bytes);
    let history = History::without_ancestors(needed.timeline);
    let holes = coverage.holes(needed.start, needed.stop, &history);
    Ok(holes.first().map(|hole| Missing {
        from: hole.from,
        fed: coverage
            .intervals(needed.timeline)
            .iter()
            .any(|interval| interval.to > needed.start.max(ours)),
    }))
}

/// WAL that is being fetched into a repository.
struct Fetch<'a> {
    request: &'a TakeRequest,
    known: &'a Known,
    /// The segment that comes.
    name: SegmentName,
    /// Room for its bytes that are not kept yet, from this one on, and how many came. Zeroes are not written into it: behind
    /// the switch to the next segment there is nothing else, and room that nobody touches takes no memory.
    held: Vec<u8>,
    held_bytes: usize,
    held_from: u32,
    reached: Lsn,
}

impl Fetch<'_> {
    /// Begins with the segment that holds a position.
    fn beginning<'a>(
        request: &'a TakeRequest,
        known: &'a Known,
        timeline: Timeline,
        position: Lsn,
    ) -> Fetch<'a> {
        let name = SegmentName::holding(timeline, position, known.segment_bytes);
        Fetch {
            request,
            known,
            name,
            held: Vec::new(),
            held_bytes: 0,
            held_from: 0,
            reached: name.start(known.segment_bytes),
        }
    }

    /// Reads WAL from the server's files: on a primary to the end of the segment, which it left when the backup ended.
    async fn files(&mut self, files: &WalFiles, stop: Lsn) -> Result<(), Error> {
        let segment_bytes = self.known.segment_bytes;
        while self.reached < stop || (!self.known.standby && self.held_bytes > 0) {
            let (name, end) = (self.name, self.name.end(segment_bytes));
            let until = if self.known.standby {
                end.min(stop)
            } else {
                end
            };
            let left = until.bytes_since(self.reached);
            let bytes = u32::try_from(left).unwrap_or(u32::MAX).min(WAL_READ_BYTES);
            let from = self.reached.bytes_since(name.start(segment_bytes));
            let from = u32::try_from(from).expect("a segment is not so long");
            let last = u64::from(bytes) == left;
            let piece = files.piece(&name, from, bytes, last).await?;
            self.data(&piece).await?;
        }
        if self.held_bytes > 0 {
            self.keep_piece().await?;
        }
        Ok(())
    }

    async fn until(&mut self, stream: &mut WalStream<'_>, stop: Lsn) -> Result<(), Error> {
        while self.reached < stop {
            let event = stream.next().await?;
            self.take(stream, event).await?;
        }
        // A primary leaves the segment when a backup ends, so that all of it comes; then it is kept as every other segment is.
        let end = Instant::now() + SWITCH_WAIT;
        while !self.known.standby && self.held_bytes > 0 {
            match timeout(end - Instant::now(), stream.next()).await {
                Ok(event) => self.take(stream, event?).await?,
                Err(_) => break,
            }
        }
        if self.held_bytes > 0 {
            self.keep_piece().await?;
        }
        Ok(())
    }

    async fn take(&mut self, stream: &mut WalStream<'_>, event: WalEvent) -> Result<(), Error> {
        match event {
            WalEvent::Data { start, bytes, .. } if start == self.reached => self.data(&bytes).await,
            WalEvent::Keepalive { reply_wanted, .. } => {
                if reply_wanted {
                    let kept = Lsn(self.reached.0 - self.held_bytes as u64);
                    stream.reply(self.reached, kept, Lsn(0), false).await?;
                }
                Ok(())
            }
            WalEvent::Data { start, .. } => Err(self.broken(&format!(
                "WAL of {start} came where {} was expected",
                self.reached
            ))),
            WalEvent::TimelineEnd { .. } => Err(self.broken("its timeline ended meanwhile")),
        }
    }

    async fn data(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        let segment_bytes = self.known.segment_bytes;
        while !bytes.is_empty() {
            let room = self.name.end(segment_bytes).bytes_since(self.reached);
            if self.held.is_empty() {
                self.held = vec![0; PIECE_BYTES.min(segment_bytes) as usize];
            }
            let there = &mut self.held[self.held_bytes..];
            let room = room.min(there.len() as u64);
            let (now, later) = bytes.split_at(bytes.len().min(room as usize));
            bytes = later;
            if now.iter().any(|byte| *byte != 0) {
                there[..now.len()].copy_from_slice(now);
            }
            self.held_bytes += now.len();
            self.reached = Lsn(self.reached.0 + now.len() as u64);
            if self.held_bytes == segment_bytes as usize {
                self.keep_segment().await?;
            } else if self.reached == self.name.end(segment_bytes)
                || self.held_bytes == self.held.len()
            {
                self.keep_piece().await?;
            }
        }
        Ok(())
    }

    async fn keep_segment(&mut self) -> Result<(), Error> {
        let bytes = Bytes::from(std::mem::take(&mut self.held));
        self.held_bytes = 0;
        let repository = &self.request.repository;
        let content = Content::Bytes(bytes);
        store_segment(repository, &self.known.cluster, &self.name, content, LEVEL).await?;
        self.next()
    }

    /// Keeps what came of a segment that is not whole, or too large to be held.
    async fn keep_piece(&mut self) -> Result<(), Error> {
        let held = std::mem::take(&mut self.held);
        let held = &held[..std::mem::take(&mut self.held_bytes)];
        let length = u32::try_from(held.len()).expect("pieces are bounded");
        let to = self.held_from + length;
        let path = self.known.cluster.live(&self.name, self.held_from, to);
        let frame = zstd::bulk::compress(held, LEVEL);
        let frame = frame.map_err(|error| self.broken(&error.to_string()))?;
        let repository = &self.request.repository;
        let created = repository.create_data(&path, frame.into(), content_digest);
        created.await?;
        self.held_from = to;
        self.next()
    }

    /// Goes on to the next segment when this one is through.
    fn next(&mut self) -> Result<(), Error> {
        if self.reached == self.name.end(self.known.segment_bytes) {
            self.name = self.name.next(self.known.segment_bytes);
            self.held_from = 0;
        }
        Ok(())
    }

    fn broken(&self, problem: &str) -> Error {
        Error::Incomplete {
            address: self.request.instance.clone(),
            problem: problem.to_owned(),
        }
    }
}

fn not_there(request: &TakeRequest, needed: &Needed, from: Lsn) -> Error {
    let report = Report::new(
        Kind::Target,
        format!("the WAL of the backup is not in repository {}", request.repository.place()),
    )
    .with_detail(format!(
        "it is needed from {} to {}, and is missing from {from} on; without it the backup cannot be restored, so that there is none",
        needed.start, needed.stop
    ))
    .with_hint(format!("pawang wal status -i {}", request.instance));
    Error::Refused(Box::new(report))
}

impl Needed {
    /// Returns the WAL between two positions of a timeline.
    pub(super) fn between(start: Position, stop: Position) -> Needed {
        Needed {
            timeline: stop.timeline,
            start: start.lsn,
            stop: stop.lsn,
        }
    }
}
