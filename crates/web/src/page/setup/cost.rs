//! What observing costs the server, and how the daemon itself is doing.

use maud::{Markup, html};
use pawang_core::Timestamp;
use pawang_store::live::{CollectorStatus, DaemonStatus, Present};

use crate::page::parts::{Column, Head, Here, Table, dash, figure, milliseconds, percent};
use crate::page::{PageError, Visit};
use crate::words;

/// Draws budget, collectors, daemon and store.
///
/// # Errors
/// The history does not answer.
pub(super) fn section(here: &Here<'_>, name: &str, present: &Present) -> Result<Markup, PageError> {
    let budget = &present.budget;
    let kept = here.visit.reader.extent(name)?;
    let daemon = here.visit.site.live.daemon();
    Ok(html! {
        section #cost {
            h2 { "What observing costs this server" }
            dl .figures {
                (figure("used", html! { (percent(budget.used_percent)) small { " of one core" } }, "over the last minutes, measured by the time that answers took"))
                (figure("allowed", html! { (percent(budget.limit_percent)) small { " of one core" } }, "serve.budget_percent in pawang.toml"))
                (figure("held back", html! { @if budget.stretch > 1.0 { "intervals × " (words::number(budget.stretch)) } @else { "nothing" } }, "how much longer than asked for intervals are, to keep the budget"))
                (figure("answered", match present.answered_at { Some(at) => words::ago(here.visit.now, at), None => dash("it never did") }, "when the server last answered"))
            }
            @if let Some(note) = &budget.note { p .muted { (note) } }
            @for note in present.facts.notes.iter().take(20) { p .muted { (note) } }
            (table(here).draw(here, present.collectors.to_vec()))
        }
        (status(here.visit, &daemon, kept))
    })
}

fn table<'a>(here: &'a Here<'a>) -> Table<'a, CollectorStatus> {
    Table {
        what: "collectors",
        sorted: "cost",
        columns: price().into_iter().chain(fate(here.visit.now)).collect(),
        empty: html! { p { "No collector was asked yet." } },
    }
}

/// Returns the columns that say what a collector costs.
fn price<'a>() -> Vec<Column<'a, CollectorStatus>> {
    type C = CollectorStatus;
    let seconds = |head: Head, value: fn(&C) -> std::time::Duration| {
        Column::number(
            head,
            move |c: &C| Some(value(c).as_secs_f64()),
            words::duration,
        )
    };
    vec![
        Column::text(
            ("name", "Collector", ""),
            |c: &C| c.name.clone(),
            |c| html! { code { (c.name) } },
        ),
        seconds(("asked", "Interval", "as its header asks for"), |c| {
            c.interval
        }),
        seconds(("force", "In force", "longer under pressure"), |c| {
            c.interval_now
        })
        .shown(in_force),
        Column::number(
            (
                "cost",
                "Share",
                "of one core of the server over the last minutes",
            ),
            |c: &C| Some(c.percent),
            percent,
        ),
        Column::number(
            (
                "elapsed",
                "Last took",
                "from the first statement to the last row",
            ),
            |c: &C| Some(c.elapsed.as_secs_f64() * 1_000.0),
            milliseconds,
        ),
        Column::number(
            ("rows", "Rows", "received last"),
            |c: &C| Some(c.rows as f64),
            words::number,
        ),
    ]
}

/// Returns the columns that say how often a collector was asked, and why it saw nothing.
fn fate<'a>(now: Timestamp) -> Vec<Column<'a, CollectorStatus>> {
    type C = CollectorStatus;
    vec![
        Column::number(
            ("runs", "Asked", "since the daemon started"),
            |c: &C| Some(c.runs as f64),
            words::number,
        ),
        Column::number(
            ("failures", "Saw nothing", "though it should have"),
            |c: &C| Some(c.failures as f64),
            words::number,
        ),
        Column::number(
            ("age", "Last asked", ""),
            move |c: &C| c.asked_at.map(|at| words::seconds_since(now, at)),
            words::age,
        )
        .shown(move |c| {
            c.asked_at
                .map_or_else(|| dash("not yet"), |at| words::ago(now, at))
        }),
        Column::text(
            ("blind", "Why not", "why it saw nothing last time"),
            |c: &C| {
                c.blind
                    .as_ref()
                    .map_or(String::new(), pawang_core::Blind::sentence)
            },
            |c| html! { (c.blind.as_ref().map_or(String::new(), pawang_core::Blind::sentence)) },
        ),
    ]
}

fn in_force(status: &CollectorStatus) -> Markup {
    let text = words::duration(status.interval_now.as_secs_f64());
    html! { @if status.interval_now > status.interval * 2 { span .tag.warning { (text) } } @else { (text) } }
}

fn status(
    visit: &Visit<'_>,
    daemon: &DaemonStatus,
    kept: Option<pawang_store::history::Span>,
) -> Markup {
    let store = &daemon.store;
    html! {
        section #daemon {
            h2 { "The daemon" }
            dl .figures {
                (figure("version", html! { (daemon.version) }, ""))
                (figure("running", words::ago(visit.now, daemon.started_at), "since it was started"))
                (figure("memory", html! { (words::bytes(daemon.memory_bytes as f64)) }, "resident"))
                (figure("CPU", html! { (words::duration(daemon.cpu_time.as_secs_f64())) }, "since it was started"))
                (figure("configuration", html! { @match &daemon.config_file {
                    Some(file) => code { (file.display()) },
                    None => "none: the environment names the server",
                } }, "file in force"))
                (figure("read", words::ago(visit.now, daemon.config_loaded_at), "when the configuration in force was read"))
            }
            h2 { "What is remembered" }
            dl .figures {
                (figure("directory", html! { code { (store.directory.display()) } }, "history and state"))
                (figure("size", html! { (words::bytes(store.bytes as f64)) }, "of all its files"))
                (figure("this instance since", match kept { Some(span) => words::ago(visit.now, span.from), None => dash("nothing is stored yet") }, "the oldest sample that is kept"))
                (figure("written", match store.committed_at { Some(at) => words::ago(visit.now, at), None => dash("not yet") }, "when something was last written for good"))
                (figure("waiting", html! { (store.waiting_snapshots) small { " snapshots, " (words::bytes(store.waiting_bytes as f64)) } }, "in memory, for the disk"))
                @if store.dropped_snapshots > 0 { (figure("dropped", html! { span .badge.critical { (store.dropped_snapshots) " snapshots" } }, "memory ran out while the disk refused")) }
            }
            (remote(daemon))
            p .muted { "How long each resolution is kept, and in how much space, is set in [serve.retention] of pawang.toml." }
        }
    }
}

fn remote(daemon: &DaemonStatus) -> Markup {
    html! {
        @if !daemon.remote_writes.is_empty() {
            h2 { "Remote stores" }
            div .wide { table {
                thead { tr { th scope="col" { "Name" } th .number scope="col" { "Samples sent" } th .number scope="col" { "Waiting" } th .number scope="col" { "Dropped" } th scope="col" { "Trouble" } } }
                tbody { @for remote in &daemon.remote_writes { tr {
                    td { (remote.name) }
                    td .number { (words::number(remote.samples_sent as f64)) }
                    td .number { (words::bytes(remote.waiting_bytes as f64)) }
                    td .number { (words::number(remote.samples_dropped as f64)) }
                    td { (remote.trouble.as_deref().map_or_else(String::new, crate::page::parts::without_secrets)) }
                } } }
            } }
        }
    }
}
