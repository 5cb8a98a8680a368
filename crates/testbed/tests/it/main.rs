//! Tests of the testbed itself, on every server that is to be tested.

#![expect(
    clippy::disallowed_methods,
    reason = "one test starts itself again to be killed"
)]

mod browser;
mod cluster;
mod leftovers;
mod patroni;
mod pooler;
mod small_disk;
mod standby;
