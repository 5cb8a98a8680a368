//! Plans applied to real servers; one module per subject.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod session;
