//! Rules about the statement as a whole: limits, planning, compilation, triggers, waiting.

use pawang_core::Level;

use super::view::{Step, View, count, expression, milliseconds, real};
use super::{Found, Rule, at_least};
use crate::plan::node::Relationship;

/// Share of the time that compilation may take.
const JIT: f64 = 0.1;
/// Milliseconds of compilation below which it does not matter.
const JIT_TIME: f64 = 20.0;
/// Share of the time that triggers may take.
const TRIGGERS: f64 = 0.2;
/// Milliseconds of triggers below which they do not matter.
const TRIGGER_TIME: f64 = 10.0;
/// Milliseconds of planning below which it does not matter.
const PLANNING: f64 = 5.0;
/// Rows that a limit throws away for its offset.
const SKIPPED: f64 = 1_000.0;
/// How many times more rows are sorted than returned.
const SORTED: f64 = 100.0;
/// Rows sorted for a limit below which they do not matter.
const SORTED_ROWS: f64 = 10_000.0;
/// Milliseconds in one node that rows, blocks and loops do not explain.
const WAIT: f64 = 200.0;
/// Rows and blocks that one millisecond can surely do.
const SPEED: f64 = 20.0;

pub(super) fn rules() -> Vec<Rule> {
    let mut rules = limits();
    rules.extend(times());
    rules
}

fn limits() -> Vec<Rule> {
    vec![
        Rule {
            id: "offset-waste",
            level: Level::Warning,
            what: "A LIMIT reads many rows only to skip them for its OFFSET.",
            why: "Each page costs all pages before it.",
            fix: "Remember the last key of the page before: WHERE (key) > ($1) ORDER BY key LIMIT n.",
            thresholds: const { &[at_least("skipped", SKIPPED, "rows")] },
            analyze: true,
            look: offset,
        },
        Rule {
            id: "top-n-without-index",
            level: Level::Info,
            what: "A whole table is read and sorted to return its first rows.",
            why: "An index in the order of the sort would return them at once.",
            fix: "CREATE INDEX CONCURRENTLY on the sort key, behind the columns that the filter compares with equality.",
            thresholds: const {
                &[
                    at_least("rows", SORTED_ROWS, "rows"),
                    at_least("factor", SORTED, "times"),
                ]
            },
            analyze: true,
            look: top_n,
        },
    ]
}

fn times() -> Vec<Rule> {
    vec![
        Rule {
            id: "jit-overhead",
            level: Level::Warning,
            what: "Just-in-time compilation takes more than a tenth of the time.",
            why: "Compiling pays for statements of many seconds; for shorter ones it is mere delay.",
            fix: "Raise jit_above_cost, or SET jit = off for this role or database.",
            thresholds: const {
                &[
                    at_least("share", JIT * 100.0, "% of the time"),
                    at_least("time", JIT_TIME, "ms"),
                ]
            },
            analyze: true,
            look: jit,
        },
        Rule {
            id: "trigger-time",
            level: Level::Warning,
            what: "Triggers take more than a fifth of the time.",
            why: "They run once per row; a foreign key without an index on the referencing column reads the whole table each time.",
            fix: "Index the referencing columns of foreign keys; use statement triggers with transition tables instead of row triggers.",
            thresholds: const {
                &[
                    at_least("share", TRIGGERS * 100.0, "% of the time"),
                    at_least("time", TRIGGER_TIME, "ms"),
                ]
            },
            analyze: true,
            look: triggers,
        },
        Rule {
            id: "planning-time",
            level: Level::Warning,
            what: "Planning takes longer than the execution.",
            why: "It is paid on each run of a statement that is not prepared.",
            fix: "Use prepared statements (plan_cache_mode); fewer partitions or joins; lower the statistics target of wide conditions.",
            thresholds: const { &[at_least("time", PLANNING, "ms")] },
            analyze: true,
            look: planning,
        },
        Rule {
            id: "waiting",
            level: Level::Info,
            what: "A node took long for the little that it did: it probably waited, for a lock, a disk or a remote server.",
            why: "Time that neither rows nor blocks explain is spent outside of the plan.",
            fix: "Look at log_lock_waits and pg_stat_activity.wait_event of that time; SET track_io_timing = on to see the disk's part.",
            thresholds: const {
                &[
                    at_least("time", WAIT, "ms"),
                    at_least("speed", SPEED, "rows and blocks per ms"),
                ]
            },
            analyze: true,
            look: waiting,
        },
    ]
}

fn offset(view: &View<'_>, found: &mut Found<'_>) {
    for step in view.of_kind("Limit") {
        let Some(input) = view.inputs(&step).next() else {
            continue;
        };
        let skipped = input.node.rows() - step.node.rows();
        if skipped >= SKIPPED && skipped >= step.node.rows() && step.node.loops() > 0.0 {
            let title = format!(
                "{} rows were read to return {}",
                count(input.node.rows()),
                count(step.node.rows())
            );
            let remedy = "keyset pagination: WHERE key > last key ORDER BY key LIMIT n".to_owned();
            found.add(skipped, step.node.title(), title, remedy);
        }
    }
}

fn top_n(view: &View<'_>, found: &mut Found<'_>) {
    for step in view.of_kind("Sort") {
        let below_limit = view
            .ancestors(&step)
            .take_while(|above| {
                matches!(
                    above.node.kind.as_str(),
                    "Limit" | "Gather Merge" | "LockRows" | "Result" | "Subquery Scan"
                )
            })
            .any(|above| above.node.kind == "Limit");
        let Some(input) = view.inputs(&step).next().filter(|_| below_limit) else {
            continue;
        };
        // Only one table has an index in the order of its own columns.
        if input.node.kind != "Seq Scan" || input.node.rows() < SORTED_ROWS {
            continue;
        }
        let returned = step.node.rows().max(1.0);
        if input.node.rows() >= returned * SORTED {
            let key = expression(step.node, "Sort Key", "the sort key");
            let title = format!(
                "{} rows were sorted for the first {}",
                count(input.node.rows()),
                count(step.node.rows())
            );
            let relation = input.node.relation.as_deref().unwrap_or("the table");
            let remedy = format!("CREATE INDEX CONCURRENTLY ON {relation} ({key})");
            found.add(input.node.rows(), input.node.title(), title, remedy);
        }
    }
}

fn jit(view: &View<'_>, found: &mut Found<'_>) {
    let Some(jit) = view.plan.jit else { return };
    let total = jit.total.unwrap_or_default();
    let whole = view.time();
    if total >= JIT_TIME && whole > 0.0 && total >= whole * JIT {
        let share = (total / whole * 100.0).min(100.0);
        let title = format!(
            "compiling {} functions took {}, {share:.0} % of the time",
            jit.functions,
            milliseconds(total)
        );
        found.add(
            total,
            view.plan.root.title(),
            title,
            "SET jit = off, or a higher jit_above_cost".to_owned(),
        );
    }
}

fn triggers(view: &View<'_>, found: &mut Found<'_>) {
    let whole = view.time();
    for trigger in &view.plan.triggers {
        let time = trigger.time.unwrap_or_default();
        if time < TRIGGER_TIME || time < whole * TRIGGERS {
            continue;
        }
        let name = match &trigger.constraint {
            Some(constraint) => format!("of constraint {constraint}"),
            None => trigger.name.clone(),
        };
        let title = format!(
            "trigger {name} took {} in {} calls",
            milliseconds(time),
            count(trigger.calls)
        );
        let remedy = if trigger.constraint.is_some() {
            "CREATE INDEX CONCURRENTLY on the referencing columns of the foreign key".to_owned()
        } else {
            "make it a statement trigger with transition tables".to_owned()
        };
        found.add(time, view.plan.root.title(), title, remedy);
    }
}

fn planning(view: &View<'_>, found: &mut Found<'_>) {
    let planning = view.plan.planning_time.unwrap_or_default();
    let execution = view.plan.execution_time.unwrap_or(
        view.plan
            .root
            .actual
            .and_then(|actual| actual.time)
            .map_or(f64::MAX, |time| time.1),
    );
    if planning >= PLANNING && planning > execution {
        let title = format!(
            "planning took {}, the execution {}",
            milliseconds(planning),
            milliseconds(execution)
        );
        found.add(
            planning,
            view.plan.root.title(),
            title,
            "a prepared statement; fewer partitions or joins".to_owned(),
        );
    }
}

fn waiting(view: &View<'_>, found: &mut Found<'_>) {
    for step in view.steps() {
        let own = step.spent.exclusive;
        if own < WAIT
            || matches!(
                step.node.kind.as_str(),
                "Function Scan"
                    | "ProjectSet"
                    | "Result"
                    | "Sort"
                    | "Gather"
                    | "Gather Merge"
                    | "Foreign Scan"
                    | "Custom Scan"
            )
        {
            continue;
        }
        // Functions in conditions or columns may well compute for long.
        let computes = ["Filter", "Join Filter", "Output"].iter().any(|key| {
            step.node
                .detail(key)
                .is_some_and(|text| text.contains('(') && calls(text))
        });
        if computes || subplans(view, &step) {
            continue;
        }
        let work = step.node.rows()
            + (step.node.removed.filter
                + step.node.removed.join_filter
                + step.node.removed.recheck)
                * step.node.loops()
            + input_rows(view, &step);
        let blocks = view.own_blocks(&step, |node| {
            let buffers = node.buffers;
            buffers.shared_hit
                + buffers.shared_read
                + buffers.local_hit
                + buffers.local_read
                + buffers.temp_read
                + buffers.temp_written
        });
        let done = work + real(blocks) + step.node.loops();
        if done < own * SPEED {
            let locks = matches!(step.node.kind.as_str(), "ModifyTable" | "LockRows");
            let guess = if locks {
                "probably a row lock"
            } else {
                "probably a lock or the disk"
            };
            let title = format!(
                "{} for {} rows and {} blocks: {guess}",
                milliseconds(own),
                count(work),
                count(real(blocks))
            );
            let remedy =
                "SET log_lock_waits = on and track_io_timing = on, then look at what it waits for"
                    .to_owned();
            found.add(own, step.node.title(), title, remedy);
        }
    }
}

/// Returns the rows that a node took from its inputs.
fn input_rows(view: &View<'_>, step: &Step<'_>) -> f64 {
    view.inputs(step).map(|input| input.node.rows()).sum()
}

fn subplans(view: &View<'_>, step: &Step<'_>) -> bool {
    step.node.children.iter().any(|child| {
        matches!(
            child.relationship,
            Relationship::SubPlan | Relationship::InitPlan
        )
    }) || view.parent(step).is_none() && step.node.kind == "Limit"
}

/// Tells whether an expression calls a function.
fn calls(text: &str) -> bool {
    text.match_indices('(').any(|(at, _)| {
        text[..at].ends_with(|last: char| last.is_ascii_alphanumeric() || last == '_')
    })
}
