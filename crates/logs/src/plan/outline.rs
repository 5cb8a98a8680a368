//! The tree of a plan for people: one line per node, with its share of the time and its rows.

use std::fmt::{self, Write as _};

use super::node::{Node, Plan};
use super::spent::{self, Flat, Spent};

/// Widest name of a node; what is longer is cut.
const MAX_TITLE: usize = 72;

/// Returns the tree of a plan: for each node its own share of the time, its own milliseconds, its rows and those estimated.
///
/// Without ANALYZE, the share is that of the cost.
pub fn outline(plan: &Plan) -> String {
    let flat = spent::flatten(plan);
    let times = spent::of(&flat);
    let timed = times.iter().any(|time| time.inclusive > 0.0);
    let costs: Vec<f64> = flat.iter().map(|item| own_cost(item, &flat)).collect();
    let whole: f64 = if timed {
        times.iter().map(|time| time.exclusive).sum()
    } else {
        costs.iter().sum()
    };
    let titles: Vec<String> = flat.iter().map(|item| title(item, &flat)).collect();
    let width = titles
        .iter()
        .map(|title| title.chars().count())
        .max()
        .unwrap_or_default();
    let mut out = String::new();
    for (index, item) in flat.iter().enumerate() {
        let own = if timed {
            times[index].exclusive
        } else {
            costs[index]
        };
        let share = if whole > 0.0 {
            own / whole * 100.0
        } else {
            0.0
        };
        _ = write!(out, "{share:>4.0}%  {:<width$}", titles[index]);
        numbers(&mut out, item.node, &times[index], timed);
        let kept = out.trim_end().len();
        out.truncate(kept);
        out.push('\n');
    }
    out
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&outline(self))?;
        if let Some(time) = self.planning_time {
            writeln!(f, "planning {time:.3} ms")?;
        }
        if let Some(time) = self.execution_time {
            writeln!(f, "execution {time:.3} ms")?;
        }
        for trigger in &self.triggers {
            let name = if trigger.name.is_empty() {
                trigger.constraint.as_deref().unwrap_or_default()
            } else {
                &trigger.name
            };
            write!(f, "trigger {name}: {:.0} calls", trigger.calls)?;
            match trigger.time {
                Some(time) => writeln!(f, ", {time:.3} ms")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

fn title(item: &Flat<'_>, flat: &[Flat<'_>]) -> String {
    let mut depth = 0;
    let mut up = item.parent;
    while let Some(parent) = up {
        depth += 1;
        up = flat[parent].parent;
    }
    let mut title = "  ".repeat(depth);
    if let Some(subplan) = &item.node.subplan {
        _ = write!(title, "[{subplan}] ");
    }
    title.push_str(&item.node.title());
    if title.chars().count() > depth * 2 + MAX_TITLE {
        title = title
            .chars()
            .take(depth * 2 + MAX_TITLE - 3)
            .chain("...".chars())
            .collect();
    }
    title
}

/// Returns the cost of a node without that of its inputs.
fn own_cost(item: &Flat<'_>, flat: &[Flat<'_>]) -> f64 {
    let cost = |node: &Node| node.estimate.map_or(0.0, |estimate| estimate.total_cost);
    let inputs: f64 = item
        .children
        .iter()
        .map(|child| cost(flat[*child].node))
        .sum();
    (cost(item.node) - inputs).max(0.0)
}

fn numbers(out: &mut String, node: &Node, time: &Spent, timed: bool) {
    let estimated = node.estimate.map(|estimate| estimate.rows);
    match (node.actual, estimated) {
        (Some(actual), _) if actual.loops == 0.0 => out.push_str("  never executed"),
        (Some(actual), estimated) => {
            if timed {
                _ = write!(out, "  {:>10.3} ms", time.exclusive);
            }
            _ = write!(out, "  rows {}", count(actual.rows));
            if let Some(estimated) = estimated {
                _ = write!(out, " (estimated {})", count(estimated));
            }
            if actual.loops > 1.0 {
                _ = write!(out, "  loops {}", count(actual.loops));
            }
        }
        (None, Some(estimated)) => _ = write!(out, "  rows estimated {}", count(estimated)),
        (None, None) => {}
    }
}

/// Writes a number with separators of thousands: `1,234,567`, and a fraction where it has one below ten.
pub(super) fn count(number: f64) -> String {
    if number < 10.0 && number.fract() != 0.0 {
        return format!("{number:.2}");
    }
    let digits = format!("{number:.0}");
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
