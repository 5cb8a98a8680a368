//! What could not be seen: the reason, and what would make it visible; never an empty table or a zero.

use maud::{Markup, html};
use pawang_core::{Blind, Missing};

use crate::words;

/// Says why something is not shown, and what to run so that it is.
pub(crate) fn unseen(missing: &Missing) -> Markup {
    match missing {
        Missing::NotApplicable(why) => html! { div .empty { p { "Not applicable: " (why) "." } } },
        Missing::Blind(Blind::FirstSample | Blind::Reset { .. }) => html! {
            div .empty { p { "Two samples of the same run of the server are needed; the next one brings it." } }
        },
        Missing::Blind(Blind::Failed { what }) if what.ends_with("was not asked") => html! {
            div .empty { p { "Not asked yet: the first sample is on its way." } }
        },
        Missing::Blind(blind) => words::not_seen(blind),
    }
}
