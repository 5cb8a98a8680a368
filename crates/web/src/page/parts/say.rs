//! Values in cells: the words of the dashboard by unit, and what stands where there is none.

use maud::{Markup, html};

use crate::words;

/// Shows a rate: `412/s`.
pub(crate) fn per_second(value: f64) -> String {
    words::quantity(value, "/s")
}

/// Shows milliseconds: `0.32 ms`, `41 ms`, `1.2 s`.
pub(crate) fn milliseconds(value: f64) -> String {
    words::quantity(value, "ms")
}

/// Shows a share: `82 %`; one that is not whole is not shown as whole, 99.97 % of hits is not 100 %.
pub(crate) fn percent(value: f64) -> String {
    let value = if value > 99.9 && value < 100.0 {
        99.9
    } else {
        value
    };
    words::quantity(value, "%")
}

/// Shows how a rate changed: `+82 %`, `×12`; little changes are no change.
pub(crate) fn change(ratio: f64) -> String {
    match ratio {
        r if r >= 3.0 => format!("×{}", words::number(r.round())),
        r if (0.98..1.02).contains(&r) => "±0 %".to_owned(),
        r if r >= 1.0 => format!("+{} %", words::number(((r - 1.0) * 100.0).round())),
        r => format!("−{} %", words::number(((1.0 - r) * 100.0).round())),
    }
}

/// Draws a share as a bar; its number stands beside it.
pub(crate) fn bar(share: f64, full: bool) -> Markup {
    let width = share.clamp(0.0, 100.0).round();
    html! {
        svg .bar.full[full] viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
            rect width=(width) height="8" {}
        }
    }
}

/// Shows that there is no value here, and why.
pub(crate) fn dash(why: &str) -> Markup {
    html! { span .none title=(why) { "–" } }
}

/// Shows a value, or that there is none and why.
pub(crate) fn or_dash(value: Option<String>, why: &str) -> Markup {
    match value {
        Some(text) => html! { (text) },
        None => dash(why),
    }
}

/// Shows one figure with what it is, for the row of figures on top of a page.
pub(crate) fn figure(name: &str, value: Markup, hint: &str) -> Markup {
    html! { div title=(hint) { dt { (name) } dd { (value) } } }
}

/// Returns a name as one word of a shell.
pub(crate) fn shell(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if !name.is_empty() && name.chars().all(plain) && !name.starts_with('-') {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', "'\\''"))
    }
}

/// Returns a text in one line of at most `length` characters.
pub(crate) fn one_line(text: &str, length: usize) -> String {
    let mut out = String::new();
    let mut written = 0;
    for word in text.split_whitespace() {
        let blank = (written > 0).then_some(' ');
        for c in blank.into_iter().chain(word.chars()) {
            if written == length {
                out.push('…');
                return out;
            }
            out.push(c);
            written += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_all_is_not_all_and_small_changes_are_none() {
        for (shown, expected) in [
            (percent(99.97), "99.9 %"),
            (percent(100.0), "100 %"),
            (change(1.0), "±0 %"),
            (change(1.5), "+50 %"),
            (change(0.25), "−75 %"),
            (change(12.3), "×12"),
            (one_line("select\n  1", 20), "select 1"),
            (one_line("select 12345", 8), "select 1…"),
            (one_line("", 8), ""),
            (shell("dwh-1"), "dwh-1"),
            (shell("a; b 'x'"), r"'a; b '\''x'\'''"),
        ] {
            assert_eq!(shown, expected);
        }
    }
}
