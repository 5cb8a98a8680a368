//! The daemon itself, and its journal.

use std::collections::BTreeMap;

use pawang_core::Timestamp;
use pawang_store::live::Live;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::logs::Reading;
use super::{limit, paged, reply};
use crate::page::parts::without_secrets;
use crate::problem::Problem;
use crate::routes::{Look, Reply};

/// How the daemon itself is doing.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Daemon {
    /// Pawang's version.
    version: String,
    /// When it started.
    started_at: Timestamp,
    /// The configuration file.
    config_file: Option<String>,
    /// When the configuration in force was read.
    config_loaded_at: Timestamp,
    /// Why the newest configuration was refused.
    config_refused: Option<Trouble>,
    /// Resident memory, in bytes.
    memory_bytes: u64,
    /// CPU time since the start, in seconds.
    cpu_seconds: f64,
    /// The store.
    store: Store,
    /// The remote stores.
    remote_writes: Vec<RemoteWrite>,
    /// How reading the log of each instance goes; those whose log nobody reads are absent.
    logs: BTreeMap<String, Reading>,
    /// Things to know.
    notes: Vec<String>,
}

/// Something that went wrong, for people.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Trouble {
    /// What was tried and did not work.
    primary: String,
    /// The facts around it.
    detail: Option<String>,
    /// What to do next.
    hint: Option<String>,
}

/// How the store is doing.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Store {
    /// The data directory.
    directory: String,
    /// Size of the history and state files.
    bytes: u64,
    /// Snapshots that wait in memory for the disk.
    waiting_snapshots: usize,
    /// Snapshots that were dropped because memory ran out while the disk refused.
    dropped_snapshots: u64,
    /// Why nothing can be written.
    trouble: Option<Trouble>,
    /// When something was last written for good.
    committed_at: Option<Timestamp>,
}

/// How one remote store is doing.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RemoteWrite {
    /// Its name in the configuration.
    name: String,
    /// Samples that it has acknowledged.
    samples_sent: u64,
    /// Bytes that wait on disk.
    waiting_bytes: u64,
    /// Samples that were dropped.
    samples_dropped: u64,
    /// Why the last attempt did not work out.
    trouble: Option<String>,
}

/// Something that somebody changed or tried to change.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct JournalRecord {
    /// Its number; there are no holes.
    id: i64,
    /// When.
    at: Timestamp,
    /// Who.
    actor: String,
    /// What.
    action: String,
    /// To what.
    object: String,
    /// `done`, `refused` or `failed`.
    outcome: String,
    /// Facts.
    detail: Value,
    /// SHA-256 of the hash before and this entry.
    hash: String,
}

impl From<&pawang_core::Report> for Trouble {
    fn from(report: &pawang_core::Report) -> Trouble {
        Trouble {
            primary: report.primary.clone(),
            detail: report.detail.clone(),
            hint: report.hint.clone(),
        }
    }
}

/// Answers with how the daemon is doing.
pub(crate) fn daemon(look: &Look<'_>) -> Result<Reply, Problem> {
    let status = look.visit.site.live.daemon();
    let store = &status.store;
    reply(&Daemon {
        version: status.version.clone(),
        started_at: status.started_at,
        config_file: status
            .config_file
            .as_ref()
            .map(|path| path.display().to_string()),
        config_loaded_at: status.config_loaded_at,
        config_refused: status.config_refused.as_ref().map(Trouble::from),
        memory_bytes: status.memory_bytes,
        cpu_seconds: status.cpu_time.as_secs_f64(),
        store: Store {
            directory: store.directory.display().to_string(),
            bytes: store.bytes,
            waiting_snapshots: store.waiting_snapshots,
            dropped_snapshots: store.dropped_snapshots,
            trouble: store.trouble.as_ref().map(Trouble::from),
            committed_at: store.committed_at,
        },
        remote_writes: status
            .remote_writes
            .iter()
            .map(|remote| RemoteWrite {
                name: remote.name.clone(),
                samples_sent: remote.samples_sent,
                waiting_bytes: remote.waiting_bytes,
                samples_dropped: remote.samples_dropped,
                trouble: remote.trouble.as_deref().map(without_secrets),
            })
            .collect(),
        logs: logs(&look.visit.site.live),
        notes: status.notes.clone(),
    })
}

fn logs(live: &Live) -> BTreeMap<String, Reading> {
    let instances = live.instances();
    let names = instances.iter().map(|present| &present.instance.name);
    names
        .filter_map(|name| Some((name.clone(), Reading::from(&*live.log(name)?))))
        .collect()
}

/// Answers with the journal.
pub(crate) fn journal(look: &Look<'_>) -> Result<Reply, Problem> {
    let limit = limit(look)?;
    let before = match look.visit.parameter("after") {
        None => None,
        Some(text) => Some(
            text.parse()
                .map_err(|_| Problem::parameter("after", "a number"))?,
        ),
    };
    let state = look.visit.site.store.state();
    let records = state.journal_page(before, limit + 1)?;
    let more = records.len() > limit;
    let records: Vec<JournalRecord> = records
        .into_iter()
        .take(limit)
        .map(|record| JournalRecord {
            id: record.id,
            at: record.entry.at,
            actor: record.entry.actor,
            action: record.entry.action,
            object: record.entry.object,
            outcome: record.entry.outcome,
            detail: record.entry.detail,
            hash: record.hash,
        })
        .collect();
    let after = records.last().filter(|_| more);
    let after = after.map(|record| record.id.to_string());
    paged(&records, after)
}
