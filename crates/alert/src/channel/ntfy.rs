//! A topic of ntfy.

use std::time::Duration;

use pawang_config::NtfyConfig;
use pawang_core::alert::{Message, Priority};
use pawang_core::{Level, Secret};

use super::outlet::{Address, Outlet, Post};
use super::{Trouble, render};

/// Longer texts become files at ntfy.
const BYTES_MAX: usize = 4_000;
const TITLE_MAX: usize = 250;

#[derive(Debug)]
pub(super) struct Ntfy {
    outlet: Outlet,
    /// The address with the topic of the configuration.
    url: Option<Secret<String>>,
}

impl Ntfy {
    pub(super) fn new(config: &NtfyConfig) -> Result<Ntfy, Trouble> {
        let address = Address {
            url: config.url.clone(),
            token_file: config.token_file.clone(),
            ..Address::default()
        };
        Ok(Ntfy {
            outlet: Outlet::new(address)?,
            url: config.url.clone(),
        })
    }

    pub(super) async fn send(
        &mut self,
        message: &Message,
        timeout: Duration,
    ) -> Result<(), Trouble> {
        self.outlet.address.url = match (&self.url, &message.recipient.address) {
            (Some(url), Some(topic)) => Some(Secret::new(other_topic(url.reveal(), topic))),
            (url, _) => url.clone(),
        };
        let text = render::text(message);
        let text = text.split_once('\n').map_or("", |(_, rest)| rest).trim();
        let title = header(&render::cut(&render::subject(message), TITLE_MAX));
        let mut headers = vec![
            ("content-type", "text/plain; charset=utf-8"),
            ("title", title.as_str()),
            ("priority", priority(message)),
            ("tags", tags(message)),
        ];
        headers.extend(message.link.as_deref().map(|link| ("click", link)));
        let post = Post {
            path: "",
            headers: &headers,
            body: &text.as_bytes()[..text.floor_char_boundary(BYTES_MAX)],
            timeout,
        };
        self.outlet.send(post).await
    }
}

fn other_topic(url: &str, topic: &str) -> String {
    match url.trim_end_matches('/').rsplit_once('/') {
        Some((server, _)) => format!("{server}/{topic}"),
        None => url.to_owned(),
    }
}

/// Headers are ASCII; other letters go by RFC 2047, which ntfy reads.
fn header(text: &str) -> String {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        text.to_owned()
    } else {
        format!("=?UTF-8?B?{}?=", pawang_http::base64(text.as_bytes()))
    }
}

fn priority(message: &Message) -> &'static str {
    match message.priority {
        _ if message.firing == 0 => "2",
        Priority::P1 => "5",
        Priority::P2 => "4",
        Priority::P3 => "3",
        Priority::P4 => "2",
    }
}

fn tags(message: &Message) -> &'static str {
    match message.level {
        _ if message.firing == 0 => "white_check_mark",
        Level::Critical => "rotating_light",
        _ => "warning",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_ascii() {
        assert_eq!(header("disk full"), "disk full");
        assert_eq!(header("größer"), "=?UTF-8?B?Z3LDtsOfZXI=?=");
    }

    #[test]
    fn a_person_may_have_another_topic() {
        for (url, expected) in [
            ("https://ntfy.sh/ours", "https://ntfy.sh/ayu"),
            ("https://ntfy.sh/ours/", "https://ntfy.sh/ayu"),
        ] {
            assert_eq!(other_topic(url, "ayu"), expected);
        }
    }
}
