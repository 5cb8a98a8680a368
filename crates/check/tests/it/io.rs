//! Faults of the group `io`: silent when healthy, found when injected, gone when cleared.
