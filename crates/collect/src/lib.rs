//! Observes: turns servers, poolers, agents and hosts into snapshots.
//!
//! What to read is data: one folder per collector under `catalog/`. This crate judges nothing.

pub mod activity;
mod backup;
mod catalog;
pub mod down;
mod header;
mod host;
mod observe;
mod paging;
mod patroni;
mod pgbouncer;
mod question;
pub mod schedule;

pub use backup::{BackupKind, BackupPlace};
pub use catalog::{Catalog, Collector, Error};
pub use header::{Exclusions, Header, Paging, Scope};
pub use host::{HostRequest, LogFiles, log_directory, log_files};
pub use observe::{Observer, Request, TEXT_CHARACTERS_MAX, TEXTS_MAX, observe};
pub use question::Question;
