//! Facts as Prometheus metrics: text exposition, OpenMetrics, and remote-write.
//!
//! Never asks a server: everything comes from the last snapshot.
