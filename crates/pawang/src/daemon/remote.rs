//! Remote stores: each is fed with what every round saw, and sends from its queue on disk.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pawang_config::RemoteWriteConfig;
use pawang_core::Timestamp;
use pawang_metrics::remote_write::{Remote, Step};
use pawang_store::live::{Present, RemoteWriteStatus};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Offers that wait for the disk.
const OFFERS_MAX: usize = 512;
/// An empty queue is looked at again after so long.
const IDLE: Duration = Duration::from_secs(1);
/// The longest sleep: a clock that is set is noticed by then.
const SLEEP_MAX: Duration = Duration::from_secs(10);
/// What was offered is put into the queues within this time at the end.
const END_MAX: Duration = Duration::from_secs(5);

/// Something for a remote store.
enum Offer {
    /// What is known of an instance now.
    Present(Arc<Present>),
    /// An instance is no longer looked after.
    Gone(String, Timestamp),
}

/// The way to one remote store.
#[derive(Clone)]
pub(super) struct Outlet {
    name: Arc<str>,
    offers: mpsc::Sender<Offer>,
}

impl Outlet {
    /// Hands over what is known of an instance now; whoever is too slow misses it, and gets the next.
    pub(super) fn offer(&self, present: &Arc<Present>) {
        self.send(Offer::Present(Arc::clone(present)));
    }

    /// Says that an instance is no longer looked after, so that its series end.
    pub(super) fn forget(&self, instance: &str, now: Timestamp) {
        self.send(Offer::Gone(instance.to_owned(), now));
    }

    fn send(&self, offer: Offer) {
        if self.offers.try_send(offer).is_err() {
            tracing::warn!(
                remote_write = &*self.name,
                "the disk is too slow: a round was not queued"
            );
        }
    }
}

/// The tasks of all remote stores.
#[derive(Default)]
pub(super) struct Remotes {
    remotes: Vec<Arc<Remote>>,
    feeding: JoinSet<()>,
    sending: JoinSet<()>,
}

impl Remotes {
    /// Starts two tasks for each store, one that fills its queue and one that empties it; returns the ways to them, and
    /// what people must know about stores whose queue cannot be used.
    pub(super) fn start(
        &mut self,
        stores: &[RemoteWriteConfig],
        directory: &Path,
        now: fn() -> Timestamp,
    ) -> (Vec<Outlet>, Vec<String>) {
        let mut outlets = Vec::new();
        let mut notes = Vec::new();
        for store in stores {
            match Remote::open(store, directory) {
                Ok(remote) => outlets.push(self.start_one(Arc::new(remote), now)),
                Err(error) => notes.push(format!(
                    "nothing is sent to remote_write \"{}\": {}",
                    store.name,
                    error.report()
                )),
            }
        }
        (outlets, notes)
    }

    fn start_one(&mut self, remote: Arc<Remote>, now: fn() -> Timestamp) -> Outlet {
        let (offers, receiver) = mpsc::channel(OFFERS_MAX);
        self.remotes.push(Arc::clone(&remote));
        let name = remote.name().into();
        self.feeding.spawn(feed(Arc::clone(&remote), receiver));
        self.sending.spawn(send(remote, now));
        Outlet { name, offers }
    }

    /// Ends all tasks, after the last ways to them were dropped; what is in the queues is sent after the next start.
    pub(super) async fn stop(&mut self) {
        let fed = timeout(END_MAX, async {
            while self.feeding.join_next().await.is_some() {}
        });
        if fed.await.is_err() {
            tracing::warn!("some rounds were not queued for remote stores in time");
        }
        self.feeding.shutdown().await;
        self.sending.shutdown().await;
        self.remotes.clear();
    }

    /// Returns how each store is doing.
    pub(super) fn status(&self) -> Vec<RemoteWriteStatus> {
        self.remotes.iter().map(|remote| remote.status()).collect()
    }
}

/// Puts what is offered into the queue, until nobody can offer any more.
async fn feed(remote: Arc<Remote>, mut offers: mpsc::Receiver<Offer>) {
    while let Some(offer) = offers.recv().await {
        let remote = Arc::clone(&remote);
        let put = tokio::task::spawn_blocking(move || match offer {
            Offer::Present(present) => remote.offer(&present),
            Offer::Gone(instance, now) => remote.forget(&instance, now),
        });
        if let Err(error) = put.await {
            tracing::error!("a round could not be queued for a remote store: {error}");
        }
    }
}

/// Sends what is in the queue, until it is dropped.
async fn send(remote: Arc<Remote>, now: fn() -> Timestamp) {
    // Only what changes is told: a store that is away for a night is worth two lines.
    let mut told = false;
    let name = remote.name();
    loop {
        let pause = match remote.step(now()).await {
            Step::Sent { .. } => {
                if std::mem::take(&mut told) {
                    tracing::info!(remote_write = name, "the store takes samples again");
                }
                Duration::ZERO
            }
            Step::Dropped { samples, why } => {
                tracing::warn!(
                    remote_write = name,
                    samples,
                    "the store refused for good: {why}"
                );
                Duration::ZERO
            }
            Step::Kept { until, why } => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(remote_write = name, "samples wait on disk: {why}");
                }
                until_then(until, now())
            }
            Step::Waiting { until } => until_then(until, now()),
            Step::Idle => IDLE,
        };
        if pause.is_zero() {
            tokio::task::yield_now().await;
        } else {
            sleep(pause).await;
        }
    }
}

fn until_then(until: Timestamp, now: Timestamp) -> Duration {
    let wait = Duration::try_from(until.duration_since(now)).unwrap_or_default();
    wait.clamp(Duration::from_millis(100), SLEEP_MAX)
}
