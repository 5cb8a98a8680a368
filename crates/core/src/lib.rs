//! The nouns of Pawang: what a server, a snapshot, a finding and an error for people are.
//!
//! This crate does no input or output and reads no clock: time is a parameter.

pub mod alert;
mod autovacuum;
pub mod backup;
mod blind;
pub mod bloat;
mod down;
mod facts;
mod finding;
mod instance;
mod level;
mod lsn;
pub mod plan;
pub mod progress;
pub mod relation;
mod report;
mod secret;
mod series;
mod server;
mod size;
mod snapshot;
mod waits;

pub use autovacuum::{Autovacuum, Need};
pub use blind::{Blind, Missing};
pub use down::{
    ConfigurationProblem, Control, DataDirectory, DownFacts, Listener, PidFile, Refusal, Space,
};
pub use facts::{Facts, Sighting};
pub use finding::{Evaluation, Finding, Limits, Measure, Outcome, Unit, Verdict, fingerprint};
pub use instance::Instance;
pub use jiff::Timestamp;
pub use level::Level;
pub use lsn::{Lsn, ParseLsnError};
pub use report::{Kind, Report};
pub use secret::Secret;
pub use series::{Point, Reading, Series, Span};
pub use server::{Role, Server};
pub use size::ByteSize;
pub use snapshot::{Column, ColumnKind, Cost, Epoch, Key, Row, Snapshot, Value};
pub use waits::{Twig, WaitGraph};
