//! Tests over whole files, in one binary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod engine;
mod follow;
mod inputs;
mod lines;
mod resume;
