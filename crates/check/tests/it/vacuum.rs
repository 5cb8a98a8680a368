//! Faults of the group `vacuum`: silent when healthy, found when injected, gone when cleared.
