//! Where the time of a plan went: what each node spent itself.
//!
//! EXPLAIN prints means per loop, which workers run beside each other, and adds the time of a child to its parent. The time of an InitPlan
//! or a CTE is not in the node that it hangs on, but in the one that first needed it.

use super::node::{Node, Plan, Relationship};

/// Milliseconds of the clock that a node took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// With all below it.
    pub inclusive: f64,
    /// Without what its children, or the subplans that it waited for, took.
    pub exclusive: f64,
}

/// A node in a list of all, parents before their children.
pub(super) struct Flat<'a> {
    pub(super) node: &'a Node,
    pub(super) parent: Option<usize>,
    pub(super) children: Vec<usize>,
    /// How many processes run it beside each other.
    pub(super) processes: f64,
}

/// Lists the nodes of a plan in the order of EXPLAIN.
pub(super) fn flatten(plan: &Plan) -> Vec<Flat<'_>> {
    let mut flat = Vec::new();
    push(&mut flat, &plan.root, None, 1.0);
    flat
}

fn push<'a>(flat: &mut Vec<Flat<'a>>, node: &'a Node, parent: Option<usize>, processes: f64) {
    let index = flat.len();
    flat.push(Flat {
        node,
        parent,
        children: Vec::new(),
        processes,
    });
    if let Some(parent) = parent {
        flat[parent].children.push(index);
    }
    for child in &node.children {
        let gathers = matches!(node.kind.as_str(), "Gather" | "Gather Merge");
        let below = if gathers && child.relationship == Relationship::Outer {
            processes * participants(node, child)
        } else {
            processes
        };
        push(flat, child, Some(index), below);
    }
}

/// Returns how many processes ran the child of a Gather: its workers, and the leader unless it stood aside.
fn participants(gather: &Node, child: &Node) -> f64 {
    let launched = gather.workers_launched.map_or(0.0, small);
    if gather.loops() > 0.0 && child.loops() > 0.0 {
        (child.loops() / gather.loops()).clamp(1.0, launched + 1.0)
    } else {
        launched + 1.0
    }
}

fn small(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Returns what each node spent, in the order of EXPLAIN; zeros without ANALYZE or with TIMING off.
pub fn spent(plan: &Plan) -> Vec<Spent> {
    of(&flatten(plan))
}

pub(super) fn of(flat: &[Flat<'_>]) -> Vec<Spent> {
    let inclusive: Vec<f64> = flat.iter().map(inclusive).collect();
    let mut exclusive = inclusive.clone();
    for (index, item) in flat.iter().enumerate() {
        if item.node.relationship == Relationship::InitPlan {
            for (consumer, time) in consumers(flat, &inclusive, index) {
                exclusive[consumer] -= time;
            }
        } else if let Some(parent) = item.parent {
            exclusive[parent] -= inclusive[index];
        }
    }
    let spent = inclusive.into_iter().zip(exclusive);
    spent
        .map(|(inclusive, exclusive)| Spent {
            inclusive,
            exclusive: exclusive.clamp(0.0, inclusive.max(0.0)),
        })
        .collect()
}

fn inclusive(item: &Flat<'_>) -> f64 {
    let Some(actual) = item.node.actual else {
        return 0.0;
    };
    let Some((_, last)) = actual.time else {
        return 0.0;
    };
    // A node below a Gather that ran once ran in one process only.
    last * actual.loops / item.processes.min(actual.loops).max(1.0)
}

/// Returns the nodes whose time holds that of an InitPlan or CTE, and how much of it.
fn consumers(flat: &[Flat<'_>], inclusive: &[f64], index: usize) -> Vec<(usize, f64)> {
    let name = flat[index].node.subplan.as_deref().unwrap_or_default();
    let time = inclusive[index];
    let inside = |other: usize| {
        let mut up = Some(other);
        while let Some(at) = up {
            if at == index {
                return true;
            }
            up = flat[at].parent;
        }
        false
    };
    if let Some(cte) = name.strip_prefix("CTE ") {
        // Whoever reads first waits for the CTE to make its rows; the time goes to them in the order of EXPLAIN.
        let scans = flat.iter().enumerate().filter(|(at, item)| {
            item.node.kind == "CTE Scan"
                && item.node.relation.as_deref() == Some(cte)
                && !inside(*at)
        });
        let mut left = time;
        let mut shares: Vec<(usize, f64)> = Vec::new();
        let mut scans: Vec<usize> = scans.map(|(at, _)| at).collect();
        scans.sort_by(|a, b| inclusive[*b].total_cmp(&inclusive[*a]));
        for scan in scans {
            let share = left.min(inclusive[scan]);
            shares.push((scan, share));
            left -= share;
        }
        return shares;
    }
    let references = references(name);
    let first = flat.iter().enumerate().find(|(at, item)| {
        !inside(*at)
            && inclusive[*at] >= time
            && item
                .node
                .details
                .values()
                .any(|text| references.iter().any(|word| mentions(text, word)))
    });
    let consumer = first.map(|(at, _)| at).or(flat[index].parent);
    consumer.map(|at| (at, time)).into_iter().collect()
}

/// Returns how conditions name an InitPlan: `$0` of `InitPlan 1 (returns $0)`, `(InitPlan 1)` since PostgreSQL 17.
fn references(name: &str) -> Vec<String> {
    match name.split_once(" (returns ") {
        Some((_, returns)) => returns
            .trim_end_matches(')')
            .split(',')
            .map(|word| word.trim().to_owned())
            .collect(),
        None => vec![format!("({name})")],
    }
}

/// Tells whether a text has a word that no digit follows: `$1` is not in `$12`.
fn mentions(text: &str, word: &str) -> bool {
    text.match_indices(word)
        .any(|(at, _)| !text[at + word.len()..].starts_with(|next: char| next.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::read;

    /// Checks what each node spent itself, in the order of EXPLAIN.
    fn check(text: &str, expected: &[f64]) {
        let plan = read(text).unwrap();
        let own: Vec<f64> = spent(&plan).iter().map(|spent| spent.exclusive).collect();
        assert_eq!(own.len(), expected.len());
        for (own, expected) in own.iter().zip(expected) {
            assert!(
                (own - expected).abs() < 0.001,
                "{own} and {expected} in {plan}"
            );
        }
    }

    #[test]
    fn loops_count() {
        check(
            "Nested Loop  (actual time=1.0..100.0 rows=10 loops=1)
  ->  Seq Scan on a  (actual time=0.1..10.0 rows=20 loops=1)
  ->  Index Scan using b_pkey on b  (actual time=0.1..4.0 rows=1 loops=20)",
            &[10.0, 10.0, 80.0],
        );
    }

    #[test]
    fn workers_run_beside_each_other() {
        check(
            "Gather  (actual time=1.0..50.0 rows=30 loops=1)
  Workers Planned: 2
  Workers Launched: 2
  ->  Parallel Hash Join  (actual time=1.0..45.0 rows=10 loops=3)
        ->  Parallel Seq Scan on a  (actual time=1.0..30.0 rows=10 loops=3)
        ->  Parallel Hash  (actual time=10.0..10.0 rows=10 loops=3)
              ->  Parallel Seq Scan on b  (actual time=1.0..24.0 rows=10 loops=1)",
            &[5.0, 5.0, 30.0, 0.0, 24.0],
        );
    }

    #[test]
    fn a_leader_that_stands_aside_is_no_process() {
        check(
            "Gather  (actual time=1.0..50.0 rows=30 loops=1)
  Workers Planned: 2
  Workers Launched: 2
  ->  Parallel Seq Scan on a  (actual time=1.0..30.0 rows=10 loops=2)",
            &[20.0, 30.0],
        );
    }

    #[test]
    fn a_cte_is_paid_by_its_reader() {
        check(
            "Hash Join  (actual time=1.0..100.0 rows=1 loops=1)
  CTE w
    ->  Seq Scan on a  (actual time=1.0..60.0 rows=1 loops=1)
  ->  CTE Scan on w  (actual time=1.0..70.0 rows=1 loops=1)
  ->  Hash  (actual time=5.0..5.0 rows=1 loops=1)
        ->  Seq Scan on b  (actual time=1.0..4.0 rows=1 loops=1)",
            &[25.0, 60.0, 10.0, 1.0, 4.0],
        );
    }

    #[test]
    fn an_init_plan_is_paid_by_the_node_that_needs_it() {
        check(
            "Aggregate  (actual time=1.0..100.0 rows=1 loops=1)
  InitPlan 1 (returns $0)
    ->  Seq Scan on a  (actual time=1.0..60.0 rows=1 loops=1)
  ->  Seq Scan on b  (actual time=1.0..90.0 rows=1 loops=1)
        Filter: (x > $0)",
            &[10.0, 60.0, 30.0],
        );
        check(
            "Seq Scan on b  (actual time=1.0..90.0 rows=1 loops=1)
  Filter: (x > (InitPlan 1).col1)
  InitPlan 1
    ->  Seq Scan on a  (actual time=1.0..60.0 rows=1 loops=1)
  SubPlan 2
    ->  Seq Scan on c  (actual time=1.0..2.0 rows=1 loops=10)",
            &[10.0, 60.0, 20.0],
        );
    }
}
