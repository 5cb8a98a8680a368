//! The sessions that are there now, filtered by the address.

use maud::{Markup, html};
use pawang_core::plan::SessionKey;
use pawang_core::{Blind, Value};
use pawang_store::live::Present;

use crate::page::Visit;
use crate::page::parts::{
    Column, Field, HIDDEN, Head, Here, Line, Table, choices, class_name, dash, filter,
    instance_path, matches, one_line, path, shell, shown,
};
use crate::words;

/// Characters of a statement in its row.
const QUERY_CHARS: usize = 120;

/// One session of a client.
pub(super) struct Session<'a> {
    /// Its process.
    pub process: i64,
    /// Its state; empty when it cannot be seen.
    pub state: &'a str,
    /// What it waits for, as a class; `CPU` when for nothing.
    pub class: &'a str,
    /// How long its transaction is open.
    pub transaction_seconds: Option<f64>,
    /// Whether the role may not see what it does.
    pub hidden: bool,
    line: Line<'a>,
    query: String,
}

/// Returns the sessions of clients, without Pawang's own.
pub(super) fn of_clients<'a>(visit: &Visit<'_>, lines: &[Line<'a>]) -> Vec<Session<'a>> {
    let ours = |line: &&Line<'a>| !line.word("application_name").starts_with("pawang:");
    let client = |line: &&Line<'a>| line.word("backend_type") == "client backend";
    let found = lines.iter().filter(client).filter(ours);
    found
        .map(|line| {
            let hidden = line.word("query") == HIDDEN;
            let state = line.word("state");
            Session {
                process: line.int("pid").unwrap_or_default(),
                state,
                class: if state == "active" {
                    class_name(line.word("wait_event_type"))
                } else {
                    line.word("wait_event_type")
                },
                transaction_seconds: line.number("xact_age_seconds"),
                hidden,
                query: if hidden {
                    String::new()
                } else {
                    shown(visit, line.word("query"))
                },
                line: *line,
            }
        })
        .collect()
}

/// Says that sessions of other roles are hidden, and what shows them.
pub(super) fn grant(present: &Present) -> Markup {
    let server = present.facts.server.as_ref();
    let user = server.map_or("pawang", |server| server.user.as_str());
    words::not_seen(&Blind::NoPrivilege {
        what: "the sessions of other roles are hidden".to_owned(),
        grant: format!("GRANT pg_monitor TO \"{}\";", user.replace('"', "\"\"")),
    })
}

/// Draws filter and table.
pub(super) fn section(here: &Here<'_>, name: &str, sessions: Vec<Session<'_>>) -> Markup {
    let values = |column: &str| choices(sessions.iter().map(|s| s.line.word(column)));
    let choice = |key, title, column: &str| Field::Choice {
        key,
        title,
        values: values(column),
    };
    let fields = [
        choice("state", "State", "state"),
        choice("database", "Database", "datname"),
        choice("user", "User", "usename"),
        choice("application", "Application", "application_name"),
        Field::Choice {
            key: "wait",
            title: "Waits for",
            values: choices(sessions.iter().map(|s| s.class)),
        },
        Field::Search {
            key: "q",
            title: "Query",
        },
    ];
    let form = filter(here, &fields);
    let all = sessions.len();
    let rows = filtered(here, sessions);
    let cut = rows.len() < all;
    html! {
        section #sessions {
            h2 { "Sessions" }
            (form)
            (table(here, name, cut).draw(here, rows))
            (words::command(&format!("pawang top -i {}", shell(name))))
        }
    }
}

fn filtered<'a>(here: &Here<'_>, mut sessions: Vec<Session<'a>>) -> Vec<Session<'a>> {
    let text = here.visit.parameter("q").unwrap_or_default().to_lowercase();
    sessions.retain(|s| {
        matches(here, "state", s.state)
            && matches(here, "database", s.line.word("datname"))
            && matches(here, "user", s.line.word("usename"))
            && matches(here, "application", s.line.word("application_name"))
            && matches(here, "wait", s.class)
            && (text.is_empty() || s.query.to_lowercase().contains(&text))
    });
    sessions
}

fn table<'a>(here: &'a Here<'a>, name: &'a str, filtered: bool) -> Table<'a, Session<'a>> {
    Table {
        what: "sessions",
        sorted: "transaction",
        columns: doing().into_iter().chain(who(here, name)).collect(),
        empty: if filtered {
            html! { p { "No session passes the filter." } }
        } else {
            html! { p { "No client is connected." } }
        },
    }
}

fn state(session: &Session<'_>) -> Markup {
    if session.hidden {
        return dash("hidden: the monitoring role is not a member of pg_monitor");
    }
    let class = match session.state {
        "active" => "active",
        state if state.starts_with("idle in transaction") => "held",
        _ => "idle",
    };
    html! { span .state.(class) { (session.state) } }
}

fn wait(session: &Session<'_>) -> Markup {
    let event = session.line.word("wait_event");
    html! {
        @if session.class.is_empty() || session.state == "idle" { (dash("it has nothing to wait for")) }
        @else { span .wait { (session.class) @if !event.is_empty() { small { " " (event) } } } }
    }
}

fn query(here: &Here<'_>, name: &str, session: &Session<'_>) -> Markup {
    if session.hidden {
        return dash("hidden: the monitoring role is not a member of pg_monitor");
    }
    let text = one_line(&session.query, QUERY_CHARS);
    let id = session.line.int("query_id").filter(|id| *id != 0);
    html! {
        @match id {
            Some(id) => a .sql href=(path(here.visit, &instance_path(name, &format!("queries/{id}")), &[])) title=(session.query) { (text) },
            None => span .sql title=(session.query) { (text) },
        }
    }
}

/// Leads to the plan for a session; nothing is done from a row.
fn end(here: &Here<'_>, name: &str, session: &Session<'_>) -> Markup {
    let start = match session.line.value("backend_start") {
        Value::Time(start) => *start,
        _ => return dash("its start cannot be seen"),
    };
    let key = SessionKey {
        pid: i32::try_from(session.process).unwrap_or_default(),
        backend_start: start,
    };
    let id = key.session_id();
    let plan = instance_path(name, "activity/plan");
    let address = |what| path(here.visit, &plan, &[("do", what), ("session", &id)]);
    html! {
        @if session.state == "active" { a href=(address("cancel")) { "cancel" } " " }
        a href=(address("terminate")) { "terminate" }
    }
}

/// Returns the columns that say what a session does.
fn doing<'a>() -> Vec<Column<'a, Session<'a>>> {
    let age = |head: Head, column: &'static str| {
        let value = move |s: &Session<'a>| s.line.number(column);
        Column::number(head, value, words::duration)
    };
    vec![
        Column::number(
            ("pid", "PID", "process of the session"),
            |s: &Session<'a>| Some(s.process as f64),
            |pid| format!("{pid:.0}"),
        ),
        Column::text(
            ("state", "State", "what it does"),
            |s: &Session<'a>| s.state.to_owned(),
            |s| state(s),
        ),
        Column::text(
            (
                "wait",
                "Waits for",
                "wait class and event; CPU when it waits for nothing",
            ),
            |s: &Session<'a>| s.class.to_owned(),
            |s| wait(s),
        ),
        age(
            (
                "transaction",
                "Transaction",
                "how long its transaction is open",
            ),
            "xact_age_seconds",
        )
        .shown(|s| {
            s.transaction_seconds.map_or_else(
                || dash("no transaction is open"),
                |v| html! { (words::duration(v)) },
            )
        }),
        age(
            (
                "statement",
                "Statement",
                "since its statement began (idle: its last one)",
            ),
            "query_age_seconds",
        ),
    ]
}

/// Returns the columns that say whose session it is, and what it runs.
fn who<'a>(here: &'a Here<'a>, name: &'a str) -> Vec<Column<'a, Session<'a>>> {
    let word = |head: Head, column: &'static str| {
        Column::text(
            head,
            move |s: &Session<'a>| s.line.word(column).to_owned(),
            move |s: &Session<'a>| html! { (s.line.word(column)) },
        )
    };
    vec![
        word(("user", "User", "role that connected"), "usename"),
        word(
            ("database", "Database", "database of the session"),
            "datname",
        ),
        word(
            ("application", "Application", "application_name"),
            "application_name",
        ),
        word(
            (
                "client",
                "Client",
                "address of the client; empty for local sockets",
            ),
            "client_addr",
        ),
        Column::text(
            ("end", "End", "what cancelling or terminating it would do"),
            |_: &Session<'a>| String::new(),
            move |s| end(here, name, s),
        ),
        Column::text(
            ("query", "Query", "statement that runs, or the last one"),
            |s: &Session<'a>| s.query.clone(),
            move |s| query(here, name, s),
        )
        .wordy(),
    ]
}
