//! What is remembered, on a real disk.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod alerts;
mod crash;
mod findings;
mod format;
mod full;
mod history;
mod history_exact;
mod history_rates;
mod history_tend;
mod journal;
mod open;
mod rescue;
mod state;
mod statements;
mod world;
