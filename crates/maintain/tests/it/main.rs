//! Planners on real servers: healthy means an empty plan, a fault the right proposal, and cleared an empty plan again.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cleanup;
mod leftovers;
mod partitions;
mod vacuum;
mod watch;
mod wraparound;
