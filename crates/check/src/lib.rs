//! Judges: turns facts into verdicts. Every check is one declared item and one pure function.
//!
//! This crate does no input or output and reads no clock.

mod catalogue;
mod check;
mod evaluate;
use pawang_core::relation;
mod view;

mod availability;
mod backup;
mod connections;
pub mod down;
mod host;
mod io;
mod locks;
mod logs;
mod patroni;
mod pgbouncer;
mod question;
mod replication;
mod schema;
mod security;
mod statements;
mod timescaledb;
mod transactions;
mod user;
mod vacuum;
mod wal;
mod warehouse;

pub use catalogue::{CHECKS, find, of_group};
pub use check::{Check, Direction, Floor, Group, Observation, Scope};
pub use evaluate::{Policy, Resolved, evaluate, evaluate_all};
pub use locks::{Branch, forest};
pub use question::{backup_columns, freshness_columns, load_columns, user_columns};
pub use user::observe_user_rows;
pub use view::{Growth, View};
