//! Tests of reading, verifying and documenting `pawang.toml`, one module per verb.

mod alert;
mod backup;
mod document;
mod limits;
mod load;
mod maintenance;
mod parse;
mod serve;
mod verify;
