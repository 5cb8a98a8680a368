//! Pages of made-up servers: hostile names stay text, ten thousand rows stay a page, resets are no growth.

use pawang_core::{Sighting, Timestamp, Value};

use super::scene::{Fields, HOSTILE, Scene, now, seen, text};
use crate::page;

/// No page of a list is larger, whatever the server has.
const PAGE_BYTES_MAX: usize = 200_000;

fn minutes_ago(minutes: i64) -> Timestamp {
    now()
        .checked_sub(jiff::SignedDuration::from_mins(minutes))
        .unwrap()
}

fn check_harmless(page: &str, html: &str) {
    for harm in ["<script>", "<b onload", "\" onclick"] {
        assert!(!html.contains(harm), "{page}: {harm} in {html}");
    }
}

fn evil() -> Value {
    text(HOSTILE)
}

fn session() -> Fields<'static> {
    let named = [
        "datname",
        "usename",
        "application_name",
        "client_addr",
        "state",
        "wait_event_type",
        "wait_event",
        "query",
    ];
    let mut row = vec![
        ("pid", Value::Int(1)),
        ("backend_type", text("client backend")),
    ];
    row.extend(named.map(|name| (name, evil())));
    row
}

fn waiting(pid: i64, by: &str) -> Fields<'static> {
    let named = [
        "usename",
        "datname",
        "application_name",
        "relation",
        "mode",
        "state",
        "query",
    ];
    let mut row = vec![
        ("pid", Value::Int(pid)),
        ("blocking_pids", Value::List(vec![by.to_owned()])),
        ("wait_seconds", Value::Float(3.0)),
    ];
    row.extend(named.map(|name| (name, evil())));
    row
}

fn relation(named: &[&'static str]) -> Fields<'static> {
    let mut row = vec![
        ("relkind", text("r")),
        ("relid", Value::Int(7)),
        ("size_bytes", Value::Int(1 << 30)),
    ];
    row.extend(named.iter().map(|name| (*name, evil())));
    row
}

fn statement(calls: i64) -> Fields<'static> {
    vec![
        ("datname", evil()),
        ("rolname", evil()),
        ("toplevel", Value::Bool(true)),
        ("queryid", Value::Int(42)),
        ("calls", Value::Int(calls)),
        ("total_exec_time", Value::Float(calls as f64)),
    ]
}

fn all_evil(named: &[&'static str]) -> Fields<'static> {
    named.iter().map(|name| (*name, evil())).collect()
}

/// Returns what was seen of a server whose every name is an attack.
fn round(minutes: i64, calls: i64) -> Vec<Sighting> {
    let at = minutes_ago(minutes);
    let mut setting = all_evil(&["name", "sourcefile", "category"]);
    setting.push(("setting", text("host=a password=hunter2")));
    setting.push(("source", text("configuration file")));
    let exclusive = Value::List(vec![HOSTILE.to_owned()]);
    let holder = vec![("pid", Value::Int(1)), ("access_exclusive", exclusive)];
    let table = relation(&["schemaname", "relname"]);
    let index = relation(&["schemaname", "relname", "indexrelname"]);
    let slot = all_evil(&["slot_name", "plugin", "wal_status"]);
    let sender = all_evil(&["application_name", "client_addr", "state"]);
    let disk = all_evil(&["purpose", "name", "mount_point"]);
    vec![
        seen("activity", None, at, &[session()]),
        // A circle of two, which must end.
        seen("blocking", None, at, &[waiting(1, "2"), waiting(2, "1")]),
        seen("locks", None, at, &[holder]),
        seen("tables", Some(HOSTILE), at, &[table]),
        seen("indexes", Some(HOSTILE), at, &[index]),
        seen("slots", None, at, &[slot]),
        seen("replication", None, at, &[sender]),
        seen("settings", None, at, &[setting]),
        seen("host-filesystem", None, at, &[disk]),
        seen("statements", None, at, &[statement(calls)]),
    ]
}

#[test]
fn hostile_names_stay_text_on_every_page() {
    let mut scene = Scene::new(vec![round(3, 10), round(2, 20), round(1, 30)]);
    scene.text(42, HOSTILE);
    let table = format!("{HOSTILE}.{HOSTILE}");
    for (name, html) in [
        (
            "activity",
            scene.draw(page::activity::render, &[("user", HOSTILE), ("q", HOSTILE)]),
        ),
        ("blocking", scene.draw(page::activity::render, &[])),
        (
            "queries",
            scene.draw(
                page::queries::render,
                &[("sort", HOSTILE), ("database", HOSTILE)],
            ),
        ),
        (
            "query",
            scene.draw(|visit, name| page::query::render(visit, name, "42"), &[]),
        ),
        (
            "tables",
            scene.draw(page::tables::render, &[("schema", HOSTILE)]),
        ),
        (
            "table",
            scene.draw(
                page::tables::render,
                &[("table", &table), ("database", HOSTILE)],
            ),
        ),
        (
            "indexes",
            scene.draw(page::indexes::render, &[("found", HOSTILE)]),
        ),
        ("replication", scene.draw(page::replication::render, &[])),
        ("storage", scene.draw(page::storage::render, &[])),
        (
            "settings",
            scene.draw(page::settings::render, &[("source", HOSTILE)]),
        ),
        (
            "settings, all",
            scene.draw(page::settings::render, &[("all", "1")]),
        ),
        ("setup", scene.draw(page::setup::render, &[])),
    ] {
        check_harmless(name, &html);
        assert!(!html.contains("hunter2"), "{name} shows a password");
        assert!(html.len() > 300, "{name} is empty: {html}");
    }
}

#[test]
fn ten_thousand_tables_and_sessions_stay_a_page() {
    let tables: Vec<Fields<'_>> = (0..10_000)
        .map(|number| {
            vec![
                ("schemaname", text("public")),
                ("relname", text(&format!("table_{number:05}"))),
                ("relkind", text("r")),
                ("relid", Value::Int(number)),
                ("size_bytes", Value::Int(number * 8192)),
                ("n_live_tup", Value::Int(number)),
            ]
        })
        .collect();
    let sessions: Vec<Fields<'_>> = (0..10_000)
        .map(|number| {
            vec![
                ("pid", Value::Int(number)),
                ("backend_type", text("client backend")),
                ("state", text("active")),
                ("usename", text(&format!("user_{number}"))),
                ("query", text("SELECT 1")),
            ]
        })
        .collect();
    let scene = Scene::new(vec![vec![
        seen("activity", None, now(), &sessions),
        seen("tables", Some("sales"), now(), &tables),
    ]]);
    let html = scene.draw(page::tables::render, &[]);
    assert!(html.len() < PAGE_BYTES_MAX, "{} bytes", html.len());
    assert!(html.contains("table_09999") && !html.contains("table_00001"));
    assert!(html.contains("show more"));
    let found = scene.draw(page::tables::render, &[("q", "TABLE_00001")]);
    assert!(found.contains("table_00001") && !found.contains("table_09999"));
    let reversed = scene.draw(page::tables::render, &[("sort", "-size")]);
    assert!(reversed.contains("table_00001"));
    let html = scene.draw(page::activity::render, &[]);
    assert!(html.len() < PAGE_BYTES_MAX, "{} bytes", html.len());
}

#[test]
fn a_reset_between_two_samples_is_no_growth() {
    let round = |minutes: i64, calls: i64, time: f64| {
        let row = vec![
            ("datname", text("sales")),
            ("rolname", text("app")),
            ("toplevel", Value::Bool(true)),
            ("queryid", Value::Int(7)),
            ("calls", Value::Int(calls)),
            ("total_exec_time", Value::Float(time)),
        ];
        vec![seen("statements", None, minutes_ago(minutes), &[row])]
    };
    let mut scene = Scene::new(vec![
        round(4, 1_000_000, 9e9),
        round(3, 1_000_010, 9e9 + 50.0),
        round(2, 5, 1.0),
        round(1, 15, 51.0),
    ]);
    scene.text(7, "SELECT $1");
    let html = scene.draw(page::queries::render, &[]);
    // Ten calls before the reset and ten after it, 50 ms each time: nothing of the million, nothing negative.
    assert!(html.contains("data-value=\"20\""), "{html}");
    assert!(html.contains("data-value=\"100\""), "{html}");
    assert!(!html.contains("data-value=\"-"), "{html}");
}

#[test]
fn what_was_never_sampled_is_said_and_not_shown_as_zero() {
    let scene = Scene::new(vec![Vec::new()]);
    for (name, html) in [
        ("activity", scene.draw(page::activity::render, &[])),
        ("queries", scene.draw(page::queries::render, &[])),
        ("tables", scene.draw(page::tables::render, &[])),
        ("replication", scene.draw(page::replication::render, &[])),
        ("settings", scene.draw(page::settings::render, &[])),
    ] {
        assert!(html.contains("Not asked yet"), "{name}: {html}");
    }
}
