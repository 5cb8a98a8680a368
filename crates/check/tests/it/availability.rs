//! Faults of the group `availability`: silent when healthy, found when injected, gone when cleared.
