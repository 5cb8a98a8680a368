//! The report for people: text for a terminal, Markdown for a ticket, one HTML file for everybody else; what differs between two reports;
//! and the removal of secrets before any of it leaves.
//!
//! All forms show the same parts, so that a number is the same in each of them.

pub mod diff;
mod diff_words;
mod doubt;
mod html;
mod markdown;
mod masked;
mod part;
mod redact;
mod style;
mod text;

pub use crate::secret::without_secrets;
pub use doubt::doubts;
pub use html::{HTML_BYTES_MAX, html};
pub use markdown::{markdown, section_markdown};
pub use masked::{Masked, safe};
pub use part::Section;
pub use redact::redact;
pub use style::Style;
pub use text::{section_rows, section_text, text};
