//! Alerts as their users meet them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod channel;
mod inhibit;
mod kills;
mod rules;
