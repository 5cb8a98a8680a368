//! Tests over whole files, in one binary.

mod render;
mod render_sample;
