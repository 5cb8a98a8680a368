//! Everything about alerts that runs: the thread that owns them, the task that delivers, and what is usual.

use std::sync::Arc;
use std::time::Duration;

use pawang_alert::book::Event;
use pawang_alert::setup::Setup;
use pawang_core::{Level, Report, Timestamp};
use pawang_store::live::Live;
use pawang_store::{Error, Store};
use tokio::sync::watch;

use super::alerting::{self, Alerting};
use super::delivery::{self, Delivery};
use super::own;

/// What the orderly end may take.
const END_MAX: Duration = Duration::from_secs(10);

/// Everything about alerts that runs.
pub(super) struct Alarm {
    thread: alerting::Thread,
    delivery: Delivery,
    setup: watch::Sender<Arc<Setup>>,
    moves: watch::Sender<bool>,
}

impl Alarm {
    /// Starts it; alerts go on where an earlier daemon was.
    ///
    /// # Errors
    /// The state file cannot be read, or the operating system gives no thread.
    pub(super) fn start(
        setup: &Arc<Setup>,
        store: &Store,
        live: &Arc<Live>,
        now: fn() -> Timestamp,
    ) -> Result<(Alarm, Alerting), Report> {
        let state = store.state();
        let saved = state.saved_alerts().or_else(|error| match error {
            Error::Damaged { what, .. } => {
                let note = store.renew_state(&what, now())?;
                tracing::error!("{note}");
                state.saved_alerts()
            }
            error => Err(error),
        });
        let saved = saved.map_err(|error| error.report())?;
        let parcels = saved.parcels.clone();
        let ends = delivery::Ends::default();
        let (messages, status) = (ends.messages.clone(), ends.status.clone());
        let tools = alerting::Tools {
            state: state.clone(),
            live: Arc::clone(live),
            // Whoever delivers ends after the alerts do.
            offer: Box::new(move |offered| drop(messages.send(offered))),
            channels: Box::new(move || status.borrow().clone()),
            now,
        };
        let (alerting, thread) = alerting::start(Arc::clone(setup), saved, tools)?;
        let (moves, moving) = watch::channel(true);
        let tools = delivery::Tools {
            state: state.clone(),
            alerting: alerting.clone(),
            moves: moving,
            now,
        };
        let delivery = ends.start(Arc::clone(setup), parcels, tools);
        let (setup, _) = watch::channel(Arc::clone(setup));
        let alarm = Alarm {
            thread,
            delivery,
            setup,
            moves,
        };
        Ok((alarm, alerting))
    }

    /// Returns the configuration in force, as it changes.
    pub(super) fn setups(&self) -> watch::Receiver<Arc<Setup>> {
        self.setup.subscribe()
    }

    /// Takes another configuration; what waits is tried at once.
    pub(super) async fn take_setup(&self, setup: &Arc<Setup>, alerting: &Alerting) {
        self.delivery.take_setup(Arc::clone(setup));
        alerting.event(Event::Setup(Arc::clone(setup))).await;
        self.setup.send_replace(Arc::clone(setup));
    }

    /// Says whether everything moves, and who does not.
    pub(super) async fn tell_moves(&self, silent: &[String], alerting: &Alerting) {
        let well = silent.is_empty();
        if self.moves.send_replace(well) == well {
            return;
        }
        if !well {
            tracing::error!(?silent, "tasks do not move");
        }
        let findings = silent.iter().map(|name| {
            own::finding(
                "scheduler-stuck",
                name,
                Level::Critical,
                format!("\"{name}\" has not moved for minutes: what it looks after is not seen"),
                "pawang serve status",
            )
        });
        alerting.own("scheduler", findings.collect()).await;
    }

    /// Says whether the thread of the alerts moves.
    pub(super) fn beat(&self) -> &super::beat::Beat {
        &self.thread.beat
    }

    /// Says whether the thread ended though nobody told it to.
    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends it, after the last ways to the alerts were dropped but that of the delivery; says whether all was saved.
    pub(super) async fn stop(self) -> bool {
        let Alarm {
            thread,
            delivery,
            setup,
            ..
        } = self;
        drop(setup);
        delivery.stop().await;
        thread.join(END_MAX).await
    }
}
