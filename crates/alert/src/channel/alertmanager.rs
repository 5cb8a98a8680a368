//! An Alertmanager, by its API version 2; it does the telling then.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use pawang_config::AlertmanagerConfig;
use pawang_core::Level;
use pawang_core::alert::{Message, Notice};

use super::outlet::{Address, Outlet, Post};
use super::{Trouble, payload};

/// What fires is over at Alertmanager's by itself after so long, unless it is told again. An end that comes too early
/// would be a false one, and ends are told by themselves: it is far longer than any repeat.
const HOLD: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Alerts that are remembered.
const FIRING_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct Alertmanager {
    outlet: Outlet,
    /// The severity that each alert was told with: another one is another alert there, so the old one must end.
    firing: BTreeMap<String, &'static str>,
}

impl Alertmanager {
    pub(super) fn new(config: &AlertmanagerConfig) -> Result<Alertmanager, Trouble> {
        let address = Address {
            url: config.url.clone(),
            token_file: config.token_file.clone(),
            ..Address::default()
        };
        Ok(Alertmanager {
            outlet: Outlet::new(address)?,
            firing: BTreeMap::new(),
        })
    }

    pub(super) async fn send(
        &mut self,
        message: &Message,
        timeout: Duration,
    ) -> Result<(), Trouble> {
        let alerts: Vec<payload::Alert> = message
            .notices
            .iter()
            .flat_map(|notice| self.alerts(message, notice))
            .collect();
        let body = serde_json::to_vec(&alerts).expect("texts are JSON");
        let post = Post {
            path: "/api/v2/alerts",
            headers: &[],
            body: &body,
            timeout,
        };
        self.outlet.send(post).await?;
        for notice in &message.notices {
            if !notice.firing {
                self.firing.remove(&notice.fingerprint);
            } else if self.firing.len() < FIRING_MAX {
                let severity = payload::severity(notice);
                self.firing.insert(notice.fingerprint.clone(), severity);
            }
        }
        Ok(())
    }

    /// Returns the alert, and the end of the one that it was before. When that is not known, the end is told of both.
    fn alerts(&self, message: &Message, notice: &Notice) -> Vec<payload::Alert> {
        let now = message.created_at;
        let told = self.firing.get(&notice.fingerprint).copied();
        let ended = notice.ended_at.unwrap_or(now);
        let with = |severity: &str, ends_at| {
            let level = if severity == "critical" {
                Level::Critical
            } else {
                Level::Warning
            };
            let mut notice = notice.clone();
            notice.level = Some(level);
            // What changes while an alert fires must not be part of its identity.
            for changing in ["level", "priority", "role"] {
                notice.labels.remove(changing);
            }
            payload::alert(&notice, Some(ends_at))
        };
        let severity = payload::severity(notice);
        match (notice.firing, told) {
            (true, None) => vec![with(severity, now + HOLD)],
            (true, Some(told)) if told == severity => vec![with(severity, now + HOLD)],
            (true, Some(told)) => vec![with(told, now), with(severity, now + HOLD)],
            (false, Some(told)) => vec![with(told, ended)],
            (false, None) => vec![with("critical", ended), with("warning", ended)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::render::tests::{message, over};

    #[test]
    fn another_severity_ends_the_alert_that_it_was() {
        let config = AlertmanagerConfig {
            url: Some(pawang_core::Secret::new("http://am:9093".to_owned())),
            token_file: None,
        };
        let mut way = Alertmanager::new(&config).unwrap();
        let shown = |way: &Alertmanager, message: &Message| -> Vec<(String, bool)> {
            let alerts = way.alerts(message, &message.notices[0]);
            let show = |alert: payload::Alert| {
                let end: pawang_core::Timestamp = alert.ends_at.unwrap().parse().unwrap();
                assert!(!alert.labels.contains_key("level"));
                (
                    alert.labels["severity"].clone(),
                    end > message.created_at + HOLD / 2,
                )
            };
            alerts.into_iter().map(show).collect()
        };
        let [critical, warning] = ["critical", "warning"].map(str::to_owned);
        assert_eq!(shown(&way, &message()), [(critical.clone(), true)]);
        way.firing.insert("00c0ffee00c0ffee".to_owned(), "warning");
        let risen = [(warning.clone(), false), (critical.clone(), true)];
        assert_eq!(shown(&way, &message()), risen);
        assert_eq!(shown(&way, &over()), [(warning.clone(), false)]);
        way.firing.clear();
        let both = [(critical, false), (warning, false)];
        assert_eq!(shown(&way, &over()), both);
    }
}
