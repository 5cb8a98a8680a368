//! A Slack-compatible webhook: Slack, Mattermost, Rocket.Chat.
//!
//! Attachments and not blocks, because all three show them.

use std::time::Duration;

use pawang_config::WebhookConfig;
use pawang_core::alert::{Message, Notice};
use serde_json::{Value, json};

use super::outlet::{Outlet, Post};
use super::{Trouble, render, webhook};

/// More attachments are left out and counted.
const ATTACHMENTS_MAX: usize = 20;
const TEXT_MAX: usize = 2_500;

#[derive(Debug)]
pub(super) struct Slack {
    outlet: Outlet,
}

impl Slack {
    pub(super) fn new(config: &WebhookConfig) -> Result<Slack, Trouble> {
        Ok(Slack {
            outlet: webhook::outlet(config)?,
        })
    }

    pub(super) async fn send(
        &mut self,
        message: &Message,
        timeout: Duration,
    ) -> Result<(), Trouble> {
        let body = payload(message).to_string();
        let post = Post {
            path: "",
            headers: &[],
            body: body.as_bytes(),
            timeout,
        };
        self.outlet.send(post).await
    }
}

fn payload(message: &Message) -> Value {
    let mut text = format!("*{}*", escape(&render::subject(message)));
    let lead = render::lead(message);
    if !lead.is_empty() {
        text = format!("{text}\n{}", escape(&lead));
    }
    let mut notes = render::notes(message);
    let beyond = message.notices.len().saturating_sub(ATTACHMENTS_MAX);
    if beyond > 0 {
        notes.push(format!("{beyond} more are not shown here"));
    }
    for note in notes {
        text = format!("{text}\n_{}_", escape(&note));
    }
    if let Some(link) = &message.link {
        text = format!("{text}\n<{link}|Dashboard>");
    }
    let shown = message.notices.iter().take(ATTACHMENTS_MAX);
    let mut payload = json!({
        "text": text,
        "attachments": shown.map(attachment).collect::<Vec<Value>>(),
    });
    if let Some(channel) = &message.recipient.address {
        payload["channel"] = json!(channel);
    }
    payload
}

fn attachment(notice: &Notice) -> Value {
    let title = format!(
        "[{}] {}",
        render::state(notice).to_uppercase(),
        render::one_line(&notice.title)
    );
    let mut lines: Vec<String> = Vec::new();
    lines.extend(
        notice
            .causes
            .iter()
            .map(|cause| format!("• {}", escape(cause))),
    );
    if notice.firing && !notice.remedy.is_empty() {
        lines.push(format!("```{}```", escape(&notice.remedy)));
    }
    lines.extend(
        notice
            .runbook
            .iter()
            .map(|runbook| format!("<{runbook}|Runbook>")),
    );
    let facts = render::facts(notice);
    let fields: Vec<Value> = facts
        .iter()
        .map(|(name, value)| json!({"title": name, "value": escape(value), "short": value.len() < 40}))
        .collect();
    json!({
        "fallback": title,
        "color": render::colour(notice),
        "title": title,
        "title_link": notice.link,
        "text": render::cut(&lines.join("\n"), TEXT_MAX),
        "fields": fields,
        "mrkdwn_in": ["text"],
        "ts": notice.since.as_second(),
    })
}

/// Slack has three characters that mean something.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::render::tests::{message, over};

    #[test]
    fn what_slack_reads() {
        let value = payload(&message());
        let text = value["text"].as_str().unwrap();
        assert!(
            text.starts_with("*P1 critical dwh-1: disk is 97 % full*"),
            "{text}"
        );
        let attachment = &value["attachments"][0];
        assert_eq!(attachment["color"], "#c62828");
        assert_eq!(payload(&over())["attachments"][0]["color"], "#2e7d32");
        assert!(attachment["text"].as_str().unwrap().contains("```SELECT"));
        assert!(!attachment["text"].as_str().unwrap().contains("```\n```"));
    }
}
