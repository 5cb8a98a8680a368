//! What the disk refused to take: kept in bounded memory, and tried again.

use std::time::{Duration, Instant};

use pawang_core::alert::Changes;
use pawang_store::Error;

/// The disk is asked again so often.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Lines of logs that are kept in mind while the disk refuses; the oldest go first.
const LINES_MAX: usize = 50_000;

/// What is not saved yet.
#[derive(Default)]
pub(super) struct Unsaved {
    changes: Changes,
    refused: Option<(Instant, String)>,
    dropped: usize,
    hurried: bool,
}

impl Unsaved {
    /// Says whether everything is saved.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Makes the next save ask the disk however short ago it refused: there will be no later one.
    pub(super) fn hurry(&mut self) {
        self.hurried = true;
    }

    /// Saves changes together with those that the disk refused before.
    pub(super) fn save(
        &mut self,
        changes: Changes,
        save: impl FnOnce(&Changes) -> Result<(), Error>,
    ) {
        self.changes.absorb(changes);
        self.bound();
        let waits = self
            .refused
            .as_ref()
            .is_some_and(|(at, _)| at.elapsed() < AGAIN_AFTER && !self.hurried);
        if self.changes.is_empty() || waits {
            return;
        }
        match save(&self.changes) {
            Ok(()) => {
                self.changes = Changes::default();
                if self.refused.take().is_some() {
                    tracing::info!("alerts are saved again");
                }
            }
            Err(error) => {
                if self.refused.is_none() {
                    tracing::error!("alerts cannot be saved, and are told all the same: {error}");
                }
                self.refused = Some((Instant::now(), error.to_string()));
            }
        }
    }

    /// Returns what people must know about it.
    pub(super) fn note(&self) -> Option<String> {
        let (_, why) = self.refused.as_ref()?;
        let dropped = match self.dropped {
            0 => String::new(),
            dropped => format!("; {dropped} lines of their log were dropped"),
        };
        Some(format!(
            "alerts cannot be saved, and are told all the same: {why}{dropped}"
        ))
    }

    fn bound(&mut self) {
        let events = self.changes.events.len().saturating_sub(LINES_MAX);
        self.changes.events.drain(..events);
        let entries = self.changes.entries.len().saturating_sub(LINES_MAX);
        self.changes.entries.drain(..entries);
        self.dropped += events + entries;
    }
}
