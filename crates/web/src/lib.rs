//! The web: HTTP API and dashboard. Shows what store and check say; contains no SQL and no judgement.

mod assets;
mod chart;
mod layout;
mod page;
mod site;
mod words;

pub use site::{Command, Settings, Site};
