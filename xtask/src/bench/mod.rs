//! `cargo xtask bench <what>`: measures, prints a table, and writes it into `docs/benchmarks.md`.

mod act;
mod alert;
mod backup;
mod check;
mod database;
pub(crate) mod http;
mod logs;
mod maintain;
mod measure;
mod others;
mod page;
mod parts;
mod process;
mod program;
mod serve;

pub(crate) use act::run as act;
pub(crate) use alert::run as alert;
pub(crate) use backup::run as backup;
pub(crate) use check::run as check;
pub(crate) use logs::run as logs;
pub(crate) use maintain::run as maintain;
pub(crate) use serve::{Daemon, run as serve};
