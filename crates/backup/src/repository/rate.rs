//! How many bytes a second go to or come from a repository, for all who share the limit.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A limit of bytes per second; whoever takes part in it shares one.
#[derive(Debug)]
pub struct Rate {
    bytes_per_second: NonZeroU64,
    /// When all that was taken so far is through.
    free_at: Mutex<Option<Instant>>,
}

impl Rate {
    /// Makes a limit.
    pub fn new(bytes_per_second: NonZeroU64) -> Rate {
        Rate {
            bytes_per_second,
            free_at: Mutex::new(None),
        }
    }

    /// Waits until so many bytes may go.
    pub async fn take(&self, bytes: u64) {
        let until = self.book(bytes, Instant::now());
        tokio::time::sleep_until(until).await;
    }

    /// Books the time that the bytes need, and returns when they may begin.
    fn book(&self, bytes: u64, now: Instant) -> Instant {
        let needs = bytes as f64 / self.bytes_per_second.get() as f64;
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = free_at.map_or(now, |free_at| free_at.max(now));
        *free_at = Some(begin + Duration::from_secs_f64(needs));
        begin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_who_share_a_limit_wait_for_each_other() {
        let rate = Rate::new(NonZeroU64::new(1000).unwrap());
        let now = Instant::now();
        assert_eq!(rate.book(500, now), now);
        assert_eq!(rate.book(250, now), now + Duration::from_millis(500));
        let later = now + Duration::from_secs(10);
        assert_eq!(
            rate.book(1, later),
            later,
            "time that passed unused is not saved up"
        );
    }
}
