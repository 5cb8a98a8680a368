//! Every form of one evaluation, as a reader sees it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod evaluation;
mod forms;
