//! What alerts know of an instance besides its findings: machine, cluster, role, whether people wait for it.

use pawang_alert::book::Subject;
use pawang_alert::setup::Setup;
use pawang_core::Role;
use pawang_postgres::Host;

use crate::estate::Job;

/// The label that names the machine of an instance, when its address does not.
const HOST: &str = "host";

/// Returns what alerts know of an instance; `identity` is system identifier and role, as last seen.
pub(crate) fn of(job: &Job, identity: Option<(u64, Role)>, alerts: &Setup) -> Subject {
    let group = job.instance.group.clone();
    let production = alerts.production(group.as_deref());
    Subject {
        name: job.instance.name.clone(),
        group,
        labels: job.config.labels.clone(),
        host: job
            .config
            .labels
            .get(HOST)
            .cloned()
            .or_else(|| machine(job)),
        cluster: identity.map(|(cluster, _)| cluster.to_string()),
        role: identity.map(|(_, role)| role),
        production,
    }
}

/// Returns the machine that the address names; several addresses name none.
fn machine(job: &Job) -> Option<String> {
    let mut names: Vec<&str> = job
        .target
        .hosts
        .iter()
        .map(|host| match host {
            Host::Tcp { name, .. } => name.as_str(),
            Host::Socket { .. } => "localhost",
        })
        .collect();
    names.dedup();
    match names.as_slice() {
        [name] => Some((*name).to_owned()),
        _ => None,
    }
}
