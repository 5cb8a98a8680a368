//! What differs between two reports, for people.

use std::fmt::Write;

use pawang_chart::words::{number, quantity};
use pawang_core::Level;

use super::Style;
use super::diff::{Change, Diff, FigureChange, ShapeChange, Way};
use super::style::{Clock, cut, one_line, time, whole};

/// Characters of a text where nothing says how wide a line may be.
const TEXT_CHARACTERS: usize = 200;

/// Returns what differs as text for a terminal.
pub fn text(diff: &Diff, style: &Style) -> String {
    let mut out = String::new();
    for (name, period) in [("before", &diff.before), ("after", &diff.after)] {
        let clock = Clock::new(&style.zone, None, None);
        let _ = writeln!(
            out,
            "{name:<7} {} to {} {}  {} records in {}",
            clock.full(period.first_at),
            clock.full(period.last_at),
            clock.zone(period.last_at),
            whole(period.records),
            pawang_chart::words::duration(period.hours * 3_600.0)
        );
    }
    if empty(diff) {
        out.push_str("\nno difference that matters\n");
        return out;
    }
    for (title, lines) in lines(diff) {
        if lines.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n{}", style.heading(&title.to_uppercase()));
        let width = lines
            .iter()
            .map(|line| line.numbers.chars().count())
            .max()
            .unwrap_or(0);
        for line in lines {
            let way = format!("{:<5}", line.way.as_str());
            let way = match line.level {
                Some(level) => style.tint(&way, level),
                None => way,
            };
            let used = 5 + 2 + width + 2;
            let room = style.width.map_or(TEXT_CHARACTERS, |columns| {
                columns.saturating_sub(used).max(24)
            });
            let text = cut(&one_line(&line.text), room);
            let _ = writeln!(out, "{way}  {:<width$}  {text}", line.numbers);
        }
    }
    out
}

/// Returns what differs as Markdown.
pub fn markdown(diff: &Diff, style: &Style) -> String {
    let clock = Clock::new(&style.zone, None, None);
    let mut out = "# What changed in the PostgreSQL log\n\n".to_owned();
    for (name, period) in [("Before", &diff.before), ("After", &diff.after)] {
        let _ = writeln!(
            out,
            "- {name}: {} to {} {}, {} records",
            clock.full(period.first_at),
            clock.full(period.last_at),
            clock.zone(period.last_at),
            whole(period.records)
        );
    }
    if empty(diff) {
        out.push_str("\nNo difference that matters.\n");
    }
    for (title, lines) in lines(diff) {
        if lines.is_empty() {
            continue;
        }
        let _ = writeln!(
            out,
            "\n## {title}\n\n| | before and after | what |\n|---|---|---|"
        );
        for line in lines {
            let text = cut(&one_line(&line.text), TEXT_CHARACTERS);
            let _ = writeln!(
                out,
                "| {} | {} | {} |",
                line.way.as_str(),
                line.numbers,
                super::markdown::escape(&text)
            );
        }
    }
    out
}

fn empty(diff: &Diff) -> bool {
    diff.kinds.is_empty()
        && diff.errors.is_empty()
        && diff.statements.is_empty()
        && diff.figures.is_empty()
}

struct Line {
    way: Way,
    /// How bad that is; none when it is neither good nor bad.
    level: Option<Level>,
    numbers: String,
    text: String,
}

fn lines(diff: &Diff) -> [(&'static str, Vec<Line>); 4] {
    [
        ("Numbers", diff.figures.iter().map(figure).collect()),
        ("Events", diff.kinds.iter().map(change).collect()),
        ("Errors", diff.errors.iter().map(change).collect()),
        ("Statements", diff.statements.iter().map(shape).collect()),
    ]
}

fn good_or_bad(way: Way, level: Level) -> Option<Level> {
    match way {
        Way::New | Way::More if level >= Level::Warning => Some(level),
        Way::Less | Way::Gone if level >= Level::Warning => Some(Level::Ok),
        _ => None,
    }
}

fn figure(change: &FigureChange) -> Line {
    Line {
        way: change.way,
        level: if change.worse {
            Some(Level::Warning)
        } else {
            None
        },
        numbers: format!(
            "{} -> {}",
            quantity(change.before, change.unit),
            quantity(change.after, change.unit)
        ),
        text: change.name.to_owned(),
    }
}

fn change(change: &Change) -> Line {
    let most = |this: u64, other: u64| {
        if change.at_most && this < other {
            "at most "
        } else {
            ""
        }
    };
    Line {
        way: change.way,
        level: good_or_bad(change.way, change.level),
        numbers: format!(
            "{}{}/h -> {}{}/h",
            most(change.before, change.after),
            number(change.before_per_hour),
            most(change.after, change.before),
            number(change.after_per_hour)
        ),
        text: format!("{}  {}", change.name, change.text),
    }
}

fn shape(change: &ShapeChange) -> Line {
    let side = |count: u64, mean: u64| match count {
        0 => "-".to_owned(),
        count => format!("{} x {}", whole(count), time(mean)),
    };
    let ratio = match change.ratio {
        Some(ratio) if ratio >= 1.0 => format!("  {} times slower", number(ratio)),
        Some(ratio) => format!("  {} times faster", number(1.0 / ratio)),
        None => String::new(),
    };
    Line {
        way: change.way,
        level: match change.way {
            Way::More => Some(Level::Warning),
            Way::Less => Some(Level::Ok),
            Way::New | Way::Gone => None,
        },
        numbers: format!(
            "{} -> {}{ratio}",
            side(change.before_count, change.before_mean),
            side(change.after_count, change.after_mean)
        ),
        text: change.text.clone(),
    }
}
