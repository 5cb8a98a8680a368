//! Faults of the group `host`: silent when healthy, found when injected, gone when cleared.
