//! What happened to statements, by shape: how often, how much, and when last.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::names::later;
use super::shapes::{ByShape, SHAPES_MAX, ShapeId, Shapes};
use crate::report::{Counted, Top};

/// How often something happened, and a number that goes with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) count: u64,
    pub(crate) total: u64,
    pub(crate) max: u64,
    pub(crate) last_at: Option<i64>,
}

impl Counts {
    /// Adds one.
    pub(crate) fn add(&mut self, value: u64, at: Option<i64>) {
        self.absorb(Counts {
            count: 1,
            total: value,
            max: value,
            last_at: at,
        });
    }

    /// Adds all of another.
    pub(crate) fn absorb(&mut self, other: Counts) {
        self.count += other.count;
        self.total = self.total.saturating_add(other.total);
        self.max = self.max.max(other.max);
        self.last_at = later(self.last_at, other.last_at);
    }
}

/// Counts by shape; those without a statement are counted as well.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct CountsByShape {
    shapes: ByShape<Counts>,
    /// Of records without a statement.
    shapeless: Counts,
    /// Of shapes beyond the bound.
    others: Counts,
}

/// What a list of counts begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The most frequent.
    Count,
    /// The largest sum.
    Total,
}

impl CountsByShape {
    /// Adds one.
    pub(crate) fn add(&mut self, shape: Option<ShapeId>, value: u64, at: Option<i64>) {
        self.slot(shape).add(value, at);
    }

    fn slot(&mut self, shape: Option<ShapeId>) -> &mut Counts {
        match shape {
            None => &mut self.shapeless,
            Some(id) if self.shapes.len() < SHAPES_MAX || self.shapes.contains_key(&id) => {
                self.shapes.entry(id).or_default()
            }
            Some(_) => &mut self.others,
        }
    }

    /// Adds all of another.
    pub(crate) fn absorb(&mut self, other: CountsByShape) {
        self.shapeless.absorb(other.shapeless);
        self.others.absorb(other.others);
        let mut shapes: Vec<(ShapeId, Counts)> = other.shapes.into_iter().collect();
        shapes.sort_unstable_by_key(|(id, _)| *id);
        for (id, counts) in shapes {
            self.slot(Some(id)).absorb(counts);
        }
    }

    /// Returns the sum of a shape.
    pub(crate) fn total(&self, shape: ShapeId) -> u64 {
        self.shapes.get(&shape).map_or(0, |counts| counts.total)
    }

    /// Returns the first of the list.
    pub(crate) fn report(&self, shapes: &Shapes, order: Order, items: usize) -> Top<Counted> {
        let known = self.shapes.iter().map(|(id, counts)| (Some(*id), counts));
        let mut all: Vec<(Option<ShapeId>, &Counts)> = known.collect();
        if self.shapeless.count > 0 {
            all.push((None, &self.shapeless));
        }
        let text = |id: Option<ShapeId>| id.map_or("", |id| shapes.text(id));
        all.sort_by_key(|&(id, counts)| {
            let first = match order {
                Order::Count => (counts.count, counts.total),
                Order::Total => (counts.total, counts.count),
            };
            (Reverse(first), text(id), id)
        });
        Top {
            total: all.len() as u64,
            complete: self.others.count == 0,
            items: all
                .into_iter()
                .take(items)
                .map(|(id, counts)| Counted {
                    id: id.map_or_else(String::new, |id| id.to_string()),
                    text: text(id).to_owned(),
                    count: counts.count,
                    total: counts.total,
                    max: counts.max,
                    last_at: counts.last_at,
                })
                .collect(),
        }
    }
}
