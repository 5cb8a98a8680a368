//! Tests over whole files, in one binary.

mod forms;
mod found;
mod plan;
mod engine;
mod inputs;
mod lines;
mod transports;
mod render;
mod render_sample;
