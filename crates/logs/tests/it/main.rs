//! Tests over whole files, in one binary.

mod engine;
mod inputs;
mod lines;
mod resume;
