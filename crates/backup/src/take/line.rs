//! The way from content to parts: it is cut into chunks, threads check and compress these side by side, one keeps them in order.
//!
//! What is on its way at a time is bounded, so that a slow repository slows whoever brings content.

use std::sync::mpsc::{Receiver, channel};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::TakeRequest;
use super::crew::{Crew, PageCheck, PageTally};
use super::cut::{Chunk, Cutter};
use super::keep::{Buffers, Item, Keeper, Kept};
use super::lanes::Lane;
use super::local::manifest::ManifestWriter;
use super::manifest::WalRange;
use super::preflight::Known;
use crate::Error;
use crate::repository::{LEVEL, MANIFEST, PartSettings};

/// The near end of the way.
pub(super) struct Line {
    pub(super) cutter: Cutter,
    pub(super) crew: Crew,
    items: mpsc::Sender<Item>,
    used: Receiver<Buffers>,
    frames: Vec<Vec<u8>>,
}

/// The thread that keeps what comes ended, and knows why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeeperEnded;

impl Line {
    /// Starts the threads that check, compress and keep; the last of them says what was kept.
    pub(super) fn start(
        request: &TakeRequest,
        known: &Known,
        pages: &PageCheck,
        address: &str,
        own: Option<ManifestWriter>,
        lanes: Vec<Lane>,
    ) -> Result<(Line, JoinHandle<Result<Kept, Error>>), Error> {
        let threads = request.threads.get();
        let at_work = threads + lanes.len();
        let crew = Crew::start(threads, LEVEL, pages, lanes).map_err(|source| Error::File {
            doing: "start threads for",
            path: request.repository.place().into(),
            source,
        })?;
        let (items, kept) = mpsc::channel(2 * at_work);
        let (spare, used) = channel();
        let settings = PartSettings {
            rate: request.store_rate.clone(),
            ..PartSettings::default()
        };
        let repository = &request.repository;
        let manifest = known.cluster.part(&request.backup, MANIFEST);
        let keeper = Keeper {
            parts: repository.part_writer(&known.cluster, &request.backup, &settings),
            manifest: repository.object_writer(&manifest, request.store_rate.clone())?,
            own,
            spare,
            control: Vec::new(),
            address: address.to_owned(),
        };
        let line = Line {
            cutter: Cutter::new(known.geometry),
            crew,
            items,
            used,
            frames: Vec::new(),
        };
        Ok((line, spawn_blocking(move || keeper.work(kept))))
    }

    /// Sends the chunks that are ready; waits while too many are on their way.
    pub(super) async fn send(&mut self) -> Result<(), KeeperEnded> {
        while let Some(chunk) = self.cutter.take() {
            let item = self.item(chunk);
            self.items.send(item).await.map_err(|_| KeeperEnded)?;
        }
        Ok(())
    }

    /// Does the same, outside of the runtime's own threads.
    pub(super) fn send_blocking(&mut self) -> Result<(), KeeperEnded> {
        while let Some(chunk) = self.cutter.take() {
            let item = self.item(chunk);
            self.items.blocking_send(item).map_err(|_| KeeperEnded)?;
        }
        Ok(())
    }

    /// Returns how many bytes the chunks have that are ready.
    pub(super) fn ready_bytes(&self) -> u64 {
        self.cutter.ready_bytes()
    }

    /// Counts pages that were checked and do not come.
    pub(super) fn found(&self, pages: PageTally) -> Result<(), KeeperEnded> {
        self.items
            .blocking_send(Item::Pages(pages))
            .map_err(|_| KeeperEnded)
    }

    /// Sends bytes of the server's manifest, behind all content.
    pub(super) async fn manifest(&mut self, bytes: Bytes) -> Result<(), KeeperEnded> {
        let sent = self.items.send(Item::Manifest(bytes)).await;
        sent.map_err(|_| KeeperEnded)
    }

    /// Says where the backup ends, whose manifest is ours, behind all content.
    pub(super) fn end_blocking(self, wal: WalRange) -> Result<(), KeeperEnded> {
        let sent = self.items.blocking_send(Item::End(wal));
        sent.map_err(|_| KeeperEnded)
    }

    /// Has a chunk worked on, in buffers that were used before.
    fn item(&mut self, chunk: Chunk) -> Item {
        for (raw, frame) in self.used.try_iter() {
            self.cutter.reuse(raw);
            self.frames.push(frame);
        }
        let frame = self.frames.pop().unwrap_or_default();
        Item::Chunk(self.crew.send(chunk, frame))
    }
}
