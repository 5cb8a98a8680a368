//! The instances of the estate.

use std::collections::BTreeMap;

use pawang_core::{Blind, Level, Timestamp};
use pawang_store::live::Present;
use schemars::JsonSchema;
use serde::Serialize;

use super::{page_of, paged, reply};
use crate::events::Counts;
use crate::problem::Problem;
use crate::routes::{Look, Reply};

/// One server that Pawang looks after.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Instance {
    /// Unique name within the estate.
    name: String,
    /// The group that shares thresholds with it.
    group: Option<String>,
    /// Free texts of the configuration.
    labels: BTreeMap<String, String>,
    /// The worst level of its verdicts: `ok`, `info`, `unknown`, `warning`, `critical`.
    level: String,
    /// Findings by level, and checks that found nothing.
    findings: Counts,
    /// What the server says about itself; absent when it does not answer.
    server: Option<Server>,
    /// Why the server does not answer.
    blind: Option<Unseen>,
    /// When it was looked at last.
    seen_at: Timestamp,
    /// When the server last answered.
    answered_at: Option<Timestamp>,
}

/// What a server says about itself.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Server {
    /// `server_version`.
    version: String,
    /// `primary` or `standby`.
    role: String,
    /// The cluster's identity.
    system_identifier: String,
    /// Timeline of the last checkpoint.
    timeline: u32,
    /// When it started.
    started_at: Timestamp,
    /// Whether it runs on the machine that Pawang runs on.
    local: bool,
}

/// Why something could not be seen.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Unseen {
    /// The reason in one sentence.
    reason: String,
    /// What would make it visible.
    remedy: String,
}

/// One server with more of what is known of it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct InstanceDetail {
    /// As in the list of instances.
    summary: Instance,
    /// The databases that were looked into.
    databases: Vec<String>,
    /// Share of one core that observing may use, in percent.
    budget_limit_percent: f64,
    /// Share of one core that it used over the last minutes, in percent.
    budget_used_percent: f64,
    /// How many times longer than asked for intervals are.
    budget_stretch: f64,
    /// Things to know about the last look.
    notes: Vec<String>,
}

impl From<&Blind> for Unseen {
    fn from(blind: &Blind) -> Unseen {
        Unseen {
            reason: blind.sentence(),
            remedy: blind.remedy(),
        }
    }
}

/// Answers with all instances.
pub(crate) fn instances(look: &Look<'_>) -> Result<Reply, Problem> {
    let presents = look.visit.site.live.instances();
    let (page, after) = page_of(look, presents, |present| present.instance.name.clone())?;
    let page: Vec<Instance> = page.iter().map(summary).collect();
    paged(&page, after)
}

/// Answers with one instance.
pub(crate) fn instance(look: &Look<'_>) -> Result<Reply, Problem> {
    let present = look.visit.instance(look.arguments.get("name"))?;
    reply(&InstanceDetail {
        databases: present.facts.databases.clone(),
        budget_limit_percent: present.budget.limit_percent,
        budget_used_percent: present.budget.used_percent,
        budget_stretch: present.budget.stretch,
        notes: present.facts.notes.clone(),
        summary: summary(&present),
    })
}

fn summary(present: &std::sync::Arc<Present>) -> Instance {
    let level = match &present.evaluation {
        Some(evaluation) => evaluation.level(),
        None => Level::Unknown,
    };
    let server = present.facts.server.as_ref();
    Instance {
        name: present.instance.name.clone(),
        group: present.instance.group.clone(),
        labels: present.labels.clone(),
        level: level.to_string(),
        findings: Counts::of([present]),
        blind: server.err().map(Unseen::from),
        server: server.ok().map(|server| Server {
            version: server.version_text.clone(),
            role: match server.role {
                pawang_core::Role::Primary => "primary".to_owned(),
                pawang_core::Role::Standby => "standby".to_owned(),
            },
            system_identifier: server.epoch.system_identifier.to_string(),
            timeline: server.epoch.timeline,
            started_at: server.epoch.started_at,
            local: server.local,
        }),
        seen_at: present.facts.at,
        answered_at: present.answered_at,
    }
}
