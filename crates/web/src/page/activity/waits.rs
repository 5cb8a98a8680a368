//! Average active sessions over time: how many, and what they wait for.

use maud::{Markup, html};
use pawang_core::Missing;
use pawang_store::live::Present;

use crate::page::parts::{
    active_by, bar, class_name, instance_path, one_line, path, percent, text_of, unseen,
    wait_classes,
};
use crate::page::{PageError, Visit};
use crate::words;
use pawang_chart::Chart;

/// Rows of each list of the largest.
const TOP: usize = 8;
/// Characters of a statement in a list.
const QUERY_CHARS: usize = 60;

/// Draws the chart by wait class, and who and what was active most.
///
/// # Errors
/// The history does not answer.
pub(super) fn section(
    visit: &Visit<'_>,
    name: &str,
    present: &Present,
) -> Result<Markup, PageError> {
    let classes = wait_classes(visit, name)?;
    if classes.is_empty() {
        return Ok(empty(present));
    }
    let chart = Chart {
        title: "Average active sessions by wait class",
        unit: "sessions",
        span: visit.range.span,
        lines: classes
            .iter()
            .map(|(class, series)| (class.clone(), series))
            .collect(),
        stacked: true,
        limits: Vec::new(),
        marks: Vec::new(),
    };
    let events = active_by(visit, name, &["wait_event_type", "wait_event"])?;
    let events = events.into_iter().map(|(labels, sessions)| {
        let class = class_name(labels.first().map_or("", String::as_str)).to_owned();
        let event = labels.into_iter().nth(1).unwrap_or_default();
        (
            html! { (class) @if !event.is_empty() { small { " " (event) } } },
            sessions,
        )
    });
    let users = active_by(visit, name, &["usename"])?;
    let users = users.into_iter().map(|(labels, sessions)| {
        let user = labels.into_iter().next().unwrap_or_default();
        let user = if user.is_empty() {
            "(background)".to_owned()
        } else {
            user
        };
        (html! { (user) }, sessions)
    });
    let queries = queries(visit, name)?;
    Ok(html! {
        section #waits {
            h2 { "What sessions wait for" }
            div .charts.one { (chart.draw()) }
            div .trio {
                (list("Top wait events", events.collect()))
                (list("Top queries", queries))
                (list("Top users", users.collect()))
            }
        }
    })
}

fn queries(visit: &Visit<'_>, name: &str) -> Result<Vec<(Markup, f64)>, PageError> {
    let mut queries = Vec::new();
    for (labels, sessions) in active_by(visit, name, &["query_id"])? {
        let id = labels.first().map_or("", String::as_str);
        if queries.len() == TOP {
            // The list shows how many more there are; their texts are not needed.
            queries.push((html! {}, sessions));
            continue;
        }
        let shown = if id.is_empty() || id == "0" {
            html! { span .none title="background work, utility statements, or compute_query_id is off" { "without query id" } }
        } else {
            let text = text_of(visit, id)?;
            let href = path(visit, &instance_path(name, &format!("queries/{id}")), &[]);
            html! { a .sql href=(href) title=[text.as_ref()] {
                (text.as_deref().map_or_else(|| format!("query {id}"), |text| one_line(text, QUERY_CHARS)))
            } }
        };
        queries.push((shown, sessions));
    }
    Ok(queries)
}

/// Draws the largest of a list of average active sessions with their shares.
fn list(title: &str, mut all: Vec<(Markup, f64)>) -> Markup {
    // Who was not there once is in no list; sampling tells of such to say that it looked.
    all.retain(|(_, sessions)| *sessions > 0.0);
    let total: f64 = all.iter().map(|(_, sessions)| sessions).sum();
    let more = all.len().saturating_sub(TOP);
    all.truncate(TOP);
    html! {
        div .top {
            h3 { (title) }
            table .plain {
                thead { tr { th scope="col" { "" } th .number scope="col" title="average active sessions over the range" { "sessions" } th .number scope="col" { "share" } } }
                tbody { @for (what, sessions) in &all { tr {
                    td { (what) }
                    td .number { (words::number(*sessions)) }
                    td .number { (bar(share(*sessions, total), false)) (percent(share(*sessions, total))) }
                } } }
            }
            @if more > 0 { p .muted { (more) " more" } }
        }
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 {
        100.0 * part / whole
    } else {
        0.0
    }
}

fn empty(present: &Present) -> Markup {
    let sampling = present
        .collectors
        .iter()
        .find(|status| status.name == "activity-samples");
    html! {
        section #waits {
            h2 { "What sessions wait for" }
            @if let Some(blind) = sampling.and_then(|status| status.blind.clone()) {
                (unseen(&Missing::Blind(blind)))
            } @else {
                (words::empty("Nothing was sampled in this stretch of time. Sampling is on unless pawang.toml says \
                    otherwise; check these lines.", Some("[serve]\nactivity_sampling = true")))
            }
        }
    }
}
