//! Readers of the history: a bounded number, shared by all requests, each used by one thread at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use pawang_store::Store;
use pawang_store::history::Reader;
use tokio::sync::Semaphore;

use super::blocking;
use crate::problem::Problem;

/// Requests that read at the same time; each holds one connection of the store and one thread.
const READERS_MAX: usize = 4;
/// How long a request waits for its turn.
const TURN_MAX: Duration = Duration::from_secs(10);
/// The readers of the history.
pub(crate) struct Readers {
    store: Store,
    idle: Mutex<Vec<(Reader, u64)>>,
    turns: Arc<Semaphore>,
}

impl Readers {
    /// Returns a pool that has opened none yet.
    pub(crate) fn new(store: Store) -> Readers {
        Readers {
            store,
            idle: Mutex::new(Vec::new()),
            turns: Arc::new(Semaphore::new(READERS_MAX)),
        }
    }

    /// Runs work that reads, in a thread where it may block.
    ///
    /// # Errors
    /// All readers are busy for long, the store does not open, or the work panicked; and whatever the work returns.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Readers>,
        work: impl FnOnce(&Reader) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        let Ok(Ok(turn)) = tokio::time::timeout(TURN_MAX, turn).await else {
            return Err(busy());
        };
        let readers = Arc::clone(self);
        let work = move || {
            // A request that is dropped leaves its work running: the turn goes with the work.
            let _turn = turn;
            readers.with(work)
        };
        blocking(work).await
    }

    fn with<T>(&self, work: impl FnOnce(&Reader) -> Result<T, Problem>) -> Result<T, Problem> {
        let generation = self.store.generation();
        let reader = match self.take(generation) {
            Some(reader) => reader,
            None => self.store.reader()?,
        };
        let result = work(&reader);
        let broken = matches!(&result, Err(problem) if problem.status.is_server_error());
        if !broken {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push((reader, generation));
        }
        result
    }

    /// Takes an idle reader of the history as it is now; those of a history that was set aside are closed.
    fn take(&self, generation: u64) -> Option<Reader> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, opened)| *opened == generation);
        idle.pop().map(|(reader, _)| reader)
    }
}

fn busy() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "too many requests read the history at the same time",
    )
    .retry_after(TURN_MAX.as_secs())
}
