//! PgBouncer and the server side by side: what both did in each minute.

use serde::{Deserialize, Serialize};

use super::Event;
use super::minutes::{Minutes, Span};
use crate::extract::{after, number_after};
use crate::record::Origin;
use crate::report;
use crate::severity::Severity;

/// What PgBouncer and the server did in each minute.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Timeline {
    pooler_records: u64,
    server_records: u64,
    pooler_logins: Minutes,
    pooler_closings: Minutes,
    pooler_errors: Minutes,
    pooler_waits: Minutes<true>,
    pooler_connections: Minutes,
    server_logins: Minutes,
    server_errors: Minutes,
}

impl Timeline {
    /// Adds one record.
    #[inline]
    pub(crate) fn take(&mut self, event: &Event<'_>) {
        let record = event.record;
        if record.origin == Origin::PgBouncer {
            return self.take_pooler(event);
        }
        self.server_records += 1;
        let Some(at) = record.at else { return };
        if record.severity >= Severity::Error {
            self.server_errors.add(at, 1);
        } else if record.message.starts_with(b"connection authorized: ") {
            self.server_logins.add(at, 1);
        }
    }

    fn take_pooler(&mut self, event: &Event<'_>) {
        let record = event.record;
        self.pooler_records += 1;
        let Some(at) = record.at else { return };
        let message = record.message;
        if message.starts_with(b"stats: ") {
            self.pooler_waits
                .add(at, number_after(message, ", wait ").unwrap_or(0));
        } else if message.starts_with(b"closing because: ") {
            if record.backend == b"client" {
                self.pooler_closings.add(at, 1);
            }
        } else if after(message, "pooler error: ").is_some() {
            self.pooler_errors.add(at, 1);
        } else if message.starts_with(b"login attempt: ") {
            self.pooler_logins.add(at, 1);
        } else if message.starts_with(b"new connection to server") {
            self.pooler_connections.add(at, 1);
        }
    }

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, later: Timeline) {
        self.pooler_records += later.pooler_records;
        self.server_records += later.server_records;
        self.pooler_logins.absorb(later.pooler_logins);
        self.pooler_closings.absorb(later.pooler_closings);
        self.pooler_errors.absorb(later.pooler_errors);
        self.pooler_waits.absorb(later.pooler_waits);
        self.pooler_connections.absorb(later.pooler_connections);
        self.server_logins.absorb(later.server_logins);
        self.server_errors.absorb(later.server_errors);
    }

    /// Returns its part of the report: nothing unless both wrote.
    pub(crate) fn report(&self) -> report::Timeline {
        if self.pooler_records == 0 || self.server_records == 0 {
            return report::Timeline::default();
        }
        let spans = [
            self.pooler_logins.span(),
            self.pooler_closings.span(),
            self.pooler_errors.span(),
            self.pooler_waits.span(),
            self.pooler_connections.span(),
            self.server_logins.span(),
            self.server_errors.span(),
        ];
        let span = spans.into_iter().flatten().reduce(Span::join);
        report::Timeline {
            pooler_logins: self.pooler_logins.series_over(span),
            pooler_closings: self.pooler_closings.series_over(span),
            pooler_errors: self.pooler_errors.series_over(span),
            pooler_waits: self.pooler_waits.series_over(span),
            pooler_connections: self.pooler_connections.series_over(span),
            server_logins: self.server_logins.series_over(span),
            server_errors: self.server_errors.series_over(span),
        }
    }
}
