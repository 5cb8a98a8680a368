//! Incidents: which alerts have one cause, the clock, the timeline, similar ones, the report.

mod similar;
mod state;
#[cfg(test)]
mod tests;
mod timeline;
mod words;

pub mod report;

pub use similar::similar;
pub use state::{Incidents, Opening, overdue};
pub use timeline::{Line, timeline};
