//! Tests over whole files, in one binary.

mod shapes;
mod split;
