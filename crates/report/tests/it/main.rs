//! Every form of one evaluation, as a reader sees it.

mod evaluation;
mod forms;
