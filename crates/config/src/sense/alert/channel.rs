//! What is wrong with one `[[alert.channel]]`.

use pawang_core::Secret;

use crate::alert::{ChannelConfig, SmtpConfig, SmtpTls, SyslogConfig, WebhookConfig};
use crate::problem::Mistake;

/// Facilities of syslog by their names.
const FACILITIES: [&str; 20] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// Adds what is wrong with a channel.
pub(super) fn mistakes(found: &mut Vec<Mistake>, path: &str, channel: &ChannelConfig) {
    let mut push = |key: &str, message: String, expected: &str| {
        let separator = if key.is_empty() { "" } else { "." };
        let path = format!("{path}{separator}{key}");
        found.push(Mistake::new(path, message, expected));
    };
    kind(&mut push, channel);
    times(&mut push, channel);
    addresses(&mut push, channel);
    if let Some(smtp) = &channel.smtp {
        mail(&mut push, smtp);
    }
    let command = channel.exec.as_ref().map(|exec| exec.command.first());
    if command.is_some_and(|program| program.is_none_or(String::is_empty)) {
        let message = "there is no program".to_owned();
        push(
            "exec.command",
            message,
            "expected a program and its arguments",
        );
    }
    if let Some(syslog) = &channel.syslog {
        log(&mut push, syslog);
    }
}

type Push<'a> = &'a mut dyn FnMut(&str, String, &str);

fn kind(push: Push<'_>, channel: &ChannelConfig) {
    let name = &channel.name;
    match kinds(channel).as_slice() {
        [_] => {}
        [] => push(
            "",
            format!("channel \"{name}\" is of no kind"),
            "expected one of \"smtp\", \"webhook\", \"slack\", \"teams\", \"telegram\", \"pagerduty\", \"ntfy\", \"exec\", \"syslog\", \"alertmanager\"",
        ),
        [_, second, ..] => push(
            second,
            format!("channel \"{name}\" is of two kinds"),
            "expected a channel of its own for each",
        ),
    }
}

fn times(push: Push<'_>, channel: &ChannelConfig) {
    let (timeout, give_up) = (channel.timeout.0, channel.give_up_after.0);
    if timeout.is_zero() {
        let message = "no attempt could succeed".to_owned();
        push("timeout", message, "expected at least 1 s");
    }
    if give_up < timeout {
        let message = "it is given up before one attempt is over".to_owned();
        push("give_up_after", message, "expected at least \"timeout\"");
    }
    if channel.digest.is_some_and(|digest| digest.0 >= give_up) {
        let message = "messages are given up before they are collected".to_owned();
        push("digest", message, "expected less than \"give_up_after\"");
    }
}

fn addresses(push: Push<'_>, channel: &ChannelConfig) {
    let webhooks = [
        ("webhook", &channel.webhook),
        ("slack", &channel.slack),
        ("teams", &channel.teams),
    ];
    for (kind, webhook) in webhooks {
        if let Some(webhook) = webhook {
            address(push, kind, webhook);
        }
    }
    let ntfy = channel.ntfy.as_ref().map(|ntfy| &ntfy.url);
    let alertmanager = channel.alertmanager.as_ref().map(|am| &am.url);
    for (kind, url) in [("ntfy", ntfy), ("alertmanager", alertmanager)] {
        if matches!(url, Some(None)) {
            let message = format!("there is no \"url\" in {kind}");
            push(
                kind,
                message,
                "expected a URL that begins with http:// or https://",
            );
        }
    }
}

/// Returns the tables of a channel that are set.
fn kinds(channel: &ChannelConfig) -> Vec<&'static str> {
    let kinds = [
        ("smtp", channel.smtp.is_some()),
        ("webhook", channel.webhook.is_some()),
        ("slack", channel.slack.is_some()),
        ("teams", channel.teams.is_some()),
        ("telegram", channel.telegram.is_some()),
        ("pagerduty", channel.pagerduty.is_some()),
        ("ntfy", channel.ntfy.is_some()),
        ("exec", channel.exec.is_some()),
        ("syslog", channel.syslog.is_some()),
        ("alertmanager", channel.alertmanager.is_some()),
    ];
    let set = kinds.into_iter().filter(|(_, set)| *set);
    set.map(|(kind, _)| kind).collect()
}

fn address(push: Push<'_>, kind: &str, webhook: &WebhookConfig) {
    let url: Option<&Secret<String>> = webhook.url.as_ref();
    let expected = "expected either \"url\" or \"url_file\"";
    match (url, &webhook.url_file) {
        (None, None) => push(kind, format!("there is no address in {kind}"), expected),
        (Some(_), Some(_)) => {
            push(
                &format!("{kind}.url_file"),
                "there are two addresses".to_owned(),
                expected,
            );
        }
        _ => {}
    }
}

fn mail(push: Push<'_>, smtp: &SmtpConfig) {
    match (&smtp.username, &smtp.password_file) {
        (Some(_), None) => push(
            "smtp.username",
            "there is no password for it".to_owned(),
            "expected password_file too",
        ),
        (None, Some(_)) => push(
            "smtp.password_file",
            "there is no name for it".to_owned(),
            "expected username too",
        ),
        _ => {}
    }
    let text = "expected an address such as \"Pawang <pawang@example.org>\"";
    if !is_mail(&smtp.from) {
        let from = smtp.from.escape_debug();
        push("smtp.from", format!("\"{from}\" is no mail address"), text);
    }
    for (index, to) in smtp.to.iter().enumerate() {
        if !is_mail(to) {
            let message = format!("\"{}\" is no mail address", to.escape_debug());
            push(&format!("smtp.to[{index}]"), message, text);
        }
    }
    if smtp.tls == SmtpTls::None && smtp.ca_file.is_some() {
        let message = "nothing is held against it without TLS".to_owned();
        push(
            "smtp.ca_file",
            message,
            "expected tls = \"starttls\" or \"tls\"",
        );
    }
}

/// Says whether a text may be a mail address, with or without a name in front; a header has no place for line feeds.
pub(super) fn is_mail(text: &str) -> bool {
    let address = match text.split_once('<') {
        Some((_, rest)) => rest.strip_suffix('>').unwrap_or(""),
        None => text,
    };
    let parts = address.split_once('@');
    let good = |part: &str| !part.is_empty() && !part.contains(['@', '<', '>', ' ', ',', ';']);
    !text.contains(char::is_control) && parts.is_some_and(|(user, host)| good(user) && good(host))
}

fn log(push: Push<'_>, syslog: &SyslogConfig) {
    if let Some(address) = &syslog.address {
        let network = address.split_once("://");
        let good = match network {
            Some(("udp" | "tcp", place)) => place.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
            }),
            Some(_) => false,
            None => address.starts_with('/'),
        };
        if !good {
            let message = format!("\"{}\" is no system log", address.escape_debug());
            let expected = "expected \"/dev/log\", \"udp://host:514\" or \"tcp://host:514\"";
            push("syslog.address", message, expected);
        }
    }
    if let Some(facility) = &syslog.facility
        && !FACILITIES.contains(&facility.as_str())
    {
        let message = format!("there is no facility \"{}\"", facility.escape_debug());
        push(
            "syslog.facility",
            message,
            "expected one such as \"daemon\" or \"local3\"",
        );
    }
}
