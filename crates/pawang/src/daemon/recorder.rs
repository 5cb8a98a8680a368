//! The one thread that writes to the store, and the way to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pawang_core::{Evaluation, Facts, Kind, Report, Timestamp};
use pawang_store::Recorder;
use pawang_store::history::Retention;
use pawang_store::live::StoreStatus;
use pawang_store::text::normalise;
use tokio::sync::{oneshot, watch};

use super::beat::Beat;
use super::clock::Clock;

/// Messages that wait for the thread; what waits for the disk is bounded by the store itself.
const MESSAGES_MAX: usize = 512;
/// A task waits so long for a place in the queue; then it goes on without.
const SEND_MAX: Duration = Duration::from_secs(5);
const SEND_RETRY: Duration = Duration::from_millis(20);
/// What was written is made durable so often.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// After so long without a message there is time to tend the history.
const IDLE: Duration = Duration::from_millis(100);
/// The history is tended so often even when there is no idle time.
const TEND_EVERY: Duration = Duration::from_secs(10);
/// Pieces of tending done in one idle time, so that messages do not wait.
const TEND_PIECES_MAX: usize = 4;

/// Something to write.
pub(super) enum Message {
    /// What was seen.
    Facts(Arc<Facts>),
    /// What checks say about it.
    Judge {
        /// The verdicts.
        evaluation: Arc<Evaluation>,
        /// Since when each open finding is open, by fingerprint.
        answer: oneshot::Sender<BTreeMap<String, Timestamp>>,
    },
    /// Texts of statements by their identity, not yet normalised.
    Texts(Vec<(i64, String)>),
    /// How long history is kept from now on.
    Retention(Retention),
}

/// The way to the recorder.
#[derive(Clone)]
pub(super) struct Recording {
    messages: SyncSender<Message>,
    refused: Arc<AtomicU64>,
}

/// What the recorder tells.
#[derive(Clone, Default)]
pub(super) struct News {
    /// How the store is doing.
    pub status: StoreStatus,
    /// What people must know, such as a damaged file that was set aside.
    pub notes: Vec<String>,
}

/// The recorder's thread.
pub(super) struct Thread {
    handle: JoinHandle<()>,
    /// How the store is doing, and what people must know about it.
    pub news: watch::Receiver<News>,
    /// Its signs of life.
    pub beat: Arc<Beat>,
}

impl Recording {
    /// Returns a way that leads nowhere: nothing is kept.
    pub(super) fn nowhere() -> Recording {
        let (messages, _) = sync_channel(1);
        Recording {
            messages,
            refused: Arc::default(),
        }
    }

    /// Hands a message over; says whether there was a place for it.
    pub(super) async fn send(&self, mut message: Message) -> bool {
        let deadline = Instant::now() + SEND_MAX;
        loop {
            match self.messages.try_send(message) {
                Ok(()) => return true,
                Err(TrySendError::Full(back)) if Instant::now() < deadline => message = back,
                Err(TrySendError::Full(_)) => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    return false;
                }
                Err(TrySendError::Disconnected(_)) => return false,
            }
            tokio::time::sleep(SEND_RETRY).await;
        }
    }
}

/// Starts the thread.
///
/// # Errors
/// The operating system gives no thread.
pub(super) fn start(
    recorder: Recorder,
    retention: Retention,
    now: fn() -> Timestamp,
) -> Result<(Recording, Thread), Report> {
    let (sender, receiver) = sync_channel(MESSAGES_MAX);
    let (sender_of_news, news) = watch::channel(News {
        status: recorder.status().clone(),
        notes: Vec::new(),
    });
    let refused = Arc::new(AtomicU64::new(0));
    let beat = Arc::new(Beat::default());
    let mut work = Work {
        recorder,
        retention,
        now,
        news: sender_of_news,
        refused: Arc::clone(&refused),
        beat: Arc::clone(&beat),
        flushed: Instant::now(),
        tended: Instant::now(),
        tend_refused: false,
        clock: Clock::new(now()),
    };
    let handle = std::thread::Builder::new()
        .name("recorder".to_owned())
        .spawn(move || work.run(&receiver))
        .map_err(|error| {
            Report::new(Kind::Refused, "could not start the recorder")
                .with_detail(error.to_string())
        })?;
    let recording = Recording {
        messages: sender,
        refused,
    };
    let thread = Thread { handle, news, beat };
    Ok((recording, thread))
}

impl Thread {
    /// Waits for the end, which comes when the last way to the recorder is dropped; says whether it came in time.
    pub(super) async fn join(self, most: Duration) -> bool {
        let deadline = Instant::now() + most;
        while !self.handle.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(SEND_RETRY).await;
        }
        self.handle.join().is_ok()
    }

    /// Says whether it ended though nobody told it to.
    pub(super) fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}

struct Work {
    recorder: Recorder,
    retention: Retention,
    now: fn() -> Timestamp,
    news: watch::Sender<News>,
    refused: Arc<AtomicU64>,
    beat: Arc<Beat>,
    flushed: Instant,
    tended: Instant,
    /// Whether the disk refused the last tending.
    tend_refused: bool,
    clock: Clock,
}

impl Work {
    fn run(&mut self, messages: &Receiver<Message>) {
        loop {
            self.beat.mark();
            let idle = match messages.recv_timeout(IDLE) {
                Ok(message) => {
                    self.take(message);
                    false
                }
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if self.flushed.elapsed() >= FLUSH_EVERY {
                self.flush();
            }
            if idle && !self.tend_refused || self.tended.elapsed() >= TEND_EVERY {
                self.tend();
            }
        }
        self.flush();
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Facts(facts) => self.recorder.offer(Arc::unwrap_or_clone(facts)),
            Message::Judge { evaluation, answer } => {
                let since = self.recorder.judge(&evaluation);
                // Whoever asked may have ended meanwhile.
                let _ = answer.send(since);
            }
            Message::Texts(texts) => {
                for (id, text) in texts {
                    self.recorder.text(id, normalise(&text));
                }
            }
            Message::Retention(retention) => self.retention = retention,
        }
    }

    fn flush(&mut self) {
        let mut status = self.recorder.flush((self.now)()).clone();
        status.dropped_snapshots += self.refused.load(Ordering::Relaxed);
        self.flushed = Instant::now();
        let notes = self.recorder.take_notes();
        self.news.send_modify(|news| {
            news.status = status;
            news.notes.extend(notes);
        });
    }

    fn tend(&mut self) {
        let now = (self.now)();
        let retention = match self.clock.trusted(now) {
            Ok(true) => self.retention,
            Ok(false) => unlimited(&self.retention),
            Err(note) => {
                tracing::error!("{note}");
                self.news.send_modify(|news| news.notes.push(note));
                unlimited(&self.retention)
            }
        };
        for _ in 0..TEND_PIECES_MAX {
            let tended = self.recorder.tend(&retention, now);
            self.tend_refused = tended.refused;
            if !tended.more {
                break;
            }
        }
        self.tended = Instant::now();
    }
}

/// Returns the same retention without any age: only the size is bounded.
fn unlimited(retention: &Retention) -> Retention {
    const AGES: Duration = Duration::from_secs(500 * 365 * 86_400);
    Retention {
        raw: AGES,
        minute: AGES,
        ten_minutes: AGES,
        bytes: retention.bytes,
    }
}
