//! The ways to tell somebody: one file per kind, and one function that sends.
//!
//! Nothing is tried again here and nothing runs while nobody sends: whoever owns a [`Channel`] decides when.

mod accept;
mod alertmanager;
mod exec;
mod ntfy;
mod outlet;
mod pagerduty;
mod payload;
mod render;
mod secret;
mod slack;
mod smtp;
mod syslog;
mod teams;
mod telegram;
mod webhook;

use std::time::Duration;

use pawang_config::ChannelConfig;
use pawang_core::alert::Message;
use pawang_core::{Kind as Failure, Report};

pub use accept::{EXTERNAL_BYTES_MAX, accept};

/// Why a message did not get through.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trouble {
    /// What was tried and what happened; no secrets.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// After how long the target wants to be asked again.
    pub retry_after: Option<Duration>,
    /// Whether it is this very message, or its recipient, that is refused for good: sending it again is of no use.
    pub content: bool,
}

impl Trouble {
    /// Returns trouble that may be over when it is tried again.
    pub fn new(what: impl Into<String>) -> Trouble {
        Trouble {
            what: what.into(),
            ..Trouble::default()
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Trouble {
        self.hint = Some(hint.into());
        self
    }

    /// Says that this very message is refused for good.
    #[must_use]
    pub fn for_good(mut self) -> Trouble {
        self.content = true;
        self
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)?;
        match &self.hint {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

/// A way to tell somebody, ready to send.
#[derive(Debug)]
pub struct Channel {
    name: String,
    timeout: Duration,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Smtp(Box<smtp::Smtp>),
    Webhook(webhook::Webhook),
    Slack(slack::Slack),
    Teams(teams::Teams),
    Telegram(telegram::Telegram),
    Pagerduty(pagerduty::Pagerduty),
    Ntfy(ntfy::Ntfy),
    Exec(exec::Exec),
    Syslog(syslog::Syslog),
    Alertmanager(alertmanager::Alertmanager),
}

/// Returns the kinds that a channel of the configuration has: exactly one when it is right.
pub fn kinds(config: &ChannelConfig) -> Vec<&'static str> {
    [
        ("smtp", config.smtp.is_some()),
        ("webhook", config.webhook.is_some()),
        ("slack", config.slack.is_some()),
        ("teams", config.teams.is_some()),
        ("telegram", config.telegram.is_some()),
        ("pagerduty", config.pagerduty.is_some()),
        ("ntfy", config.ntfy.is_some()),
        ("exec", config.exec.is_some()),
        ("syslog", config.syslog.is_some()),
        ("alertmanager", config.alertmanager.is_some()),
    ]
    .into_iter()
    .filter_map(|(kind, there)| there.then_some(kind))
    .collect()
}

impl Channel {
    /// Makes a channel ready; files are only read when something is sent.
    ///
    /// # Errors
    /// What the configuration says cannot be used: no kind or several, an address that is none.
    pub fn new(config: &ChannelConfig) -> Result<Channel, Report> {
        let way = way(config).map_err(|trouble| {
            let what = format!("cannot use channel \"{}\"", config.name);
            let report = Report::new(Failure::Usage, what).with_detail(trouble.what);
            match trouble.hint {
                Some(hint) => report.with_hint(hint),
                None => report,
            }
        })?;
        Ok(Channel {
            name: config.name.clone(),
            timeout: config.timeout.0,
            way,
        })
    }

    /// Returns its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends a message; what fires and what is over alike. Dropping the future ends the attempt.
    ///
    /// # Errors
    /// The target did not take it.
    pub async fn send(&mut self, message: &Message) -> Result<(), Trouble> {
        let timeout = self.timeout;
        let attempt = async {
            match &mut self.way {
                Way::Smtp(way) => way.send(message, timeout).await,
                Way::Webhook(way) => way.send(message, timeout).await,
                Way::Slack(way) => way.send(message, timeout).await,
                Way::Teams(way) => way.send(message, timeout).await,
                Way::Telegram(way) => way.send(message, timeout).await,
                Way::Pagerduty(way) => way.send(message, timeout).await,
                Way::Ntfy(way) => way.send(message, timeout).await,
                Way::Exec(way) => way.send(message, timeout).await,
                Way::Syslog(way) => way.send(message).await,
                Way::Alertmanager(way) => way.send(message, timeout).await,
            }
        };
        // A little more, so that those who know where it hangs say so themselves.
        match tokio::time::timeout(timeout + timeout / 10, attempt).await {
            Ok(result) => result,
            Err(_) => Err(Trouble::new(format!(
                "no answer within {} s",
                timeout.as_secs_f32()
            ))),
        }
    }
}

fn way(config: &ChannelConfig) -> Result<Way, Trouble> {
    let kinds = kinds(config);
    if kinds.len() > 1 {
        let kinds = kinds.join(", ");
        return Err(Trouble::new(format!("it has several kinds: {kinds}"))
            .with_hint("make it several channels, one of each kind"));
    }
    if let Some(config) = &config.smtp {
        Ok(Way::Smtp(Box::new(smtp::Smtp::new(config)?)))
    } else if let Some(config) = &config.webhook {
        Ok(Way::Webhook(webhook::Webhook::new(config)?))
    } else if let Some(config) = &config.slack {
        Ok(Way::Slack(slack::Slack::new(config)?))
    } else if let Some(config) = &config.teams {
        Ok(Way::Teams(teams::Teams::new(config)?))
    } else if let Some(config) = &config.telegram {
        Ok(Way::Telegram(telegram::Telegram::new(config)?))
    } else if let Some(config) = &config.pagerduty {
        Ok(Way::Pagerduty(pagerduty::Pagerduty::new(config)?))
    } else if let Some(config) = &config.ntfy {
        Ok(Way::Ntfy(ntfy::Ntfy::new(config)?))
    } else if let Some(config) = &config.exec {
        Ok(Way::Exec(exec::Exec::new(config)?))
    } else if let Some(config) = &config.syslog {
        Ok(Way::Syslog(syslog::Syslog::new(config)?))
    } else if let Some(config) = &config.alertmanager {
        Ok(Way::Alertmanager(alertmanager::Alertmanager::new(config)?))
    } else {
        Err(Trouble::new("it has no kind")
            .with_hint("add smtp = { server = \"...\", from = \"...\" }"))
    }
}
