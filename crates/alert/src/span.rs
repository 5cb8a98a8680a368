//! Arithmetic with time that neither overflows nor panics when a clock is put back.

use std::time::Duration;

use pawang_core::Timestamp;

/// Returns the time so much later; the last of all times when there is none.
pub(crate) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// Returns how long it is from one time to a later one; nothing when it is not later.
pub(crate) fn since(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
