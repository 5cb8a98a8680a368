//! From which duration on statements are written, and a sample of those that are faster.

use pawang_core::Level;

use super::{Proposal, SLOW, View, Workload};
use crate::threshold::{self, Budget, Choice, Cost};

/// A threshold that is so many times higher than it need be hides statements.
const LOWER_FROM: f64 = 10.0;

/// Proposes from which duration on statements are written, by how long they take where that is known.
pub(super) fn slow(view: &View<'_>, found: &mut Vec<Proposal>) {
    let Some(now) = view.number(SLOW) else {
        return;
    };
    let sampled = view
        .number("log_min_duration_sample")
        .is_some_and(|ms| ms >= 0);
    let choice = view.workload.and_then(|known| {
        let choice = threshold::choose(&known.spreads, known.seconds, known.budget)?;
        Some((known, choice))
    });
    let Some((known, choice)) = choice else {
        match now {
            -1 if !sampled => found.push(view.propose(
                SLOW,
                Level::Warning,
                "1s",
                "no statement is told with its duration, however slow",
                "a line per statement of a second and more; how many that is is not known: nothing counts durations here",
            )),
            0 => found.push(view.propose(
                SLOW,
                Level::Warning,
                "100ms",
                "every statement is written: the log itself costs throughput and disk",
                "saves most of the log; log_min_duration_sample keeps a sample of the fast ones",
            )),
            _ => {}
        }
        return;
    };
    let duration = choice.duration_ms as f64;
    let at = |duration_ms: i64| {
        threshold::cost(
            &known.spreads,
            known.seconds,
            duration_ms.max(0).unsigned_abs(),
        )
    };
    let (level, missing) = match now {
        -1 if sampled => return,
        -1 => (
            Level::Warning,
            "no statement is told with its duration, however slow".to_owned(),
        ),
        0 => (
            Level::Warning,
            format!(
                "every statement is written, {}: the log itself costs throughput and disk",
                at(0).sentence()
            ),
        ),
        now if (now as f64) < duration && over(&at(now), &known.budget) => (
            Level::Warning,
            format!(
                "so many statements are written that the log is hard to read: {}",
                at(now).sentence()
            ),
        ),
        now if now as f64 >= duration * LOWER_FROM => (
            Level::Info,
            format!(
                "statements from {} on could be told too within the budget",
                length(choice.duration_ms)
            ),
        ),
        _ => return,
    };
    let cost = cost_of(known, &choice);
    found.push(view.propose(SLOW, level, &length(choice.duration_ms), &missing, &cost));
    sample(view, known, &choice, found);
}

fn over(cost: &Cost, budget: &Budget) -> bool {
    cost.lines_per_second > budget.lines_per_second || cost.bytes_per_day > budget.bytes_per_day
}

/// Says what a threshold costs, where that is from, and how certain it is.
fn cost_of(known: &Workload, choice: &Choice) -> String {
    let budget = format!(
        "{} lines a second and {:.0} MB a day",
        known.budget.lines_per_second,
        known.budget.bytes_per_day / 1e6
    );
    let verdict = match choice.beyond {
        true => format!("beyond the budget of {budget}, as every threshold is"),
        false => format!("the smallest within the budget of {budget}"),
    };
    format!(
        "{}; {verdict}; by {}: an estimate from mean and deviation of each statement, and a bound that holds whatever \
         their distribution; constants and parameters make lines longer",
        choice.cost.sentence(),
        known.source
    )
}

/// Proposes a sample of the statements that are faster than a high threshold.
fn sample(view: &View<'_>, known: &Workload, choice: &Choice, found: &mut Vec<Proposal>) {
    let Some(sample) = choice.sample else {
        return;
    };
    let told = format!(
        "of statements between {} and {} nothing is told, and all of them would be too much",
        length(sample.duration_ms),
        length(choice.duration_ms)
    );
    let cost = format!("{}; by {}", sample.cost.sentence(), known.source);
    let rate = sample.rate.to_string();
    if view.text("log_min_duration_sample").is_some() {
        let wanted = length(sample.duration_ms);
        found.push(view.propose(
            "log_min_duration_sample",
            Level::Info,
            &wanted,
            &told,
            &cost,
        ));
        found.push(view.propose(
            "log_statement_sample_rate",
            Level::Info,
            &rate,
            &told,
            "the share of them that is written",
        ));
    }
}

/// Returns milliseconds as a setting is written.
fn length(milliseconds: u64) -> String {
    match milliseconds {
        ms if ms >= 1_000 && ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}
