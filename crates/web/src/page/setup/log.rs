//! How reading the log goes: files and positions, what is still to be read, what was lost, what no rule knows, and what went wrong last.

use maud::{Markup, html};
use pawang_store::live::{LogPosition, LogStatus};

use crate::logs::{self, Summary};
use crate::page::Visit;
use crate::page::parts::{dash, figure, instance_path, path};
use crate::words;

/// Files that are listed: the newest ones.
const FILES_MAX: usize = 20;

/// Draws the state of the reader, with what its records of the stretch of time above add up to.
pub(super) fn section(visit: &Visit<'_>, name: &str) -> Markup {
    let summary = logs::summary(visit, name);
    let to_log = path(visit, &instance_path(name, "logs"), &[]);
    html! {
        section #log {
            h2 { "The log" small { a href=(to_log) { "what it says" } } }
            @match &summary.status {
                None => (words::empty("It is not read: reading is switched off in [serve.logs], or the daemon has only just begun.", None)),
                Some(status) => {
                    @if let Some(blind) = &status.blind { (words::not_seen(blind)) }
                    dl .figures { (reading(visit, status)) (found(&summary)) }
                    (last_error(visit, status))
                    (positions(status))
                }
            }
        }
    }
}

/// Shows how far it is.
fn reading(visit: &Visit<'_>, status: &LogStatus) -> Markup {
    html! {
        (figure("looked", match status.read_at { Some(at) => words::ago(visit.now, at), None => dash("not yet") }, "when it was looked for something new last"))
        (figure("files", html! { (status.files.len()) }, "that may still be there"))
        (figure("records", html! { (words::number(status.records as f64)) }, "read since the daemon started"))
        (figure("behind", html! {
            @if status.behind_bytes > 0 { span .badge.warning { (words::bytes(status.behind_bytes as f64)) } } @else { "nothing" }
        }, "there and not read yet; of compressed files nobody knows"))
        (figure("lost", html! {
            @if status.lost_files > 0 {
                span .badge.warning { (words::bytes(status.lost_bytes as f64)) } small { " of " (status.lost_files) " files" }
            } @else { "nothing" }
        }, "gone before it was read, at least"))
    }
}

/// Shows what was read in the stretch of time and is not sure.
fn found(summary: &Summary) -> Markup {
    let Ok(report) = &summary.report else {
        return html! {
            (figure("unclassified", dash("the kept hours could not be read"), "records that no rule knows"))
            (figure("gaps", dash("the kept hours could not be read"), "sessions whose line numbers have holes"))
        };
    };
    html! {
        (figure("unclassified", html! { (words::number(report.totals.unclassified as f64)) }, "records of this stretch of time that no rule knows"))
        (figure("gaps", html! { (words::number(report.integrity.gaps.total as f64)) }, "sessions of this stretch of time whose line numbers have holes: records are missing"))
    }
}

fn last_error(visit: &Visit<'_>, status: &LogStatus) -> Markup {
    html! {
        @match &status.last_error {
            None => p .muted { "Nothing went wrong since the daemon started." },
            Some(error) => p { "Last trouble " (words::ago(visit.now, error.at)) ": " (error.what) },
        }
    }
}

fn positions(status: &LogStatus) -> Markup {
    let older = status.positions.len().saturating_sub(FILES_MAX);
    html! {
        @if !status.positions.is_empty() {
            div .wide tabindex="0" role="region" aria-label="files of the log" { table {
                thead { tr { th scope="col" { "File" } th .number scope="col" { "Size" } th .number scope="col" { "Read up to" } th scope="col" { "State" } } }
                tbody { @for position in status.positions.iter().skip(older).rev() { (file(position)) } }
            } }
            @if older > 0 { p .muted { (older) " older files are not listed." } }
        }
    }
}

fn file(position: &LogPosition) -> Markup {
    html! { tr {
        td { code { (position.name) } }
        td .number { (words::bytes(position.bytes as f64)) }
        td .number { "byte " (position.read_to) }
        td {
            @if position.whole { "whole" } @else { "being read" }
            @if position.compressed { ", compressed: counted unpacked" }
        }
    } }
}
