//! A backup is proven: restored into a server that nobody else sees, recovered, promoted, looked through and asked.

pub mod binaries;
pub mod check;
pub mod other;
mod run;
pub mod scratch;

pub use check::{Findings, Probe};
pub use run::{DrillSettings, Drilled, forecast, run};
pub use scratch::{Scratch, ScratchSettings};
