//! Tests of this crate with real servers.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod apply;
mod door;
mod dry;
mod govern;
mod harm;
mod kills;
mod partition;
mod refuse;
mod repack;
mod session;
mod session_kills;
mod tasks;
mod world;
