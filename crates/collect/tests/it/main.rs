//! The collectors on real servers: what they cover, that they run, and that they never wait for anybody's lock.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod coverage;
mod lock_proof;
mod nineteen;
mod observer;
