//! Incidents of the past that look like one.

use std::collections::BTreeSet;

use pawang_core::alert::Incident;

/// Most incidents that are named.
const MOST: usize = 5;
/// The least that two incidents have in common, of 1.
const LEAST: f64 = 0.3;

/// Returns the incidents of the past that share most checks and instances with one, the newest first.
pub fn similar<'a>(incident: &Incident, past: &'a [Incident]) -> Vec<&'a Incident> {
    let mut found: Vec<(i64, &Incident)> = past
        .iter()
        .filter(|other| other.id != incident.id && other.opened_at <= incident.opened_at)
        .filter_map(|other| {
            let alike = alike(incident, other);
            (alike >= LEAST).then_some(((alike * 10.0).round() as i64, other))
        })
        .collect();
    found.sort_by_key(|(alike, other)| std::cmp::Reverse((*alike, other.opened_at, other.id)));
    found.truncate(MOST);
    found.sort_by_key(|(_, other)| std::cmp::Reverse((other.opened_at, other.id)));
    found.into_iter().map(|(_, other)| other).collect()
}

/// Returns how much two have in common, 0 to 1: checks count twice as much as instances; nothing without a shared check.
fn alike(one: &Incident, other: &Incident) -> f64 {
    let checks = jaccard(&one.checks, &other.checks);
    if checks == 0.0 {
        return 0.0;
    }
    (2.0 * checks + jaccard(&one.instances, &other.instances)) / 3.0
}

fn jaccard(one: &[String], other: &[String]) -> f64 {
    let one: BTreeSet<&String> = one.iter().collect();
    let other: BTreeSet<&String> = other.iter().collect();
    let all = one.union(&other).count();
    if all == 0 {
        return 0.0;
    }
    one.intersection(&other).count() as f64 / all as f64
}
