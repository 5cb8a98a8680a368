//! Events of the whole server, and crashes.

use serde::{Deserialize, Serialize};

use super::{Event, Options, Shapes};
use crate::report;

/// Events of the whole server, and crashes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Server {}

impl Server {
    /// Adds one record.
    pub(crate) fn take(&mut self, _event: &Event<'_>) {}

    /// Adds the part that follows.
    pub(crate) fn absorb(&mut self, _later: Server) {}

    /// Joins what belongs together, in order.
    pub(crate) fn settle(&mut self) {}

    /// Returns its part of the report.
    pub(crate) fn report(&self, _shapes: &Shapes, _options: &Options) -> report::Server {
        report::Server::default()
    }
}
