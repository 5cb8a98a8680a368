//! Facts as Prometheus metrics: text exposition, OpenMetrics, and remote-write.
//!
//! Never asks a server: everything comes from the last snapshot.

mod alert;
mod backup;
mod choice;
mod compatible;
mod error;
mod fold;
mod layout;
mod name;
mod own;
mod reference;
pub mod remote_write;
mod setting;
mod sheet;
mod text;

pub use error::Error;
pub use reference::reference;
pub use text::{Format, Scrape, write};
