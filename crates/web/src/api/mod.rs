//! The API for programs, version 1: what the pages show, as JSON; orders to the daemon; and its own description.
//!
//! Within a version fields are added, never taken away or given another meaning.

mod alerts;
mod checks;
mod daemon;
mod estate;
mod facts;
mod findings;
mod history;
mod incidents;
mod logs;
mod openapi;
mod orders;
mod session;
mod sessions;

use pawang_core::Level;
use serde::Serialize;

use crate::problem::Problem;
use crate::routes::{Look, Reply};

pub(crate) use alerts::{
    Alert, AlertDetail, Silence, Windows, alert, alerts, event_name, preview, silences, windows,
};
pub(crate) use checks::{Check, checks};
pub(crate) use daemon::{Daemon, JournalRecord, daemon, journal};
pub(crate) use estate::{Instance, InstanceDetail, instance, instances};
pub(crate) use facts::{Collector, Snapshot, activity, collectors, snapshots};
pub(crate) use findings::{
    Finding, FindingRecord, Verdict, finding, findings, instance_findings, verdicts,
};
pub(crate) use history::{Change, Growth, Series, changes, growth, series};
pub(crate) use incidents::{Incident, IncidentDetail, incident, incidents};
pub(crate) use logs::{Log, Records, log, log_records};
pub(crate) use openapi::description;
pub use openapi::openapi;
pub(crate) use orders::{Done, Ordered, ask, done, reload};
pub(crate) use session::{Session, session};
pub(crate) use sessions::{
    LockTree, SessionPlan, SessionsFreed, apply_sessions, lock_tree, plan_sessions,
};

/// Entries of one answer, unless `limit` says otherwise.
const LIMIT_DEFAULT: usize = 100;
/// Most entries of one answer.
const LIMIT_MAX: usize = 1_000;

/// Returns the JSON of an answer.
fn reply<T: Serialize>(answer: &T) -> Result<Reply, Problem> {
    paged(answer, None)
}

/// Returns the JSON of an answer, and where the next page begins.
fn paged<T: Serialize>(answer: &T, after: Option<String>) -> Result<Reply, Problem> {
    let body = serde_json::to_vec(answer).map_err(|error| {
        Problem::new(
            axum::http::StatusCode::INTERNAL_SERVER_ERROR,
            "cannot write the answer as JSON",
        )
        .with_detail(error.to_string())
    })?;
    Ok(Reply { body, after })
}

/// Cuts a sorted list to the page that is asked for; `key` tells where an entry stands, and the page begins after
/// `after`.
fn page_of<T>(
    look: &Look<'_>,
    entries: Vec<T>,
    key: impl Fn(&T) -> String,
) -> Result<(Vec<T>, Option<String>), Problem> {
    let limit = limit(look)?;
    let start = match look.visit.parameter("after") {
        None => 0,
        Some(after) => {
            let found = entries.iter().position(|entry| key(entry) == after);
            found.ok_or_else(|| {
                Problem::parameter("after", "what the Link header of the page before says")
                    .with_detail("the entry is no longer there")
            })? + 1
        }
    };
    let more = entries.len() > start.saturating_add(limit);
    let page: Vec<T> = entries.into_iter().skip(start).take(limit).collect();
    let after = page.last().filter(|_| more).map(key);
    Ok((page, after))
}

/// Returns how many entries are asked for.
fn limit(look: &Look<'_>) -> Result<usize, Problem> {
    let Some(text) = look.visit.parameter("limit") else {
        return Ok(LIMIT_DEFAULT);
    };
    let limit = text
        .parse()
        .ok()
        .filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| Problem::parameter("limit", &format!("a number from 1 to {LIMIT_MAX}")))
}

/// Returns the level below which nothing is asked for.
fn least_level(look: &Look<'_>) -> Result<Level, Problem> {
    let Some(text) = look.visit.parameter("level") else {
        return Ok(Level::Ok);
    };
    const LEVELS: [Level; 5] = [
        Level::Ok,
        Level::Info,
        Level::Unknown,
        Level::Warning,
        Level::Critical,
    ];
    let found = LEVELS.into_iter().find(|level| level.as_str() == text);
    found.ok_or_else(|| {
        Problem::parameter(
            "level",
            "\"ok\", \"info\", \"unknown\", \"warning\" or \"critical\"",
        )
    })
}

/// Returns a parameter that must be there.
fn required<'a>(look: &'a Look<'_>, name: &str) -> Result<&'a str, Problem> {
    let value = look.visit.parameter(name).filter(|value| !value.is_empty());
    value.ok_or_else(|| {
        Problem::new(
            axum::http::StatusCode::BAD_REQUEST,
            format!("the parameter \"{name}\" is missing"),
        )
    })
}
