//! The WAL receiver: what the server writes is on our disk within milliseconds, and in the repositories within seconds.
//!
//! It follows a physical slot. A reply never claims more than what a sync of the spool has made durable (invariant I2).
//! Whole segments go to every repository; of the one that grows, its new end goes there every few seconds as a piece, so that
//! the loss of this machine costs seconds too. WAL that the server no longer has becomes a gap record, and it goes on behind.

mod begin;
mod follow;
mod spool;
mod storing;

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use pawang_core::Lsn;
use pawang_postgres::Target;
use pawang_postgres::replication::Replication;
use serde::Serialize;
use tokio::sync::watch;

use super::{Gap, SegmentName, Timeline};
use crate::Error;
use crate::repository::{ClusterId, Repository};
use begin::Receiver;
use follow::Followed;

/// How often the growing segment's new end goes to the repositories when nothing else is said.
pub const LIVE_EVERY: Duration = Duration::from_secs(5);
/// How much the spool may hold when nothing else is said.
pub const SPOOL_BYTES_MAX: u64 = 4 << 30;

/// What a receiver works with.
#[derive(Clone, Debug)]
pub struct ReceiveOptions {
    /// The server.
    pub target: Target,
    /// Where the WAL goes, to each of them.
    pub repositories: Vec<Repository>,
    /// The slot, which is created when there is none; without one, WAL that the server removes too early is a gap.
    pub slot: Option<String>,
    /// The folder for WAL until the repositories have it: on a disk of its own, of one receiver.
    pub spool: PathBuf,
    /// With more than this in the spool it waits for the repositories, and the slot keeps WAL on the server.
    pub spool_bytes_max: u64,
    /// How often the growing segment's new end goes to the repositories; never when not given.
    pub live_every: Option<Duration>,
    /// Whether a server in recovery will do; its WAL comes later than the primary's.
    pub allow_standby: bool,
    /// Whose WAL is expected, when that is known; another cluster is refused.
    pub cluster: Option<ClusterId>,
    /// The clock for records.
    pub clock: fn() -> Timestamp,
}

/// What a receiver tells while it works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Progress {
    /// It streams.
    Started {
        /// Whose WAL it is.
        cluster: ClusterId,
        /// `host:port`.
        address: String,
        /// The timeline.
        timeline: Timeline,
        /// The first position, which begins a segment.
        position: Lsn,
    },
    /// WAL is durable in the spool, and the server has been told.
    Flushed {
        /// The timeline.
        timeline: Timeline,
        /// The position behind it.
        position: Lsn,
        /// The end of the server's WAL as it last said.
        server_end: Lsn,
    },
    /// A piece of the growing segment is in every repository.
    Live {
        /// The position behind it.
        position: Lsn,
    },
    /// A whole segment is in every repository.
    Stored {
        /// The segment.
        segment: SegmentName,
        /// How many whole segments are still in the spool.
        waiting: usize,
    },
    /// The server's history goes on on another timeline.
    Switched {
        /// The timeline.
        timeline: Timeline,
        /// Where it begins.
        position: Lsn,
    },
    /// WAL is missing for ever; a record of it is in every repository.
    Gap(Gap),
    /// The server sends something else than what was received before; the old bytes are kept.
    Diverged {
        /// The segment.
        segment: SegmentName,
        /// Where the old bytes are.
        kept: PathBuf,
    },
    /// A repository did not take something.
    Trouble {
        /// What went wrong, in one line.
        problem: String,
        /// Whether it is tried again; a segment whose name is taken by another content stays in the spool.
        again: bool,
        /// How many whole segments are in the spool.
        waiting: usize,
    },
}

/// Where a receiver stopped when it was told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The timeline.
    pub timeline: Timeline,
    /// Everything before is durable in the spool.
    pub flushed: Lsn,
    /// How many whole segments are only in the spool.
    pub waiting: usize,
}

/// Who listens to a receiver.
pub type Observe<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// Receives WAL until `stop` is true, or its sender is gone.
///
/// It does not connect twice: when the connection is lost, whoever calls it calls it again, and it goes on where it was.
///
/// # Errors
/// The server cannot be reached or leaves, another cluster or a standby answers, the spool's disk fails. What was received
/// stays in the spool.
pub async fn receive(
    options: &ReceiveOptions,
    mut stop: watch::Receiver<bool>,
    observe: Observe<'_>,
) -> Result<Ended, Error> {
    let mut replication = Replication::connect(&options.target, "wal stream").await?;
    let mut receiver = Receiver::prepare(options, &mut replication, observe).await?;
    loop {
        let started = replication
            .start_replication(
                options.slot.as_deref(),
                receiver.received(),
                receiver.timeline().0,
            )
            .await;
        let mut stream = match started {
            Ok(stream) => stream,
            Err(error) if is_hole(&error) => {
                receiver.skip(&mut replication, error).await?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        receiver.started();
        match receiver.follow(&mut stream, &mut stop).await {
            Ok(Followed::Stopped) => {
                receiver.conclude(stream).await;
                return Ok(receiver.ended());
            }
            Ok(Followed::Next(timeline, position)) => {
                drop(stream);
                receiver.turn(&mut replication, timeline, position).await?;
            }
            Err(Error::Server(error)) if is_hole(&error) => {
                drop(stream);
                receiver.skip(&mut replication, error).await?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Says whether an error means that the server no longer has WAL that was asked for.
fn is_hole(error: &pawang_postgres::Error) -> bool {
    use pawang_postgres::Error as Server;
    matches!(
        error,
        Server::WalRemoved { .. } | Server::SlotUnusable { .. } | Server::NoSlot { .. }
    )
}
