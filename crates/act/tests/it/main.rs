//! Tests of this crate with real servers.

mod repack;
