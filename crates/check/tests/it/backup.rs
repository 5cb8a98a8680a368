//! Faults of the group `backup`: silent when healthy, found when injected, gone when cleared.
