//! A message in words: plain text, HTML, and the short marks of chats.

use pawang_core::alert::{Message, MessageKind, Notice};
use pawang_core::{Level, Timestamp};

/// Returns a time for people.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// Returns the subject in one line, whatever is in it.
pub(super) fn subject(message: &Message) -> String {
    one_line(&message.subject)
}

/// Returns a text in one line without control characters.
pub(super) fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// Cuts a text to so many characters, with a sign that it was cut.
pub(super) fn cut(text: &str, characters_max: usize) -> String {
    if text.chars().count() <= characters_max {
        return text.to_owned();
    }
    let kept: String = text
        .chars()
        .take(characters_max.saturating_sub(1))
        .collect();
    format!("{kept}…")
}

/// Returns the word for how a notice stands.
pub(super) fn state(notice: &Notice) -> &'static str {
    match (notice.firing, notice.level) {
        (false, _) => "over",
        (true, Some(Level::Critical)) => "critical",
        (true, Some(Level::Unknown)) => "not seen",
        (true, _) => "warning",
    }
}

/// Returns the colour of a notice; it never says anything that the words do not.
pub(super) fn colour(notice: &Notice) -> &'static str {
    match state(notice) {
        "over" => "#2e7d32",
        "critical" => "#c62828",
        _ => "#e08600",
    }
}

/// Returns what is to know before the alerts: why it is told, and how many there are.
pub(super) fn lead(message: &Message) -> String {
    let why = match message.kind {
        MessageKind::Firing => "",
        MessageKind::Resolved => "All that was told is over.",
        MessageKind::Reminder => "It still fires, and nobody has acknowledged it.",
        MessageKind::Escalation => "Nobody has acknowledged it: this is the next step.",
        MessageKind::WindowOver => "The maintenance window is over, and it still fires.",
        MessageKind::Digest => "Several messages in one.",
        MessageKind::Test => "This is a test: nothing is wrong.",
    };
    let mut parts = vec![];
    if !why.is_empty() {
        parts.push(why.to_owned());
    }
    if message.notices.len() + message.left_out > 1 {
        parts.push(match (message.firing, message.resolved) {
            (firing, 0) => format!("{firing} alerts fire."),
            (0, over) => format!("{over} alerts are over."),
            (firing, over) => format!("{firing} fire, {over} are over."),
        });
    }
    if let Some(incident) = message.incident {
        parts.push(format!("Incident {incident}."));
    }
    parts.join(" ")
}

/// Returns what is to know after the alerts.
pub(super) fn notes(message: &Message) -> Vec<String> {
    let mut notes = message.notes.clone();
    if message.left_out > 0 {
        let others = message.left_out;
        notes.push(format!(
            "{others} more are left out here; the dashboard shows all"
        ));
    }
    notes
}

/// Returns the facts of a notice with their names, the most important first.
pub(super) fn facts(notice: &Notice) -> Vec<(String, String)> {
    let mut facts: Vec<(&str, String)> = Vec::new();
    let label = |name: &str| notice.labels.get(name).filter(|value| !value.is_empty());
    facts.extend(label("instance").map(|instance| ("Instance", instance.clone())));
    facts.push(("Since", time(notice.since)));
    facts.extend(notice.ended_at.map(|at| ("Over since", time(at))));
    facts.extend(value(notice).map(|value| ("Value", value)));
    facts.extend(label("check").map(|check| ("Check", check.clone())));
    facts.extend(
        notice
            .handling
            .clone()
            .map(|handling| ("Handling", handling)),
    );
    if notice.flaps > 0 {
        facts.push(("Came back", format!("{} times", notice.flaps)));
    }
    facts.extend(notice.last_time.clone().map(|last| ("Last time", last)));
    if !notice.mutes.is_empty() {
        facts.push(("Keeps quiet", notice.mutes.join(", ")));
    }
    let facts = facts
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    facts.chain(notice.evidence.clone()).collect()
}

/// Returns value, limit and trend in one line.
pub(super) fn value(notice: &Notice) -> Option<String> {
    let mut text = notice.value.clone()?;
    if let Some(threshold) = &notice.threshold {
        text = format!("{text} (limit {threshold})");
    }
    if let Some(trend) = &notice.trend {
        text = format!("{text}, {trend}");
    }
    Some(text)
}

/// Returns the message as plain text.
pub(super) fn text(message: &Message) -> String {
    let mut lines = vec![subject(message)];
    let lead = lead(message);
    if !lead.is_empty() {
        lines.push(lead);
    }
    for notice in &message.notices {
        lines.push(String::new());
        lines.push(format!(
            "[{}] {}",
            state(notice).to_uppercase(),
            one_line(&notice.title)
        ));
        let facts = facts(notice);
        lines.extend(
            facts
                .iter()
                .map(|(name, value)| format!("  {name}: {}", one_line(value))),
        );
        if !notice.causes.is_empty() {
            lines.push("  Probable causes:".to_owned());
            lines.extend(notice.causes.iter().map(|cause| format!("    - {cause}")));
        }
        if notice.firing && !notice.remedy.is_empty() {
            lines.push("  To do:".to_owned());
            lines.extend(notice.remedy.lines().map(|line| format!("    {line}")));
        }
        lines.extend(
            notice
                .runbook
                .iter()
                .map(|runbook| format!("  Runbook: {runbook}")),
        );
        lines.extend(notice.link.iter().map(|link| format!("  {link}")));
    }
    let notes = notes(message);
    if !notes.is_empty() {
        lines.push(String::new());
        lines.extend(notes.iter().map(|note| format!("Note: {note}")));
    }
    if let Some(link) = &message.link {
        lines.push(String::new());
        lines.push(link.clone());
    }
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use pawang_core::alert::{Priority, Recipient};

    use super::*;

    /// A message with everything in it.
    pub(crate) fn message() -> Message {
        let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            pairs.iter().map(owned).collect()
        };
        let at: Timestamp = "2026-11-21T18:04:00Z".parse().unwrap();
        let notice = Notice {
            fingerprint: "00c0ffee00c0ffee".to_owned(),
            labels: labels(&[
                ("check", "disk-space"),
                ("instance", "dwh-1"),
                ("level", "critical"),
            ]),
            firing: true,
            level: Some(Level::Critical),
            title: "disk <of> \"/var\" & co is 97 % full".to_owned(),
            since: at,
            value: Some("97 %".to_owned()),
            threshold: Some("95 %".to_owned()),
            trend: Some("up by 12 % since 02:41".to_owned()),
            evidence: vec![("mount point".to_owned(), "/var".to_owned())],
            causes: vec!["a replication slot keeps WAL".to_owned()],
            remedy: "SELECT pg_drop_replication_slot('old');".to_owned(),
            runbook: Some("https://wiki.example.org/disk".to_owned()),
            link: Some("https://pawang.example.org/alerts/00c0ffee00c0ffee".to_owned()),
            last_time: Some("2026-11-01 02:00 UTC for 20 min".to_owned()),
            mutes: vec!["archiver dwh-1".to_owned()],
            flaps: 2,
            ..Notice::default()
        };
        Message {
            key: "default-1-mail".to_owned(),
            thread: "default-1".to_owned(),
            sequence: 2,
            kind: MessageKind::Firing,
            recipient: Recipient::default(),
            created_at: at,
            priority: Priority::P1,
            level: Level::Critical,
            route: "default".to_owned(),
            group_labels: labels(&[("instance", "dwh-1")]),
            common_labels: labels(&[("check", "disk-space"), ("instance", "dwh-1")]),
            subject: "P1 critical dwh-1:\r\n disk is 97 % full".to_owned(),
            notices: vec![notice],
            firing: 1,
            resolved: 0,
            left_out: 3,
            incident: Some(7),
            link: Some("https://pawang.example.org/alerts".to_owned()),
            notes: vec!["nobody was on duty".to_owned()],
        }
    }

    /// The same when it is over.
    pub(crate) fn over() -> Message {
        let mut message = message();
        message.kind = MessageKind::Resolved;
        message.firing = 0;
        message.resolved = 1;
        message.notices[0].firing = false;
        message.notices[0].ended_at = Some("2026-11-21T19:00:00Z".parse().unwrap());
        message
    }

    #[test]
    fn the_text_says_it_all() {
        let text = text(&message());
        for part in [
            "P1 critical dwh-1: disk is 97 % full\n",
            "[CRITICAL] disk <of> \"/var\" & co is 97 % full\n",
            "  Since: 2026-11-21 18:04 UTC\n",
            "  Value: 97 % (limit 95 %), up by 12 % since 02:41\n",
            "  mount point: /var\n",
            "    - a replication slot keeps WAL\n",
            "    SELECT pg_drop_replication_slot('old');\n",
            "  Runbook: https://wiki.example.org/disk\n",
            "  Keeps quiet: archiver dwh-1\n",
            "  Last time: 2026-11-01 02:00 UTC for 20 min\n",
            "Note: nobody was on duty\n",
            "Note: 3 more are left out here",
            "Incident 7.",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }

    #[test]
    fn what_is_over_needs_no_command() {
        let text = text(&over());
        assert!(text.contains("[OVER]"), "{text}");
        assert!(text.contains("Over since: 2026-11-21 19:00 UTC"), "{text}");
        assert!(!text.contains("To do"), "{text}");
    }

    #[test]
    fn a_cut_text_is_never_longer_than_it_may_be() {
        for (text, most, expected) in [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("üüüü", 2, "ü…")]
        {
            assert_eq!(cut(text, most), expected);
        }
    }
}
