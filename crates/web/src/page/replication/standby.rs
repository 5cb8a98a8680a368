//! What a standby says about itself: received, replayed, and from whom.

use maud::{Markup, html};
use pawang_core::{ByteSize, Lsn, Missing};
use pawang_store::history::Series;
use pawang_store::live::Present;

use super::graph::difference;
use crate::page::parts::{Ask, combine, figure, lines, or_dash, single, unseen};
use crate::page::{PageError, Visit};
use crate::words;
use pawang_chart::Chart;

/// Draws figures and charts; nothing on a primary.
///
/// # Errors
/// The history does not answer.
pub(super) fn section(
    visit: &Visit<'_>,
    name: &str,
    present: &Present,
) -> Result<Markup, PageError> {
    let recovery = match lines(&present.facts, "recovery") {
        Ok(lines) => lines.first().copied(),
        Err(Missing::NotApplicable(_)) => None,
        Err(missing) if present.facts.server.is_ok() && is_standby(present) => {
            return Ok(html! { section { h2 { "This standby" } (unseen(&missing)) } });
        }
        Err(_) => None,
    };
    let Some(recovery) = recovery else {
        return Ok(html! {});
    };
    let receiver = lines(&present.facts, "wal-receiver").ok();
    let receiver = receiver.and_then(|lines| lines.first().copied());
    let position = |value: Option<f64>| value.map(|v| Lsn(v as u64).to_string());
    let backlog = difference(
        recovery.number("receive_lsn"),
        recovery.number("replay_lsn"),
    );
    Ok(html! {
        section #standby {
            h2 { "This standby" }
            dl .figures {
                (figure("receives from", match receiver {
                    Some(line) => html! { (line.text("sender_host").unwrap_or("local socket")) @if let Some(port) = line.int("sender_port") { ":" (port) } },
                    None => html! { span .badge.unknown { "no WAL receiver" } },
                }, "the server that its WAL receiver is connected to"))
                @if let Some(line) = receiver {
                    (figure("receiver", html! { (line.word("status")) }, "state of the WAL receiver"))
                    @if let Some(slot) = line.text("slot_name") { (figure("slot", html! { (slot) }, "the slot that it uses")) }
                    (figure("last message", or_dash(line.number("last_msg_receipt_age").map(words::duration), "none came"), "age of the last message of the sender"))
                }
                (figure("received", or_dash(position(recovery.number("receive_lsn")), "nothing was streamed since it started"), "last WAL position received"))
                (figure("replayed", or_dash(position(recovery.number("replay_lsn")), "not seen"), "last WAL position replayed"))
                (figure("to replay", or_dash(backlog.map(|b| ByteSize(b as u64).to_string()), "not seen"), "received and not yet replayed"))
                (figure("last commit", or_dash(recovery.number("last_xact_replay_age").map(words::duration), "none was replayed since it started"), "age of the last replayed commit; grows on a primary without writes too"))
                (figure("replay", html! { (recovery.text("pause_state").unwrap_or("–")) }, "whether replay is paused"))
                (figure("feedback", html! { (recovery.text("hot_standby_feedback").unwrap_or("–")) }, "hot_standby_feedback"))
            }
            (charts(visit, name)?)
        }
    })
}

fn is_standby(present: &Present) -> bool {
    let server = present.facts.server.as_ref();
    server.is_ok_and(|server| server.role == pawang_core::Role::Standby)
}

fn charts(visit: &Visit<'_>, name: &str) -> Result<Markup, PageError> {
    let found = single(
        visit,
        name,
        &Ask {
            collector: "recovery",
            columns: &["receive_lsn", "replay_lsn", "last_xact_replay_age"],
            ..Ask::default()
        },
    )?;
    let backlog = combine(&found[0], &found[1], |received, replayed| {
        Some((received - replayed).max(0.0))
    });
    let chart = |title, unit, name: &str, series: &Series| {
        Chart {
            title,
            unit,
            span: visit.range.span,
            lines: vec![(name.to_owned(), series)],
            stacked: false,
            limits: Vec::new(),
            marks: Vec::new(),
        }
        .draw()
    };
    Ok(html! {
        div .charts {
            (chart("Received and not yet replayed", "bytes", "backlog", &backlog))
            (chart("Age of the last replayed commit", "s", "age", &found[2]))
        }
    })
}
