//! Tests over whole files, in one binary.

mod parts;
mod sections;
