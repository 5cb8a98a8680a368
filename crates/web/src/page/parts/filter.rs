//! Filters: a form whose state is the address.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::Here;

/// Choices that one list offers at most; what is not offered can still be searched for.
const CHOICES_MAX: usize = 100;

/// One field of a filter.
pub(crate) enum Field {
    /// A list of values, each with how it is shown.
    Choice {
        /// The parameter.
        key: &'static str,
        /// Its name for people.
        title: &'static str,
        /// Its values.
        values: BTreeSet<String>,
    },
    /// A text that rows must contain.
    Search {
        /// The parameter.
        key: &'static str,
        /// Its name for people.
        title: &'static str,
    },
}

/// Returns the values that a list offers, without empty ones.
pub(crate) fn choices<'a>(values: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for value in values.filter(|value| !value.is_empty()) {
        if found.len() == CHOICES_MAX {
            break;
        }
        if !found.contains(value) {
            found.insert(value.to_owned());
        }
    }
    found
}

/// Returns whether a row with this value passes the filter of that parameter.
pub(crate) fn matches(here: &Here<'_>, key: &str, value: &str) -> bool {
    match here.visit.parameter(key) {
        None | Some("") => true,
        Some(wanted) => wanted == value,
    }
}

/// Draws the form; it works without a script.
pub(crate) fn filter(here: &Here<'_>, fields: &[Field]) -> Markup {
    let keys: Vec<&str> = fields.iter().map(Field::key).collect();
    let hidden = here
        .kept()
        .filter(|(key, _)| !keys.contains(key) && *key != "show");
    let set = here.kept().any(|(key, _)| keys.contains(&key));
    let nothing: Vec<(&str, Option<&str>)> = keys.iter().map(|key| (*key, None)).collect();
    html! {
        form.filter method="get" action=(here.path) role="search" {
            @for (key, value) in hidden { input type="hidden" name=(key) value=(value); }
            @for field in fields { (draw(here, field)) }
            button type="submit" { "Filter" }
            @if set { a.clear href=(here.with(&nothing)) { "clear" } }
        }
    }
}

impl Field {
    fn key(&self) -> &'static str {
        match self {
            Field::Choice { key, .. } | Field::Search { key, .. } => key,
        }
    }
}

fn draw(here: &Here<'_>, field: &Field) -> Markup {
    let chosen = here.visit.parameter(field.key()).unwrap_or_default();
    match field {
        Field::Choice { key, title, values } => html! {
            label { span { (title) }
                select name=(key) {
                    option value="" { "any" }
                    @for value in values { option value=(value) selected[value == chosen] { (value) } }
                    // A value that no row has any more is still what the address asks for.
                    @if !chosen.is_empty() && !values.contains(chosen) { option value=(chosen) selected { (chosen) } }
                }
            }
        },
        Field::Search { key, title } => html! {
            label { span { (title) }
                input type="search" name=(key) value=(chosen) placeholder="contains" maxlength="200";
            }
        },
    }
}
