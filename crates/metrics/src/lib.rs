//! Facts as Prometheus metrics: text exposition, OpenMetrics, and remote-write.
//!
//! Never asks a server: everything comes from the last snapshot.

mod choice;
mod compatible;
mod fold;
mod layout;
mod name;
mod own;
mod setting;
mod sheet;
mod text;

pub use text::{Format, Scrape, write};
