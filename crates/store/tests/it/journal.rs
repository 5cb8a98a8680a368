//! The journal: a chain that shows every change, and refuses most.

use std::path::Path;

use pawang_store::state::{Entry, State};
use rusqlite::Connection;
use serde_json::json;

use crate::world::{at, directory, open};

fn entry(number: i64) -> Entry {
    Entry {
        at: at(number),
        actor: "account:alice".to_owned(),
        action: "token.create".to_owned(),
        object: format!("token-{number}"),
        outcome: "done".to_owned(),
        detail: json!({ "number": number }),
    }
}

fn fill(state: &State, count: i64) {
    for number in 1..=count {
        assert_eq!(state.journal(&entry(number)).unwrap().id, number);
    }
}

/// Changes the file behind Pawang's back, triggers and all.
fn tamper(directory: &Path, sql: &str) {
    let connection = Connection::open(directory.join("state.db")).unwrap();
    connection
        .execute_batch("DROP TRIGGER journal_update; DROP TRIGGER journal_delete;")
        .unwrap();
    connection.execute_batch(sql).unwrap();
}

#[test]
fn the_newest_comes_first_and_pages_have_no_holes() {
    let directory = directory();
    let store = open(&directory);
    let state = store.state();
    fill(state, 5);
    let page = state.journal_page(None, 2).unwrap();
    assert_eq!(
        page.iter().map(|record| record.id).collect::<Vec<_>>(),
        [5, 4]
    );
    assert_eq!(page[0].entry, entry(5));
    let page = state.journal_page(Some(4), 10).unwrap();
    assert_eq!(
        page.iter().map(|record| record.id).collect::<Vec<_>>(),
        [3, 2, 1]
    );
}

#[test]
fn one_action_is_read_on_from_where_it_was_left() {
    let directory = directory();
    let store = open(&directory);
    let state = store.state();
    fill(state, 2);
    let mut drill = entry(3);
    drill.action = "drill.run".to_owned();
    state.journal(&drill).unwrap();
    let mut like = entry(4);
    // What only speaks of it is none.
    like.detail = json!({ "text": "\"action\":\"drill.run\"" });
    state.journal(&like).unwrap();
    let (records, newest) = state.journal_of("drill.run", 0).unwrap();
    assert_eq!(newest, 4);
    let found: Vec<i64> = records.iter().map(|record| record.id).collect();
    assert_eq!(found, [3]);
    let (records, same) = state.journal_of("drill.run", newest).unwrap();
    assert!(records.is_empty() && same == newest, "{records:?}");
}

#[test]
fn records_are_neither_changed_nor_removed() {
    let directory = directory();
    let store = open(&directory);
    fill(store.state(), 3);
    let connection = Connection::open(directory.path().join("state.db")).unwrap();
    for sql in [
        "UPDATE journal SET entry = '{}' WHERE id = 2",
        "DELETE FROM journal",
    ] {
        let refused = connection.execute(sql, []).unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{refused}");
    }
    let check = store.state().journal_verify().unwrap();
    assert_eq!((check.records, check.broken), (3, None));
}

#[test]
fn every_way_of_tampering_is_found_and_placed() {
    let whole = directory();
    let store = open(&whole);
    fill(store.state(), 1_010);
    drop(store);
    for (sql, broken) in [
        (
            "UPDATE journal SET entry = replace(entry, 'alice', 'bob') WHERE id = 1005",
            1_005,
        ),
        (
            "UPDATE journal SET hash = (SELECT hash FROM journal WHERE id = 3) WHERE id = 2",
            2,
        ),
        ("DELETE FROM journal WHERE id = 700", 700),
        ("DELETE FROM journal WHERE id = 1", 1),
        ("DELETE FROM journal WHERE id > 1007", 1_008),
        ("DELETE FROM journal", 1),
        ("INSERT INTO journal VALUES (1011, '{}', 'x')", 1_011),
    ] {
        let directory = directory();
        let copy = directory.path().join("state.db");
        std::fs::copy(whole.path().join("state.db"), copy).unwrap();
        let store = open(&directory);
        tamper(directory.path(), sql);
        let check = store.state().journal_verify().unwrap();
        assert_eq!(check.broken.map(|(id, _)| id), Some(broken), "{sql}");
    }
}

#[test]
fn a_huge_entry_is_cut_and_still_verifies() {
    let directory = directory();
    let store = open(&directory);
    let huge = Entry {
        actor: "ü".repeat(100_000),
        detail: json!({ "text": "x".repeat(1 << 20) }),
        ..entry(1)
    };
    let record = store.state().journal(&huge).unwrap();
    assert!(record.entry.actor.len() <= 1_027 && record.entry.actor.ends_with("..."));
    assert!(record.entry.detail["omitted_bytes"].as_u64().unwrap() > 1 << 20);
    assert_eq!(store.state().journal_page(None, 1).unwrap(), [record]);
    assert_eq!(store.state().journal_verify().unwrap().broken, None);
}

#[test]
fn two_processes_append_to_one_chain() {
    let directory = directory();
    let store = open(&directory);
    let beside = pawang_store::Store::open_state(directory.path()).unwrap();
    std::thread::scope(|scope| {
        for state in [store.state(), &beside] {
            scope.spawn(move || {
                for number in 0..50 {
                    state.journal(&entry(number)).unwrap();
                }
            });
        }
    });
    let check = beside.journal_verify().unwrap();
    assert_eq!((check.records, check.broken), (100, None));
}
