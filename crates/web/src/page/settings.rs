//! Settings: what is not as shipped, where it comes from, what waits for a restart, and what changed when.

use std::collections::HashMap;

use maud::{Markup, html};
use pawang_core::{Timestamp, Value};
use pawang_store::history::Change;

use super::parts::{
    Column, Field, Here, Line, Table, choices, dash, figure, filter, instance_path, known_at,
    lines, matches, safe_setting, shell, unseen,
};
use super::{Page, PageError, Place, Visit};
use crate::words;

/// Changes that are read of the range.
const CHANGES_MAX: usize = 1_000;
/// Changes that are shown.
const CHANGES_SHOWN: usize = 100;
/// Characters of a value in a cell.
const VALUE_CHARS: usize = 80;

/// One setting and when it changed last within the range.
struct Setting<'a> {
    line: Line<'a>,
    changed_at: Option<Timestamp>,
}

/// Draws the page.
///
/// # Errors
/// There is no such instance, or the history does not answer.
pub(crate) fn render(visit: &Visit<'_>, name: &str) -> Result<Page, PageError> {
    let present = visit.instance(name)?;
    let here = Here {
        visit,
        path: instance_path(name, "settings"),
        keeps: &["source", "category", "q", "all", "sort", "show"],
    };
    let mut changes = visit
        .reader
        .changes(name, "settings", visit.range.span, CHANGES_MAX)?;
    changes.retain(worth_showing);
    let seen = lines(&present.facts, "settings");
    let seen_at = seen
        .as_ref()
        .ok()
        .and_then(|lines| Some(lines.first()?.seen_at()));
    let body = html! {
        @match seen {
            Err(missing) => (unseen(&missing)),
            Ok(lines) => (current(&here, with_changes(lines, &changes))),
        }
        (history(visit, &changes))
        (words::command(&format!("pawang diff yesterday now -i {}", shell(name))))
    };
    Ok(Page {
        title: "Settings".to_owned(),
        place: Place::Settings,
        instance: Some(name.to_owned()),
        body,
        seen_at: seen_at.or_else(|| known_at(&present)),
    })
}

/// Says whether a change is one of the server: where in a file a line stands is not.
fn worth_showing(change: &Change) -> bool {
    match change.column.as_deref() {
        None => true,
        Some(column) => matches!(column, "setting" | "source" | "pending_restart"),
    }
}

fn with_changes<'a>(lines: Vec<Line<'a>>, changes: &[Change]) -> Vec<Setting<'a>> {
    let mut changed: HashMap<&str, Timestamp> = HashMap::new();
    for change in changes.iter().filter(|change| change.column.is_some()) {
        if let Some(name) = change.labels.first() {
            changed.insert(name, change.at);
        }
    }
    let settings = lines.into_iter();
    settings
        .map(|line| Setting {
            changed_at: changed.get(line.word("name")).copied(),
            line,
        })
        .collect()
}

impl Setting<'_> {
    fn pending(&self) -> bool {
        self.line.flag("pending_restart") == Some(true)
    }

    /// Says whether somebody set it for the server; what Pawang sets for its own sessions is not the server's.
    fn is_set(&self) -> bool {
        !matches!(
            self.line.word("source"),
            "default" | "client" | "session" | "override"
        )
    }
}

fn current(here: &Here<'_>, mut settings: Vec<Setting<'_>>) -> Markup {
    let pending: Vec<String> = settings
        .iter()
        .filter(|setting| setting.pending())
        .map(|setting| setting.line.word("name").to_owned())
        .collect();
    let set = settings.iter().filter(|setting| setting.is_set()).count();
    let changed = settings.iter().filter(|s| s.changed_at.is_some()).count();
    let fields = [
        Field::Search {
            key: "q",
            title: "Name or value",
        },
        Field::Choice {
            key: "source",
            title: "Source",
            values: choices(settings.iter().map(|s| s.line.word("source"))),
        },
        Field::Choice {
            key: "category",
            title: "Category",
            values: choices(settings.iter().map(|s| s.line.word("category"))),
        },
    ];
    let form = filter(here, &fields);
    let all = here
        .visit
        .parameter("all")
        .is_some_and(|value| !value.is_empty());
    let text = here.visit.parameter("q").unwrap_or_default().to_lowercase();
    // Who names a source or a word looks for it everywhere.
    let asked = all
        || !text.is_empty()
        || here
            .visit
            .parameter("source")
            .is_some_and(|v| !v.is_empty());
    settings.retain(|s| {
        (asked || s.is_set() || s.pending() || s.changed_at.is_some())
            && matches(here, "source", s.line.word("source"))
            && matches(here, "category", s.line.word("category"))
            && (text.is_empty()
                || s.line.word("name").contains(&text)
                || shown(&s.line, "setting").to_lowercase().contains(&text))
    });
    html! {
        dl .figures {
            (figure("not as shipped", html! { (set) }, "settings that somebody set for the server"))
            (figure("changed", html! { (changed) }, "settings that changed in the range"))
            (figure("wait for a restart", html! { (pending.len()) }, "changed in a file, not in force"))
        }
        @if !pending.is_empty() {
            div .notice.warning { (words::glyph(pawang_core::Level::Warning)) div { p {
                b { "Waits for a restart: " } (pending.join(", ")) ". The value below is the one in force; the file has another."
            } } }
        }
        section #settings {
            (form)
            p .muted {
                @if asked { a href=(here.with(&[("all", None), ("q", None), ("source", None)])) { "only what is not as shipped" } }
                @else { a href=(here.with(&[("all", Some("1"))])) { "all settings" } }
            }
            (table(here).draw(here, settings))
        }
    }
}

fn table<'a>(here: &'a Here<'a>) -> Table<'a, Setting<'a>> {
    type S<'a> = Setting<'a>;
    let now = here.visit.now;
    Table {
        what: "settings",
        sorted: "name",
        columns: vec![
            Column::text(
                ("name", "Setting", ""),
                |s: &S<'a>| s.line.word("name").to_owned(),
                |s| {
                    html! {
                        code { (s.line.word("name")) } @if s.pending() { " " span .pill.warning { "restart" } }
                    }
                },
            ),
            Column::text(
                ("value", "Value", "in force"),
                |s: &S<'a>| shown(&s.line, "setting"),
                |s| value(&s.line, "setting"),
            ),
            Column::text(
                ("default", "Shipped", "value without any configuration"),
                |s: &S<'a>| shown(&s.line, "boot_val"),
                |s| value(&s.line, "boot_val"),
            ),
            Column::text(
                ("source", "Source", "where the value comes from"),
                |s: &S<'a>| s.line.word("source").to_owned(),
                |s| {
                    html! {
                        @match s.line.text("sourcefile") {
                            Some(file) => span title={ (s.line.word("source")) " " (file) } {
                                (file.rsplit('/').next().unwrap_or(file))
                                @if let Some(line) = s.line.int("sourceline") { ":" (line) }
                            },
                            None => (s.line.word("source")),
                        }
                    }
                },
            ),
            Column::number(
                ("changed", "Changed", "within the range"),
                move |s: &S<'a>| s.changed_at.map(|at| words::seconds_since(now, at)),
                words::age,
            )
            .shown(move |s| {
                s.changed_at.map_or_else(
                    || dash("not in the range"),
                    |at| html! { mark { (words::ago(now, at)) } },
                )
            }),
            Column::text(
                ("effect", "Takes effect", "after which a change is in force"),
                |s: &S<'a>| effect(s.line.word("context")).to_owned(),
                |s| html! { (effect(s.line.word("context"))) },
            ),
        ],
        empty: html! { p { "No setting passes the filter." } },
    }
}

/// Returns after what a change of a setting is in force.
fn effect(context: &str) -> &'static str {
    match context {
        "internal" => "never: built in",
        "postmaster" => "restart",
        "sighup" => "reload",
        "backend" | "superuser-backend" => "reload, new sessions",
        "superuser" | "user" => "reload, or SET",
        _ => "",
    }
}

/// Returns a value with its unit, without secrets.
fn shown(line: &Line<'_>, column: &str) -> String {
    let text = safe_setting(line.word("name"), line.word(column));
    with_unit(&text, line.word("unit")).unwrap_or(text)
}

fn value(line: &Line<'_>, column: &str) -> Markup {
    let raw = safe_setting(line.word("name"), line.word(column));
    let unit = line.word("unit");
    match with_unit(&raw, unit) {
        Some(text) => html! { span title={ (raw) " × " (unit) } { (text) } },
        None if raw.is_empty() => dash("empty"),
        None => html! { span title=(raw) { (super::parts::one_line(&raw, VALUE_CHARS)) } },
    }
}

/// Returns a number of units as people say it: `16384` of `8kB` is `128 MB`; `None` where there is no unit.
fn with_unit(text: &str, unit: &str) -> Option<String> {
    let number: f64 = text.parse().ok()?;
    let digits = unit
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(unit.len());
    let (factor, name) = unit.split_at(digits);
    let factor: f64 = if factor.is_empty() {
        1.0
    } else {
        factor.parse().ok()?
    };
    let (scale, bytes) = match name {
        "B" => (1.0, true),
        "kB" => (1024.0, true),
        "MB" => (1024.0 * 1024.0, true),
        "ms" => (0.001, false),
        "s" => (1.0, false),
        "min" => (60.0, false),
        _ => return None,
    };
    // 0 and -1 mean "off" or "as another setting": no amount.
    if number <= 0.0 {
        return None;
    }
    let value = number * factor * scale;
    Some(if bytes {
        words::bytes(value)
    } else {
        words::duration(value)
    })
}

fn history(visit: &Visit<'_>, changes: &[Change]) -> Markup {
    let more = changes.len().saturating_sub(CHANGES_SHOWN);
    html! {
        section #changes {
            h2 { "Changes in this stretch of time" }
            @if changes.is_empty() { p .muted { "None was seen. Settings are compared every time they are sampled, from the first sample on." } }
            @else {
                div .wide { table {
                    thead { tr { th scope="col" { "First seen" } th scope="col" { "Setting" } th scope="col" { "What" } th scope="col" { "Before" } th scope="col" { "After" } } }
                    tbody { @for change in changes.iter().rev().take(CHANGES_SHOWN) { tr {
                        td { (words::moment(visit.now, change.at)) }
                        td { code { (change.labels.first().map_or("", String::as_str)) } }
                        td { (what(change)) }
                        td { (side(change, change.before.as_ref())) }
                        td { (side(change, change.after.as_ref())) }
                    } } }
                } }
                @if more > 0 { p .muted { (more) " older ones; choose a shorter stretch of time to see them" } }
            }
        }
    }
}

fn what(change: &Change) -> &'static str {
    match (change.column.as_deref(), &change.before) {
        (Some("setting"), _) => "value",
        (Some("source"), _) => "source",
        (Some(_), _) => "waits for a restart",
        (None, None) => "appeared",
        (None, Some(_)) => "is gone",
    }
}

fn side(change: &Change, value: Option<&Value>) -> Markup {
    match value {
        None | Some(Value::Null) => dash("none"),
        Some(Value::Bool(flag)) => html! { (if *flag { "yes" } else { "no" }) },
        Some(value) => {
            let name = match change.column.as_deref() {
                Some("setting") => change.labels.first().map_or("", String::as_str),
                _ => "",
            };
            let text = safe_setting(name, &value.to_string());
            html! { span title=(text) { (super::parts::one_line(&text, VALUE_CHARS)) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_with_their_unit() {
        for (text, unit, shown) in [
            ("16384", "8kB", Some("128 MB")),
            ("64", "MB", Some("64.0 MB")),
            ("300", "s", Some("5 min")),
            ("250", "ms", Some("250 ms")),
            ("-1", "kB", None),
            ("0", "s", None),
            ("on", "", None),
            ("100", "", None),
        ] {
            assert_eq!(with_unit(text, unit).as_deref(), shown, "{text} {unit}");
        }
    }
}
