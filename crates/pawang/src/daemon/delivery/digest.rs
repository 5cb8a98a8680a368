//! Several messages to one person as one.

use std::collections::BTreeMap;

use pawang_core::alert::{Message, MessageKind, Notice};
use pawang_core::{Level, Timestamp};

/// Alerts told in one digest; the others are counted.
const NOTICES_MAX: usize = 500;

/// Makes one message of several; of each alert the newest news counts. The first message must be there.
pub(super) fn digest(messages: &[&Message], now: Timestamp) -> Message {
    let newest = messages.last().expect("a digest is made of messages");
    let mut notices: BTreeMap<&str, &Notice> = BTreeMap::new();
    for notice in messages.iter().flat_map(|message| &message.notices) {
        notices.insert(&notice.fingerprint, notice);
    }
    let mut notices: Vec<Notice> = notices.into_values().cloned().collect();
    notices.sort_by(|a, b| (b.firing, b.level, a.since).cmp(&(a.firing, a.level, b.since)));
    let firing = notices.iter().filter(|notice| notice.firing).count();
    let resolved = notices.len() - firing;
    let cut = notices.len().saturating_sub(NOTICES_MAX);
    notices.truncate(NOTICES_MAX);
    let mut notes: Vec<String> = Vec::new();
    for note in messages.iter().flat_map(|message| &message.notes) {
        if !notes.contains(note) {
            notes.push(note.clone());
        }
    }
    notes.push(format!(
        "{} messages were put together into this one",
        messages.len()
    ));
    let level = messages.iter().map(|message| message.level).max();
    let recipient = newest.recipient.clone();
    Message {
        key: format!("digest-{}", newest.key),
        thread: format!("digest-{}", recipient.key()),
        sequence: newest.sequence,
        kind: MessageKind::Digest,
        created_at: messages.iter().map(|m| m.created_at).min().unwrap_or(now),
        priority: messages
            .iter()
            .map(|message| message.priority)
            .min()
            .unwrap_or(newest.priority),
        level: if firing > 0 {
            level.unwrap_or(Level::Ok)
        } else {
            Level::Ok
        },
        route: newest.route.clone(),
        group_labels: BTreeMap::new(),
        common_labels: common(&notices),
        subject: format!("[DIGEST] {firing} firing, {resolved} over"),
        firing,
        resolved,
        left_out: cut
            + messages
                .iter()
                .map(|message| message.left_out)
                .sum::<usize>(),
        incident: None,
        link: newest.link.clone(),
        notes,
        notices,
        recipient,
    }
}

/// Returns the labels that all alerts share.
fn common(notices: &[Notice]) -> BTreeMap<String, String> {
    let mut all = notices.iter();
    let mut common = all
        .next()
        .map(|notice| notice.labels.clone())
        .unwrap_or_default();
    for notice in all {
        common.retain(|name, value| notice.labels.get(name) == Some(value));
    }
    common
}
