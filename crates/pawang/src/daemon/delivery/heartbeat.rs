//! The sign of life to somebody who notices when it is missing.

use std::time::Duration;

use pawang_config::HeartbeatConfig;
use tokio::time::Instant;

/// The sign of life: due at times, and only while everything moves.
#[derive(Default)]
pub(super) struct Heartbeat {
    config: Option<HeartbeatConfig>,
    next: Option<Instant>,
    /// Why the last one did not work out.
    pub trouble: Option<String>,
}

impl Heartbeat {
    /// Takes another configuration; the first sign comes at once.
    pub(super) fn take_config(&mut self, config: Option<&HeartbeatConfig>) {
        if self.config.as_ref() != config {
            self.config = config.cloned();
            self.next = config.map(|_| Instant::now());
            self.trouble = None;
        }
    }

    /// Returns when the next sign is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Returns the address to ask when a sign is due now, and plans the next one.
    pub(super) fn due(&mut self) -> Option<String> {
        let config = self.config.as_ref()?;
        let now = Instant::now();
        if self.next.is_some_and(|next| next > now) {
            return None;
        }
        self.next = Some(now + config.every.0.max(Duration::from_secs(1)));
        Some(config.url.reveal().clone())
    }
}
