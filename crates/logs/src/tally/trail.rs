//! What may explain that statements became slower: changes of schemas and settings, starts and versions, in the order of the log.
//!
//! Whether a change took place is known only after what follows in its session, so that is joined by [`crate::regression::Trail`].

use std::collections::VecDeque;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::{Event, ShapeId, Shapes};
use crate::extract::{csv_fields, named, printable, redacted};
use crate::kind::{KindId, find};
use crate::regression::{Happening, What};
use crate::severity::Severity;
use crate::statement::{changes, may_change, told};

/// Most events that are kept, the latest.
const EVENTS_MAX: usize = 2_000;
/// Longest name and longest message of a setting, in bytes.
const NAME_BYTES_MAX: usize = 200;
/// Fields of a pgaudit record up to the statement.
const AUDIT_FIELDS: usize = 8;

/// The events.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Trail {
    events: VecDeque<Entry>,
    dropped: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    at: i64,
    pid: u32,
    what: Kept,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Kept {
    /// A statement with a change; whether pgaudit told it.
    Altered {
        user: String,
        database: String,
        shape: ShapeId,
        audit: bool,
    },
    /// The statement of this shape failed.
    Failed(ShapeId),
    Version(String),
    Ready,
    Setting(String),
}

impl Trail {
    /// Adds one record about statements.
    pub(crate) fn take(&mut self, event: &Event<'_>, shapes: &mut Shapes) {
        let record = event.record;
        let audit = record.message.strip_prefix(b"AUDIT: ");
        let shape = match audit {
            Some(rest) => {
                let fields = csv_fields(rest, AUDIT_FIELDS);
                let text = fields.get(AUDIT_FIELDS - 1);
                text.filter(|text| may_change(text))
                    .map(|text| shapes.of(text))
            }
            None => told(record.message)
                .filter(|told| told.phase.runs() && may_change(told.text))
                .and(event.shape),
        };
        let Some(shape) = shape.filter(|shape| !changes(shapes.text(*shape)).is_empty()) else {
            return;
        };
        let name = |name: &[u8]| printable(&named(name), NAME_BYTES_MAX);
        self.push(
            event,
            Kept::Altered {
                user: name(record.user),
                database: name(record.database),
                shape,
                audit: audit.is_some(),
            },
        );
    }

    /// Adds one record about the server.
    pub(crate) fn take_server(&mut self, event: &Event<'_>) {
        static KINDS: LazyLock<[Option<KindId>; 3]> =
            LazyLock::new(|| ["server-starting", "server-ready", "setting-changed"].map(find));
        let message = event.record.message;
        let [starting, ready, setting] = *KINDS;
        let kind = Some(event.kind);
        if kind == starting {
            let text = redacted(message, NAME_BYTES_MAX);
            let version = text
                .strip_prefix("starting PostgreSQL ")
                .unwrap_or_default();
            let version = version.split(" on ").next().unwrap_or_default();
            self.push(event, Kept::Version(version.to_owned()));
        } else if kind == ready {
            self.push(event, Kept::Ready);
        } else if kind == setting {
            self.push(event, Kept::Setting(redacted(message, NAME_BYTES_MAX)));
        }
    }

    /// Adds an error of a statement.
    pub(crate) fn fail(&mut self, event: &Event<'_>) {
        let record = event.record;
        let Some(shape) = event.shape.filter(|_| record.severity == Severity::Error) else {
            return;
        };
        if may_change(record.statement) {
            self.push(event, Kept::Failed(shape));
        }
    }

    fn push(&mut self, event: &Event<'_>, what: Kept) {
        let Some(at) = event.record.at else {
            return;
        };
        let pid = event.record.pid;
        self.events.push_back(Entry { at, pid, what });
        self.bound();
    }

    fn bound(&mut self) {
        let surplus = self.events.len().saturating_sub(EVENTS_MAX);
        self.dropped |= surplus > 0;
        self.events.drain(..surplus);
    }

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, later: Trail) {
        self.dropped |= later.dropped;
        self.events.extend(later.events);
        self.bound();
    }

    /// Returns the events, their statements without constants.
    pub(crate) fn happenings(&self, shapes: &Shapes) -> Vec<Happening> {
        let what = |kept: &Kept| match kept {
            Kept::Altered {
                user,
                database,
                shape,
                audit,
            } => What::Change {
                user: user.clone(),
                database: database.clone(),
                text: shapes.text(*shape).to_owned(),
                audit: *audit,
            },
            Kept::Failed(shape) => What::Failed(shapes.text(*shape).to_owned()),
            Kept::Version(version) => What::Version(version.clone()),
            Kept::Ready => What::Ready,
            Kept::Setting(text) => What::Setting(text.clone()),
        };
        let events = self.events.iter().map(|entry| Happening {
            at: entry.at,
            pid: entry.pid,
            what: what(&entry.what),
        });
        events.collect()
    }

    /// Tells whether no event had to go.
    pub(crate) fn complete(&self) -> bool {
        !self.dropped
    }
}
