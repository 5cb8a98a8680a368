//! Faults of the group `patroni`: silent when healthy, found when injected, gone when cleared.
