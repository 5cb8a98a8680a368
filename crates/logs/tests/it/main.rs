//! Tests over whole files, in one binary.

mod engine;
mod forms;
mod found;
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
