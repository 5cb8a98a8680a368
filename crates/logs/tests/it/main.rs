//! Tests over whole files, in one binary.

mod forms;
mod found;
mod transports;
