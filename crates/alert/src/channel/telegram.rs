//! A Telegram bot: `sendMessage` with a little HTML.

use std::path::PathBuf;
use std::time::Duration;

use maud::html;
use pawang_config::TelegramConfig;
use pawang_core::Secret;
use pawang_core::alert::Message;
use serde::Deserialize;
use serde_json::json;

use super::outlet::{self, Address, Outlet, Post};
use super::{Trouble, render, secret};

/// Telegram takes 4,096 characters after its entities are read.
const CHARACTERS_MAX: usize = 4_000;
const API: &str = "https://api.telegram.org";

#[derive(Debug)]
pub(super) struct Telegram {
    token_file: PathBuf,
    chat_id: Option<String>,
    outlet: Outlet,
}

/// What it says when it refuses.
#[derive(Deserialize)]
struct Refusal {
    description: Option<String>,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
struct Parameters {
    retry_after: Option<u64>,
}

impl Telegram {
    pub(super) fn new(config: &TelegramConfig) -> Result<Telegram, Trouble> {
        let api = config.api.clone().unwrap_or_else(|| API.to_owned());
        let address = Address {
            url: Some(Secret::new(api)),
            ..Address::default()
        };
        Ok(Telegram {
            token_file: config.token_file.clone(),
            chat_id: config.chat_id.clone(),
            outlet: Outlet::new(address)?,
        })
    }

    pub(super) async fn send(
        &mut self,
        message: &Message,
        timeout: Duration,
    ) -> Result<(), Trouble> {
        let chat = message.recipient.address.as_ref().or(self.chat_id.as_ref());
        let Some(chat) = chat else {
            return Err(Trouble::new("there is no chat to send to")
                .with_hint("set chat_id, or send to a contact")
                .for_good());
        };
        let token = secret::read(&self.token_file)?;
        let body = json!({
            "chat_id": chat,
            "text": text(message),
            "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": true},
        })
        .to_string();
        let post = Post {
            path: &format!("/bot{}/sendMessage", token.reveal()),
            headers: &[],
            body: body.as_bytes(),
            timeout,
        };
        let mut answer = self.outlet.post(post).await?;
        if let Ok(refusal) = serde_json::from_str::<Refusal>(&answer.body) {
            answer.body = refusal.description.unwrap_or_default();
            let seconds = refusal.parameters.retry_after;
            answer.retry_after = seconds.map(Duration::from_secs).or(answer.retry_after);
        }
        outlet::judge(&self.outlet.shown(), &answer).map_err(|trouble| match answer.status {
            401 | 404 => Trouble {
                hint: Some(format!(
                    "check the token in \"{}\"",
                    self.token_file.display()
                )),
                ..trouble
            },
            403 => Trouble {
                hint: Some("the bot may not write there: add it to the chat".to_owned()),
                content: true,
                ..trouble
            },
            _ => trouble,
        })
    }
}

/// Returns the message; alerts beyond what Telegram takes are only counted, so that no tag is cut in two.
fn text(message: &Message) -> String {
    let lead = render::lead(message);
    let subject = render::cut(&render::subject(message), 500);
    let mut text = html! { b { (subject) } @if !lead.is_empty() { "\n" (lead) } }.into_string();
    let mut notes = render::notes(message);
    let mut shown = 0;
    for notice in &message.notices {
        let facts = render::facts(notice);
        let part = html! {
            "\n\n" b { "[" (render::state(notice).to_uppercase()) "] " (render::cut(&render::one_line(&notice.title), 400)) }
            @for (name, value) in facts.iter().take(12) { "\n" (name) ": " (render::cut(value, 200)) }
            @for cause in notice.causes.iter().take(3) { "\n• " (render::cut(cause, 200)) }
            @if notice.firing && !notice.remedy.is_empty() { "\n" pre { (render::cut(&notice.remedy, 800)) } }
            @if let Some(runbook) = &notice.runbook { "\n" a href=(runbook) { "Runbook" } }
            @if let Some(link) = &notice.link { "\n" a href=(link) { "Dashboard" } }
        };
        let part = part.into_string();
        if text.chars().count() + part.chars().count() > CHARACTERS_MAX - 500 {
            break;
        }
        shown += 1;
        text.push_str(&part);
    }
    let beyond = message.notices.len() - shown;
    if beyond > 0 {
        notes.push(format!("{beyond} more are not shown here"));
    }
    let notes = render::cut(&notes.join("\n"), 200);
    if !notes.is_empty() {
        text.push_str(&html! { "\n\n" i { (notes) } }.into_string());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::render::tests::message;

    #[test]
    fn tags_are_ours_and_text_is_escaped() {
        let text = text(&message());
        assert!(text.starts_with("<b>P1 critical dwh-1"), "{text}");
        assert!(
            text.contains("disk &lt;of&gt; &quot;/var&quot; &amp; co"),
            "{text}"
        );
        assert!(text.contains("<pre>SELECT"), "{text}");
    }

    #[test]
    fn it_is_never_longer_than_telegram_takes() {
        let mut message = message();
        message.notices[0].remedy = "<&>".repeat(10_000);
        message.notices = vec![message.notices[0].clone(); 50];
        let text = text(&message);
        assert!(text.chars().count() <= 4_096, "{}", text.chars().count());
        assert_eq!(text.matches("<b>").count(), text.matches("</b>").count());
        assert!(text.contains("more are not shown here"));
    }
}
