//! The workers: one task per instance, started, told, restarted and ended by name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout_at;

use super::beat::Beat;
use super::setup::Setup;
use super::shared::Shared;
use super::worker::{Orders, Worker};

/// Workers begin so far apart, so that a large estate is not asked at one instant.
const APART: Duration = Duration::from_millis(40);
/// A worker that broke begins again after so long.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// All workers.
#[derive(Default)]
pub(super) struct Fleet {
    tasks: JoinSet<()>,
    names: BTreeMap<Id, String>,
    workers: BTreeMap<String, Handle>,
    /// Workers that broke, and when.
    broken: BTreeMap<String, Instant>,
}

/// One worker as seen from outside.
struct Handle {
    id: Id,
    stop: watch::Sender<bool>,
    setup: watch::Sender<Arc<Setup>>,
    wake: mpsc::Sender<()>,
    beat: Arc<Beat>,
}

impl Fleet {
    /// Starts a worker for each name, one a little after the other.
    pub(super) fn start<'a>(
        &mut self,
        names: impl Iterator<Item = &'a String>,
        setup: &Arc<Setup>,
        shared: &Arc<Shared>,
    ) {
        for (index, name) in (0_u32..).zip(names) {
            self.start_one(name, APART * index, setup, shared);
        }
    }

    fn start_one(&mut self, name: &str, delay: Duration, setup: &Arc<Setup>, shared: &Arc<Shared>) {
        let Some(worker) = Worker::new(name, Arc::clone(setup), Arc::clone(shared)) else {
            return;
        };
        let (stop, stop_receiver) = watch::channel(false);
        let (setup_sender, setup_receiver) = watch::channel(Arc::clone(setup));
        let (wake, wake_receiver) = mpsc::channel(1);
        let beat = Arc::new(Beat::default());
        let orders = Orders {
            stop: stop_receiver,
            setup: setup_receiver,
            wake: wake_receiver,
            beat: Arc::clone(&beat),
        };
        let id = self.tasks.spawn(worker.run(orders, delay)).id();
        self.names.insert(id, name.to_owned());
        let handle = Handle {
            id,
            stop,
            setup: setup_sender,
            wake,
            beat,
        };
        self.workers.insert(name.to_owned(), handle);
    }

    /// Gives the workers another configuration; they go on with their connections and what they know.
    pub(super) fn take_setup(&self, setup: &Arc<Setup>) {
        for worker in self.workers.values() {
            worker.setup.send_replace(Arc::clone(setup));
        }
    }

    /// Makes a worker ask everything now; says whether there is one of that name.
    pub(super) fn wake(&self, name: &str) -> bool {
        let Some(worker) = self.workers.get(name) else {
            return false;
        };
        // When it is already woken, once is enough.
        let _ = worker.wake.try_send(());
        true
    }

    /// Ends some workers and waits for them, but not for ever.
    pub(super) async fn stop(&mut self, names: &[String], most: Duration) {
        for name in names {
            self.broken.remove(name);
            if let Some(worker) = self.workers.get(name) {
                worker.stop.send_replace(true);
            }
        }
        let deadline = tokio::time::Instant::now() + most;
        while names.iter().any(|name| self.workers.contains_key(name)) {
            match timeout_at(deadline, self.tasks.join_next_with_id()).await {
                Ok(Some(ended)) => self.ended(ended),
                Ok(None) => return,
                Err(_) => break,
            }
        }
        for name in names {
            if let Some(worker) = self.workers.remove(name) {
                tracing::warn!(
                    instance = name,
                    "its task did not end in time and was dropped"
                );
                self.names.remove(&worker.id);
                // Its future owns nothing that outlives it but a connection, which ends with it.
                drop(worker);
            }
        }
    }

    /// Ends all workers.
    pub(super) async fn stop_all(&mut self, most: Duration) {
        let names: Vec<String> = self.workers.keys().cloned().collect();
        self.stop(&names, most).await;
        // A task that hangs in the file system cannot be ended; the process can.
        let deadline = tokio::time::Instant::now() + most;
        let _ended = timeout_at(deadline, self.tasks.shutdown()).await;
    }

    /// Waits for a worker that ends though nobody told it to; pending while there is none.
    pub(super) async fn broke(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(ended) => self.ended(ended),
            None => std::future::pending().await,
        }
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let (id, error) = match ended {
            Ok((id, ())) => (id, None),
            Err(error) => (error.id(), Some(error)),
        };
        let Some(name) = self.names.remove(&id) else {
            return;
        };
        self.workers.remove(&name);
        if let Some(error) = error {
            tracing::error!(
                instance = name,
                "its task broke and begins again in {} s: {error}",
                AGAIN_AFTER.as_secs()
            );
            self.broken.insert(name, Instant::now());
        }
    }

    /// Starts the workers anew that broke a while ago.
    pub(super) fn mend(&mut self, setup: &Arc<Setup>, shared: &Arc<Shared>) {
        let ready = self
            .broken
            .iter()
            .filter(|(_, at)| at.elapsed() >= AGAIN_AFTER);
        let ready: Vec<String> = ready.map(|(name, _)| name.clone()).collect();
        for name in ready {
            self.broken.remove(&name);
            self.start_one(&name, Duration::ZERO, setup, shared);
        }
    }

    /// Returns the workers that show no sign of life.
    pub(super) fn silent(&self, most: Duration) -> Vec<&str> {
        let workers = self.workers.iter();
        let silent = workers.filter(|(_, worker)| worker.beat.silence() > most);
        silent.map(|(name, _)| name.as_str()).collect()
    }
}
