//! The pages: one file each, all of the same form.

pub(crate) mod account;
pub(crate) mod activity;
mod alert;
pub(crate) mod backups;
pub(crate) mod finding;
pub(crate) mod findings;
pub(crate) mod fleet;
pub(crate) mod incident;
pub(crate) mod incidents;
pub(crate) mod indexes;
pub(crate) mod instance;
pub(crate) mod journal;
pub(crate) mod logs;
pub(crate) mod maintenance;
pub(crate) mod parts;
pub(crate) mod queries;
pub(crate) mod query;
pub(crate) mod range;
pub(crate) mod replication;
pub(crate) mod settings;
pub(crate) mod setup;
pub(crate) mod slower;
pub(crate) mod status;
pub(crate) mod storage;
pub(crate) mod tables;
mod verdict;
mod vitals;
pub(crate) mod windows;

use std::sync::Arc;

use maud::Markup;
use pawang_core::Timestamp;
use pawang_store::history::{Reader, Span};
use pawang_store::live::Present;
use pawang_store::state::Account;

use crate::Site;

/// The parameters of an address that say which stretch of time is shown.
const RANGE_PARAMETERS: [&str; 4] = ["range", "from", "to", "at"];

/// One person's look at one page.
pub(crate) struct Visit<'a> {
    /// What every request shares.
    pub site: &'a Site,
    /// The history.
    pub reader: &'a Reader,
    /// The time.
    pub now: Timestamp,
    /// Which stretch of time charts and tables show.
    pub range: Range,
    /// The parameters of the address, decoded, in their order.
    pub query: &'a [(String, String)],
    /// Who looks; `None` when nobody has to sign in.
    pub account: Option<&'a Account>,
    /// What forms must carry.
    pub csrf: Option<&'a str>,
}

/// Which stretch of time a page shows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Range {
    /// From when to when.
    pub span: Span,
    /// Whether it ends at a named time instead of now: such an address shows the same for ever.
    pub frozen: bool,
    /// What the picker shows as chosen: `1h`, `24h`, ...; empty for a span of its own.
    pub name: String,
}

/// A page without its frame.
pub(crate) struct Page {
    /// What it is, for title and heading.
    pub title: String,
    /// Which entry of the navigation it belongs to.
    pub place: Place,
    /// The instance that it is about.
    pub instance: Option<String>,
    /// What it says.
    pub body: Markup,
    /// How old the facts on it are: when they were seen.
    pub seen_at: Option<Timestamp>,
}

/// The entries of the navigation, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// All instances.
    Fleet,
    /// Alerts of one cause.
    Incidents,
    /// All findings.
    Findings,
    /// Maintenance windows and silences.
    Windows,
    /// One instance.
    Instance,
    /// Sessions, waits, blocking.
    Activity,
    /// Statements.
    Queries,
    /// Tables and indexes.
    Tables,
    /// Who follows whom.
    Replication,
    /// Disks, databases, growth.
    Storage,
    /// What could be restored, and how far that is proven.
    Backups,
    /// What is due, and what was done.
    Maintenance,
    /// Settings and how they changed.
    Settings,
    /// What the server wrote into its log.
    Logs,
    /// What is missing, with the SQL to grant it.
    Setup,
    /// What was done through Pawang.
    Journal,
}

/// A page cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    /// There is no such thing.
    #[error("there is no {what}")]
    NotFound {
        /// What was asked for, with its name.
        what: String,
    },
    /// The parameters make no sense.
    #[error("cannot read \"{parameter}\"")]
    Parameter {
        /// Its name.
        parameter: String,
    },
    /// The history does not answer.
    #[error("could not read the history")]
    Store(#[from] pawang_store::Error),
}

impl Visit<'_> {
    /// Returns a path with the stretch of time that is shown, so that it stays the same from page to page.
    pub(crate) fn link(&self, path: &str) -> String {
        let kept = self
            .query
            .iter()
            .filter(|(key, _)| RANGE_PARAMETERS.contains(&key.as_str()));
        let kept: Vec<(String, String)> = kept.cloned().collect();
        if kept.is_empty() {
            return path.to_owned();
        }
        format!("{path}{}", crate::words::address(&kept, &[]))
    }

    /// Returns a parameter of the address.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let mut found = self.query.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// Returns an instance: its present, or for a frozen range what was known of it then.
    pub(crate) fn instance(&self, name: &str) -> Result<Arc<Present>, PageError> {
        let missing = || PageError::NotFound {
            what: format!("instance \"{name}\""),
        };
        let present = self.site.live.instance(name).ok_or_else(missing)?;
        if !self.range.frozen {
            return Ok(present);
        }
        let facts = self.reader.facts_at(name, self.range.span.to)?;
        Ok(match facts {
            Some(facts) => Arc::new(Present {
                facts: Arc::new(facts),
                evaluation: None,
                activity: Arc::new([]),
                ..Present::clone(&present)
            }),
            None => present,
        })
    }
}
