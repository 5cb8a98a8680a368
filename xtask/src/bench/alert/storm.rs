//! Two thousand alerts at once: Pawang's daemon, and Alertmanager with the same alerts.

use std::path::Path;
use std::time::Duration;

use super::latency::delay;
use super::receiver::{Received, Receiver};
use super::{Goal, Part, load, manager};
use crate::bench::serve::Daemon;

const CHECKS: usize = 20;
pub(super) const ALERTS: usize = CHECKS * load::OBJECTS;
/// How long a daemon runs before its memory is looked at.
const SETTLE: Duration = Duration::from_secs(20);
pub(super) const STORM_MAX: Duration = Duration::from_secs(60);
pub(super) const MEGABYTES_MAX: f64 = 64.0;

/// What a storm came to.
pub(super) struct Storm {
    pub(super) messages: usize,
    pub(super) time: Duration,
    /// How much more memory it took at its peak.
    pub(super) growth_mb: f64,
}

/// Says whether all alerts were told.
pub(super) fn all_told(received: &[Received]) -> bool {
    received.iter().map(Received::alerts).sum::<usize>() >= ALERTS
}

/// Measures both.
pub(super) async fn measure(binary: &Path) -> Result<Part, String> {
    let ours = ours(binary).await?;
    println!("Alertmanager");
    let theirs = manager::measure().await?;
    let line = |name: &str, storm: &Storm| {
        format!(
            "| {name} | {} | {:.0} | {:.1} |\n",
            storm.messages,
            storm.time.as_secs_f64() * 1e3,
            storm.growth_mb
        )
    };
    Ok(Part {
        title: "Alerts: two thousand at once",
        text: format!(
            "{CHECKS} checks with {} objects each are bad at the first look; all of it is one group, `group_wait` is \
             250 ms. The time of Pawang is from the sample to the webhook, with the judging; its growth is the difference \
             between the peak of a daemon with and one without the faults. Alertmanager gets the same number of alerts \
             in one request; its time is from that request to the webhook.\n\n\
             | | messages | ms | growth MB |\n|---|---:|---:|---:|\n{}{}",
            load::OBJECTS,
            line("Pawang", &ours),
            line("Alertmanager", &theirs)
        ),
        goals: vec![
            Goal {
                text: "one message",
                reached: ours.messages.to_string(),
                met: ours.messages == 1,
            },
            Goal {
                text: "in under 1 s",
                reached: format!("{:.0} ms", ours.time.as_secs_f64() * 1e3),
                met: ours.time < Duration::from_secs(1),
            },
            Goal {
                text: "under 64 MB of growth",
                reached: format!("{:.1} MB", ours.growth_mb),
                met: ours.growth_mb < MEGABYTES_MAX,
            },
        ],
    })
}

async fn ours(binary: &Path) -> Result<Storm, String> {
    let cluster = load::start(CHECKS).await;
    let url = cluster.url_as("monitor", "postgres");
    println!("a daemon without faults");
    let receiver = Receiver::start()?;
    let config = load::config(CHECKS, receiver.address, "instance");
    let quiet = Daemon::with(binary, &cluster.folder("quiet"), &url, 1, &config)?;
    tokio::time::sleep(SETTLE).await;
    let before = quiet.process.memory_mb()?.1;
    quiet.process.end()?;
    println!("a daemon with {ALERTS} faults at once");
    cluster.sql("postgres", "UPDATE level SET value = 9").await;
    let storm = Daemon::with(binary, &cluster.folder("storm"), &url, 1, &config)?;
    receiver.wait(STORM_MAX, all_told).await?;
    tokio::time::sleep(SETTLE).await;
    let after = storm.process.memory_mb()?.1;
    storm.process.end()?;
    let received = receiver.received();
    let slowest = received.iter().filter_map(delay).max();
    Ok(Storm {
        messages: received.len(),
        time: slowest.ok_or("no message tells since when")?,
        growth_mb: after - before,
    })
}
