//! Tests over whole files, in one binary.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod engine;
mod forms;
mod found;
mod follow;
mod inputs;
mod lines;
mod plan;
mod render;
mod render_sample;
mod transports;
mod resume;
mod shapes;
mod sections;
mod split;
mod plan_garbage;
mod stderr;
mod parts;
mod sections;
