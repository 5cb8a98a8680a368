//! Who waits for whom, rebuilt in the order of the log: each wait, from when the server tells of it to its end, is a cost of those who
//! hold the lock and of those who make the holders wait.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::message::object_kind;
use crate::histogram::Histogram;
use crate::report;
use crate::tally::minutes::Minutes;
use crate::tally::processes::{Known, Processes};
use crate::tally::table::{Amount, Shaped, Table, top};
use crate::tally::{Options, ShapeId, Shapes};

/// Most waits that are open at once; the oldest is taken for ended when there are more.
const OPEN_MAX: usize = 10_000;

/// Most processes that may make one wait longer.
const CULPRITS_MAX: usize = 1_000;

/// Most blockers that are kept; the cheaper half is dropped when there are more.
const BLOCKERS_MAX: usize = 10_000;

/// Most victims of one blocker that are told apart.
const VICTIMS_MAX: usize = 1_000;

/// Most kinds of locked objects.
const OBJECTS_MAX: usize = 5_000;

/// Most shapes of statements that waited.
const SHAPES_MAX: usize = 5_000;

/// A process and the start of its session, which together never come again.
type Key = u64;

/// A process that holds what another waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Holder {
    /// The process.
    pub(super) pid: u32,
    /// What the log had of it when the wait was told; none when it had nothing.
    pub(super) known: Option<Known>,
}

impl Holder {
    fn key(&self) -> Key {
        key(
            self.pid,
            self.known.as_ref().map_or(0, |known| known.started),
        )
    }
}

/// A wait that the server told of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Told {
    /// The process that waits.
    pub(super) pid: u32,
    /// When it was told.
    pub(super) at: Option<i64>,
    /// Lock mode.
    pub(super) mode: Box<[u8]>,
    /// What is locked.
    pub(super) object: Box<[u8]>,
    /// How long it has waited.
    pub(super) told: u64,
    /// Who holds it.
    pub(super) holders: Vec<Holder>,
    /// What the waiter runs.
    pub(super) shape: Option<ShapeId>,
}

/// A wait without an end yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Open {
    wait: Told,
    /// Whoever makes it wait, with whether each waits for nobody.
    culprits: BTreeMap<Key, bool>,
    turn: u64,
}

/// What is known of a process that others waited for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Blocker {
    at: Option<i64>,
    cost: u64,
    victims: BTreeSet<u32>,
    waited: bool,
    shape: Option<ShapeId>,
    who: Box<str>,
}

/// What the waits up to now come to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Graph {
    waits: u64,
    waited: Histogram,
    unended: u64,
    open: BTreeMap<u32, Open>,
    blockers: BTreeMap<Key, Blocker>,
    dropped: bool,
    objects: Table<Amount, OBJECTS_MAX>,
    statements: Shaped<SHAPES_MAX>,
    series: Minutes,
    turn: u64,
}

impl Graph {
    /// A wait goes on.
    pub(super) fn waits(&mut self, wait: Told) {
        for holder in &wait.holders {
            self.note(holder, wait.at);
        }
        let pid = wait.pid;
        if let Some(open) = self.open.get_mut(&pid)
            && same(&open.wait, &wait)
        {
            open.wait.told = wait.told;
            open.wait.holders = wait.holders;
        } else {
            self.ends(pid);
            self.waits += 1;
            if let Some(at) = wait.at {
                self.series.add(at, 1);
            }
            self.turn += 1;
            let turn = self.turn;
            let culprits = BTreeMap::new();
            self.open.insert(
                pid,
                Open {
                    wait,
                    culprits,
                    turn,
                },
            );
        }
        self.blame(pid);
        // Who waits for this process now waits for its holders too.
        let touched: Vec<u32> = self
            .open
            .iter()
            .filter(|(_, open)| open.culprits.keys().any(|&key| pid_of(key) == pid))
            .map(|(&waiter, _)| waiter)
            .collect();
        for waiter in touched {
            self.blame(waiter);
        }
        self.shrink();
    }

    /// A wait is over, and the lock was got.
    pub(super) fn acquired(&mut self, wait: Told) {
        let told = wait.told;
        if !self
            .open
            .get(&wait.pid)
            .is_some_and(|open| same(&open.wait, &wait))
        {
            // The log began while it waited: its holders were told before.
            self.waits(wait.clone());
        }
        if let Some(mut open) = self.open.remove(&wait.pid) {
            open.wait.told = told;
            open.wait.at = wait.at;
            self.count(&open, true);
        }
    }

    /// A process waits no more, and did not get the lock.
    pub(super) fn ends(&mut self, pid: u32) {
        if let Some(open) = self.open.remove(&pid) {
            self.count(&open, false);
        }
    }

    /// Notes a process that was told as a holder.
    fn note(&mut self, holder: &Holder, at: Option<i64>) {
        let blocker = self.blockers.entry(holder.key()).or_default();
        blocker.at = blocker.at.or(at);
        if let Some(known) = &holder.known {
            blocker.shape = known.shape.or(blocker.shape);
            blocker.who = known.who.clone();
        }
    }

    /// Finds whoever makes a process wait: its holders, those that the holders wait for, and so on.
    fn blame(&mut self, waiter: u32) {
        let Some(wait) = self.open.get(&waiter) else {
            return;
        };
        let mut culprits = wait.culprits.clone();
        let direct: Vec<(u32, Key)> = keys(&wait.wait).collect();
        let mut next = direct.clone();
        let mut walked = BTreeSet::new();
        while let Some((pid, key)) = next.pop() {
            if pid == waiter || !walked.insert(pid) || culprits.len() >= CULPRITS_MAX {
                continue;
            }
            let blocked = self.open.get(&pid);
            culprits.insert(key, blocked.is_none());
            next.extend(blocked.into_iter().flat_map(|open| keys(&open.wait)));
        }
        // Of several holders, those that wait for nobody are the ones to blame.
        let free = |key: &Key| culprits.get(key) == Some(&true);
        if direct.len() > 1 && direct.iter().any(|(_, key)| free(key)) {
            let blocked = direct.iter().map(|(_, key)| *key);
            let blocked: Vec<Key> = blocked.filter(|key| !free(key)).collect();
            for key in blocked {
                culprits.remove(&key);
            }
        }
        if let Some(open) = self.open.get_mut(&waiter) {
            open.culprits = culprits;
        }
    }

    fn count(&mut self, open: &Open, ended: bool) {
        let wait = &open.wait;
        self.waited.add(wait.told);
        self.unended += u64::from(!ended);
        self.objects.change(&object_kind(&wait.object), |amount| {
            amount.add(wait.at, wait.told);
        });
        self.statements.add(wait.shape, wait.at, wait.told);
        for (&key, &root) in &open.culprits {
            let blocker = self.blockers.entry(key).or_default();
            blocker.cost = blocker.cost.saturating_add(wait.told);
            blocker.waited |= !root;
            if blocker.victims.len() < VICTIMS_MAX {
                blocker.victims.insert(wait.pid);
            }
        }
    }

    fn shrink(&mut self) {
        if self.open.len() > OPEN_MAX {
            let oldest = self.open.iter().min_by_key(|(_, open)| open.turn);
            if let Some(pid) = oldest.map(|(&pid, _)| pid) {
                self.ends(pid);
            }
        }
        if self.blockers.len() > BLOCKERS_MAX {
            self.dropped = true;
            let mut costs: Vec<(u64, Key)> = self
                .blockers
                .iter()
                .map(|(&key, blocker)| (blocker.cost, key))
                .collect();
            let middle = costs.len() / 2;
            let (_, &mut middle, _) = costs.select_nth_unstable(middle);
            self.blockers
                .retain(|&key, blocker| (blocker.cost, key) >= middle);
        }
    }

    /// Returns the waits' part of the report; waits without an end count with what was told of them last.
    pub(super) fn report(
        &self,
        processes: &Processes,
        shapes: &Shapes,
        options: &Options,
    ) -> report::Locks {
        let mut graph = self.clone();
        let open: Vec<u32> = graph.open.keys().copied().collect();
        for pid in open {
            graph.ends(pid);
        }
        let objects = graph.objects.iter();
        let mut objects: Vec<report::Counted> = objects
            .map(|(name, amount)| amount.counted(String::new(), name))
            .collect();
        objects.sort_by(|left, right| left.text.cmp(&right.text));
        report::Locks {
            waits: graph.waits,
            waited: graph.waited.durations(),
            unended: graph.unended,
            blockers: graph.blockers(processes, shapes, options),
            objects: top(objects, options.items, graph.objects.complete(), |object| {
                (object.total, object.count)
            }),
            statements: graph
                .statements
                .top(options.items, |shape| shapes.text(shape)),
            series: graph.series.series(),
            ..report::Locks::default()
        }
    }

    fn blockers(
        &self,
        processes: &Processes,
        shapes: &Shapes,
        options: &Options,
    ) -> report::Top<report::Blocker> {
        let mut merged: BTreeMap<Key, Blocker> = BTreeMap::new();
        for (&key, blocker) in &self.blockers {
            if blocker.victims.is_empty() {
                continue;
            }
            // A holder that the log had nothing of may have said something later.
            let later = processes
                .first(pid_of(key))
                .filter(|_| key & u64::from(u32::MAX) == 0);
            let mut blocker = blocker.clone();
            let mut known_as = key;
            if let Some(known) = later {
                known_as = self::key(pid_of(key), known.started);
                blocker.shape = blocker.shape.or(known.shape);
                if blocker.who.is_empty() {
                    blocker.who = known.who.clone();
                }
            }
            merged
                .entry(known_as)
                .and_modify(|same| same.join(&blocker))
                .or_insert(blocker);
        }
        let blockers = merged.iter().map(|(&key, blocker)| report::Blocker {
            pid: pid_of(key),
            at: blocker.at,
            cost: blocker.cost,
            victims: blocker.victims.len() as u64,
            root: !blocker.waited,
            statement: blocker
                .shape
                .map_or_else(String::new, |shape| shapes.text(shape).to_owned()),
            who: blocker.who.to_string(),
        });
        top(
            blockers.collect(),
            options.items,
            !self.dropped,
            |blocker| (blocker.cost, blocker.victims),
        )
    }
}

impl Blocker {
    /// Adds what is known of the same process under another key.
    fn join(&mut self, other: &Blocker) {
        self.at = [self.at, other.at].into_iter().flatten().min();
        self.cost = self.cost.saturating_add(other.cost);
        self.victims.extend(&other.victims);
        self.waited |= other.waited;
        self.shape = self.shape.or(other.shape);
        if self.who.is_empty() {
            self.who = other.who.clone();
        }
    }
}

fn keys(wait: &Told) -> impl Iterator<Item = (u32, Key)> {
    wait.holders.iter().map(|holder| (holder.pid, holder.key()))
}

fn same(open: &Told, wait: &Told) -> bool {
    open.mode == wait.mode && open.object == wait.object
}

fn key(pid: u32, started: u32) -> Key {
    u64::from(pid) << 32 | u64::from(started)
}

fn pid_of(key: Key) -> u32 {
    u32::try_from(key >> 32).expect("32 bits are left")
}
