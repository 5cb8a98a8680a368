//! Tests over whole files, in one binary.

mod sections;
mod split;
