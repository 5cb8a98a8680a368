//! Journal: what was done through Pawang, by whom, and how it ended; newest first.

use maud::{Markup, html};
use pawang_store::state::JournalRecord;

use super::parts::{Here, one_line, without_secrets};
use super::{Page, PageError, Place, Visit};
use crate::words;

/// Records of one page.
const PAGE: usize = 100;
/// Characters of the facts of a record.
const DETAIL_CHARS: usize = 160;
/// Digits of a record's hash that tell it from others.
const HASH_DIGITS: usize = 12;

/// Draws the page.
///
/// # Errors
/// The parameter `before` is no number, or the store does not answer.
pub(crate) fn render(visit: &Visit<'_>) -> Result<Page, PageError> {
    let here = Here {
        visit,
        path: "/journal".to_owned(),
        keeps: &["before"],
    };
    let before = match visit.parameter("before") {
        None | Some("") => None,
        Some(text) => Some(text.parse().map_err(|_| PageError::Parameter {
            parameter: "before".to_owned(),
        })?),
    };
    let mut records = visit.site.store.state().journal_page(before, PAGE + 1)?;
    let more = records.len() > PAGE;
    records.truncate(PAGE);
    let body = html! {
        @if records.is_empty() {
            @if before.is_some() { p .muted { "There is nothing older." } }
            @else { (words::empty("Nothing was changed through Pawang yet. Accounts, tokens, reloads and sign-ins are written here.", Some("pawang account create NAME --permission viewer"))) }
        } @else {
            (table(visit, &records))
            nav .pages aria-label="Pages of the journal" {
                @if before.is_some() { a href=(here.with(&[("before", None)])) { "newest" } " " }
                @if let (true, Some(last)) = (more, records.last()) {
                    a rel="next" href=(here.with(&[("before", Some(&last.id.to_string()))])) { "older" }
                }
            }
        }
        p .muted { "Every record carries the hash of the one before: what was changed afterwards shows." }
        (words::command("pawang journal verify"))
    };
    Ok(Page {
        title: "Journal".to_owned(),
        place: Place::Journal,
        instance: None,
        body,
        seen_at: None,
    })
}

fn table(visit: &Visit<'_>, records: &[JournalRecord]) -> Markup {
    html! {
        div .wide tabindex="0" role="region" aria-label="Journal" { table {
            thead { tr {
                th .number scope="col" { "No." } th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "What" }
                th scope="col" { "To what" } th scope="col" { "Outcome" } th scope="col" { "Facts" } th scope="col" { "Hash" }
            } }
            tbody { @for record in records {
                @let entry = &record.entry;
                tr {
                    td .number { (record.id) }
                    td { (words::moment(visit.now, entry.at)) }
                    td { (entry.actor) }
                    td { (entry.action) }
                    td { (entry.object) }
                    td { span .pill.warning[entry.outcome != "done"] { (entry.outcome) } }
                    td { (detail(&entry.detail)) }
                    td { code title=(record.hash) { (record.hash.chars().take(HASH_DIGITS).collect::<String>()) } }
                }
            } }
        } }
    }
}

/// Shows the facts of a record as `name value` pairs.
fn detail(detail: &serde_json::Value) -> Markup {
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let shown = match detail {
        serde_json::Value::Null => String::new(),
        serde_json::Value::Object(facts) => {
            let facts = facts
                .iter()
                .map(|(name, value)| format!("{name} {}", text(value)));
            facts.collect::<Vec<_>>().join(", ")
        }
        other => text(other),
    };
    let shown = without_secrets(&shown);
    html! { span title=(shown) { (one_line(&shown, DETAIL_CHARS)) } }
}
