//! Setup: what cannot be seen, what that leaves dark, and what to run so that it can; how far the log was read; and what observing costs.

mod cost;
mod log;
mod missing;

use maud::{Markup, html};

use super::parts::{Here, instance_path, known_at, shell};
use super::{Page, PageError, Place, Visit};
use crate::words;
use missing::{Group, Way};

/// Names of a list that are written out.
const NAMES_MAX: usize = 12;

/// Draws the page.
///
/// # Errors
/// There is no such instance, or the history does not answer.
pub(crate) fn render(visit: &Visit<'_>, name: &str) -> Result<Page, PageError> {
    let present = visit.instance(name)?;
    let here = Here {
        visit,
        path: instance_path(name, "setup"),
        keeps: &["sort", "show"],
    };
    let groups = missing::groups(&present);
    let body = html! {
        (gaps(name, &groups))
        (log::section(visit, name))
        (cost::section(&here, name, &present)?)
        (words::command(&format!("pawang check -i {} --profile full", shell(name))))
    };
    Ok(Page {
        title: "Setup".to_owned(),
        place: Place::Setup,
        instance: Some(name.to_owned()),
        body,
        seen_at: known_at(&present),
    })
}

fn gaps(name: &str, groups: &[Group]) -> Markup {
    let script = missing::script(name, groups);
    let of = |way: Way| groups.iter().filter(move |group| group.way == way);
    html! {
        @if groups.is_empty() {
            p .lead { (words::glyph(pawang_core::Level::Ok)) " Everything that Pawang asks for can be seen." }
        }
        @if let Some(script) = script {
            section #grants {
                h2 { "Run this as a superuser" }
                p .muted { "One script for all of it; each statement is explained below. It takes effect with the next samples." }
                (words::copyable(&script))
            }
        }
        (list("What it brings", of(Way::Sql)))
        (list("Settings of the server", of(Way::Setting)))
        (list("To add to pawang.toml", of(Way::File)))
        (list("Elsewhere", of(Way::Hand)))
    }
}

fn list<'a>(title: &str, groups: impl Iterator<Item = &'a Group>) -> Markup {
    let groups: Vec<&Group> = groups.collect();
    html! {
        @if !groups.is_empty() {
            section .gaps {
                h2 { (title) }
                ul .findings { @for group in groups { li {
                    (words::glyph(pawang_core::Level::Unknown))
                    div {
                        p { b { (names(&group.reasons, 3)) } }
                        @match group.way { Way::File | Way::Hand => p { (group.remedy) }, Way::Sql | Way::Setting => (words::copyable(&group.remedy)) }
                        p .muted {
                            @if !group.checks.is_empty() { "Leaves unknown: " (names(&group.checks, NAMES_MAX)) ". " }
                            @if !group.pages.is_empty() { "Leaves empty: " (names(&group.pages, NAMES_MAX)) ". " }
                            @if !group.databases.is_empty() { "In " (names(&group.databases, NAMES_MAX)) ". " }
                            @if !group.collectors.is_empty() { "Collectors: " (names(&group.collectors, NAMES_MAX)) "." }
                        }
                    }
                } } }
            }
        }
    }
}

/// Returns the first names of a list and how many more there are.
fn names<'a>(all: impl IntoIterator<Item = &'a String>, most: usize) -> String {
    let mut all = all.into_iter();
    let first: Vec<&str> = all.by_ref().take(most).map(String::as_str).collect();
    let more = all.count();
    let first = first.join(", ");
    if more > 0 {
        format!("{first} and {more} more")
    } else {
        first
    }
}
