//! Waits for a condition, never for a time.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a condition may take to come true.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_millis(20);

/// Polls `condition` every 20 ms until it is true.
///
/// # Panics
///
/// When it is still false after 30 s; the message names `what`.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(
            Instant::now() < deadline,
            "waited {} s in vain until {what}",
            DEADLINE.as_secs()
        );
        sleep(INTERVAL).await;
    }
}
