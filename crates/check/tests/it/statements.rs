//! Faults of the group `statements`: silent when healthy, found when injected, gone when cleared.
