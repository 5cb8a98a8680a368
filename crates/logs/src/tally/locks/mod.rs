//! Lock waits, who caused them, and deadlocks.
//!
//! Waits are kept as small events and joined in the order of the log by `settle`; see [`graph`].

mod graph;
mod message;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use self::graph::{Graph, Holder, Told};
use self::message::Verb;
use super::processes::Processes;
use super::table::Shaped;
use super::{Event, Options, ShapeId, Shapes};
use crate::extract::printable;
use crate::record::Record;
use crate::report;
use crate::severity::Severity;

/// Most events that wait to be joined.
const PENDING_MAX: usize = 500_000;

/// Most holders of one lock that are followed.
const HOLDERS_MAX: usize = 100;

/// Most deadlocks that are kept, the latest.
const DEADLOCKS_MAX: usize = 200;

/// Most processes of one deadlock.
const EDGES_MAX: usize = 50;

/// Most shapes of statements that were refused a lock.
const REFUSED_MAX: usize = 5_000;

/// Longest name of a lock mode or a locked object, in bytes.
const OBJECT_BYTES_MAX: usize = 200;

/// Lock waits, who caused them, and deadlocks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Locks {
    pending: Vec<Pending>,
    lost: bool,
    graph: Graph,
    deadlocks: VecDeque<Deadlock>,
    deadlocked: u64,
    refused: Shaped<REFUSED_MAX>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Pending {
    Waits(Told),
    Acquired(Told),
    Deadlocked(Told),
    Ended(u32),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Deadlock {
    at: Option<i64>,
    victim: u32,
    edges: Vec<Edge>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Edge {
    waiter: u32,
    holder: u32,
    mode: String,
    object: String,
    shape: Option<ShapeId>,
}

impl Locks {
    /// Adds one record of the group Locks.
    pub(crate) fn take(&mut self, event: &Event<'_>, shapes: &mut Shapes, processes: &Processes) {
        let record = event.record;
        if record.severity >= Severity::Error {
            if record.message == b"deadlock detected" {
                self.deadlock(record, shapes);
            } else if record.message.starts_with(b"could not obtain lock on ")
                || record.message.ends_with(b" due to lock timeout")
            {
                self.refused.add(event.shape, record.at, 0);
            }
            return;
        }
        let Some(wait) = message::wait(record.message) else {
            return;
        };
        if wait.verb == Verb::Refused {
            self.refused.add(event.shape, record.at, 0);
            return;
        }
        let holders = message::holders(record.detail, HOLDERS_MAX).into_iter();
        let known = |pid| Holder {
            pid,
            known: processes.last(pid).cloned(),
        };
        let told = Told {
            pid: wait.pid,
            at: record.at,
            mode: bounded(wait.mode).into(),
            object: bounded(wait.object).into(),
            told: wait.told,
            holders: holders.map(known).collect(),
            shape: event.shape,
        };
        self.push(match wait.verb {
            Verb::Acquired => Pending::Acquired(told),
            Verb::Deadlocked => Pending::Deadlocked(told),
            Verb::Waits | Verb::Refused => Pending::Waits(told),
        });
    }

    /// Adds an error of any group: a process that is cancelled or ended waits no more.
    pub(crate) fn take_error(&mut self, record: &Record<'_>) {
        const ENDS: [&str; 3] = ["canceling ", "terminating ", "deadlock detected"];
        let ends = |text: &&str| record.message.starts_with(text.as_bytes());
        if record.pid != 0 && ENDS.iter().any(ends) {
            self.push(Pending::Ended(record.pid));
        }
    }

    fn push(&mut self, event: Pending) {
        if self.pending.len() < PENDING_MAX {
            self.pending.push(event);
        } else {
            self.lost = true;
        }
    }

    fn deadlock(&mut self, record: &Record<'_>, shapes: &mut Shapes) {
        let lines = message::deadlock(record.detail, EDGES_MAX);
        let edges = lines.iter().map(|line| Edge {
            waiter: line.waiter,
            holder: line.holder,
            mode: printable(line.mode, OBJECT_BYTES_MAX),
            object: printable(line.object, OBJECT_BYTES_MAX),
            shape: (!line.statement.is_empty()).then(|| shapes.of(line.statement)),
        });
        let edges: Vec<Edge> = edges.collect();
        // The server writes the process that it ends first.
        let first = edges.first().map_or(0, |edge| edge.waiter);
        self.deadlocked += 1;
        self.deadlocks.push_back(Deadlock {
            at: record.at,
            victim: if record.pid == 0 { first } else { record.pid },
            edges,
        });
        self.shrink();
    }

    fn shrink(&mut self) {
        let surplus = self.deadlocks.len().saturating_sub(DEADLOCKS_MAX);
        self.deadlocks.drain(..surplus);
    }

    /// Adds the part that follows; `earlier` is what was known of processes when it began.
    pub(crate) fn absorb(&mut self, later: Locks, earlier: &Processes) {
        self.lost |= later.lost;
        self.deadlocked += later.deadlocked;
        self.deadlocks.extend(later.deadlocks);
        self.shrink();
        self.refused.absorb(later.refused);
        for mut event in later.pending {
            if let Pending::Waits(told) | Pending::Acquired(told) | Pending::Deadlocked(told) =
                &mut event
            {
                for holder in &mut told.holders {
                    if holder.known.is_none() {
                        holder.known = earlier.last(holder.pid).cloned();
                    }
                }
            }
            self.push(event);
        }
    }

    /// Joins what belongs together, in order.
    pub(crate) fn settle(&mut self) {
        for event in std::mem::take(&mut self.pending) {
            match event {
                Pending::Waits(told) => self.graph.waits(told),
                Pending::Acquired(told) => self.graph.acquired(told),
                Pending::Deadlocked(told) => {
                    let pid = told.pid;
                    self.graph.waits(told);
                    self.graph.ends(pid);
                }
                Pending::Ended(pid) => self.graph.ends(pid),
            }
        }
    }

    /// Returns its part of the report.
    pub(crate) fn report(
        &self,
        processes: &Processes,
        shapes: &Shapes,
        options: &Options,
    ) -> report::Locks {
        let edge = |edge: &Edge| report::Edge {
            waiter: edge.waiter,
            holder: edge.holder,
            mode: edge.mode.clone(),
            object: edge.object.clone(),
            statement: edge
                .shape
                .map_or_else(String::new, |shape| shapes.text(shape).to_owned()),
        };
        let deadlock = |deadlock: &Deadlock| report::Deadlock {
            at: deadlock.at,
            victim: deadlock.victim,
            edges: deadlock.edges.iter().map(edge).collect(),
        };
        let latest = self.deadlocks.iter().rev().take(options.items);
        let mut report = self.graph.report(processes, shapes, options);
        report.blockers.complete &= !self.lost;
        report.deadlocks = report::Top {
            items: latest.map(deadlock).collect(),
            total: self.deadlocked,
            complete: self.deadlocked <= DEADLOCKS_MAX as u64,
        };
        report.refused = self.refused.top(options.items, |shape| shapes.text(shape));
        report
    }
}

fn bounded(text: &[u8]) -> &[u8] {
    &text[..text.len().min(OBJECT_BYTES_MAX)]
}

#[cfg(test)]
mod tests;
