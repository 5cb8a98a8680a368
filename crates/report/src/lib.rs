//! Tells: turns evaluations into text, Markdown, HTML and Nagios output, and plans and their outcomes into text.
//!
//! Everything here returns strings; only the binary prints.

mod grouped;
mod html;
mod markdown;
mod nagios;
mod operations_log;
mod plan;
mod style;
mod text;

pub use html::html;
pub use markdown::markdown;
pub use nagios::{Nagios, nagios};
pub use operations_log::{OperationsLog, operations_log, operations_log_checks};
pub use plan::{outcome, plan};
pub use style::{Style, one_line};
pub use text::{Detail, text, tsv};
