//! Tests over whole files, in one binary.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod engine;
mod follow;
mod forms;
mod found;
mod fuzz_corpus;
mod inputs;
mod language;
mod lines;
mod parity;
mod parts;
mod plan;
mod plan_garbage;
mod remarks;
mod render;
mod render_sample;
mod resume;
mod search;
mod sections;
mod shapes;
mod split;
mod stderr;
mod timeline;
mod transports;
