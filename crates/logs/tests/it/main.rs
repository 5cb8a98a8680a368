//! Tests over whole files, in one binary.

mod plan;
mod plan_garbage;
