//! Tests over whole files, in one binary.

mod language;
