//! Workers without a store: what the terminal dashboard runs when it looks at servers by itself.

use std::sync::Arc;
use std::time::Duration;

use pawang_core::Timestamp;
use pawang_store::live::Live;
use tokio::sync::Semaphore;

use super::alerting::Alerting;
use super::fleet::Fleet;
use super::recorder::Recording;
use super::setup::Setup;
use super::shared::Shared;

/// Connections are closed within this time at the end.
const STOP_MAX: Duration = Duration::from_secs(2);

/// Observes every instance of `setup` into `live` until `end` comes; nothing is kept.
pub(crate) async fn watch(
    setup: Arc<Setup>,
    live: Arc<Live>,
    now: fn() -> Timestamp,
    end: impl Future<Output = ()>,
) {
    let shared = Arc::new(Shared {
        live,
        store: None,
        recording: Recording::nowhere(),
        alerting: Alerting::nowhere(),
        outlets: std::sync::Mutex::new(Arc::new([])),
        thinking: Semaphore::new(1),
        now,
    });
    let mut fleet = Fleet::default();
    fleet.start(setup.jobs.keys(), &setup, &shared);
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => break,
            () = fleet.broke() => {}
            () = tokio::time::sleep(STOP_MAX) => fleet.mend(&setup, &shared),
        }
    }
    fleet.stop_all(STOP_MAX).await;
}
