//! Faults of the group `schema`: silent when healthy, found when injected, gone when cleared.
