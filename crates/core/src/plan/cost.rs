//! What an action is thought to cost, and how much can go wrong.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ByteSize;

/// What an action is thought to cost; `None` is "nobody knows", not "nothing".
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Read from disk or cache.
    pub read: Option<ByteSize>,
    /// Written ahead.
    pub wal: Option<ByteSize>,
    /// Disk space that is needed meanwhile.
    pub disk: Option<ByteSize>,
    /// Disk space that is given back.
    pub freed: Option<ByteSize>,
    /// How long it takes.
    pub duration: Option<Duration>,
}

/// How fast a server built indexes, as measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildRate {
    /// Bytes read and written per second by half of the builds or more.
    pub usual: ByteSize,
    /// The same by the slowest.
    pub slowest: ByteSize,
    /// How many builds were measured.
    pub builds: usize,
}

impl BuildRate {
    /// Returns what an index build reads and writes: the table twice, to build and to add what came meanwhile, and the index
    /// to sort and to keep.
    pub fn work(table: ByteSize, index: ByteSize) -> ByteSize {
        ByteSize(table.0.saturating_add(index.0).saturating_mul(2))
    }
}

/// How much can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// Nobody notices.
    Low,
    /// Others may become slower, or it must be taken back by hand.
    Medium,
    /// Others are blocked, or data or a session ends: it is confirmed one by one, or allowed by name in a policy.
    High,
}

impl std::fmt::Display for Risk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Risk::Low => "low",
            Risk::Medium => "medium",
            Risk::High => "high",
        })
    }
}
