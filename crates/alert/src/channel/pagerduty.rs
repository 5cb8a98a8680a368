//! PagerDuty, Events API version 2.

use std::path::PathBuf;
use std::time::Duration;

use pawang_config::PagerdutyConfig;
use pawang_core::alert::{Message, MessageKind};
use pawang_core::{Level, Secret};
use serde_json::{Value, json};

use super::outlet::{Address, Outlet, Post};
use super::{Trouble, render, secret};

const API: &str = "https://events.pagerduty.com";
const SUMMARY_MAX: usize = 1_024;
const KEY_MAX: usize = 255;
/// An event may have 512 KB; nobody reads that.
const DETAIL_MAX: usize = 16_000;

#[derive(Debug)]
pub(super) struct Pagerduty {
    key_file: PathBuf,
    outlet: Outlet,
}

impl Pagerduty {
    pub(super) fn new(config: &PagerdutyConfig) -> Result<Pagerduty, Trouble> {
        let api = config.api.clone().unwrap_or_else(|| API.to_owned());
        let address = Address {
            url: Some(Secret::new(api)),
            ..Address::default()
        };
        Ok(Pagerduty {
            key_file: config.key_file.clone(),
            outlet: Outlet::new(address)?,
        })
    }

    pub(super) async fn send(
        &mut self,
        message: &Message,
        timeout: Duration,
    ) -> Result<(), Trouble> {
        let key = match &message.recipient.address {
            Some(key) => Secret::new(key.clone()),
            None => secret::read(&self.key_file)?,
        };
        let body = event(message, key.reveal()).to_string();
        let post = Post {
            path: "/v2/enqueue",
            headers: &[],
            body: body.as_bytes(),
            timeout,
        };
        self.outlet.send(post).await
    }
}

fn event(message: &Message, key: &str) -> Value {
    let first = message.notices.first();
    let label = |name: &str| first.and_then(|notice| notice.labels.get(name));
    let source = label("instance").filter(|instance| !instance.is_empty());
    let severity = match message.level {
        Level::Critical => "critical",
        Level::Warning => "warning",
        _ => "info",
    };
    json!({
        "routing_key": key,
        "event_action": action(message),
        "dedup_key": render::cut(&message.thread, KEY_MAX),
        "client": "Pawang",
        "client_url": message.link,
        "links": first
            .and_then(|notice| notice.runbook.as_ref())
            .map(|runbook| json!([{"href": runbook, "text": "Runbook"}])),
        "payload": {
            "summary": render::cut(&render::subject(message), SUMMARY_MAX),
            "source": source.map_or("pawang", String::as_str),
            "severity": severity,
            "timestamp": message.created_at.to_string(),
            "component": label("check"),
            "group": label("group"),
            "class": message.priority.as_str(),
            "custom_details": {
                "message": render::cut(&render::text(message), DETAIL_MAX),
                "key": message.key,
            },
        },
    })
}

fn action(message: &Message) -> &'static str {
    let mut firing = message.notices.iter().filter(|notice| notice.firing);
    let acknowledged = |handling: &Option<String>| {
        let handling = handling.as_deref().unwrap_or_default();
        handling.starts_with("acknowledged")
    };
    if message.kind == MessageKind::Resolved || (message.firing == 0 && message.resolved > 0) {
        "resolve"
    } else if message.firing > 0 && firing.all(|notice| acknowledged(&notice.handling)) {
        "acknowledge"
    } else {
        "trigger"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::render::tests::{message, over};

    #[test]
    fn one_thread_is_one_incident() {
        let begin = event(&message(), "k");
        let end = event(&over(), "k");
        assert_eq!(begin["event_action"], "trigger");
        assert_eq!(end["event_action"], "resolve");
        assert_eq!(begin["dedup_key"], end["dedup_key"]);
        assert_eq!(begin["payload"]["source"], "dwh-1");
        assert_eq!(begin["payload"]["severity"], "critical");
        let mut taken = message();
        taken.notices[0].handling = Some("acknowledged by ayu until 04:00".to_owned());
        assert_eq!(event(&taken, "k")["event_action"], "acknowledge");
    }
}
