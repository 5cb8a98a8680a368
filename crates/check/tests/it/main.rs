//! The truth suite: every fault is injected into a real server, and the verdict must change with it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod availability;
mod backup;
mod backup_repository;
mod bloat_corpus;
mod connections;
mod disk;
mod down;
mod host;
mod io;
mod locks;
mod logs;
mod mount;
mod patroni;
mod pgbouncer;
mod replication;
mod schema;
mod security;
mod statements;
mod timescaledb;
mod transactions;
mod vacuum;
mod wal;
mod warehouse;

mod watch;
