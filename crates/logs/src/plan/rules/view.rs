//! A plan with what most rules ask for.

use crate::plan::mask::constants;
use crate::plan::node::{Node, Plan, Relationship};
use crate::plan::spent::{self, Flat, Spent};

/// Bytes of a block, as all but hand-made servers have it.
pub(super) const BLOCK: f64 = 8192.0;

/// A plan, its nodes as a list, and their times.
pub(super) struct View<'a> {
    pub(super) plan: &'a Plan,
    flat: Vec<Flat<'a>>,
    spent: Vec<Spent>,
}

/// One node of the list.
#[derive(Clone, Copy)]
pub(super) struct Step<'a> {
    /// Its position.
    pub(super) index: usize,
    /// The node.
    pub(super) node: &'a Node,
    /// Its time.
    pub(super) spent: Spent,
}

impl<'a> View<'a> {
    /// Lists the nodes of a plan.
    pub(super) fn of(plan: &'a Plan) -> View<'a> {
        let flat = spent::flatten(plan);
        let spent = spent::of(&flat);
        View { plan, flat, spent }
    }

    /// Returns all nodes, in the order of EXPLAIN.
    pub(super) fn steps(&self) -> impl Iterator<Item = Step<'a>> + '_ {
        (0..self.flat.len()).map(|index| self.step(index))
    }

    /// Returns the nodes of one type.
    pub(super) fn of_kind(&self, kind: &'static str) -> impl Iterator<Item = Step<'a>> + '_ {
        self.steps().filter(move |step| step.node.kind == kind)
    }

    fn step(&self, index: usize) -> Step<'a> {
        Step {
            index,
            node: self.flat[index].node,
            spent: self.spent[index],
        }
    }

    /// Returns the parent of a node.
    pub(super) fn parent(&self, step: &Step<'_>) -> Option<Step<'a>> {
        self.flat[step.index].parent.map(|parent| self.step(parent))
    }

    /// Returns the nodes above one, nearest first.
    pub(super) fn ancestors(&self, step: &Step<'_>) -> impl Iterator<Item = Step<'a>> + '_ {
        std::iter::successors(self.parent(step), |step| self.parent(step))
    }

    /// Returns the inputs of a node; subplans are none.
    pub(super) fn inputs(&self, step: &Step<'_>) -> impl Iterator<Item = Step<'a>> + '_ {
        let children = self.flat[step.index].children.clone();
        let input = |step: &Step<'_>| {
            !matches!(
                step.node.relationship,
                Relationship::InitPlan | Relationship::SubPlan
            )
        };
        children
            .into_iter()
            .map(|child| self.step(child))
            .filter(input)
    }

    /// Returns a node and all below it, subplans too.
    pub(super) fn below(&self, step: &Step<'_>) -> impl Iterator<Item = Step<'a>> + '_ {
        let top = step.index;
        let inside = move |index: &usize| {
            let mut up = Some(*index);
            while let Some(at) = up {
                if at <= top {
                    return at == top;
                }
                up = self.flat[at].parent;
            }
            false
        };
        (top..self.flat.len())
            .take_while(inside)
            .map(|index| self.step(index))
    }

    /// Returns the milliseconds of the statement; 0 without ANALYZE.
    pub(super) fn time(&self) -> f64 {
        self.plan.execution_time.unwrap_or(self.spent[0].inclusive)
    }

    /// Tells whether a node, without its inputs, took a share of the time worth talking about; true when there are no times.
    pub(super) fn matters(&self, time: f64, share: f64) -> bool {
        let whole = self.time();
        whole <= 0.0 || self.spent[0].inclusive <= 0.0 || time >= whole * share
    }

    /// Returns the buffers that a node touched without those of its children: read and temporary blocks.
    pub(super) fn own_blocks(&self, step: &Step<'_>, blocks: fn(&Node) -> u64) -> u64 {
        let children = self.flat[step.index]
            .children
            .iter()
            .map(|child| blocks(self.flat[*child].node));
        blocks(step.node).saturating_sub(children.sum())
    }
}

/// Returns a count as a number to reckon with.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of blocks and kilobytes are far below 2^53"
)]
pub(super) fn real(count: u64) -> f64 {
    count as f64
}

/// Returns a condition or key of a node without its constants, or what to say when there is none.
pub(super) fn expression(node: &Node, key: &str, otherwise: &str) -> String {
    node.detail(key)
        .map_or_else(|| otherwise.to_owned(), shortened)
}

/// Returns an expression without its constants, cut to what fits into a sentence.
pub(super) fn shortened(text: &str) -> String {
    const SHOWN: usize = 120;
    let masked = constants(text);
    if masked.chars().count() <= SHOWN {
        return masked;
    }
    masked.chars().take(SHOWN).chain("...".chars()).collect()
}

/// Writes kilobytes as people do: `512 kB`, `1.5 MB`, `2.0 GB`.
pub(super) fn kilobytes(size: f64) -> String {
    const STEP: f64 = 1024.0;
    if size < STEP {
        format!("{size:.0} kB")
    } else if size < STEP * STEP {
        format!("{:.1} MB", size / STEP)
    } else {
        format!("{:.1} GB", size / STEP / STEP)
    }
}

/// Writes a work_mem of at least some kilobytes, rounded up to whole megabytes.
pub(super) fn work_mem(size: f64) -> String {
    let megabytes = (size / 1024.0).ceil().max(1.0);
    format!("{megabytes:.0}MB")
}

/// Writes milliseconds as people do.
pub(super) fn milliseconds(time: f64) -> String {
    if time < 1000.0 {
        format!("{time:.1} ms")
    } else {
        format!("{:.1} s", time / 1000.0)
    }
}

pub(super) use crate::plan::outline::count;
