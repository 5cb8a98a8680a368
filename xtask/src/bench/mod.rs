//! `cargo xtask bench <what>`: measures, prints a table, and writes it into `docs/benchmarks.md`.

mod check;
mod database;
mod measure;
mod others;
mod page;

pub(crate) use check::run as check;
