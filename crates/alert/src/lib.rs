//! Findings over time: what becomes an alert, who is told, what keeps it quiet, and what belongs to one incident.
//!
//! Condition and handling are two separate state machines; everything but [`channel`] is a pure function of what was
//! before, what happened and when.

pub mod baseline;
pub mod book;
pub mod channel;
pub mod condition;
pub mod group;
pub mod handling;
pub mod incident;
pub mod inhibit;
pub mod matcher;
pub mod notice;
pub mod priority;
pub mod recipient;
pub mod replay;
pub mod rota;
pub mod route;
pub mod rule;
pub mod setup;
mod span;
pub mod template;
pub mod window;
