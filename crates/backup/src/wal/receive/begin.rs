//! Where a receiver begins: what is there already, what the slot keeps, and what the server's history allows.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use futures_util::stream::FuturesUnordered;
use pawang_core::{ByteSize, Kind, Lsn, Report};
use pawang_postgres::Session;
use pawang_postgres::replication::{Replication, System};
use tokio::time::Instant;

use super::super::gap::{Gap, record_gap};
use super::super::{History, Listing, SegmentName, Timeline};
use super::spool::{Left, Piece, Spool, refused};
use super::storing::{self, Storing};
use super::{Observe, Progress, ReceiveOptions};
use crate::Error;
use crate::repository::{ClusterId, Position};

/// The first major version that tells of slots over the replication protocol.
const READ_SLOT_MAJOR: i32 = 15;

/// A receiver at work.
pub(super) struct Receiver<'a> {
    pub(super) options: &'a ReceiveOptions,
    pub(super) observe: Observe<'a>,
    pub(super) cluster: ClusterId,
    pub(super) segment_bytes: u32,
    pub(super) spool: Arc<Spool>,
    pub(super) address: String,
    pub(super) timeline: Timeline,
    /// The segment that grows.
    pub(super) growing: Option<Growing>,
    /// Bytes that are received and not written yet, by position.
    pub(super) pending: Vec<Piece>,
    pub(super) pending_bytes: usize,
    pub(super) received: Lsn,
    pub(super) flushed: Lsn,
    /// What an earlier run told the server: less is not told again.
    pub(super) told_before: Lsn,
    pub(super) server_end: Lsn,
    pub(super) reply_wanted: bool,
    /// Whether this run has written anything.
    pub(super) written: bool,
    /// How many whole segments are in the spool.
    pub(super) whole: usize,
    /// Whole segments that no repository is being given yet.
    pub(super) waiting: VecDeque<SegmentName>,
    pub(super) storing: FuturesUnordered<Storing>,
    /// The segment of which a piece is on its way.
    pub(super) flying: Option<SegmentName>,
    /// The end of the pieces of the growing segment that the repositories have.
    pub(super) live: Lsn,
    pub(super) live_due: Instant,
    pub(super) status_due: Instant,
    pub(super) retry_due: Option<Instant>,
}

/// A segment that is not whole yet.
pub(super) struct Growing {
    pub(super) name: SegmentName,
    pub(super) file: Arc<File>,
    /// How long it was when it was opened.
    pub(super) present: u64,
    /// Its first bytes, until they have been looked at.
    pub(super) head: Option<Vec<u8>>,
}

impl<'a> Receiver<'a> {
    /// Asks the server who it is, and finds out where to begin.
    pub(super) async fn prepare(
        options: &'a ReceiveOptions,
        replication: &mut Replication,
        observe: Observe<'a>,
    ) -> Result<Receiver<'a>, Error> {
        let system = replication.identify_system().await?;
        let cluster = ClusterId {
            system_identifier: system.system_identifier,
            major: u32::try_from(replication.server_version() / 10_000).unwrap_or(0),
        };
        check_identity(options, replication, &cluster)?;
        let segment_bytes = segment_bytes(&replication.show("wal_segment_size").await?)?;
        let root = options.spool.clone();
        let spool = blocking(move || Spool::open(&root, &cluster)).await?;
        let spool = Arc::new(spool);
        let slot = slot(options, replication).await?;
        let history = histories(options, replication, &cluster, &system).await?;
        let mut listings = Vec::new();
        for repository in &options.repositories {
            listings.push(Listing::read(repository, &cluster).await?);
        }
        let reader = Arc::clone(&spool);
        let left = blocking(move || reader.left()).await?;
        let held = held(&left, &listings, segment_bytes);
        let standby = replication.in_recovery();
        let current = (!standby).then_some(system.position);
        let begin = begin(
            &history,
            held,
            slot,
            current,
            system.position,
            segment_bytes,
        )
        .map_err(|report| Error::Refused(Box::new(report)))?;
        let now = Instant::now();
        let mut receiver = Receiver {
            options,
            observe,
            cluster,
            segment_bytes,
            spool,
            address: replication.address().to_owned(),
            timeline: begin.timeline,
            growing: None,
            pending: Vec::new(),
            pending_bytes: 0,
            received: begin.lsn,
            flushed: begin.lsn,
            told_before: held.map_or(Lsn(0), |held| held.lsn),
            server_end: system.position,
            reply_wanted: false,
            written: false,
            whole: left.whole.len(),
            waiting: left.whole.iter().copied().collect(),
            storing: FuturesUnordered::new(),
            flying: None,
            live: begin.lsn,
            live_due: now,
            status_due: now,
            retry_due: None,
        };
        receiver.live = receiver.live_end(&listings);
        receiver.tidy(&left, &listings).await?;
        Ok(receiver)
    }

    pub(super) fn received(&self) -> Lsn {
        self.received
    }

    pub(super) fn timeline(&self) -> Timeline {
        self.timeline
    }

    /// The segment that holds the next byte.
    pub(super) fn current(&self) -> SegmentName {
        SegmentName::holding(self.timeline, self.received, self.segment_bytes)
    }

    /// The end of the pieces of the current segment that every repository has.
    fn live_end(&self, listings: &[Listing]) -> Lsn {
        let name = self.current();
        let ends = listings
            .iter()
            .map(|listing| listing.contiguous_pieces(&name).0);
        let end = u64::from(ends.min().unwrap_or(0));
        Lsn(name.start(self.segment_bytes).0 + end)
    }

    /// Gives the repositories what an earlier run could not, and removes pieces of segments that are whole.
    async fn tidy(&mut self, left: &Left, listings: &[Listing]) -> Result<(), Error> {
        let current = self.current();
        for (name, length) in &left.partial {
            if *name != current {
                self.give_up(*name, 0..*length).await?;
            }
        }
        for (repository, listing) in self.options.repositories.iter().zip(listings) {
            let whole = listing
                .pieces
                .keys()
                .filter(|name| listing.segments.contains_key(name));
            for name in whole {
                storing::remove_pieces(repository, &self.cluster, name).await?;
            }
        }
        Ok(())
    }

    /// Stores a part of a segment that will never be whole as pieces, and takes the segment out of the spool.
    async fn give_up(&self, name: SegmentName, mut range: Range<u64>) -> Result<(), Error> {
        while !range.is_empty() {
            let repositories = &self.options.repositories;
            let spool = Arc::clone(&self.spool);
            let stored =
                storing::store_piece(repositories, self.cluster, spool, name, range.clone());
            range.start = stored.await?;
        }
        let spool = Arc::clone(&self.spool);
        blocking(move || spool.remove(&spool.partial(&name))).await
    }

    /// Gives up what earlier runs have left of segments that are not whole.
    async fn give_up_left(&self) -> Result<(), Error> {
        let spool = Arc::clone(&self.spool);
        let left = blocking(move || spool.left()).await?;
        for (name, length) in left.partial {
            self.give_up(name, 0..length).await?;
        }
        Ok(())
    }

    /// Gives the growing segment up where it is now.
    async fn leave(&mut self) -> Result<(), Error> {
        self.land().await;
        let Some(growing) = self.growing.take() else {
            return Ok(());
        };
        let start = growing.name.start(self.segment_bytes).0;
        // After a short run, an earlier one may have come further.
        let end = growing.present.max(self.flushed.0 - start);
        self.give_up(growing.name, self.live.0.max(start) - start..end)
            .await
    }

    /// Goes on where the server still has WAL, and writes down what is missing.
    pub(super) async fn skip(
        &mut self,
        replication: &mut Replication,
        error: pawang_postgres::Error,
    ) -> Result<(), Error> {
        let failed = self.received;
        let system = replication.identify_system().await?;
        let kept = match &self.options.slot {
            None => None,
            Some(name) => Some(again(self.options, replication, name, &error).await?),
        };
        let to = floor(
            kept.flatten().unwrap_or(system.position),
            self.segment_bytes,
        );
        if to <= failed {
            // With a new slot the same WAL may be had after all.
            return match error {
                pawang_postgres::Error::WalRemoved { .. } => Err(error.into()),
                _ => Ok(()),
            };
        }
        let history = histories(self.options, replication, &self.cluster, &system).await?;
        let from = self.flushed.max(self.told_before);
        self.leave().await?;
        self.give_up_left().await?;
        if from < to && (self.written || self.told_before.0 > 0) {
            let gap = Gap {
                timeline: history.holder(from),
                from,
                to,
                found_at: (self.options.clock)(),
                cause: error.line(),
            };
            for repository in &self.options.repositories {
                record_gap(repository, &self.cluster, &gap).await?;
            }
            (self.observe)(Progress::Gap(gap));
        }
        self.go_to(history.holder(to), to);
        Ok(())
    }

    /// Follows the server to its next timeline: first the history file, then WAL from the segment's begin on.
    pub(super) async fn turn(
        &mut self,
        replication: &mut Replication,
        timeline: Timeline,
        position: Lsn,
    ) -> Result<(), Error> {
        let file = replication.timeline_history(timeline.0).await?;
        for repository in &self.options.repositories {
            let path = self.cluster.history(timeline);
            repository.create(&path, file.bytes.clone()).await?;
        }
        self.leave().await?;
        (self.observe)(Progress::Switched { timeline, position });
        self.go_to(timeline, floor(position, self.segment_bytes));
        Ok(())
    }

    fn go_to(&mut self, timeline: Timeline, position: Lsn) {
        self.told_before = self.told_before.max(self.flushed);
        self.timeline = timeline;
        self.received = position;
        self.flushed = position;
        self.live = position;
        self.pending.clear();
        self.pending_bytes = 0;
    }
}

/// Runs what blocks beside the others.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn check_identity(
    options: &ReceiveOptions,
    replication: &Replication,
    cluster: &ClusterId,
) -> Result<(), Error> {
    if options.repositories.is_empty() {
        return Err(refused(
            "no repository is named, and WAL must go somewhere",
            "pawang backup setup --repo /srv/backup",
        ));
    }
    let address = replication.address();
    if let Some(expected) = options.cluster.filter(|expected| expected != cluster) {
        return Err(refused(
            format!("\"{address}\" is cluster {cluster}, and WAL of {expected} is expected"),
            "pawang backup check",
        ));
    }
    if replication.in_recovery() && !options.allow_standby {
        return Err(refused(
            format!("\"{address}\" is a standby, and WAL is received from the primary"),
            "add target_session_attrs=primary to the instance's url, or pawang wal stream --allow-standby",
        ));
    }
    Ok(())
}

fn segment_bytes(text: &str) -> Result<u32, Error> {
    let size: Option<ByteSize> = text.parse().ok();
    let size = size.and_then(|size| u32::try_from(size.0).ok());
    size.filter(|size| size.is_power_of_two()).ok_or_else(|| {
        let primary = format!("cannot use a WAL segment size of \"{text}\"");
        Error::Refused(Box::new(Report::new(Kind::Target, primary)))
    })
}

/// Makes sure that the slot exists, and returns the first position that it keeps.
async fn slot(
    options: &ReceiveOptions,
    replication: &mut Replication,
) -> Result<Option<Lsn>, Error> {
    let Some(name) = &options.slot else {
        return Ok(None);
    };
    match replication.create_physical_slot(name, true).await {
        Ok(()) | Err(pawang_postgres::Error::SlotExists { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    match kept(options, replication, name).await {
        // The role may only replicate, and PostgreSQL 14 tells of slots over ordinary sessions alone.
        Err(Error::Server(_)) if !tells_of_slots(replication) => Ok(None),
        kept => kept,
    }
}

fn tells_of_slots(replication: &Replication) -> bool {
    replication.server_version() / 10_000 >= READ_SLOT_MAJOR
}

/// Returns the first position that a slot keeps.
async fn kept(
    options: &ReceiveOptions,
    replication: &mut Replication,
    name: &str,
) -> Result<Option<Lsn>, Error> {
    if tells_of_slots(replication) {
        let slot = replication.read_slot(name).await?;
        return Ok(slot.and_then(|slot| slot.restart_lsn));
    }
    let session = Session::connect(&options.target, "wal stream").await?;
    let name = name.replace('\'', "''");
    let rows = session
        .read_text(&format!(
            "SELECT s.restart_lsn FROM pg_catalog.pg_replication_slots AS s WHERE s.slot_name = '{name}'"
        ))
        .await?;
    let position = rows
        .rows
        .first()
        .and_then(|row| row.first()?.as_text()?.parse().ok());
    Ok(position)
}

/// Makes a slot usable again that was invalidated or dropped, and returns the first position that it keeps.
async fn again(
    options: &ReceiveOptions,
    replication: &mut Replication,
    name: &str,
    error: &pawang_postgres::Error,
) -> Result<Option<Lsn>, Error> {
    use pawang_postgres::Error as Server;
    let position = kept(options, replication, name).await?;
    let usable = position.is_some() && matches!(error, Server::WalRemoved { .. });
    if usable {
        return Ok(position);
    }
    // Only a physical slot comes this far: of a logical one, the question above is refused.
    match replication.drop_slot(name).await {
        Ok(()) | Err(Server::NoSlot { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    replication.create_physical_slot(name, true).await?;
    kept(options, replication, name).await
}

/// Stores the history files on the way to the server's timeline, and returns its history.
async fn histories(
    options: &ReceiveOptions,
    replication: &mut Replication,
    cluster: &ClusterId,
    system: &System,
) -> Result<History, Error> {
    let timeline = Timeline(system.timeline);
    let mut history = History::without_ancestors(timeline);
    if timeline.0 == 1 {
        return Ok(history);
    }
    let own = replication.timeline_history(timeline.0).await?;
    let text = String::from_utf8_lossy(&own.bytes);
    history = History::parse(timeline, &text)
        .map_err(|error| Error::Refused(Box::new(Report::from_error(Kind::Target, &error))))?;
    let mut files = vec![(timeline, own.bytes.clone())];
    for switch in history
        .switches
        .iter()
        .filter(|switch| switch.timeline.0 > 1)
    {
        // A server that was restored may lack those of its ancestors.
        if let Ok(file) = replication.timeline_history(switch.timeline.0).await {
            files.push((switch.timeline, file.bytes));
        }
    }
    for repository in &options.repositories {
        for (timeline, bytes) in &files {
            repository
                .create(&cluster.history(*timeline), bytes.clone())
                .await?;
        }
    }
    Ok(history)
}

/// Returns the end of what is durable already, here or in a repository.
fn held(left: &Left, listings: &[Listing], segment_bytes: u32) -> Option<Position> {
    let at = |name: &SegmentName, bytes: u64| Position {
        timeline: name.timeline,
        lsn: Lsn(name.start(segment_bytes).0 + bytes),
    };
    let whole = u64::from(segment_bytes);
    let stored = listings.iter().flat_map(|listing| {
        let pieces = listing.pieces.keys();
        let pieces = pieces.map(|name| (name, u64::from(listing.contiguous_pieces(name).0)));
        let segments = listing.segments.keys();
        segments.map(|name| (name, whole)).chain(pieces)
    });
    let sealed = left.whole.iter().map(|name| (name, whole));
    let growing = left.partial.iter().map(|(name, length)| (name, *length));
    stored
        .chain(sealed)
        .chain(growing)
        .filter(|(_, bytes)| *bytes > 0)
        .map(|(name, bytes)| at(name, bytes))
        .max_by_key(|position| (position.timeline, position.lsn))
}

/// Returns where to begin: where what is there ends, or earlier where the slot still has it.
///
/// `current` is the end of a primary's WAL, which nothing that was received can exceed.
fn begin(
    history: &History,
    held: Option<Position>,
    slot: Option<Lsn>,
    current: Option<Lsn>,
    otherwise: Lsn,
    segment_bytes: u32,
) -> Result<Position, Report> {
    let refuse = |primary: String| {
        Report::new(Kind::Refused, primary)
            .with_hint("connect to the server that was promoted last; see: pawang wal status")
    };
    let reached = match held {
        None => None,
        Some(held) if !history.includes(held.timeline) => {
            return Err(refuse(format!(
                "the server is on timeline {}, which does not come from timeline {}, whose WAL is there already",
                history.timeline.0, held.timeline.0
            )));
        }
        Some(held) => match history.left(held.timeline) {
            Some(left) => Some(held.lsn.min(left)),
            None if current.is_some_and(|current| current < held.lsn) => {
                return Err(refuse(format!(
                    "the server's WAL ends at {}, and WAL of timeline {} is there up to {}: the server was set back",
                    current.unwrap_or_default(),
                    held.timeline.0,
                    held.lsn
                )));
            }
            None => Some(held.lsn),
        },
    };
    let from = match (reached, slot) {
        (Some(reached), Some(slot)) => reached.min(slot),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => otherwise,
    };
    Ok(Position {
        timeline: history.holder(from),
        lsn: floor(from, segment_bytes),
    })
}

pub(super) fn floor(position: Lsn, segment_bytes: u32) -> Lsn {
    Lsn(position.0 - position.0 % u64::from(segment_bytes))
}

#[cfg(test)]
mod tests {
    use super::super::super::timeline::Switch;
    use super::*;

    const SEGMENT: u32 = 0x10_0000;

    fn at(timeline: u32, lsn: u64) -> Position {
        Position {
            timeline: Timeline(timeline),
            lsn: Lsn(lsn),
        }
    }

    fn history() -> History {
        History {
            timeline: Timeline(3),
            switches: vec![Switch {
                timeline: Timeline(1),
                at: Lsn(0x25_0000),
                reason: String::new(),
            }],
        }
    }

    fn place(held: Option<Position>, slot: Option<u64>, current: u64) -> Result<Position, String> {
        let current = Lsn(current);
        begin(
            &history(),
            held,
            slot.map(Lsn),
            Some(current),
            current,
            SEGMENT,
        )
        .map_err(|report| report.primary)
    }

    #[test]
    fn begins_where_nothing_is_missed() {
        for (held, slot, expected) in [
            (None, None, at(3, 0x90_0000)),
            (None, Some(0x41_0000), at(3, 0x40_0000)),
            (Some(at(3, 0x43_0000)), None, at(3, 0x40_0000)),
            (Some(at(3, 0x43_0000)), Some(0x38_0000), at(3, 0x30_0000)),
            (Some(at(3, 0x38_0000)), Some(0x43_0000), at(3, 0x30_0000)),
            // On the way to the server's timeline, and beyond the point where it was left.
            (Some(at(1, 0x12_0000)), Some(0x43_0000), at(1, 0x10_0000)),
            (Some(at(1, 0x2f_0000)), None, at(3, 0x20_0000)),
        ] {
            assert_eq!(
                place(held, slot, 0x90_1234),
                Ok(expected),
                "{held:?} {slot:?}"
            );
        }
    }

    #[test]
    fn refuses_servers_of_the_past() {
        let other = place(Some(at(2, 0x10_0000)), None, 0x90_0000).unwrap_err();
        assert!(other.contains("timeline 2"), "{other}");
        let newer = place(Some(at(4, 0x10_0000)), None, 0x90_0000).unwrap_err();
        assert!(newer.contains("timeline 4"), "{newer}");
        let back = place(Some(at(3, 0x50_0000)), None, 0x42_0000).unwrap_err();
        assert!(back.contains("set back"), "{back}");
    }

    #[test]
    fn what_is_held_is_the_newest_of_spool_and_repositories() {
        let name = |text: &str| text.parse::<SegmentName>().unwrap();
        let left = Left {
            whole: vec![name("000000010000000000000002")],
            partial: vec![(name("000000010000000000000003"), 0x500)],
        };
        assert_eq!(held(&left, &[], SEGMENT), Some(at(1, 0x30_0500)));
        assert_eq!(held(&Left::default(), &[], SEGMENT), None);
        let mut listing = Listing::default();
        listing.segments.insert(name("000000020000000000000001"), 9);
        assert_eq!(held(&left, &[listing], SEGMENT), Some(at(2, 0x20_0000)));
    }
}
