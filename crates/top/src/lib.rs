//! The terminal dashboard: draws what the daemon, or one look at a server, says.
