//! Commands as a user types them: whole output and exit code.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod account;
mod check;
mod config;
mod estate;
mod explain;
mod formats;
mod init;
mod program;
mod serve;
mod serve_daemon;
mod trouble;
mod wrong;
