//! Rules about parallel workers.

use pawang_core::Level;

use super::view::{Step, View, milliseconds, real};
use super::{Found, Rule, at_least};

/// Milliseconds below which missing workers do not matter.
const TIME: f64 = 20.0;

pub(super) fn rules() -> Vec<Rule> {
    vec![
        Rule {
            id: "workers-not-launched",
            level: Level::Warning,
            what: "Fewer parallel workers were started than planned.",
            why: "The plan was chosen for its workers; without them it may be slower than the plan for one process.",
            fix: "Raise max_parallel_workers and max_worker_processes; lower max_parallel_workers_per_gather where many such statements run.",
            thresholds: const { &[at_least("time", TIME, "ms")] },
            analyze: true,
            look: not_launched,
        },
        Rule {
            id: "gather-without-parallel",
            level: Level::Info,
            what: "A Gather has no parallel scan below it: one worker does all the work.",
            why: "A process is started and all rows are copied, and nothing runs beside anything else.",
            fix: "Reset debug_parallel_query (force_parallel_mode before PostgreSQL 16).",
            thresholds: &[],
            analyze: false,
            look: without_parallel,
        },
    ]
}

fn gathers<'a>(view: &'a View<'_>) -> impl Iterator<Item = Step<'a>> {
    view.steps()
        .filter(|step| matches!(step.node.kind.as_str(), "Gather" | "Gather Merge"))
}

fn not_launched(view: &View<'_>, found: &mut Found<'_>) {
    for step in gathers(view) {
        let (Some(planned), Some(launched)) =
            (step.node.workers_planned, step.node.workers_launched)
        else {
            continue;
        };
        let whole = view.time();
        if launched < planned && step.node.loops() > 0.0 && (whole <= 0.0 || whole >= TIME) {
            let time = if whole > 0.0 {
                format!(", in {}", milliseconds(step.spent.inclusive))
            } else {
                String::new()
            };
            let title = format!("{launched} of {planned} planned workers were started{time}");
            let remedy = "raise max_parallel_workers and max_worker_processes".to_owned();
            found.add(real(planned - launched), step.node.title(), title, remedy);
        }
    }
}

fn without_parallel(view: &View<'_>, found: &mut Found<'_>) {
    for step in gathers(view) {
        // Partitions may go to a worker each (Parallel Append); that counts as parallel.
        let parallel = view.below(&step).any(|below| below.node.parallel);
        let single = step.node.detail("Single Copy").is_some();
        if single || !parallel {
            let title = "no parallel scan below: one process does all the work".to_owned();
            found.add(
                1.0,
                step.node.title(),
                title,
                "RESET debug_parallel_query (force_parallel_mode before PostgreSQL 16)".to_owned(),
            );
        }
    }
}
