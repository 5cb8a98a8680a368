//! What is told, to whom, and how far that got.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Priority;
use crate::Level;

/// Who is told: a channel, and where it leads one person, that person.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Recipient {
    /// The channel's name in `pawang.toml`.
    pub channel: String,
    /// The contact, when the channel leads to one person at a time.
    pub contact: Option<String>,
    /// That person's address there: mail address, chat id, user key; the channel's own when not set.
    pub address: Option<String>,
}

impl Recipient {
    /// Returns its identity: `email-dba`, `email-dba/ayu`.
    pub fn key(&self) -> String {
        match (&self.contact, &self.address) {
            (Some(contact), _) => format!("{}/{contact}", self.channel),
            (None, Some(address)) => format!("{}/{address}", self.channel),
            (None, None) => self.channel.clone(),
        }
    }
}

/// Why something is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageKind {
    /// Something fires that was not told, or became worse.
    Firing,
    /// All that was told is over.
    Resolved,
    /// It still fires, and nobody has acknowledged.
    Reminder,
    /// Nobody acknowledged: the next step of the ladder.
    Escalation,
    /// The window is over and it still fires.
    WindowOver,
    /// Several messages in one, because the channel collects them or because there were too many.
    Digest,
    /// `pawang notify test`.
    Test,
}

/// One alert in a message, in words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// The alert's fingerprint.
    pub fingerprint: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it fires; else it is over.
    pub firing: bool,
    /// How bad it is or was.
    pub level: Option<Level>,
    /// What: one sentence with number and limit.
    pub title: String,
    /// Since when it is so.
    pub since: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// The value, written with its unit.
    pub value: Option<String>,
    /// The limit, written with its unit.
    pub threshold: Option<String>,
    /// How it moves: `up by 12 % since 02:41`.
    pub trend: Option<String>,
    /// Named facts that prove it.
    pub evidence: Vec<(String, String)>,
    /// Probable causes, the most probable first.
    pub causes: Vec<String>,
    /// The command or statement to run.
    pub remedy: String,
    /// The runbook, where there is one.
    pub runbook: Option<String>,
    /// Where the dashboard shows it.
    pub link: Option<String>,
    /// The last time that it was so: when it began and how long it lasted, in words.
    pub last_time: Option<String>,
    /// What it keeps quiet, in words, such as `replication-lag dwh-2`.
    pub mutes: Vec<String>,
    /// How often it cleared and came back.
    pub flaps: u32,
    /// How it is handled, in words, such as `acknowledged by ayu until 04:00`.
    pub handling: Option<String>,
}

/// What is told to one recipient at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Unique, and the same when it is sent again: what the target can recognise a repetition by.
    pub key: String,
    /// The same for all messages of one group: one mail thread, one incident elsewhere.
    pub thread: String,
    /// The number of the message within its thread; the first is 1.
    pub sequence: u64,
    /// Why it is told.
    pub kind: MessageKind,
    /// Who is told.
    pub recipient: Recipient,
    /// When it was made.
    pub created_at: Timestamp,
    /// The most urgent of its alerts.
    pub priority: Priority,
    /// The worst level of what fires; `ok` when nothing does.
    pub level: Level,
    /// The route that it came by.
    pub route: String,
    /// The labels of the group.
    pub group_labels: BTreeMap<String, String>,
    /// The labels that all alerts share.
    pub common_labels: BTreeMap<String, String>,
    /// One line that says it all.
    pub subject: String,
    /// The alerts, the worst first; bounded.
    pub notices: Vec<Notice>,
    /// How many fire.
    pub firing: usize,
    /// How many are over.
    pub resolved: usize,
    /// Alerts beyond the bound that are only counted.
    pub left_out: usize,
    /// The incident, by number.
    pub incident: Option<i64>,
    /// Where the dashboard shows it.
    pub link: Option<String>,
    /// Things to know about the message itself, such as that nobody was on duty and the fallback was told.
    pub notes: Vec<String>,
}

/// How far a message got.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum ParcelState {
    /// It waits to be sent, perhaps again.
    Waiting,
    /// The target took it.
    Sent {
        /// When.
        at: Timestamp,
    },
    /// It was told as part of another message, a digest.
    Merged {
        /// The key of that message.
        into: String,
    },
    /// It was given up, and the fallback told.
    Dead {
        /// When.
        at: Timestamp,
    },
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parcel {
    /// What and to whom.
    pub message: Message,
    /// When it may be tried next.
    pub due_at: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// Why the last attempt did not work out.
    pub trouble: Option<String>,
    /// How far it got.
    pub state: ParcelState,
}
