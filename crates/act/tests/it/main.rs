//! Tests of this crate with real servers.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod apply;
mod session;
mod world;
