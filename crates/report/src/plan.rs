//! Plans and what became of them, for a person at a terminal.

use std::fmt::Write;
use std::time::Duration;

use pawang_chart::words;
use pawang_core::plan::{Action, Cost, Done, Left, Outcome, Plan, Risk, State};

use crate::style::{Style, cut, one_line};
use crate::text::Detail;

/// Objects left alone for the same reason that are named.
const LEFT_NAMED: usize = 3;
/// Characters of a statement that are shown where not everything is.
const STATEMENT_SHOWN: usize = 400;
/// Columns of an action's second line and of those below it.
const INDENT: &str = "      ";

/// Returns a plan for a person who has to agree to it: every action with its reason, lock, risk, cost and statements,
/// then what is left alone and why; `hash` names the plan.
pub fn plan(plan: &Plan, hash: &str, style: &Style, detail: Detail) -> String {
    let mut out = style.heading(&format!("{} on {}", plan.title, plan.world.instance));
    for (index, action) in plan.actions.iter().enumerate() {
        head(&mut out, index + 1, action, style);
        if detail != Detail::Quiet {
            for sql in &action.sql {
                let _ = writeln!(out, "{INDENT}{}", statement(sql, detail));
            }
        }
        if detail == Detail::Long {
            proof(&mut out, action);
        }
    }
    left(&mut out, &plan.left, style, detail);
    let high = plan
        .actions
        .iter()
        .filter(|action| action.risk == Risk::High)
        .count();
    let _ = match plan.actions.len() {
        0 => writeln!(out, "nothing to do"),
        1 => write!(out, "1 action"),
        count => write!(out, "{count} actions"),
    };
    if !plan.actions.is_empty() {
        if high > 0 {
            let _ = write!(out, ", {high} of high risk");
        }
        let _ = writeln!(out, "{}; plan {}", total(plan), &hash[..hash.len().min(12)]);
    }
    out
}

/// Returns a statement as people read it: a long one in full only where everything is shown.
fn statement(sql: &str, detail: Detail) -> String {
    let line = one_line(sql);
    let characters = line.chars().count();
    if detail == Detail::Long || characters <= STATEMENT_SHOWN {
        return line.to_string();
    }
    let begin: String = line.chars().take(STATEMENT_SHOWN).collect();
    format!("{begin} ... ({characters} characters; --explain shows all of them)")
}

fn head(out: &mut String, number: usize, action: &Action, style: &Style) {
    let risk = match action.risk {
        Risk::Low => style.paint("low ", "32"),
        Risk::Medium => style.paint("med ", "33"),
        Risk::High => style.paint("HIGH", "1;31"),
    };
    let sentence = format!(
        "{number}. {} {} in {}: {}",
        action.task.name(),
        one_line(&action.object),
        one_line(&action.database),
        one_line(&action.reason)
    );
    let columns = style.width.map(|width| width.saturating_sub(INDENT.len()));
    let _ = writeln!(out, "{risk}  {}", cut(&sentence, columns));
    let _ = writeln!(out, "{INDENT}lock {}{}", action.lock, costs(&action.cost));
}

fn costs(cost: &Cost) -> String {
    let mut text = String::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(text, ", {name} {value}");
        }
    };
    add("takes", cost.duration.map(length));
    add("reads", cost.read.map(|size| size.to_string()));
    add("WAL", cost.wal.map(|size| size.to_string()));
    add("needs disk", cost.disk.map(|size| size.to_string()));
    add("gives back", cost.freed.map(|size| size.to_string()));
    text
}

fn proof(out: &mut String, action: &Action) {
    let evidence: Vec<String> = action
        .evidence
        .iter()
        .map(|(name, value)| format!("{}={}", one_line(name), one_line(value)))
        .collect();
    if !evidence.is_empty() {
        let _ = writeln!(out, "{INDENT}evidence  {}", evidence.join("  "));
    }
    let _ = writeln!(out, "{INDENT}guard     {}", action.guard.words());
    let _ = writeln!(out, "{INDENT}verify    {}", one_line(&action.verify));
    let _ = writeln!(out, "{INDENT}undo      {}", one_line(&action.undo));
}

/// What is left alone, once per reason; what could not be seen comes first and is never folded away.
fn left(out: &mut String, left: &[Left], style: &Style, detail: Detail) {
    let mut reasons: Vec<(&str, bool, Vec<String>)> = Vec::new();
    for one in left {
        let object = match one.database.as_str() {
            // It is about the whole server.
            "" => one_line(&one.object).to_string(),
            database => format!("{}/{}", one_line(database), one_line(&one.object)),
        };
        match reasons
            .iter_mut()
            .find(|(why, blind, _)| *why == one.why && *blind == one.blind)
        {
            Some((_, _, objects)) => objects.push(object),
            None => reasons.push((&one.why, one.blind, vec![object])),
        }
    }
    reasons.sort_by_key(|(_, blind, objects)| (!blind, std::cmp::Reverse(objects.len())));
    for (why, blind, objects) in reasons {
        if !blind && detail == Detail::Quiet {
            continue;
        }
        let word = if blind {
            style.paint("UNKN", "35")
        } else {
            "left".to_owned()
        };
        let shown = if detail == Detail::Long {
            objects.len()
        } else {
            LEFT_NAMED
        };
        let mut names = objects[..objects.len().min(shown)].join(", ");
        if objects.len() > shown {
            let _ = write!(names, " and {} more", objects.len() - shown);
        }
        let _ = writeln!(out, "{word}  {names}: {}", one_line(why));
    }
}

/// Returns what the actions cost together, as far as it is known.
fn total(plan: &Plan) -> String {
    let durations = plan.actions.iter().map(|action| action.cost.duration);
    let known: Duration = durations.clone().flatten().sum();
    let all = durations.clone().all(|duration| duration.is_some());
    match (known.is_zero(), all) {
        (true, _) => String::new(),
        (false, true) => format!(", about {} of work", length(known)),
        (false, false) => format!(", at least {} of work", length(known)),
    }
}

/// Returns what became of a plan: one line per action, and how to take back what was done.
pub fn outcome(plan: &Plan, outcome: &Outcome, style: &Style, detail: Detail) -> String {
    let mut out = String::new();
    for done in &outcome.actions {
        if detail == Detail::Quiet && done.state.good() {
            continue;
        }
        ended(&mut out, done, style);
    }
    let good = outcome
        .actions
        .iter()
        .filter(|done| done.state.good())
        .count();
    let bad = outcome.actions.len() - good;
    let longest = outcome
        .actions
        .iter()
        .map(|done| done.impact.longest)
        .max()
        .unwrap_or_default();
    let dry = (outcome.actions.iter()).any(|done| done.state == State::DryRun);
    let word = if dry { "would be done" } else { "done" };
    let _ = write!(out, "{good} of {} {word}", outcome.actions.len());
    if bad > 0 {
        let _ = write!(out, ", {bad} not");
    }
    let mut impacts = outcome.actions.iter().map(|done| done.impact);
    let watched = impacts.any(|impact| !impact.resolution.is_zero());
    let waited = match longest {
        _ if dry => "; nothing was changed".to_owned(),
        Duration::ZERO if !watched => String::new(),
        Duration::ZERO => "; nobody was seen to wait for it".to_owned(),
        longest => format!("; others waited for it at most {}", length(longest)),
    };
    let _ = writeln!(out, "{waited}");
    undo(&mut out, plan, outcome, detail);
    out
}

fn ended(out: &mut String, done: &Done, style: &Style) {
    let code = match done.state {
        State::Done => "32",
        State::DryRun | State::Needless => "36",
        State::Skipped | State::Stale | State::Refused => "33",
        State::Cancelled | State::Failed => "1;31",
    };
    let word = style.paint(&format!("{:<9}", done.state.to_string()), code);
    let took = done.ended_at.duration_since(done.started_at);
    let took = Duration::try_from(took).unwrap_or_default();
    let _ = write!(out, "{word}  {}  {}", one_line(&done.id), length(took));
    let changed = done.before.iter().filter_map(|(name, was)| {
        let is = done.after.get(name)?;
        (is != was).then(|| format!("{name} {} -> {}", one_line(was), one_line(is)))
    });
    for change in changed {
        let _ = write!(out, ", {change}");
    }
    if !done.impact.longest.is_zero() {
        let _ = write!(
            out,
            ", {} waited at most {}",
            sessions(done.impact.sessions),
            length(done.impact.longest)
        );
    }
    out.push('\n');
    if !done.detail.is_empty() {
        let _ = writeln!(out, "           {}", one_line(&done.detail));
    }
    if let Some(hint) = &done.hint {
        let _ = writeln!(out, "           hint: {}", one_line(hint));
    }
}

fn sessions(count: u32) -> String {
    match count {
        1 => "1 session".to_owned(),
        count => format!("{count} sessions"),
    }
}

/// How to take back what was done, last.
fn undo(out: &mut String, plan: &Plan, outcome: &Outcome, detail: Detail) {
    if detail == Detail::Quiet {
        return;
    }
    let mut told: Vec<&str> = Vec::new();
    for action in &plan.actions {
        let done = outcome.actions.iter().find(|done| done.id == action.id);
        if done.is_some_and(|done| done.state == State::Done)
            && !told.contains(&action.undo.as_str())
        {
            told.push(&action.undo);
        }
    }
    for undo in told {
        let _ = writeln!(out, "undo: {}", one_line(undo));
    }
}

fn length(length: Duration) -> String {
    words::duration(length.as_secs_f64())
}
