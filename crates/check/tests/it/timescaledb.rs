//! Faults of the group `timescaledb`: silent when healthy, found when injected, gone when cleared.
