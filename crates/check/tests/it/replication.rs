//! Faults of the group `replication`: silent when healthy, found when injected, gone when cleared.
