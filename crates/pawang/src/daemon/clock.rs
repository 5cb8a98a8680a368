//! Whether the wall clock can be believed: one that jumps ahead must not make history look old and be dropped.

use std::time::{Duration, Instant};

use pawang_core::Timestamp;

/// A wall clock that runs ahead of the time that really went by, by more than this, has jumped.
const AHEAD_MAX: Duration = Duration::from_secs(3_600);
/// After a jump the clock is not believed for so long: time for somebody to put it right.
const DOUBT: Duration = Duration::from_secs(86_400);

/// The wall clock held against the time that really went by.
pub(super) struct Clock {
    begun: Instant,
    begun_at: Timestamp,
    doubted_until: Option<Instant>,
}

impl Clock {
    /// Begins with a clock that is believed.
    pub(super) fn new(now: Timestamp) -> Clock {
        Clock {
            begun: Instant::now(),
            begun_at: now,
            doubted_until: None,
        }
    }

    /// Says whether the clock can be believed.
    ///
    /// # Errors
    /// It has jumped ahead since it was last asked: what people must know.
    pub(super) fn trusted(&mut self, now: Timestamp) -> Result<bool, String> {
        self.trusted_after(self.begun.elapsed(), now)
    }

    fn trusted_after(&mut self, elapsed: Duration, now: Timestamp) -> Result<bool, String> {
        let really = self.begun + elapsed;
        let walked = Duration::try_from(now.duration_since(self.begun_at)).unwrap_or_default();
        let ahead = walked.saturating_sub(elapsed);
        // From here on time is counted anew: a jump is told once, and one back makes no jump later.
        (self.begun, self.begun_at) = (really, now);
        if ahead > AHEAD_MAX {
            self.doubted_until = Some(really + DOUBT);
            return Err(format!(
                "the clock jumped {} h ahead: nothing is dropped from the history for its age until a day has gone by",
                ahead.as_secs() / 3_600
            ));
        }
        let doubted = self.doubted_until.is_some_and(|until| really < until);
        if !doubted {
            self.doubted_until = None;
        }
        Ok(!doubted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_ahead_is_doubted_for_a_day() {
        let start: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let hour = Duration::from_secs(3_600);
        let mut clock = Clock::new(start);
        assert_eq!(clock.trusted_after(hour, start + hour), Ok(true));
        let later = start + hour * 9_000;
        let told = clock.trusted_after(hour, later).unwrap_err();
        assert!(told.contains("8998 h ahead"), "{told}");
        assert_eq!(clock.trusted_after(hour, later + hour), Ok(false));
        // Somebody puts it right: that is no jump ahead, and the doubt stays until its day is over.
        assert_eq!(clock.trusted_after(hour, start + hour * 4), Ok(false));
        assert_eq!(clock.trusted_after(hour * 23, start + hour * 27), Ok(true));
    }

    #[test]
    fn a_machine_that_slept_looks_like_a_jump_and_loses_nothing() {
        let start: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let mut clock = Clock::new(start);
        let hours = |hours: u64| Duration::from_secs(3_600 * hours);
        assert!(clock.trusted_after(hours(0), start + hours(10)).is_err());
        assert_eq!(clock.trusted_after(hours(25), start + hours(35)), Ok(true));
    }
}
