//! Faults of the group `pgbouncer`: silent when healthy, found when injected, gone when cleared.
