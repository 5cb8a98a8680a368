//! The stream itself: what arrives is written, synchronised in groups, confirmed, and handed on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use pawang_core::{Kind, Lsn, Report};
use pawang_postgres::replication::{WalEvent, WalStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::super::{SEGMENT_HEADER_BYTES, SegmentHeader, SegmentName, Timeline};
use super::begin::{Growing, Receiver, blocking};
use super::spool::{self, Piece};
use super::storing::{self, Stored};
use super::{Ended, Progress};
use crate::Error;

/// What arrives within this time is synchronised together; a stream that pauses is synchronised at once.
const GROUP: Duration = Duration::from_millis(50);
/// No group is larger.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// The server hears of us at least this often; it gives up after `wal_sender_timeout`, a minute unless it was changed.
const STATUS_EVERY: Duration = Duration::from_secs(10);
/// A repository that refused is asked again after this time.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// So many segments are on their way at a time.
const STORING_MAX: usize = 2;
/// How long a receiver that was told to stop works on what is in its hands.
const STOP_MAX: Duration = Duration::from_secs(30);

/// How a stream ended.
pub(super) enum Followed {
    /// We were told to stop.
    Stopped,
    /// The timeline ended, and another one follows.
    Next(Timeline, Lsn),
}

enum Woken {
    Stop,
    Stored(Stored),
    Event(WalEvent),
    Time,
}

/// Waits until somebody wants us to stop; nobody can any more when the sender is gone.
async fn told(stop: &mut watch::Receiver<bool>) {
    while !*stop.borrow_and_update() {
        if stop.changed().await.is_err() {
            return;
        }
    }
}

impl Receiver<'_> {
    pub(super) fn started(&mut self) {
        (self.observe)(Progress::Started {
            cluster: self.cluster,
            address: self.address.clone(),
            timeline: self.timeline,
            position: self.received,
        });
    }

    /// Follows a stream to its end.
    pub(super) async fn follow(
        &mut self,
        stream: &mut WalStream<'_>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Followed, Error> {
        loop {
            self.hand_on();
            match self.wake(stream, stop).await? {
                Woken::Stop => return Ok(Followed::Stopped),
                Woken::Stored(stored) => self.note(stored),
                Woken::Time => self.status(stream).await?,
                Woken::Event(event) => {
                    let gathered = self.gather(stream, event);
                    // What a server said last is all the more worth keeping.
                    let flushed = self.flush(stream).await;
                    let ended = gathered?;
                    flushed?;
                    if let Some((timeline, position)) = ended {
                        return Ok(Followed::Next(timeline, position));
                    }
                }
            }
        }
    }

    async fn wake(
        &mut self,
        stream: &mut WalStream<'_>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Woken, Error> {
        let may_fly = self.options.live_every.is_some() && self.flying.is_none();
        let live_due = may_fly.then_some(self.live_due);
        let dues = [Some(self.status_due), live_due, self.retry_due];
        let due = dues.into_iter().flatten().min().unwrap_or(self.status_due);
        let room =
            (self.whole_bytes() + u64::from(self.segment_bytes)) <= self.options.spool_bytes_max;
        let woken = tokio::select! {
            biased;
            () = told(stop) => Woken::Stop,
            Some(stored) = self.storing.next(), if !self.storing.is_empty() => Woken::Stored(stored),
            event = stream.next(), if room => Woken::Event(event?),
            () = sleep_until(due) => Woken::Time,
        };
        Ok(woken)
    }

    fn whole_bytes(&self) -> u64 {
        self.whole as u64 * u64::from(self.segment_bytes)
    }

    /// Takes an event, and whatever has arrived with it.
    fn gather(
        &mut self,
        stream: &mut WalStream<'_>,
        first: WalEvent,
    ) -> Result<Option<(Timeline, Lsn)>, Error> {
        let begun = Instant::now();
        let mut next = Some(first);
        while let Some(event) = next {
            match event {
                WalEvent::Data { start, end, bytes } => self.data(start, end, bytes)?,
                WalEvent::Keepalive { end, reply_wanted } => {
                    self.server_end = self.server_end.max(end);
                    self.reply_wanted |= reply_wanted;
                }
                WalEvent::TimelineEnd {
                    next_timeline,
                    position,
                } => return Ok(Some((Timeline(next_timeline), position))),
            }
            if self.pending_bytes >= GROUP_BYTES_MAX || begun.elapsed() >= GROUP {
                break;
            }
            next = stream.next().now_or_never().transpose()?;
        }
        Ok(None)
    }

    fn data(&mut self, start: Lsn, end: Lsn, bytes: Bytes) -> Result<(), Error> {
        if start != self.received {
            return Err(self.wrong(&format!(
                "it sent WAL of position {start} where that of {} was due",
                self.received
            )));
        }
        self.received = Lsn(start.0 + bytes.len() as u64);
        self.server_end = self.server_end.max(end);
        self.pending_bytes += bytes.len();
        self.pending.push(Piece {
            offset: start.0,
            bytes,
        });
        Ok(())
    }

    fn wrong(&self, problem: &str) -> Error {
        let primary = format!("cannot receive WAL of \"{}\"", self.address);
        let report = Report::new(Kind::Target, primary)
            .with_detail(problem)
            .with_hint("pawang backup check");
        Error::Refused(Box::new(report))
    }

    /// Makes what was received durable, and only then tells the server so.
    async fn flush(&mut self, stream: &mut WalStream<'_>) -> Result<(), Error> {
        let before = self.flushed;
        let mut pending = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        while !pending.is_empty() {
            let name = SegmentName::holding(self.timeline, self.flushed, self.segment_bytes);
            let rest = split(&mut pending, name.end(self.segment_bytes).0);
            let pieces = std::mem::replace(&mut pending, rest);
            self.write(name, pieces).await?;
        }
        if self.flushed > before || self.reply_wanted {
            self.reply(stream).await?;
        }
        if self.flushed > before {
            (self.observe)(Progress::Flushed {
                timeline: self.timeline,
                position: self.flushed,
                server_end: self.server_end,
            });
        }
        Ok(())
    }

    async fn reply(&mut self, stream: &mut WalStream<'_>) -> Result<(), Error> {
        self.reply_wanted = false;
        self.status_due = Instant::now() + STATUS_EVERY;
        // A segment is received again from its begin on; that must not move the slot back.
        let flushed = match self.flushed < self.told_before {
            true => Lsn(0),
            false => self.flushed,
        };
        Ok(stream.reply(self.received, flushed, Lsn(0), false).await?)
    }

    async fn status(&mut self, stream: &mut WalStream<'_>) -> Result<(), Error> {
        let now = Instant::now();
        if self.retry_due.is_some_and(|due| due <= now) {
            self.retry_due = None;
        }
        match self.status_due <= now {
            true => self.reply(stream).await,
            false => Ok(()),
        }
    }

    /// Writes pieces of one segment, which end at most where it ends.
    async fn write(&mut self, name: SegmentName, mut pieces: Vec<Piece>) -> Result<(), Error> {
        let start = name.start(self.segment_bytes).0;
        for piece in &mut pieces {
            piece.offset -= start;
        }
        let Some(last) = pieces.last() else {
            return Ok(());
        };
        let end = start + last.offset + last.bytes.len() as u64;
        let mut growing = match self.growing.take() {
            Some(growing) => growing,
            None => self.grow(name).await?,
        };
        self.check_head(&mut growing, &pieces)?;
        self.compare(&growing, &pieces).await?;
        let file = Arc::clone(&growing.file);
        let written = blocking(move || spool::write(&file, &pieces)).await;
        let path = self.spool.partial(&name);
        // After an error of a sync nothing is known of the file: only another run, which writes all of it again, can tell.
        written.map_err(|source| spool::failed("write", &path, source))?;
        self.flushed = Lsn(end);
        self.written = true;
        self.growing = Some(growing);
        if self.flushed == name.end(self.segment_bytes) {
            self.growing = None;
            let spool = Arc::clone(&self.spool);
            blocking(move || spool.seal(&name)).await?;
            self.waiting.push_back(name);
            self.whole += 1;
            self.live = self.flushed;
        }
        Ok(())
    }

    async fn grow(&self, name: SegmentName) -> Result<Growing, Error> {
        let spool = Arc::clone(&self.spool);
        let (file, present) = blocking(move || spool.grow(&name)).await?;
        Ok(Growing {
            name,
            file: Arc::new(file),
            present,
            head: Some(Vec::new()),
        })
    }

    /// Looks at a segment's first bytes: they must be those of this cluster at this position (invariant I7).
    fn check_head(&self, growing: &mut Growing, pieces: &[Piece]) -> Result<(), Error> {
        let Some(head) = &mut growing.head else {
            return Ok(());
        };
        for piece in pieces {
            let wanted = SEGMENT_HEADER_BYTES.saturating_sub(head.len());
            head.extend_from_slice(&piece.bytes[..wanted.min(piece.bytes.len())]);
        }
        if head.len() >= SEGMENT_HEADER_BYTES {
            let header = SegmentHeader::parse(head);
            let checked = header.and_then(|header| header.check(&self.cluster, &growing.name));
            checked.map_err(|problem| self.wrong(&problem))?;
            growing.head = None;
        }
        Ok(())
    }

    /// Compares with what an earlier run wrote; if the server tells another story, the old one is kept.
    async fn compare(&self, growing: &Growing, pieces: &[Piece]) -> Result<(), Error> {
        let first = pieces.first().map_or(u64::MAX, |piece| piece.offset);
        if first >= growing.present {
            return Ok(());
        }
        let (name, present) = (growing.name, growing.present);
        let (file, spool, pieces) = (
            Arc::clone(&growing.file),
            Arc::clone(&self.spool),
            pieces.to_vec(),
        );
        let compared = blocking(move || {
            let path = spool.partial(&name);
            let failed = |source| spool::failed("read", &path, source);
            match spool::difference(&file, present, &pieces).map_err(failed)? {
                None => Ok(None),
                Some(offset) => {
                    let kept = spool.keep_copy(&name)?;
                    file.set_len(offset).map_err(failed)?;
                    Ok::<_, Error>(Some(kept))
                }
            }
        });
        if let Some(kept) = compared.await? {
            (self.observe)(Progress::Diverged {
                segment: name,
                kept,
            });
        }
        Ok(())
    }

    /// Sends on what the repositories do not have yet.
    fn hand_on(&mut self) {
        while self.storing.len() < STORING_MAX && self.retry_due.is_none() {
            // Its last piece must not arrive after its pieces were removed.
            let next = self
                .waiting
                .iter()
                .position(|name| self.flying != Some(*name));
            let Some(name) = next.and_then(|index| self.waiting.remove(index)) else {
                break;
            };
            let spool = Arc::clone(&self.spool);
            let repositories = &self.options.repositories;
            let storing = storing::whole(repositories, self.cluster, spool, name);
            self.storing.push(storing);
        }
        let (Some(every), None) = (self.options.live_every, self.flying) else {
            return;
        };
        let now = Instant::now();
        if self.live_due > now {
            return;
        }
        self.live_due = now + every;
        if let Some(growing) = self.growing.as_ref().filter(|_| self.flushed > self.live) {
            let name = growing.name;
            let start = name.start(self.segment_bytes).0;
            let range = self.live.0.max(start) - start..self.flushed.0 - start;
            self.flying = Some(name);
            let spool = Arc::clone(&self.spool);
            let repositories = &self.options.repositories;
            let storing = storing::piece(repositories, self.cluster, spool, name, range);
            self.storing.push(storing);
        }
    }

    /// Waits until no piece is on its way.
    pub(super) async fn land(&mut self) {
        while self.flying.is_some() {
            match self.storing.next().await {
                Some(stored) => self.note(stored),
                None => self.flying = None,
            }
        }
    }

    fn note(&mut self, stored: Stored) {
        match stored {
            Stored::Whole(segment, Ok(problem)) => {
                self.whole = self.whole.saturating_sub(1);
                let waiting = self.whole;
                (self.observe)(Progress::Stored { segment, waiting });
                if let Some(error) = problem {
                    self.trouble(&error, true);
                }
            }
            Stored::Whole(segment, Err(error)) => {
                // What is taken by another content stays taken; the segment stays in the spool.
                let again = !matches!(error, Error::Exists { .. } | Error::Refused(_));
                self.trouble(&error, again);
                if again {
                    self.waiting.push_front(segment);
                    self.retry_due = Some(Instant::now() + RETRY_AFTER);
                }
            }
            Stored::Piece(name, result) => {
                self.flying = None;
                match result {
                    Ok(end) => self.live_reaches(name, end),
                    Err(error) => self.trouble(&error, true),
                }
            }
        }
    }

    fn live_reaches(&mut self, name: SegmentName, end: u64) {
        let position = Lsn(name.start(self.segment_bytes).0 + end);
        (self.observe)(Progress::Live { position });
        if self.flushed.bytes_since(position) >= storing::PIECE_BYTES_MAX {
            self.live_due = Instant::now();
        }
        if self
            .growing
            .as_ref()
            .is_some_and(|growing| growing.name == name)
        {
            self.live = self.live.max(position);
        }
    }

    fn trouble(&self, error: &Error, again: bool) {
        let report = error.report();
        let problem = match report.detail {
            Some(detail) => format!("{}: {detail}", report.primary),
            None => report.primary,
        };
        (self.observe)(Progress::Trouble {
            problem,
            again,
            waiting: self.whole,
        });
    }

    /// Brings what is in the spool into the repositories, as far as that is possible soon, and says goodbye.
    pub(super) async fn conclude(&mut self, mut stream: WalStream<'_>) {
        if let Err(error) = self.flush(&mut stream).await {
            self.trouble(&error, true);
        }
        let empty = async {
            while self.retry_due.is_none() {
                if self.options.live_every.is_some() && self.flushed > self.live {
                    self.live_due = Instant::now();
                }
                self.hand_on();
                match self.storing.next().await {
                    Some(stored) => self.note(stored),
                    None => break,
                }
            }
        };
        // What is not done stays in the spool for the next run.
        let _late = timeout(STOP_MAX, empty).await;
        let _gone = timeout(STOP_MAX, stream.finish()).await;
    }

    pub(super) fn ended(&self) -> Ended {
        Ended {
            timeline: self.timeline,
            flushed: self.flushed,
            waiting: self.whole,
        }
    }
}

/// Leaves the pieces before a position, and returns those behind it.
fn split(pieces: &mut Vec<Piece>, end: u64) -> Vec<Piece> {
    let whole = pieces.partition_point(|piece| piece.offset + piece.bytes.len() as u64 <= end);
    let mut rest = pieces.split_off(whole);
    if let Some(first) = rest.first_mut().filter(|first| first.offset < end) {
        let keep = usize::try_from(end - first.offset).expect("a piece fits into memory");
        let bytes = first.bytes.split_to(keep);
        pieces.push(Piece {
            offset: first.offset,
            bytes,
        });
        first.offset = end;
    }
    rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_are_split_without_loss(lengths in prop::collection::vec(1usize..30, 0..9), end in 90u64..300) {
            let mut offset = 100;
            let mut pieces = Vec::new();
            for length in lengths {
                let bytes: Vec<u8> = (offset..).take(length).map(|byte| byte as u8).collect();
                pieces.push(Piece { offset, bytes: bytes.into() });
                offset += length as u64;
            }
            let all = |pieces: &[Piece]| -> Vec<(u64, u8)> {
                let bytes = |piece: &Piece| (piece.offset..).zip(piece.bytes.to_vec()).collect::<Vec<_>>();
                pieces.iter().flat_map(bytes).collect()
            };
            let before = all(&pieces);
            let rest = split(&mut pieces, end);
            prop_assert!(all(&pieces).iter().all(|(at, _)| *at < end));
            prop_assert!(all(&rest).iter().all(|(at, _)| *at >= end));
            prop_assert_eq!([all(&pieces), all(&rest)].concat(), before);
        }
    }
}
