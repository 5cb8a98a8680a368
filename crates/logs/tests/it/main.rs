//! Tests over whole files, in one binary.

mod engine;
mod follow;
mod inputs;
mod lines;
mod resume;
