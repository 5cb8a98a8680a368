//! Waits, and notices the signals that end the command.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use pawang_core::{Kind, Report};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The runtime of this thread, and the signals.
pub(super) struct Waiter {
    runtime: Runtime,
    signals: RefCell<[Signal; 2]>,
    stopped: Cell<bool>,
}

impl Waiter {
    /// Begins to listen to SIGINT and SIGTERM.
    ///
    /// # Errors
    /// The operating system refuses.
    pub(super) fn new() -> Result<Waiter, Report> {
        let start = |error: std::io::Error| {
            Report::new(Kind::Target, "could not start").with_detail(error.to_string())
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(start)?;
        let signals = runtime.block_on(async {
            Ok([
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            ])
        });
        Ok(Waiter {
            runtime,
            signals: RefCell::new(signals.map_err(start)?),
            stopped: Cell::new(false),
        })
    }

    /// Whether a signal came.
    pub(super) fn stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Waits for some time, or until a signal comes.
    pub(super) fn pause(&self, time: Duration) {
        if !self.stopped() {
            // A timer can be made only inside the runtime.
            let _ = self.run(async { tokio::time::sleep(time).await });
        }
    }

    /// Does something until it is done; none when a signal came before.
    pub(super) fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut signals = self.signals.borrow_mut();
        let [interrupt, terminate] = &mut *signals;
        let done = self.runtime.block_on(async {
            tokio::select! {
                done = work => Some(done),
                _ = interrupt.recv() => None,
                _ = terminate.recv() => None,
            }
        });
        self.stopped.set(self.stopped() || done.is_none());
        done
    }
}
