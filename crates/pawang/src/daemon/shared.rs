//! What all tasks of the daemon share: the present, the way to the recorder, the clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use pawang_alert::book::Event;
use pawang_core::{Evaluation, Facts, Timestamp};
use pawang_store::Store;
use pawang_store::live::Live;
use tokio::sync::{Semaphore, oneshot};

use super::alerting::Alerting;
use super::recorder::{Message, Recording};
use super::remote::Outlet;

/// What all tasks share.
pub(super) struct Shared {
    /// The present of the estate.
    pub live: Arc<Live>,
    /// History and state, where there is a store.
    pub store: Option<Store>,
    /// The way to the recorder.
    pub recording: Recording,
    /// The way to the alerts.
    pub alerting: Alerting,
    /// The ways to remote stores; replaced by a reload.
    pub outlets: Mutex<Arc<[Outlet]>>,
    /// Judging is work for one core: the other one answers people meanwhile.
    pub thinking: Semaphore,
    /// The clock.
    pub now: fn() -> Timestamp,
}

impl Shared {
    /// Hands facts to the store.
    pub(super) async fn record(&self, facts: Arc<Facts>) {
        self.recording.send(Message::Facts(facts)).await;
    }

    /// Hands what is known of an instance to the remote stores.
    pub(super) fn send_away(&self, instance: &str) {
        let outlets = self.outlets();
        if outlets.is_empty() {
            return;
        }
        if let Some(present) = self.live.instance(instance) {
            outlets.iter().for_each(|outlet| outlet.offer(&present));
        }
    }

    /// Forgets an instance that is no longer looked after.
    pub(super) async fn forget(&self, instance: &str) {
        self.live.remove(instance);
        let gone = Event::Gone {
            instance: instance.to_owned(),
        };
        self.alerting.event(gone).await;
        let now = (self.now)();
        let outlets = self.outlets();
        outlets
            .iter()
            .for_each(|outlet| outlet.forget(instance, now));
        let released = self
            .store
            .as_ref()
            .map(|store| store.state().release(instance, now));
        if let Some(Err(error)) = released {
            tracing::warn!(instance, "its findings stay open: {error}");
        }
    }

    /// Takes other remote stores; the ways to those before are dropped.
    pub(super) fn set_outlets(&self, outlets: Vec<Outlet>) {
        *self.outlets.lock().unwrap_or_else(PoisonError::into_inner) = outlets.into();
    }

    fn outlets(&self) -> Arc<[Outlet]> {
        Arc::clone(&self.outlets.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Hands verdicts to the store; its answer, since when each finding is open, comes later.
    pub(super) async fn record_evaluation(
        &self,
        evaluation: Arc<Evaluation>,
    ) -> Option<oneshot::Receiver<BTreeMap<String, Timestamp>>> {
        let (answer, receiver) = oneshot::channel();
        let sent = self.recording.send(Message::Judge { evaluation, answer });
        sent.await.then_some(receiver)
    }

    /// Hands texts of statements to the store.
    pub(super) async fn record_texts(&self, texts: Vec<(i64, String)>) {
        self.recording.send(Message::Texts(texts)).await;
    }

    /// Does work that needs the processor for long, one piece at a time.
    ///
    /// # Errors
    /// The work panicked.
    pub(super) async fn think<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        let _turn = self.thinking.acquire().await;
        tokio::task::spawn_blocking(work).await
    }
}
