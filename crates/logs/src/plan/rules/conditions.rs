//! Rules about how conditions are written.

use pawang_core::Level;

use super::view::{Step, View, count, real, shortened};
use super::{Found, Rule, at_least};

/// Items of a list that make it long.
const ITEMS: usize = 1_000;
/// Rows read below which a scan does not matter.
const ROWS: f64 = 10_000.0;

pub(super) fn rules() -> Vec<Rule> {
    vec![
        Rule {
            id: "long-in-list",
            level: Level::Info,
            what: "A condition has a list of more than a thousand constants.",
            why: "The list is parsed, planned and printed each time, and estimates of long lists are poor.",
            fix: "Pass the values as one array parameter (= ANY ($1)), or join with unnest($1) or a temporary table.",
            thresholds: const { &[at_least("items", 1_000.0, "items")] },
            analyze: false,
            look: long_list,
        },
        Rule {
            id: "cast-on-column",
            level: Level::Warning,
            what: "A filter casts a column to another type before comparing it.",
            why: "An index on the column cannot serve a condition on its cast; often a parameter of the wrong type makes the cast.",
            fix: "Give the constant or parameter the column's type; or index the cast expression.",
            thresholds: const { &[at_least("rows", ROWS, "rows read")] },
            analyze: false,
            look: cast,
        },
        Rule {
            id: "function-on-column",
            level: Level::Warning,
            what: "A filter compares the result of a function on a column.",
            why: "An index on the column cannot serve it, and the planner guesses how many rows match.",
            fix: "Turn the condition around (a range instead of date_trunc), or CREATE INDEX on the expression.",
            thresholds: const { &[at_least("rows", ROWS, "rows read")] },
            analyze: false,
            look: function,
        },
    ]
}

/// Returns how many rows a scan read, or would have read as far as EXPLAIN without ANALYZE tells.
fn read(step: &Step<'_>) -> f64 {
    match (step.node.actual, step.node.estimate) {
        (Some(_), _) => step.node.rows() + step.node.removed.filter * step.node.loops(),
        // The estimate is of the rows that remain; a page has a cost of 1, and 50 rows or so.
        (None, Some(estimate)) => estimate.rows.max(estimate.total_cost * 20.0),
        (None, None) => 0.0,
    }
}

fn long_list(view: &View<'_>, found: &mut Found<'_>) {
    for step in view.steps() {
        for key in [
            "Filter",
            "Index Cond",
            "Recheck Cond",
            "Join Filter",
            "Remote SQL",
        ] {
            let Some(text) = step.node.detail(key) else {
                continue;
            };
            let items = longest_list(text);
            if items >= ITEMS {
                let title = format!(
                    "a list of {} constants in its {}",
                    count(real(items as u64)),
                    key.to_lowercase()
                );
                let remedy = "pass one array parameter: = ANY ($1)".to_owned();
                found.add(real(items as u64), step.node.title(), title, remedy);
                break;
            }
        }
        if step.node.kind == "Values Scan"
            && let rows = step.node.estimate.map_or(0.0, |estimate| estimate.rows)
            && rows > real(ITEMS as u64)
            && view
                .parent(&step)
                .is_some_and(|parent| parent.node.kind != "ModifyTable")
        {
            let title = format!("a VALUES list of {} rows", count(rows));
            found.add(
                rows,
                step.node.title(),
                title,
                "pass arrays: unnest($1, $2)".to_owned(),
            );
        }
    }
}

/// Returns how many items the longest array of an expression has: `'{1,2,3}'::integer[]`.
fn longest_list(text: &str) -> usize {
    let arrays = text
        .split("'{")
        .skip(1)
        .filter_map(|rest| rest.split_once("}'"));
    arrays
        .map(|(items, _)| items.matches(',').count() + 1)
        .max()
        .unwrap_or_default()
}

fn scans<'a>(view: &'a View<'_>) -> impl Iterator<Item = (Step<'a>, &'a str)> {
    let steps = view.of_kind("Seq Scan").filter(|step| read(step) >= ROWS);
    steps.filter_map(|step| step.node.detail("Filter").map(|filter| (step, filter)))
}

fn cast(view: &View<'_>, found: &mut Found<'_>) {
    for (step, filter) in scans(view) {
        let Some((column, kind)) = cast_column(filter) else {
            continue;
        };
        let title = format!("column {column} is cast to {kind} in {}", shortened(filter));
        let remedy = format!(
            "compare {column} with a value of its own type, or CREATE INDEX on (({column})::{kind})"
        );
        found.add(read(&step), step.node.title(), title, remedy);
    }
}

/// Returns the column and type of the first cast of a column that is compared: `((id)::text = '7'::text)`.
///
/// `varchar` to `text` costs nothing and hides no index.
fn cast_column(filter: &str) -> Option<(&str, &str)> {
    filter.match_indices(")::").find_map(|(end, _)| {
        let start = filter[..end].rfind('(')?;
        let column = &filter[start + 1..end];
        let after = &filter[end + 3..];
        let (kind, operator) = after.split_once(' ').unwrap_or((after, ""));
        let mut kind = kind.trim_end_matches([')', ',']);
        let mut operator = operator;
        for tail in ["without time zone ", "with time zone ", "precision "] {
            if let Some(rest) = operator.strip_prefix(tail) {
                kind = &after[..kind.len() + tail.len()];
                operator = rest;
            }
        }
        let plain = column
            .chars()
            .all(|next| next.is_alphanumeric() || matches!(next, '_' | '.' | '"'))
            && column
                .starts_with(|first: char| first.is_alphabetic() || matches!(first, '_' | '"'));
        let compared = ["= ", "> ", "< ", ">= ", "<= ", "~~ "]
            .iter()
            .any(|word| operator.starts_with(word));
        (plain && compared && (kind != "text" || !looks_like_text(filter, column)))
            .then_some((column, kind))
    })
}

/// Tells whether the constant that a column is compared with shows that the column is a text of another kind.
fn looks_like_text(filter: &str, column: &str) -> bool {
    let start = format!("({column})::text ");
    let Some((_, after)) = filter.split_once(&start) else {
        return true;
    };
    let Some((_, constant)) = after.split_once('\'') else {
        // A parameter does not tell.
        return true;
    };
    let constant = constant.split('\'').next().unwrap_or_default();
    // A number, a date or a UUID was meant as one.
    constant.is_empty()
        || !constant
            .chars()
            .all(|next| next.is_ascii_hexdigit() || matches!(next, '-' | ':' | '.' | ' ' | '%'))
        || !constant.chars().any(|next| next.is_ascii_digit())
}

fn function(view: &View<'_>, found: &mut Found<'_>) {
    for (step, filter) in scans(view) {
        let Some(call) = function_call(filter) else {
            continue;
        };
        let title = format!("the filter compares {}", shortened(call));
        let remedy = format!(
            "turn the condition around, or CREATE INDEX on ({})",
            shortened(call)
        );
        found.add(read(&step), step.node.title(), title, remedy);
    }
}

/// Returns the first call of a function on a column that is compared: `(lower(name) = 'x'::text)`.
fn function_call(filter: &str) -> Option<&str> {
    let bytes = filter.as_bytes();
    filter.match_indices('(').find_map(|(open, _)| {
        let name = filter[..open]
            .bytes()
            .rev()
            .take_while(|byte| byte.is_ascii_lowercase() || *byte == b'_' || byte.is_ascii_digit())
            .count();
        if name == 0 || filter[..open - name].ends_with(['$', '\'', '"', '.']) {
            return None;
        }
        let end = closing(bytes, open)?;
        let inside = &filter[open + 1..end];
        let after = &filter[end + 1..];
        let compared = [" = ", " > ", " < ", " >= ", " <= ", " ~~ "]
            .iter()
            .any(|word| after.starts_with(word));
        let column = inside.split([',', ':', ' ']).any(|word| {
            let word = word.trim_matches(['(', ')']);
            word.starts_with(|first: char| first.is_ascii_lowercase())
                && word
                    .chars()
                    .all(|next| next.is_alphanumeric() || matches!(next, '_' | '.'))
        });
        (compared && column && !inside.contains("SubPlan")).then(|| &filter[open - name..=end])
    })
}

fn closing(bytes: &[u8], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quoted = false;
    for (at, byte) in bytes.iter().enumerate().skip(open) {
        match byte {
            b'\'' => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}
