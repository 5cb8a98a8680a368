//! Commands as a user types them: whole output and exit code.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod account;
mod alert;
mod backup;
mod backup_create;
mod backup_daemon;
mod backup_refusals;
mod backup_seal;
#[path = "../../../backup/tests/it/world.rs"]
#[expect(dead_code, reason = "the tests of the crate use all of it")]
mod backup_world;
mod browser;
mod bucket;
mod check;
mod config;
mod drill_other;
mod dump;
mod estate;
mod explain;
mod formats;
mod full_disk;
mod history;
mod incident;
mod init;
mod logs;
mod logs_follow;
mod maintain;
mod program;
mod query;
mod query_causes;
mod query_live;
mod restore;
mod restore_table;
mod rule;
mod serve;
mod serve_alerts;
mod serve_daemon;
mod serve_logs;
mod serve_refusals;
mod serve_reload;
mod serve_sessions;
mod serve_trouble;
mod session;
mod session_audit;
mod top;
mod trouble;
mod wal;
mod wal_stream;
mod window;
mod wrong;
