//! Faults of the group `connections`: silent when healthy, found when injected, gone when cleared.
