//! Channels against what they are made for: a mail server, Alertmanager, receivers that answer well and badly.

mod local;
mod mail;
mod web;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use pawang_alert::channel::Channel;
use pawang_config::ChannelConfig;
use pawang_core::alert::{Message, MessageKind, Notice, Priority, Recipient};
use pawang_core::{Level, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Makes a channel of one kind with time enough for a busy machine.
pub(crate) fn channel(kind: &str, table: Value) -> Channel {
    made(kind, table, "60 s")
}

/// Makes a channel of one kind that gives up an attempt after a second.
pub(crate) fn hasty(kind: &str, table: Value) -> Channel {
    made(kind, table, "1 s")
}

fn made(kind: &str, table: Value, timeout: &str) -> Channel {
    let config: ChannelConfig = serde_json::from_value(json!({
        "name": "test",
        "timeout": timeout,
        kind: table,
    }))
    .unwrap();
    Channel::new(&config).unwrap()
}

/// Writes a file that only its owner may read.
pub(crate) fn secret(directory: &TempDir, text: &str) -> PathBuf {
    let path = directory.path().join("secret");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// Returns the message of one alert; over when it does not fire.
pub(crate) fn message(sequence: u64, firing: bool) -> Message {
    let at: Timestamp = "2026-11-21T18:04:00Z".parse().unwrap();
    let pairs = [
        ("check", "disk-space"),
        ("instance", "dwh-1"),
        ("level", "critical"),
    ];
    let labels: BTreeMap<String, String> = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let notice = Notice {
        fingerprint: "00c0ffee00c0ffee".to_owned(),
        labels: labels.clone(),
        firing,
        level: Some(Level::Critical),
        title: "disk /var is 97 % full, größer <als> erlaubt".to_owned(),
        since: at,
        ended_at: (!firing).then_some(at),
        remedy: "SELECT 1;".to_owned(),
        ..Notice::default()
    };
    Message {
        key: format!("group-{sequence}"),
        thread: "group".to_owned(),
        sequence,
        kind: if firing {
            MessageKind::Firing
        } else {
            MessageKind::Resolved
        },
        recipient: Recipient {
            channel: "test".to_owned(),
            ..Recipient::default()
        },
        created_at: at,
        priority: Priority::P1,
        level: if firing { Level::Critical } else { Level::Ok },
        route: "default".to_owned(),
        group_labels: BTreeMap::new(),
        common_labels: labels,
        subject: "P1 dwh-1: disk /var ist größer".to_owned(),
        notices: vec![notice],
        firing: usize::from(firing),
        resolved: usize::from(!firing),
        left_out: 0,
        incident: None,
        link: Some("https://pawang.example.org/alerts".to_owned()),
        notes: Vec::new(),
    }
}
