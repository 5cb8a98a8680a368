//! Activity: who runs what, what sessions wait for, and who makes whom wait.

mod blocking;
pub(crate) mod plan;
mod sessions;
mod waits;

use maud::{Markup, html};

use super::parts::{Here, figure, instance_path, known_at, lines, unseen};
use super::{Page, PageError, Place, Visit};
use crate::words;
use sessions::Session;

/// Draws the page.
///
/// # Errors
/// There is no such instance, or the history does not answer.
pub(crate) fn render(visit: &Visit<'_>, name: &str) -> Result<Page, PageError> {
    let present = visit.instance(name)?;
    let here = Here {
        visit,
        path: instance_path(name, "activity"),
        keeps: &[
            "state",
            "database",
            "user",
            "application",
            "wait",
            "q",
            "sort",
            "show",
        ],
    };
    let seen = lines(&present.facts, "activity");
    let seen_at = seen
        .as_ref()
        .ok()
        .and_then(|lines| Some(lines.first()?.seen_at()));
    let seen = seen.map(|lines| sessions::of_clients(visit, &lines));
    let hidden = seen
        .as_ref()
        .is_ok_and(|sessions| sessions.iter().any(|session| session.hidden));
    let body = html! {
        @match &seen {
            Ok(sessions) => (figures(visit, name, sessions, &present)),
            Err(missing) => (unseen(missing)),
        }
        @if hidden { (sessions::grant(&present)) }
        (waits::section(visit, name, &present)?)
        (blocking::section(visit, name, &present))
        @if let Ok(sessions) = seen { (sessions::section(&here, name, sessions)) }
    };
    Ok(Page {
        title: "Activity".to_owned(),
        place: Place::Activity,
        instance: Some(name.to_owned()),
        body,
        seen_at: seen_at.or_else(|| known_at(&present)),
    })
}

fn figures(
    visit: &Visit<'_>,
    name: &str,
    sessions: &[Session<'_>],
    present: &pawang_store::live::Present,
) -> Markup {
    let count = |wanted: &str| sessions.iter().filter(|s| s.state == wanted).count();
    let in_transaction = sessions
        .iter()
        .filter(|s| s.state.starts_with("idle in transaction"))
        .count();
    let waiting = sessions.iter().filter(|s| s.class == "Lock").count();
    let oldest = sessions
        .iter()
        .filter_map(|s| Some((s.transaction_seconds?, s)))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let link = |state: &str| {
        let path = instance_path(name, "activity");
        super::parts::path(visit, &path, &[("state", state)])
    };
    let limit = lines(&present.facts, "settings").ok().and_then(|settings| {
        let found = settings
            .iter()
            .find(|line| line.text("name") == Some("max_connections"));
        found.and_then(|line| line.text("setting").map(str::to_owned))
    });
    html! {
        dl .figures {
            (figure("active", html! { a href=(link("active")) { (count("active")) } }, "sessions that run a statement"))
            (figure("wait for a lock", html! { (waiting) }, "sessions whose wait class is Lock"))
            (figure("idle in transaction", html! { (in_transaction) }, "they hold locks and hold vacuum back"))
            (figure("idle", html! { a href=(link("idle")) { (count("idle")) } }, "connected, nothing to do"))
            (figure("client sessions", html! { (sessions.len())
                @if let Some(limit) = limit { small { " / " (limit) } } }, "without Pawang's own, of max_connections"))
            (figure("oldest transaction", match oldest {
                Some((seconds, session)) => html! { (words::duration(seconds)) small { " pid " (session.process) } },
                None => html! { "none" },
            }, "age of the transaction that began first"))
        }
        (sampled(visit, present))
    }
}

/// Says what the newest one-second sample saw, when there is one.
fn sampled(visit: &Visit<'_>, present: &pawang_store::live::Present) -> Markup {
    let Some(sample) = present.activity.last() else {
        return html! {};
    };
    let lines = super::parts::lines_of(sample);
    let mut classes: Vec<(&str, usize)> = Vec::new();
    for line in lines
        .iter()
        .filter(|line| line.text("state") == Some("active"))
    {
        let class = super::parts::class_name(line.word("wait_event_type"));
        match classes.iter_mut().find(|(known, _)| *known == class) {
            Some((_, count)) => *count += 1,
            None => classes.push((class, 1)),
        }
    }
    classes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    html! {
        p .muted {
            "Sampled " (words::ago(visit.now, sample.at)) ": "
            @if classes.is_empty() { "nobody runs a statement" }
            @for (index, (class, count)) in classes.iter().enumerate() {
                @if index > 0 { ", " } (count) " " (class)
            }
            "."
        }
    }
}
