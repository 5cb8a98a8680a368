//! A webhook with the payload of Alertmanager, version 4.

use std::collections::BTreeMap;
use std::time::Duration;

use pawang_config::WebhookConfig;
use pawang_core::alert::Message;
use serde::Serialize;

use super::outlet::{Address, Outlet, Post};
use super::{Trouble, payload, render};

#[derive(Debug)]
pub(super) struct Webhook {
    outlet: Outlet,
}

/// The payload, field by field as in Alertmanager's documentation.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    receiver: String,
    status: &'static str,
    alerts: Vec<Alert>,
    group_labels: BTreeMap<String, String>,
    common_labels: BTreeMap<String, String>,
    common_annotations: BTreeMap<&'static str, String>,
    #[serde(rename = "externalURL")]
    external_url: String,
    version: &'static str,
    group_key: String,
    truncated_alerts: usize,
}

#[derive(Serialize)]
struct Alert {
    status: &'static str,
    #[serde(flatten)]
    alert: payload::Alert,
    fingerprint: String,
}

/// Returns the way to a webhook of any kind.
pub(super) fn outlet(config: &WebhookConfig) -> Result<Outlet, Trouble> {
    Outlet::new(Address {
        url: config.url.clone(),
        url_file: config.url_file.clone(),
        token_file: config.token_file.clone(),
        ca_file: config.ca_file.clone(),
    })
}

impl Webhook {
    pub(super) fn new(config: &WebhookConfig) -> Result<Webhook, Trouble> {
        Ok(Webhook {
            outlet: outlet(config)?,
        })
    }

    pub(super) async fn send(
        &mut self,
        message: &Message,
        timeout: Duration,
    ) -> Result<(), Trouble> {
        let body = serde_json::to_vec(&payload(message)).expect("texts are JSON");
        let post = Post {
            path: "",
            headers: &[("idempotency-key", &message.key)],
            body: &body,
            timeout,
        };
        self.outlet.send(post).await
    }
}

fn payload(message: &Message) -> Payload {
    let alerts: Vec<Alert> = message
        .notices
        .iter()
        .map(|notice| {
            let mut alert = payload::alert(notice, notice.ended_at);
            alert
                .ends_at
                .get_or_insert_with(|| payload::NEVER.to_owned());
            Alert {
                status: status(notice.firing),
                alert,
                fingerprint: notice.fingerprint.clone(),
            }
        })
        .collect();
    // Alertmanager has no place for why something is told, and who should have been: templates look here.
    let mut common_annotations = common(alerts.iter().map(|alert| &alert.alert.annotations));
    common_annotations.insert("subject", render::subject(message));
    let mut news = vec![render::lead(message)];
    news.extend(render::notes(message));
    news.retain(|text| !text.is_empty());
    if !news.is_empty() {
        common_annotations.insert("news", news.join("\n"));
    }
    Payload {
        receiver: message.recipient.key(),
        status: status(message.firing > 0),
        group_labels: message.group_labels.clone(),
        common_labels: common(alerts.iter().map(|alert| &alert.alert.labels)),
        common_annotations,
        alerts,
        external_url: message.link.clone().unwrap_or_default(),
        version: "4",
        group_key: message.thread.clone(),
        truncated_alerts: message.left_out,
    }
}

fn status(firing: bool) -> &'static str {
    if firing { "firing" } else { "resolved" }
}

/// Returns what all of them have.
fn common<'a, K: Ord + Clone + 'a>(
    mut all: impl Iterator<Item = &'a BTreeMap<K, String>>,
) -> BTreeMap<K, String> {
    let mut common = all.next().cloned().unwrap_or_default();
    for one in all {
        common.retain(|name, value| one.get(name) == Some(value));
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::render::tests::{message, over};

    #[test]
    fn the_payload_is_that_of_alertmanager() {
        let value = serde_json::to_value(payload(&message())).unwrap();
        assert_eq!(value["version"], "4");
        assert_eq!(value["status"], "firing");
        assert_eq!(value["groupKey"], "default-1");
        assert_eq!(value["truncatedAlerts"], 3);
        assert_eq!(value["commonLabels"]["alertname"], "disk-space");
        assert_eq!(value["externalURL"], "https://pawang.example.org/alerts");
        let alert = &value["alerts"][0];
        assert_eq!(alert["status"], "firing");
        assert_eq!(alert["startsAt"], "2026-11-21T18:04:00Z");
        assert_eq!(alert["endsAt"], "0001-01-01T00:00:00Z");
        assert_eq!(alert["fingerprint"], "00c0ffee00c0ffee");
        assert_eq!(alert["labels"]["severity"], "critical");
        assert!(alert["annotations"]["runbook_url"].is_string());
        assert!(alert["generatorURL"].is_string());
        let value = serde_json::to_value(payload(&over())).unwrap();
        assert_eq!(value["status"], "resolved");
        assert_eq!(value["alerts"][0]["endsAt"], "2026-11-21T19:00:00Z");
    }

    #[test]
    fn what_was_sent_can_be_accepted() {
        let body = serde_json::to_vec(&payload(&over())).unwrap();
        let taken = crate::channel::accept(&body).unwrap();
        assert_eq!(taken.len(), 1);
        assert!(!taken[0].firing);
        assert_eq!(taken[0].labels["alertname"], "disk-space");
    }
}
