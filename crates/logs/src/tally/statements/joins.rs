//! Statements and durations on two lines, as `log_statement` with `log_duration` writes them, joined by session.
//!
//! A statement that was logged when it began has its duration in the next line of its session without any text. A part of a log keeps
//! for each session what could belong to the part before it (a duration that came first) and to the one after it (a statement that
//! has none yet), so that parts add up to what one reading gives.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use crate::record::Record;
use crate::statement::Phase;
use crate::tally::ShapeId;

/// Most sessions that are followed; durations of others are of no known statement.
const SESSIONS_MAX: usize = 50_000;

/// A statement that began.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Begun {
    pub(super) shape: Option<ShapeId>,
    pub(super) fetch: bool,
    pub(super) extended: bool,
    pub(super) text: String,
    pub(super) parameters: String,
    pub(super) tags: std::collections::BTreeMap<String, String>,
}

impl Begun {
    pub(super) fn phase(&self) -> Phase {
        match (self.fetch, self.extended) {
            (true, _) => Phase::Fetch,
            (false, true) => Phase::Execute,
            (false, false) => Phase::Simple,
        }
    }
}

/// A duration without a text.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Bare {
    pub(super) at: Option<i64>,
    pub(super) duration: u64,
    pub(super) who: u32,
}

/// What a part of the log has of a session.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Session {
    /// The duration that came before all else.
    head: Option<Bare>,
    /// The statement that has no duration yet.
    begun: Option<Box<Begun>>,
}

/// The sessions of a part of a log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Joins {
    sessions: HashMap<u64, Session, FixedState>,
}

/// What became of a duration without a text.
#[derive(Clone, Debug)]
pub(super) enum Joined {
    /// It is that of a statement.
    With(Box<Begun>),
    /// It may be that of a statement of the part before.
    Later,
    /// It is of none.
    Alone,
}

/// Returns what a session is known by; none without a process.
pub(super) fn session(record: &Record<'_>) -> Option<u64> {
    (record.pid > 0).then_some(u64::from(record.session_started) << 32 | u64::from(record.pid))
}

impl Joins {
    fn session(&mut self, key: u64) -> Option<&mut Session> {
        if self.sessions.len() >= SESSIONS_MAX && !self.sessions.contains_key(&key) {
            return None;
        }
        Some(self.sessions.entry(key).or_default())
    }

    /// Takes a statement that begins.
    pub(super) fn begin(&mut self, key: u64, begun: Begun) {
        if let Some(session) = self.session(key) {
            session.begun = Some(Box::new(begun));
        }
    }

    /// Takes an error, after which no duration follows.
    pub(super) fn fail(&mut self, key: u64) {
        if let Some(session) = self.session(key) {
            session.begun = None;
        }
    }

    /// Takes a duration without a text.
    pub(super) fn end(&mut self, key: u64, bare: Bare) -> Joined {
        if let Some(session) = self.sessions.get_mut(&key) {
            return session.begun.take().map_or(Joined::Alone, Joined::With);
        }
        match self.session(key) {
            Some(session) => {
                session.head = Some(bare);
                Joined::Later
            }
            None => Joined::Alone,
        }
    }

    /// Adds the sessions of the part that follows; `who` tells the numbers of its names here, `ended` takes each duration that was first
    /// there and what it belongs to.
    pub(super) fn absorb(
        &mut self,
        other: Joins,
        who: &[u32],
        mut ended: impl FnMut(Bare, Option<Box<Begun>>),
    ) {
        let mut sessions: Vec<(u64, Session)> = other.sessions.into_iter().collect();
        sessions.sort_unstable_by_key(|(key, _)| *key);
        for (key, mut session) in sessions {
            if let Some(head) = &mut session.head {
                head.who = who[head.who as usize];
            }
            if let Some(mine) = self.sessions.get_mut(&key) {
                if let Some(head) = session.head {
                    ended(head, mine.begun.take());
                }
                mine.begun = session.begun;
            } else if self.sessions.len() < SESSIONS_MAX {
                self.sessions.insert(key, session);
            } else if let Some(head) = session.head {
                ended(head, None);
            }
        }
    }

    /// Returns the durations that came first in their session.
    pub(super) fn heads(&self) -> impl Iterator<Item = &Bare> {
        self.sessions
            .values()
            .filter_map(|session| session.head.as_ref())
    }
}
