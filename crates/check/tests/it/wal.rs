//! Faults of the group `wal`: silent when healthy, found when injected, gone when cleared.
