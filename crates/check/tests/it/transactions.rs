//! Faults of the group `transactions`: silent when healthy, found when injected, gone when cleared.
