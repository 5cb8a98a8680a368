//! Faults of the group `locks`: silent when healthy, found when injected, gone when cleared.
