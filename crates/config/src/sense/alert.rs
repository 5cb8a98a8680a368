//! The same for `[alert]`: names that lead nowhere, channels that are nothing or two things, ladders that go down.

mod channel;

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Note;
use crate::alert::{AlertConfig, ChannelConfig, RotaConfig, SmtpTls};
use crate::pattern::{matches, nearest};
use crate::problem::Mistake;
use crate::quantity::Period;
use crate::secrets::has_password;
use crate::tree::Config;

impl AlertConfig {
    /// Returns its contradictions, as far as they show without reading schedules and matchers.
    pub fn mistakes(&self) -> Vec<Mistake> {
        mistakes(self)
    }
}

fn mistakes(alert: &AlertConfig) -> Vec<Mistake> {
    let mut found = Found {
        names: Names::new(alert),
        mistakes: Vec::new(),
    };
    for (index, channel) in alert.channels.iter().enumerate() {
        channel::mistakes(
            &mut found.mistakes,
            &format!("alert.channel[{index}]"),
            channel,
        );
    }
    found.repetitions(alert);
    found.times(alert);
    found.people(alert);
    found.ladders(alert);
    found.routes(alert);
    found.windows(alert);
    found.mistakes
}

/// What may be told, by name.
struct Names<'a> {
    channels: Vec<&'a str>,
    contacts: Vec<&'a str>,
    all: Vec<&'a str>,
    /// Channels that lead nowhere without a contact.
    without_target: Vec<&'a str>,
}

impl Names<'_> {
    fn new(alert: &AlertConfig) -> Names<'_> {
        let channels: Vec<&str> = alert.channels.iter().map(|c| c.name.as_str()).collect();
        let contacts: Vec<&str> = alert.contacts.iter().map(|c| c.name.as_str()).collect();
        let rotas = alert.rotas.iter().map(|rota| rota.name.as_str());
        let all = channels.iter().chain(&contacts).copied().chain(rotas);
        let without_target = alert
            .channels
            .iter()
            .filter(|channel| !channel.has_target());
        Names {
            all: all.collect(),
            without_target: without_target
                .map(|channel| channel.name.as_str())
                .collect(),
            channels,
            contacts,
        }
    }
}

struct Found<'a> {
    names: Names<'a>,
    mistakes: Vec<Mistake>,
}

impl Found<'_> {
    fn push(&mut self, path: String, message: impl Into<String>, expected: &str) {
        self.mistakes.push(Mistake::new(path, message, expected));
    }

    fn stranger(&mut self, path: String, name: &str, among: &[&str], noun: &str) {
        if among.contains(&name) {
            return;
        }
        let near = nearest(name, among.iter().copied());
        let mut known = among.to_vec();
        known.sort_unstable();
        let expected = match known.as_slice() {
            [] => format!("expected the name of a {noun}; there is none"),
            known => format!("expected one of \"{}\"", known.join("\", \"")),
        };
        self.mistakes.push(Mistake {
            hint: near.map(|near| format!("did you mean \"{near}\"?")),
            ..Mistake::new(
                path,
                format!("there is no {noun} \"{}\"", name.escape_debug()),
                expected,
            )
        });
    }

    /// Names that are told: channels, contacts and rotas.
    fn told(&mut self, path: &str, names: &[String]) {
        let all = self.names.all.clone();
        for (index, name) in names.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if self.names.without_target.contains(&name.as_str()) {
                let message = format!("channel \"{name}\" leads to nobody by itself");
                let expected = "expected a contact, or \"to\" or \"chat_id\" in the channel";
                self.push(path, message, expected);
            } else {
                self.stranger(path, name, &all, "channel, contact or rota");
            }
        }
    }

    /// One name must not mean two things: routes, policies and contacts use it without saying what it is.
    fn repetitions(&mut self, alert: &AlertConfig) {
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        let channels = alert.channels.iter().map(|channel| &channel.name);
        let contacts = alert.contacts.iter().map(|contact| &contact.name);
        let rotas = alert.rotas.iter().map(|rota| &rota.name);
        let all = channels.enumerate().map(|named| ("channel", named));
        let all = all.chain(contacts.enumerate().map(|named| ("contact", named)));
        let all = all.chain(rotas.enumerate().map(|named| ("rota", named)));
        for (noun, (index, name)) in all {
            let earlier = *seen.entry(name).or_insert(noun);
            if earlier != noun {
                let message = format!("\"{name}\" is the name of a {earlier} already");
                let expected = "expected a name of its own: routes and policies use it alone";
                self.push(format!("alert.{noun}[{index}].name"), message, expected);
            }
        }
    }

    fn times(&mut self, alert: &AlertConfig) {
        let response = &alert.response;
        let mut least = |path: &str, period: Period, seconds: u64| {
            if period.0.as_secs() < seconds {
                let expected = format!("expected at least {seconds} s");
                self.mistakes
                    .push(Mistake::new(path, "it is too short", expected));
            }
        };
        least("alert.group_interval", alert.group_interval, 1);
        least("alert.repeat_interval", alert.repeat_interval, 60);
        least("alert.acknowledge_for", alert.acknowledge_for, 60);
        least("alert.stale_after", alert.stale_after, 10);
        for (name, period) in [
            ("P1", response.P1),
            ("P2", response.P2),
            ("P3", response.P3),
            ("P4", response.P4),
        ] {
            least(&format!("alert.response.{name}"), period, 60);
        }
        for (index, route) in alert.routes.iter().enumerate() {
            let path = |key| format!("alert.route[{index}].{key}");
            if let Some(period) = route.group_interval {
                least(&path("group_interval"), period, 1);
            }
            if let Some(period) = route.repeat_interval {
                least(&path("repeat_interval"), period, 60);
            }
        }
        if let Some(heartbeat) = &alert.heartbeat {
            least("alert.heartbeat.every", heartbeat.every, 1);
        }
    }

    fn people(&mut self, alert: &AlertConfig) {
        self.told("alert.fallback", &alert.fallback);
        let channels = self.names.channels.clone();
        for (index, contact) in alert.contacts.iter().enumerate() {
            let path = format!("alert.contact[{index}].channels");
            if contact.channels.is_empty() {
                let message = format!("contact \"{}\" cannot be told", contact.name);
                self.push(path.clone(), message, "expected at least one channel");
            }
            for (channel, address) in &contact.channels {
                let path = format!("{path}.{channel}");
                let smtp = alert.channels.iter().find(|c| c.name == *channel);
                let smtp = smtp.is_some_and(|channel| channel.smtp.is_some());
                if smtp && !address.is_empty() && !channel::is_mail(address) {
                    let message = format!("\"{}\" is no mail address", address.escape_debug());
                    self.push(path, message, "expected one such as \"ayu@example.org\"");
                } else if address.is_empty()
                    && self.names.without_target.contains(&channel.as_str())
                {
                    let message = format!("there is no address for channel \"{channel}\"");
                    self.push(path, message, "expected the contact's address there");
                } else {
                    self.stranger(path, channel, &channels, "channel");
                }
            }
        }
        for (index, rota) in alert.rotas.iter().enumerate() {
            self.rota(&format!("alert.rota[{index}]"), rota);
        }
    }

    fn rota(&mut self, path: &str, rota: &RotaConfig) {
        let contacts = self.names.contacts.clone();
        if rota.members.is_empty() {
            let expected = "expected at least one contact";
            self.push(format!("{path}.members"), "nobody takes turns", expected);
        }
        for (index, member) in rota.members.iter().enumerate() {
            self.stranger(
                format!("{path}.members[{index}]"),
                member,
                &contacts,
                "contact",
            );
        }
        let seconds = rota.turn.0.as_secs();
        if seconds == 0 || !seconds.is_multiple_of(86_400) || rota.turn.0.subsec_nanos() > 0 {
            let message = format!("a turn of {} is not whole days", rota.turn);
            let expected = "expected a text such as \"1 d\" or \"7 d\"";
            self.push(format!("{path}.turn"), message, expected);
        }
        for (index, substitute) in rota.substitutes.iter().enumerate() {
            if let Some(contact) = &substitute.contact {
                let path = format!("{path}.substitute[{index}].contact");
                self.stranger(path, contact, &contacts, "contact");
            }
        }
    }

    fn ladders(&mut self, alert: &AlertConfig) {
        for (index, policy) in alert.policies.iter().enumerate() {
            let path = format!("alert.policy[{index}]");
            if policy.steps.is_empty() {
                let message = format!("policy \"{}\" has no steps", policy.name);
                self.push(path.clone(), message, "expected [[alert.policy.step]]");
            }
            for (index, step) in policy.steps.iter().enumerate() {
                let path = format!("{path}.step[{index}]");
                if index > 0 && step.after.0 < policy.steps[index - 1].after.0 {
                    let message = "the step comes before the one above it";
                    let expected = "expected steps in the order of their times";
                    self.push(format!("{path}.after"), message, expected);
                }
                if step.notify.is_empty() {
                    let expected = "expected channels, contacts or rotas";
                    self.push(format!("{path}.notify"), "nobody is told", expected);
                }
                self.told(&format!("{path}.notify"), &step.notify);
            }
        }
    }

    fn routes(&mut self, alert: &AlertConfig) {
        let policies: Vec<&str> = alert.policies.iter().map(|p| p.name.as_str()).collect();
        for (index, route) in alert.routes.iter().enumerate() {
            let path = format!("alert.route[{index}]");
            self.told(&format!("{path}.notify"), &route.notify);
            let wrong = match (&route.policy, route.notify.is_empty()) {
                (None, true) => Some((path.clone(), "tells nobody")),
                (Some(_), false) => Some((format!("{path}.policy"), "tells somebody already")),
                (Some(policy), true) => {
                    self.stranger(format!("{path}.policy"), policy, &policies, "policy");
                    None
                }
                (None, false) => None,
            };
            if let Some((path, what)) = wrong {
                let message = format!("route \"{}\" {what}", route.name);
                self.push(path, message, "expected either \"notify\" or \"policy\"");
            }
        }
    }

    fn windows(&mut self, alert: &AlertConfig) {
        for (index, window) in alert.windows.iter().enumerate() {
            let number = window.name.strip_prefix("window-");
            if number.is_some_and(|number| number.parse::<u64>().is_ok()) {
                let message = format!("\"{}\" is how pawang window add names windows", window.name);
                let path = format!("alert.window[{index}].name");
                self.push(path, message, "expected a name in words");
            }
        }
    }
}

/// Returns things to know about `[alert]` that are no errors.
pub(super) fn warnings(config: &Config) -> impl Iterator<Item = Note> {
    let alert = &config.alert;
    let channels = alert.channels.iter().enumerate();
    let secrets = channels
        .clone()
        .flat_map(|(index, channel)| secrets(index, channel));
    let plain = channels.filter_map(|(index, channel)| plain_mail(index, channel));
    let no_fallback = alert.fallback.is_empty() && !alert.rotas.is_empty();
    let no_fallback = no_fallback.then(|| {
        let text = "nobody is told while nobody is on duty: alert.fallback is not set";
        ("alert.rota[0]".to_owned(), text.to_owned())
    });
    let windows = alert.windows.iter().enumerate();
    let windows = windows.filter(|(_, window)| window.matchers.is_empty());
    let windows = windows.map(|(index, window)| {
        let text = format!(
            "window \"{}\" keeps every alert quiet; \"match\" says which ones are meant",
            window.name
        );
        (format!("alert.window[{index}]"), text)
    });
    let reached = alert
        .routes
        .iter()
        .position(|route| route.matchers.is_empty() && route.hours.is_none() && !route.goes_on);
    let beyond = alert
        .routes
        .iter()
        .enumerate()
        .skip(reached.map_or(usize::MAX, |last| last + 1));
    let beyond = beyond.map(|(index, route)| {
        let text = format!(
            "route \"{}\" is never reached: one before it takes every alert",
            route.name
        );
        (format!("alert.route[{index}]"), text)
    });
    let notes = secrets.chain(plain).chain(no_fallback).chain(windows);
    notes.chain(beyond).chain(no_production(config))
}

/// A pattern that was written and matches no group makes everything one less urgent.
fn no_production(config: &Config) -> Option<Note> {
    let path = "alert.production";
    config.origin.spans.get(path)?;
    let groups = config
        .instances
        .iter()
        .filter_map(|instance| instance.group.as_deref());
    let patterns = &config.alert.production;
    let mut groups = groups.peekable();
    groups.peek()?;
    if groups.any(|group| patterns.iter().any(|pattern| matches(pattern, group))) {
        return None;
    }
    let text = "no instance has such a group: every alert is one less urgent";
    Some((path.to_owned(), text.to_owned()))
}

fn secrets(index: usize, channel: &ChannelConfig) -> Vec<Note> {
    let webhooks = [
        ("webhook", &channel.webhook, false),
        ("slack", &channel.slack, true),
        ("teams", &channel.teams, true),
    ];
    let webhooks = webhooks.into_iter().filter_map(|(kind, webhook, always)| {
        Some((kind, webhook.as_ref()?.url.as_ref()?, always, "url_file"))
    });
    let ntfy = channel.ntfy.as_ref().and_then(|ntfy| ntfy.url.as_ref());
    let alertmanager = channel.alertmanager.as_ref().and_then(|am| am.url.as_ref());
    let others = [("ntfy", ntfy), ("alertmanager", alertmanager)];
    let others = others
        .into_iter()
        .filter_map(|(kind, url)| Some((kind, url?, false, "token_file")));
    let all = webhooks.chain(others);
    let secret = all.filter(|(_, url, always, _)| *always || has_password(url.reveal()));
    let notes = secret.map(|(kind, _, _, key)| {
        let text = format!(
            "\"url\" of channel \"{}\" contains a secret; move it into a file that only you can read and name it in {key}",
            channel.name
        );
        (format!("alert.channel[{index}].{kind}.url"), text)
    });
    notes.collect()
}

fn plain_mail(index: usize, channel: &ChannelConfig) -> Option<Note> {
    let smtp = channel.smtp.as_ref()?;
    let server = smtp.server.as_str();
    let address = server.parse::<IpAddr>();
    if smtp.tls != SmtpTls::None || server == "localhost" || address.is_ok_and(|a| a.is_loopback())
    {
        return None;
    }
    let text = format!(
        "channel \"{}\" sends mail to \"{}\" without TLS",
        channel.name,
        server.escape_debug()
    );
    Some((format!("alert.channel[{index}].smtp.tls"), text))
}
