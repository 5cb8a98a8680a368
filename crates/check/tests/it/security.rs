//! Faults of the group `security`: silent when healthy, found when injected, gone when cleared.
