//! Who waits for whom: the graph behind every drawing of a lock tree.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Lines of one forest; a longer queue is cut, worst first.
const TWIGS_MAX: usize = 1_000;

/// Who waits for whom, by process; 0 stands for prepared transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitGraph {
    behind: BTreeMap<i64, BTreeSet<i64>>,
    ahead: BTreeMap<i64, BTreeSet<i64>>,
}

/// One process of a forest; its victims follow it, one level deeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twig {
    /// 0 for those that wait for nobody.
    pub depth: usize,
    /// The process.
    pub process: i64,
    /// How many processes cannot go on before this one does.
    pub victims: usize,
    /// Whether it waits for one of those that wait for it: a deadlock that the server is about to break.
    pub circle: bool,
}

impl WaitGraph {
    /// Makes `waiter` wait for `blocker`.
    pub fn wait(&mut self, waiter: i64, blocker: i64) {
        self.behind.entry(blocker).or_default().insert(waiter);
        self.ahead.entry(waiter).or_default().insert(blocker);
    }

    /// Returns everybody for whom a process waits directly.
    pub fn blockers(&self, process: i64) -> impl Iterator<Item = i64> + '_ {
        self.ahead.get(&process).into_iter().flatten().copied()
    }

    /// Returns everybody who waits for a process directly.
    pub fn waiters(&self, process: i64) -> impl Iterator<Item = i64> + '_ {
        self.behind.get(&process).into_iter().flatten().copied()
    }

    /// Returns everybody who cannot go on before a process does; the process itself is among them when it waits in a circle.
    pub fn victims(&self, process: i64) -> BTreeSet<i64> {
        let mut found = BTreeSet::new();
        let mut open = vec![process];
        while let Some(next) = open.pop() {
            open.extend(self.waiters(next).filter(|victim| found.insert(*victim)));
        }
        found
    }

    /// Returns those that make others wait and wait for nobody, the one with the most victims first.
    pub fn roots(&self) -> Vec<i64> {
        let free = self.behind.keys();
        let free = free.filter(|process| !self.ahead.contains_key(process));
        let mut roots: Vec<i64> = free.copied().collect();
        roots.sort_by_cached_key(|process| (Reverse(self.victims(*process).len()), *process));
        roots
    }

    /// Returns those that wait in a circle.
    pub fn circles(&self) -> BTreeSet<i64> {
        let waiting = self.ahead.keys().copied();
        waiting
            .filter(|process| self.victims(*process).contains(process))
            .collect()
    }

    /// Returns everybody, blockers before their victims, each once.
    pub fn forest(&self) -> Vec<Twig> {
        let mut twigs = Vec::new();
        let mut drawn = BTreeSet::new();
        for root in self.roots() {
            self.draw(root, &mut drawn, &mut twigs);
        }
        // What is left waits in a circle, which has no root: any of its members will do.
        for process in self.circles() {
            self.draw(process, &mut drawn, &mut twigs);
        }
        twigs
    }

    fn draw(&self, root: i64, drawn: &mut BTreeSet<i64>, twigs: &mut Vec<Twig>) {
        let mut open = vec![(0, root)];
        while let Some((depth, process)) = open.pop() {
            if twigs.len() >= TWIGS_MAX || !drawn.insert(process) {
                continue;
            }
            let victims = self.victims(process);
            twigs.push(Twig {
                depth,
                process,
                victims: victims.iter().filter(|victim| **victim != process).count(),
                circle: victims.contains(&process),
            });
            let behind = self.behind.get(&process).into_iter().flatten();
            open.extend(behind.rev().map(|victim| (depth + 1, *victim)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(i64, &[i64])]) -> WaitGraph {
        let mut graph = WaitGraph::default();
        for (waiter, blockers) in edges {
            for blocker in *blockers {
                graph.wait(*waiter, *blocker);
            }
        }
        graph
    }

    #[test]
    fn roots_wait_for_nobody_and_circles_have_none() {
        // One that waits for two, a queue behind it, and a circle with somebody behind it.
        let graph = graph(&[
            (3, &[1, 2]),
            (4, &[3]),
            (5, &[1]),
            (6, &[7]),
            (7, &[6]),
            (8, &[6]),
        ]);
        assert_eq!(graph.roots(), [1, 2]);
        assert_eq!(graph.circles(), BTreeSet::from([6, 7]));
        assert_eq!(graph.victims(1), BTreeSet::from([3, 4, 5]));
        assert_eq!(graph.blockers(3).collect::<Vec<_>>(), [1, 2]);
        let forest = graph.forest();
        let lines = forest
            .iter()
            .map(|twig| (twig.depth, twig.process, twig.victims));
        assert_eq!(
            lines.collect::<Vec<_>>(),
            [
                (0, 1, 3),
                (1, 3, 1),
                (2, 4, 0),
                (1, 5, 0),
                (0, 2, 2),
                (0, 6, 2),
                (1, 7, 2),
                (1, 8, 0)
            ]
        );
    }
}
