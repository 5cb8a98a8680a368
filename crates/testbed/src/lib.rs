//! Throw-away PostgreSQL clusters of every version, standbys and poolers for tests and the demo.
//!
//! Whatever is started here stops and removes itself when its value is dropped, and also when the process is killed.
//! The crate panics instead of returning errors: a test that cannot have its server has nothing left to say.

#![expect(
    clippy::disallowed_methods,
    reason = "the testbed starts programs, reads the environment and drives connections in tasks"
)]

mod alertmanager;
mod browser;
mod bucket;
mod cluster;
mod guard;
mod owner;
mod patroni;
mod pooler;
mod prometheus;
mod receiver;
mod recovery;
mod request;
mod session;
mod small_disk;
mod smtp;
mod standby;
mod tangle;
mod template;
mod until;
mod version;

pub use alertmanager::Alertmanager;
pub use browser::{Browser, CONTROL, ENTER, ESCAPE};
pub use bucket::{Bucket, Fault, Rule};
pub use cluster::{Cluster, Setup, Stop};
pub use patroni::PatroniNode;
pub use pooler::Pooler;
pub use prometheus::{PostgresExporter, Prometheus, promtool};
pub use receiver::{Heard, Receiver, Reply};
pub use recovery::{Recovery, age_installed, barman_installed, pgbackrest_installed};
pub use small_disk::{SmallDisk, may_mount};
pub use smtp::MailServer;
pub use tangle::{Fate, Tangle, Tangled};
pub use tokio_postgres::Client;
pub use until::until;
pub use version::{
    Installation, Version, cache_directory, combinebackup, installations, tools_directory, versions,
};
