//! Rules about joins, subplans and CTEs.

use pawang_core::Level;

use super::view::{Step, View, count, expression, milliseconds};
use super::{Found, Rule, at_least};
use crate::plan::node::Relationship;

/// Loops of an inner side that make a nested loop worth a look.
const LOOPS: f64 = 1_000.0;
/// Share of the statement's time that such a part must take.
const SHARE: f64 = 0.1;
/// How many times more outer rows than estimated make it a blow-up.
const FACTOR: f64 = 5.0;
/// Pairs thrown away by the filter of a join.
const PAIRS: f64 = 100_000.0;
/// Share of pairs that must be thrown away.
const WASTE: f64 = 0.9;
/// Rows of the product of a join without a condition.
const PRODUCT: f64 = 100_000.0;
/// Rows of a CTE below which it does not matter.
const CTE: f64 = 10_000.0;
/// Rows read again from a Materialize.
const AGAIN: f64 = 1_000_000.0;
/// Rows that duplicates are removed from.
const DUPLICATES: f64 = 10_000.0;
/// How many times more rows go into a DISTINCT than come out.
const SHRINK: f64 = 5.0;

pub(super) fn rules() -> Vec<Rule> {
    let mut rules = join_rules();
    rules.extend(subplan_rules());
    rules
}

fn join_rules() -> Vec<Rule> {
    vec![
        Rule {
            id: "nested-loop-blow-up",
            level: Level::Warning,
            what: "A nested loop runs its inner side many times more often than estimated.",
            why: "Its cost grows with each outer row; a hash join would have read the inner table once.",
            fix: "Correct the estimate of the outer side (ANALYZE, CREATE STATISTICS); add an index for the inner side when it has none.",
            thresholds: const {
                &[
                    at_least("loops", LOOPS, "loops"),
                    at_least("factor", FACTOR, "times"),
                    at_least("time", SHARE * 100.0, "% of the time"),
                ]
            },
            analyze: true,
            look: blow_up,
        },
        Rule {
            id: "join-filter-waste",
            level: Level::Warning,
            what: "A join makes many pairs of rows and throws nearly all of them away.",
            why: "Every pair is made and tested; with an equality or an index they would never be made.",
            fix: "Give the join an equality (no OR, no function around the column), or an index on the inner column.",
            thresholds: const {
                &[
                    at_least("removed", PAIRS, "pairs"),
                    at_least("share", WASTE * 100.0, "% of pairs"),
                ]
            },
            analyze: true,
            look: filter_waste,
        },
        Rule {
            id: "cartesian-join",
            level: Level::Warning,
            what: "A join has no condition and returns the product of both inputs.",
            why: "Its rows are those of one input times those of the other; often a condition was forgotten.",
            fix: "Add the missing condition; where the product is meant, make its inputs small first.",
            thresholds: const { &[at_least("rows", PRODUCT, "rows")] },
            analyze: false,
            look: cartesian,
        },
        Rule {
            id: "materialize-rescans",
            level: Level::Info,
            what: "The rows of a Materialize are read again and again.",
            why: "Each outer row goes through all of them: the work is the product of both sides.",
            fix: "An index on the inner side, or an equality so that a hash join becomes possible.",
            thresholds: const { &[at_least("rows", AGAIN, "rows")] },
            analyze: true,
            look: rescans,
        },
        Rule {
            id: "distinct-after-join",
            level: Level::Info,
            what: "A join multiplies rows, and a DISTINCT or GROUP BY above it removes most of them.",
            why: "Rows are made, sorted or hashed only to be dropped.",
            fix: "Write the join as EXISTS or IN when only one side is returned; or aggregate before joining.",
            thresholds: const {
                &[
                    at_least("rows", DUPLICATES, "rows"),
                    at_least("factor", SHRINK, "times"),
                ]
            },
            analyze: true,
            look: distinct,
        },
    ]
}

fn subplan_rules() -> Vec<Rule> {
    vec![
        Rule {
            id: "correlated-subplan",
            level: Level::Warning,
            what: "A subquery runs once for each row of the outer query, many times.",
            why: "It is a nested loop that the planner cannot turn into another join.",
            fix: "Write it as a join or LATERAL with aggregation first; or index the columns that correlate it.",
            thresholds: const {
                &[
                    at_least("loops", LOOPS, "loops"),
                    at_least("time", SHARE * 100.0, "% of the time"),
                ]
            },
            analyze: true,
            look: correlated,
        },
        Rule {
            id: "cte-used-once",
            level: Level::Info,
            what: "A CTE is materialised although only one place reads it.",
            why: "Conditions of the outer query cannot reach into it, and its rows are stored on the way.",
            fix: "Drop MATERIALIZED, or write NOT MATERIALIZED; a CTE that changes data or is volatile must stay.",
            thresholds: const { &[at_least("rows", CTE, "rows")] },
            analyze: false,
            look: cte,
        },
    ]
}

/// Returns the outer and the inner side of a join.
fn sides<'a>(view: &View<'a>, step: &Step<'_>) -> Option<(Step<'a>, Step<'a>)> {
    let mut inputs = view.inputs(step);
    Some((inputs.next()?, inputs.next()?))
}

/// Returns the rows of all loops: actual ones, else those estimated.
fn rows(step: &Step<'_>) -> f64 {
    match (step.node.actual, step.node.estimate) {
        (Some(_), _) => step.node.rows(),
        (None, Some(estimate)) => estimate.rows,
        (None, None) => 0.0,
    }
}

fn blow_up(view: &View<'_>, found: &mut Found<'_>) {
    for step in view.of_kind("Nested Loop") {
        let Some((outer, inner)) = sides(view, &step) else {
            continue;
        };
        let estimated =
            outer.node.estimate.map_or(0.0, |estimate| estimate.rows) * outer.node.loops();
        let actual = outer.node.rows();
        if inner.node.loops() < LOOPS
            || actual < estimated.max(1.0) * FACTOR
            || !view.matters(inner.spent.inclusive, SHARE)
        {
            continue;
        }
        let time = milliseconds(inner.spent.inclusive);
        let title = format!(
            "the inner side ran {} times where {} were estimated, {time} in all",
            count(inner.node.loops()),
            count(estimated)
        );
        let remedy = format!(
            "correct the estimate of {}: ANALYZE, CREATE STATISTICS",
            outer.node.title()
        );
        found.add(inner.node.loops(), step.node.title(), title, remedy);
    }
}

fn filter_waste(view: &View<'_>, found: &mut Found<'_>) {
    for step in view.steps().filter(|step| step.node.joins()) {
        let removed = step.node.removed.join_filter * step.node.loops();
        let kept = step.node.rows();
        if removed >= PAIRS && removed >= (removed + kept) * WASTE {
            let filter = expression(step.node, "Join Filter", "its filter");
            let title = format!(
                "{} of {} pairs were thrown away by {filter}",
                count(removed),
                count(removed + kept)
            );
            found.add(
                removed,
                step.node.title(),
                title,
                "an equality in the join condition, or an index for the inner side".to_owned(),
            );
        }
    }
}

fn cartesian(view: &View<'_>, found: &mut Found<'_>) {
    for step in view.of_kind("Nested Loop") {
        let Some((outer, inner)) = sides(view, &step) else {
            continue;
        };
        let inner_join = matches!(step.node.join.as_deref(), None | Some("Inner"));
        if !inner_join || step.node.detail("Join Filter").is_some() {
            continue;
        }
        // A column of the outer side, inside of the inner one, is a condition; what a function is called with, only VERBOSE tells.
        let correlated = view.below(&inner).any(|below| {
            matches!(
                below.node.kind.as_str(),
                "Memoize" | "Function Scan" | "Foreign Scan" | "Custom Scan"
            ) || below
                .node
                .details
                .iter()
                .any(|(key, text)| key != "Output" && refers(view, &outer, text))
        });
        let product = rows(&step);
        if !correlated && product >= PRODUCT && rows(&outer) > 1.0 {
            let title = format!(
                "{} rows, the product of {} and {}",
                count(product),
                outer.node.title(),
                inner.node.title()
            );
            found.add(
                product,
                step.node.title(),
                title,
                "add the missing join condition".to_owned(),
            );
        }
    }
}

/// Tells whether a condition names a relation of the outer side.
fn refers(view: &View<'_>, outer: &Step<'_>, condition: &str) -> bool {
    view.below(outer).any(|step| {
        let name = step.node.alias.as_ref().or(step.node.relation.as_ref());
        name.is_some_and(|name| condition.contains(&format!("{name}.")))
    })
}

fn rescans(view: &View<'_>, found: &mut Found<'_>) {
    for step in view.of_kind("Materialize") {
        let once = view
            .inputs(&step)
            .next()
            .map_or(0.0, |input| input.node.rows());
        let again = step.node.rows() - once;
        if step.node.loops() > 1.0 && again >= AGAIN {
            let title = format!(
                "{} rows read {} times: {} in all",
                count(once),
                count(step.node.loops()),
                count(step.node.rows())
            );
            let remedy = "an index on the inner side, or an equality for a hash join".to_owned();
            found.add(again, step.node.title(), title, remedy);
        }
    }
}

fn distinct(view: &View<'_>, found: &mut Found<'_>) {
    for step in view.steps() {
        let node = step.node;
        let aggregates = node
            .detail("Output")
            .is_some_and(|output| output.contains("count(") || output.contains("sum("));
        let groups = node.kind == "Aggregate"
            && node.strategy.is_some()
            && node.partial.is_none()
            && !aggregates;
        // Without VERBOSE nobody can tell DISTINCT from GROUP BY with aggregates: then only Unique is sure.
        let sure = node.kind == "Unique" || groups && node.detail("Output").is_some();
        if !sure {
            continue;
        }
        let mut input = view.inputs(&step).next();
        while let Some(below) = &input
            && matches!(
                below.node.kind.as_str(),
                "Sort" | "Incremental Sort" | "Gather" | "Gather Merge"
            )
        {
            input = view.inputs(below).next();
        }
        let Some(join) = input.filter(|below| below.node.joins()) else {
            continue;
        };
        let (before, after) = (join.node.rows(), node.rows());
        if before >= DUPLICATES && before >= after.max(1.0) * SHRINK {
            let title = format!("{} rows of a join become {}", count(before), count(after));
            found.add(
                before,
                node.title(),
                title,
                "EXISTS instead of the join, or aggregate before it".to_owned(),
            );
        }
    }
}

fn correlated(view: &View<'_>, found: &mut Found<'_>) {
    for step in view.steps() {
        let hashed = || {
            let name = step.node.subplan.as_deref().unwrap_or_default();
            let parent = view.parent(&step);
            parent.is_some_and(|parent| {
                parent
                    .node
                    .details
                    .values()
                    .any(|text| text.contains(&format!("hashed {name}")))
            })
        };
        if step.node.relationship != Relationship::SubPlan
            || step.node.loops() < LOOPS
            || hashed()
            || !view.matters(step.spent.inclusive, SHARE)
        {
            continue;
        }
        let name = step.node.subplan.as_deref().unwrap_or("a subquery");
        let time = if step.spent.inclusive > 0.0 {
            format!(", {} in all", milliseconds(step.spent.inclusive))
        } else {
            String::new()
        };
        let title = format!("{name} ran {} times{time}", count(step.node.loops()));
        let remedy = "write it as a join, or index the columns that correlate it".to_owned();
        found.add(step.node.loops(), step.node.title(), title, remedy);
    }
}

fn cte(view: &View<'_>, found: &mut Found<'_>) {
    for step in view.steps() {
        let Some(name) = step
            .node
            .subplan
            .as_deref()
            .and_then(|name| name.strip_prefix("CTE "))
        else {
            continue;
        };
        let scans = view
            .of_kind("CTE Scan")
            .filter(|scan| scan.node.relation.as_deref() == Some(name))
            .count();
        let changes = view
            .below(&step)
            .any(|below| matches!(below.node.kind.as_str(), "ModifyTable" | "Recursive Union"));
        if scans == 1 && !changes && rows(&step) >= CTE {
            let title = format!(
                "CTE {name} stores {} rows for one reader",
                count(rows(&step))
            );
            found.add(
                rows(&step),
                step.node.title(),
                title,
                format!("WITH {name} AS NOT MATERIALIZED (...)"),
            );
        }
    }
}
