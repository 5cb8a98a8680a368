//! The tree of who waits for whom, from its roots.

use std::collections::{BTreeMap, BTreeSet};

use pawang_core::{Missing, Row, WaitGraph};

use crate::connections::session::{end, evidence, object, ours, seconds, who, without_constants};
use crate::transactions::end_prepared;
use crate::{Observation, View};

/// Victims listed in the evidence of a root blocker.
const VICTIMS_SHOWN_MAX: usize = 10;

/// Who waits for whom, and who they are.
struct Graph<'a> {
    /// Sessions by process id; 0 stands for prepared transactions.
    nodes: BTreeMap<i64, Row<'a>>,
    waits: WaitGraph,
}

impl<'a> Graph<'a> {
    fn new(view: &View<'a>) -> Result<Graph<'a>, Missing> {
        let mut graph = Graph {
            nodes: BTreeMap::new(),
            waits: WaitGraph::default(),
        };
        for row in view.snapshot("blocking")?.rows() {
            let Some(pid) = row.int("pid") else { continue };
            graph.nodes.insert(pid, row);
            // Pawang gives up on locks by itself, and nobody needs to be told that it waits.
            if ours(&row) {
                continue;
            }
            for blocker in row.list("blocking_pids") {
                if let Ok(blocker) = blocker.parse::<i64>() {
                    graph.waits.wait(pid, blocker);
                }
            }
        }
        Ok(graph)
    }

    fn waits(&self, pid: i64) -> bool {
        let row = self.nodes.get(&pid);
        row.is_some_and(|row| !row.list("blocking_pids").is_empty())
    }

    /// Returns everybody who cannot go on before `pid` does, without `pid`.
    fn victims(&self, pid: i64) -> BTreeSet<i64> {
        let mut victims = self.waits.victims(pid);
        victims.remove(&pid);
        victims
    }

    /// Returns those that block others and wait for nobody; of a circle, which the deadlock detector is about to
    /// break, the lowest process id.
    fn roots(&self) -> Vec<(i64, BTreeSet<i64>)> {
        let mut free = self.waits.roots();
        free.sort_unstable();
        let mut roots: Vec<_> = free.iter().map(|pid| (*pid, self.victims(*pid))).collect();
        let mut covered: BTreeSet<i64> = roots.iter().flat_map(|(_, v)| v).copied().collect();
        for pid in self.waits.circles() {
            if covered.insert(pid) {
                let victims = self.victims(pid);
                covered.extend(&victims);
                roots.push((pid, victims));
            }
        }
        roots
    }

    fn wait_of(&self, pid: i64) -> f64 {
        let row = self.nodes.get(&pid);
        row.and_then(|row| row.float("wait_seconds"))
            .unwrap_or(0.0)
            .max(0.0)
    }
}

pub(super) fn blocking(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let graph = Graph::new(view)?;
    let seen = graph.roots().into_iter().filter_map(|(pid, victims)| {
        let root = graph.nodes.get(&pid)?;
        let longest = victims.iter().map(|pid| graph.wait_of(*pid));
        let longest = longest.fold(0.0, f64::max);
        let (object, name, remedy) = describe(root, pid);
        let sessions = if victims.len() == 1 {
            "session"
        } else {
            "sessions"
        };
        let mut facts = evidence(root);
        let mut listed: Vec<i64> = victims.iter().copied().collect();
        listed.sort_by(|a, b| graph.wait_of(*b).total_cmp(&graph.wait_of(*a)));
        for pid in listed.iter().take(VICTIMS_SHOWN_MAX) {
            if let Some(row) = graph.nodes.get(pid) {
                facts.push((format!("blocked pid {pid}"), victim(row)));
            }
        }
        Some(Observation {
            object,
            value: longest,
            title: format!(
                "{name} blocks {} {sessions}, the longest for {}",
                victims.len(),
                seconds(longest)
            ),
            since: listed
                .first()
                .and_then(|pid| graph.nodes.get(pid)?.time("waitstart")),
            evidence: facts,
            remedy: Some(remedy),
            ..Observation::default()
        })
    });
    Ok(seen.collect())
}

/// Returns a root blocker as an object, in a sentence, and how it is got out of the way.
fn describe(root: &Row<'_>, pid: i64) -> (String, String, String) {
    if pid == 0 {
        let gids = root.list("gids");
        let gid = gids.first().map_or("", String::as_str);
        let name = format!("prepared transaction \"{}\"", gids.join("\", \""));
        return (name.clone(), name, end_prepared(None, gid));
    }
    let state = root.text("state").unwrap_or_default();
    let doing = if state.starts_with("idle in transaction") {
        let idle = root.float("state_age_seconds").unwrap_or(0.0);
        format!(", {state} for {},", seconds(idle))
    } else {
        match root.float("xact_age_seconds") {
            Some(age) => format!(", in a transaction for {},", seconds(age)),
            None => String::new(),
        }
    };
    let remedy = match root.text("backend_type") {
        Some("autovacuum worker") => {
            "let it finish: an ordinary autovacuum gives way by itself after deadlock_timeout, and one to prevent \
             wraparound starts again"
                .to_owned()
        }
        Some("client backend") | None => end(root),
        Some(_) => "let it finish: it is one of the server's own processes".to_owned(),
    };
    (
        object(root),
        format!("session of {}{doing}", who(root)),
        remedy,
    )
}

fn victim(row: &Row<'_>) -> String {
    let query = row.text("query").map(without_constants);
    format!(
        "{} has waited {} for {}{}: {}",
        who(row),
        seconds(row.float("wait_seconds").unwrap_or(0.0)),
        row.text("mode").unwrap_or_default(),
        row.text("relation")
            .map(|relation| format!(" on {relation}"))
            .unwrap_or_default(),
        query.unwrap_or_default()
    )
}

pub(super) fn queue(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let graph = Graph::new(view)?;
    let on_relation = |pid: &i64| {
        let row = graph.nodes.get(pid);
        row.is_some_and(|row| row.text("locktype") == Some("relation"))
    };
    let heads = graph.nodes.keys();
    let heads = heads.filter(|pid| graph.waits(**pid) && on_relation(pid));
    // Several statements may queue for one table: the one with most behind it stands for all.
    let mut worst: BTreeMap<&str, (usize, i64)> = BTreeMap::new();
    for pid in heads {
        let Some(relation) = graph.nodes.get(pid).and_then(|row| row.text("relation")) else {
            continue;
        };
        let count = graph.waits.waiters(*pid).filter(|pid| {
            let row = graph.nodes.get(pid);
            on_relation(pid) && row.is_some_and(|row| row.text("relation") == Some(relation))
        });
        let count = count.count();
        if count > worst.get(relation).map_or(0, |(count, _)| *count) {
            worst.insert(relation, (count, *pid));
        }
    }
    let seen = worst.into_iter().filter_map(|(relation, (count, pid))| {
        let head = graph.nodes.get(&pid)?;
        Some(in_front(head, pid, count, relation))
    });
    Ok(seen.collect())
}

fn in_front(head: &Row<'_>, pid: i64, count: usize, relation: &str) -> Observation {
    let sessions = if count == 1 {
        "session queues"
    } else {
        "sessions queue"
    };
    Observation {
        object: relation.to_owned(),
        value: count as f64,
        title: format!(
            "{count} {sessions} behind pid {pid} of {}, which has waited {} for {} on {relation}",
            who(head),
            seconds(head.float("wait_seconds").unwrap_or(0.0)),
            head.text("mode").unwrap_or_default()
        ),
        since: head.time("waitstart"),
        evidence: evidence(head),
        remedy: Some(format!(
            "SELECT pg_cancel_backend({pid}); lets everybody behind it go on at once; run it again with \
             SET lock_timeout = '100ms' and retries"
        )),
        ..Observation::default()
    }
}

pub(super) fn waiting(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let graph = Graph::new(view)?;
    let floor = view.floor("wait");
    let waits: Vec<f64> = graph
        .nodes
        .iter()
        .filter(|(pid, row)| !ours(row) && graph.waits(**pid))
        .map(|(pid, _)| graph.wait_of(*pid))
        .filter(|wait| *wait >= floor)
        .collect();
    let longest = waits.iter().copied().fold(0.0, f64::max);
    Ok(vec![Observation {
        value: waits.len() as f64,
        title: format!(
            "sessions waiting for a lock: {}, the longest for {}",
            waits.len(),
            seconds(longest)
        ),
        ..Observation::default()
    }])
}
