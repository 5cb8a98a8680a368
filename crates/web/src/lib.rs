//! The web: HTTP API and dashboard. Shows what store and check say; contains no SQL and no judgement.

mod chart;
mod page;
mod site;

pub use site::{Command, Settings, Site};
