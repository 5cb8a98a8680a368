//! Takes a plan out of what it came in: psql's header, borders and count of rows, quotes of a spreadsheet, a message of the log.

use std::borrow::Cow;

/// What was found around a plan.
pub(super) struct Undressed<'a> {
    /// The plan alone.
    pub(super) text: Cow<'a, str>,
    /// Milliseconds of the log message `duration: 12.3 ms  plan:`.
    pub(super) duration: Option<f64>,
    /// How many lines were taken away before it.
    pub(super) skipped: usize,
}

/// Returns the plan alone.
pub(super) fn undress(text: &str) -> Undressed<'_> {
    let (text, duration, mut skipped) = message(text);
    let text = if text.contains('\r') {
        Cow::Owned(text.replace("\r\n", "\n"))
    } else {
        Cow::Borrowed(text)
    };
    let text = unquote(text);
    let lines: Vec<&str> = text.lines().collect();
    if !lines.iter().take(4).any(|line| line.contains("QUERY PLAN"))
        && !lines.iter().take(60).any(|line| ruler(line))
    {
        return Undressed {
            text,
            duration,
            skipped,
        };
    }
    let (plain, dropped) = undecorate(&lines);
    skipped += dropped;
    Undressed {
        text: Cow::Owned(plain),
        duration,
        skipped,
    }
}

/// Cuts off `LOG:  duration: 12.3 ms  plan:` and the tabs that the log puts before the lines that follow.
fn message(text: &str) -> (&str, Option<f64>, usize) {
    let Some((before, plan)) = text
        .split_once("  plan:\n")
        .or_else(|| text.split_once("  plan:\r\n"))
    else {
        return (text, None, 0);
    };
    let Some((_, duration)) = before.rsplit_once("duration: ") else {
        return (text, None, 0);
    };
    if duration.contains('\n') {
        return (text, None, 0);
    }
    let duration = duration
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok());
    (
        plan,
        duration.filter(|number: &f64| number.is_finite() && *number >= 0.0),
        before.matches('\n').count() + 1,
    )
}

/// Takes away the tab that a log puts before each line after the first, and the quotes of spreadsheets and `psql --csv`.
fn unquote(text: Cow<'_, str>) -> Cow<'_, str> {
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    if lines().next().is_some_and(|line| line.starts_with('\t')) {
        // A line without the tab begins the next record of the log.
        let plan: Vec<&str> = text
            .lines()
            .map_while(|line| {
                if line.is_empty() {
                    Some(line)
                } else {
                    line.strip_prefix('\t')
                }
            })
            .collect();
        return Cow::Owned(plan.join("\n"));
    }
    let trimmed = text.trim();
    let trimmed = trimmed.strip_prefix("QUERY PLAN\n").unwrap_or(trimmed);
    if trimmed.len() > 2 && trimmed.starts_with('"') && trimmed.ends_with('"') {
        let inner = &trimmed[1..trimmed.len() - 1];
        let by_line = inner.contains("\"\n\"");
        let plan = if by_line {
            inner.replace("\"\n\"", "\n")
        } else {
            inner.to_owned()
        };
        return Cow::Owned(plan.replace("\"\"", "\""));
    }
    text
}

/// Tells whether a line is a ruler of a table: `-----`, `+----+`, `├───┤`.
fn ruler(line: &str) -> bool {
    let line = line.trim();
    line.chars().count() >= 3
        && line.chars().all(|next| {
            matches!(
                next,
                '-' | '+'
                    | '─'
                    | '═'
                    | '┌'
                    | '┐'
                    | '├'
                    | '┤'
                    | '└'
                    | '┘'
                    | '╞'
                    | '╡'
                    | '┼'
            )
        })
}

/// Takes away header, borders and ends of lines of psql's tables; returns the plan and how many lines were before it.
fn undecorate(lines: &[&str]) -> (String, usize) {
    let bordered = |line: &str| {
        let line = line.trim();
        (line.starts_with('|') && line.ends_with(['|', '+']))
            || (line.starts_with('│') && line.ends_with(['│', '↵']))
    };
    let mut plain: Vec<String> = Vec::new();
    let mut dropped = 0;
    let width = lines
        .iter()
        .find(|line| ruler(line))
        .map(|line| line.chars().count());
    let mut cells = 0;
    for line in lines {
        if ruler(line)
            || line.trim().starts_with("-[ RECORD ")
            || line.trim().starts_with("─[ RECORD ")
            || header(line)
        {
            dropped += usize::from(plain.is_empty());
            continue;
        }
        let mut line = *line;
        if bordered(line) {
            line = line.trim().trim_start_matches(['|', '│']);
            line = line.trim_end_matches(['|', '│']);
        }
        if let Some(rest) = line
            .strip_prefix("QUERY PLAN")
            .map(str::trim_start)
            .and_then(|rest| rest.strip_prefix(['|', '│']))
        {
            line = rest;
        } else if let Some(rest) = line
            .trim_start()
            .strip_prefix("| ")
            .filter(|_| line.starts_with("          "))
        {
            line = rest;
        }
        let mut line = line.trim_end();
        // The first line of a cell that goes on is as wide as the ruler, with the mark at its end.
        if width == Some(line.chars().count())
            && let Some(cut) = line.strip_suffix(['+', '↵'])
        {
            line = cut.trim_end();
        } else if line.ends_with(['+', '↵']) {
            cells += 1;
        }
        plain.push(line.to_owned());
    }
    // Unaligned and other tables have the marks too, on most lines.
    if cells > 1 && cells * 3 >= plain.len() {
        for line in &mut plain {
            if let Some(cut) = line.strip_suffix(['+', '↵']) {
                *line = cut.trim_end().to_owned();
            }
        }
    }
    // An aligned table has a blank before each line, also before those of a constant that goes on.
    let padded = |line: &String| line.is_empty() || line.starts_with([' ', '(']);
    if width.is_some() && plain.iter().all(padded) {
        for line in &mut plain {
            if line.starts_with(' ') {
                line.remove(0);
            }
        }
    }
    (plain.join("\n"), dropped)
}

fn header(line: &str) -> bool {
    line.trim().trim_matches(['|', '│']).trim() == "QUERY PLAN"
}
