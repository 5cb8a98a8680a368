//! What is remembered, on a real disk.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod crash;
mod findings;
mod full;
mod history;
mod journal;
mod open;
mod rescue;
mod state;
mod statements;
mod world;
