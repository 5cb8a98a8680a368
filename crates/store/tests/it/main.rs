//! What is remembered, on a real disk.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod findings;
mod journal;
mod open;
mod state;
mod world;
