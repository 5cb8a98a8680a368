//! The exposition and remote-write against Debian's Prometheus, promtool and postgres_exporter.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod alike;
mod contrib;
mod exposition;
mod property;
mod remote;
mod scene;
