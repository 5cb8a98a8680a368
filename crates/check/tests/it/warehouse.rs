//! Faults of the group `warehouse`: silent when healthy, found when injected, gone when cleared.
