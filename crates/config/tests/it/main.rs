//! Tests of reading, verifying and documenting `pawang.toml`, one module per verb.

mod alert;
mod document;
mod limits;
mod load;
mod parse;
mod serve;
mod verify;
