//! What a server needs to stay healthy: policies and facts in, proposals out. Pure: it asks no server and changes none.

pub mod reindex;
pub mod rewrite;
