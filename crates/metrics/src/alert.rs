//! What Pawang says of alerts and of the ways to tell somebody.

use std::collections::BTreeMap;

use pawang_core::Level;
use pawang_core::alert::AlertsPresent;

use crate::layout::Kind;
use crate::own::{Metric, sheet, text, whole};
use crate::sheet::Sheet;

pub(crate) const ALERTS: [Metric; 1] = [(
    "pawang_alerts",
    Kind::Gauge,
    None,
    "Alerts by the state of their condition and their level.",
)];
pub(crate) const CHANNEL: [Metric; 2] = [
    (
        "pawang_notification_trouble",
        Kind::Gauge,
        None,
        "Whether the channel gets no message through.",
    ),
    (
        "pawang_notifications_waiting",
        Kind::Gauge,
        None,
        "Messages that wait to be taken by the channel's target.",
    ),
];
pub(crate) const NOTIFICATIONS: [Metric; 1] = [(
    "pawang_notifications",
    Kind::Counter,
    None,
    "Messages since the start: `sent` were taken by the channel's target, `dead` were given up.",
)];

/// Returns how many alerts there are, and how each channel is doing; nothing while alerting does not run.
pub(crate) fn of_alerts(present: &AlertsPresent) -> Vec<Sheet<'static>> {
    if !present.running {
        return Vec::new();
    }
    // What somebody waits for is 0, not absent, when there is none.
    let firing = [Level::Warning, Level::Critical].map(|level| (("firing", level.as_str()), 0));
    let mut counts: BTreeMap<(&str, &str), u64> = firing.into();
    for alert in &present.alerts {
        let key = (alert.condition.as_str(), alert.finding.level.as_str());
        *counts.entry(key).or_default() += 1;
    }
    let counts = counts
        .into_iter()
        .map(|((state, level), count)| vec![text(state), text(level), whole(count)]);
    let channels = present.channels.iter().map(|channel| {
        vec![
            text(&channel.name),
            whole(u64::from(channel.trouble.is_some())),
            whole(channel.waiting),
        ]
    });
    let told = present.channels.iter().flat_map(|channel| {
        let outcomes = [("sent", channel.sent), ("dead", channel.dead)];
        outcomes.map(|(outcome, count)| vec![text(&channel.name), text(outcome), whole(count)])
    });
    vec![
        sheet(None, &["state", "level"], &ALERTS, counts.collect()),
        sheet(None, &["channel"], &CHANNEL, channels.collect()),
        sheet(
            None,
            &["channel", "outcome"],
            &NOTIFICATIONS,
            told.collect(),
        ),
    ]
}
