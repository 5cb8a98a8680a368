//! Rules about what the planner thought.

use pawang_core::Level;

use super::view::{Step, View, count};
use super::{Found, Rule, at_least};
use crate::plan::node::Node;

/// How many times the rows may differ from their estimate.
const FACTOR: f64 = 10.0;
/// Fewer rows than this, estimated and actual, decide nothing.
const ROWS: f64 = 1_000.0;
/// Milliseconds below which a plan is not worth a look.
const TIME: f64 = 5.0;
/// Cost above which a node that never ran may be a surprise.
const COST: f64 = 10_000.0;

pub(super) fn rules() -> Vec<Rule> {
    vec![
        Rule {
            id: "row-misestimate",
            level: Level::Warning,
            what: "A node returns more than ten times as many rows as the planner thought, or fewer than a tenth, and its inputs do not explain it.",
            why: "Joins, memory and parallel workers are chosen by estimated rows; one wrong estimate makes every choice above it a guess.",
            fix: "Run ANALYZE on the table; raise the column's statistics target; CREATE STATISTICS on columns that depend on each other.",
            thresholds: const {
                &[
                    at_least("factor", FACTOR, "times"),
                    at_least("rows", ROWS, "rows"),
                    at_least("time", TIME, "ms"),
                ]
            },
            analyze: true,
            look: misestimate,
        },
        Rule {
            id: "never-executed",
            level: Level::Info,
            what: "A branch with a high cost never ran.",
            why: "The planner paid for it in its comparison of plans, so another plan may have been passed over for nothing.",
            fix: "Nothing, when another input was empty by chance; else check the estimate of that input.",
            thresholds: const { &[at_least("cost", COST, "cost units")] },
            analyze: true,
            look: never_executed,
        },
        Rule {
            id: "disabled-node",
            level: Level::Warning,
            what: "The plan uses a node that an enable_ setting forbids, or was made with such a setting off.",
            why: "The setting does not help here: the planner found no other way, or it is kept from the plan that its costs prefer.",
            fix: "Reset the setting, and give the planner what it lacks: an index, statistics, or honest costs.",
            thresholds: &[],
            analyze: false,
            look: disabled,
        },
    ]
}

/// Returns by how much rows were misjudged, from both sides.
fn factor(node: &Node) -> Option<f64> {
    let actual = node.actual.filter(|actual| actual.loops > 0.0)?;
    let estimate = node.estimate?;
    let (actual, estimated) = (actual.rows.max(1.0), estimate.rows.max(1.0));
    Some((actual / estimated).max(estimated / actual))
}

fn misestimate(view: &View<'_>, found: &mut Found<'_>) {
    if view.time() > 0.0 && view.time() < TIME {
        return;
    }
    for step in view.steps() {
        let node = step.node;
        // A bitmap tells no rows of its own, and what writes returns none.
        if matches!(
            node.kind.as_str(),
            "BitmapAnd"
                | "BitmapOr"
                | "ModifyTable"
                | "Hash"
                | "Sort"
                | "Materialize"
                | "Memoize"
                | "Gather"
                | "Gather Merge"
        ) {
            continue;
        }
        let (Some(factor), Some(actual), Some(estimate)) =
            (factor(node), node.actual, node.estimate)
        else {
            continue;
        };
        let most = (actual.rows * actual.loops).max(estimate.rows * actual.loops);
        if factor <= FACTOR || most < ROWS || stopped_early(view, &step) || explained(view, &step) {
            continue;
        }
        let (few, many) = if actual.rows > estimate.rows {
            ("more", "fewer")
        } else {
            ("fewer", "more")
        };
        let title = format!(
            "{} rows where {} were estimated: {} times {few}",
            count(actual.rows),
            count(estimate.rows),
            count(factor.round())
        );
        found.add(factor, node.title(), title, remedy(node, many));
    }
}

/// Tells whether an input is as wrong, so that it starts lower.
fn explained(view: &View<'_>, step: &Step<'_>) -> bool {
    view.inputs(step)
        .any(|input| match input.node.kind.as_str() {
            "Hash" | "Sort" | "Materialize" | "Memoize" | "Gather" | "Gather Merge" => {
                factor(input.node).is_some_and(|factor| factor > FACTOR) || explained(view, &input)
            }
            "Bitmap Index Scan" => false,
            _ => {
                factor(input.node).is_some_and(|factor| factor > FACTOR)
                    && !stopped_early(view, &input)
            }
        })
}

/// Tells whether a node above stopped reading: a limit, a semi join, a merge join whose other side ended.
fn stopped_early(view: &View<'_>, step: &Step<'_>) -> bool {
    let fewer = step
        .node
        .actual
        .zip(step.node.estimate)
        .is_some_and(|(actual, estimate)| actual.rows < estimate.rows);
    fewer
        && view.ancestors(step).any(|above| {
            matches!(above.node.kind.as_str(), "Limit" | "Merge Join")
                || matches!(above.node.join.as_deref(), Some("Semi" | "Anti"))
                || above
                    .node
                    .subplan
                    .as_deref()
                    .is_some_and(|name| name.starts_with("SubPlan"))
        })
}

fn remedy(node: &Node, _: &str) -> String {
    let conditions = ["Filter", "Index Cond", "Recheck Cond"]
        .iter()
        .filter_map(|key| node.detail(key));
    let several = conditions.into_iter().any(|text| text.contains(" AND "));
    match &node.relation {
        Some(relation) if node.kind == "Function Scan" => format!("declare the rows of function {relation} (ROWS), or a support function"),
        Some(relation) if node.kind == "CTE Scan" => format!("check the estimate of CTE {relation}, or write it NOT MATERIALIZED"),
        Some(relation) if several => {
            format!("ANALYZE {relation}; then CREATE STATISTICS (dependencies, mcv) on the columns of its condition")
        }
        Some(relation) => format!("ANALYZE {relation}; then a higher statistics target of the columns of its condition"),
        None => "ANALYZE the tables below it; CREATE STATISTICS (ndistinct) on the columns that it joins or groups by".to_owned(),
    }
}

fn never_executed(view: &View<'_>, found: &mut Found<'_>) {
    for step in view.steps() {
        let idle = |node: &Node| node.actual.is_some_and(|actual| actual.loops == 0.0);
        let cost = step
            .node
            .estimate
            .map_or(0.0, |estimate| estimate.total_cost);
        let below = view.parent(&step).is_some_and(|parent| idle(parent.node));
        if idle(step.node) && !below && cost >= COST {
            let title = format!("never executed, with an estimated cost of {}", count(cost));
            let remedy = "check whether the other input is empty by chance, or always".to_owned();
            found.add(cost, step.node.title(), title, remedy);
        }
    }
}

fn disabled(view: &View<'_>, found: &mut Found<'_>) {
    /// What PostgreSQL before 18 adds to the cost of a disabled node.
    const DISABLED_COST: f64 = 1e10;
    let off: Vec<&str> = view
        .plan
        .settings
        .iter()
        .filter(|(name, value)| name.starts_with("enable_") && *value == "off")
        .map(|(name, _)| name.as_str())
        .collect();
    let remedy = || match off.first() {
        Some(setting) => format!("RESET {setting}; or add the index that would serve instead"),
        None => {
            "reset the enable_ setting that forbids it, or add the index that would serve instead"
                .to_owned()
        }
    };
    let lowest = |step: &Step<'_>| {
        let own = |node: &Node| {
            node.disabled
                || node.estimate.is_some_and(|estimate| {
                    estimate.startup_cost.max(estimate.total_cost) >= DISABLED_COST
                })
        };
        own(step.node)
            && !view
                .inputs(step)
                .any(|input| own(input.node) && !step.node.disabled)
    };
    let mut some = false;
    for step in view.steps().filter(lowest) {
        some = true;
        found.add(
            1.0,
            step.node.title(),
            "used although an enable_ setting forbids it".to_owned(),
            remedy(),
        );
    }
    if !some && !off.is_empty() {
        let title = format!("planned with {} off", off.join(", "));
        found.add(1.0, view.plan.root.title(), title, remedy());
    }
}
