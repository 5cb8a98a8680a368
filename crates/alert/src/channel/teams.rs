//! A Teams-compatible webhook with an adaptive card.

use std::time::Duration;

use pawang_config::WebhookConfig;
use pawang_core::alert::{Message, Notice};
use serde_json::{Value, json};

use super::outlet::{Outlet, Post};
use super::{Trouble, render, webhook};

/// Teams takes 28 KB; more alerts are left out and counted.
const BYTES_MAX: usize = 24 * 1024;

#[derive(Debug)]
pub(super) struct Teams {
    outlet: Outlet,
}

impl Teams {
    pub(super) fn new(config: &WebhookConfig) -> Result<Teams, Trouble> {
        Ok(Teams {
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
    let subject = json!({"type": "TextBlock", "text": plain(&render::subject(message)), "weight": "Bolder", "size": "Medium", "wrap": true});
    let mut body = vec![subject];
    let lead = render::lead(message);
    if !lead.is_empty() {
        body.push(block(&lead));
    }
    let mut bytes = 0;
    let mut shown = 0;
    for notice in &message.notices {
        let parts = blocks(notice);
        bytes += parts
            .iter()
            .map(|part| part.to_string().len())
            .sum::<usize>();
        if bytes > BYTES_MAX {
            break;
        }
        shown += 1;
        body.extend(parts);
    }
    let beyond = message.notices.len() - shown;
    if beyond > 0 {
        body.push(block(&format!("{beyond} more are not shown here")));
    }
    body.extend(render::notes(message).iter().map(|note| block(note)));
    let actions: Vec<Value> = message
        .link
        .iter()
        .map(|link| json!({"type": "Action.OpenUrl", "title": "Dashboard", "url": link}))
        .collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "msteams": {"width": "Full"},
                "body": body,
                "actions": actions,
            },
        }],
    })
}

fn blocks(notice: &Notice) -> Vec<Value> {
    let colour = match render::state(notice) {
        "over" => "Good",
        "critical" => "Attention",
        _ => "Warning",
    };
    let title = format!(
        "[{}] {}",
        render::state(notice).to_uppercase(),
        render::one_line(&notice.title)
    );
    let facts = render::facts(notice);
    let facts: Vec<Value> = facts
        .iter()
        .map(
            |(name, value)| json!({"title": plain(name), "value": plain(&render::cut(value, 500))}),
        )
        .collect();
    let mut blocks = vec![
        json!({"type": "TextBlock", "text": plain(&title), "color": colour, "weight": "Bolder", "wrap": true, "separator": true}),
        json!({"type": "FactSet", "facts": facts}),
    ];
    blocks.extend(notice.causes.iter().map(|cause| block(cause)));
    if notice.firing && !notice.remedy.is_empty() {
        let remedy = render::cut(&notice.remedy, 1_500);
        blocks.push(json!({"type": "TextBlock", "text": plain(&remedy), "fontType": "Monospace", "wrap": true}));
    }
    let links = [("Runbook", &notice.runbook), ("Dashboard", &notice.link)];
    let links: Vec<String> = links
        .iter()
        .filter_map(|(name, link)| Some(format!("[{name}]({})", link.as_ref()?)))
        .collect();
    if !links.is_empty() {
        blocks.push(json!({"type": "TextBlock", "text": links.join(" · "), "wrap": true}));
    }
    blocks
}

fn block(text: &str) -> Value {
    json!({"type": "TextBlock", "text": plain(text), "wrap": true})
}

/// Cards read a little Markdown; what people and servers wrote is none.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '_' | '[' | ']' | '\\' | '`') {
            plain.push('\\');
        }
        plain.push(c);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::render::tests::message;

    #[test]
    fn a_card_says_what_and_links() {
        let value = payload(&message());
        let content = &value["attachments"][0]["content"];
        assert_eq!(content["type"], "AdaptiveCard");
        assert_eq!(content["body"][2]["color"], "Attention");
        assert_eq!(
            content["actions"][0]["url"],
            "https://pawang.example.org/alerts"
        );
    }

    #[test]
    fn a_card_is_never_larger_than_teams_takes() {
        let mut message = message();
        message.notices[0].remedy = "x".repeat(100_000);
        message.notices = vec![message.notices[0].clone(); 100];
        let value = payload(&message);
        assert!(value.to_string().len() < 28_000);
        assert!(value.to_string().contains("more are not shown here"));
    }
}
