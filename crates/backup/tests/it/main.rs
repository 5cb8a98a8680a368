//! Backups of real servers: taken, kept, restored, proven.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests stand where the binary stands: they say what time it is"
)]

mod between;
mod chain;
mod clean;
mod delta;
mod drill;
mod failures;
mod faults;
mod full_disk;
mod get;
mod interrupted;
mod lanes;
mod leases;
mod ledger;
mod local;
mod pages;
mod parts;
mod push;
mod receive;
mod repository;
mod restore;
mod s3;
mod seal;
mod sizes;
mod stock;
mod take;
mod torn;
mod verify;
mod world;
