//! Damage: found at the start or while running, and what is saved from a damaged state.

use std::os::unix::fs::FileExt;
use std::path::Path;

use pawang_core::{Evaluation, Level, Outcome};
use pawang_store::state::{Account, ApiToken, Entry, Permission, State};
use pawang_store::{Error, Recorder, Store};
use rusqlite::Connection;

use crate::alerts::{everything, message};
use crate::world::{at, directory, evaluation, facts, finding, number_at, open, verdict};

const PAGE: u64 = 4_096;

fn entry(number: i64) -> Entry {
    Entry {
        at: at(number),
        actor: "account:alice".to_owned(),
        action: "account.create".to_owned(),
        object: "bob".to_owned(),
        outcome: "done".to_owned(),
        detail: serde_json::Value::Null,
    }
}

/// Makes accounts, a token, journal records and findings.
fn fill(state: &State) {
    for name in ["alice", "bob"] {
        let account = Account {
            name: name.to_owned(),
            permission: Permission::Admin,
            password_hash: "$argon2id$v=19$x".to_owned(),
            created_at: at(0),
        };
        state.put_account(&account).unwrap();
    }
    let token = ApiToken {
        name: "ci".to_owned(),
        permission: Permission::Viewer,
        token_hash: [1; 32],
        created_at: at(0),
        expires_at: None,
    };
    state.put_token(&token).unwrap();
    (1..=100).for_each(|number| drop(state.journal(&entry(number)).unwrap()));
    state.judge(&judged(0)).unwrap();
    state.save_alerts(&everything()).unwrap();
}

fn judged(seconds: i64) -> Evaluation {
    let findings = (0..50)
        .map(|number| finding("locks", &format!("table-{number}"), Level::Warning, 1.0))
        .collect();
    evaluation(seconds, vec![verdict("locks", Outcome::Judged, findings)])
}

/// Moves everything from the log into the file, in a way that other connections notice, and writes over pages.
fn damage(directory: &Path, tables: &[&str]) {
    let path = directory.join("state.db");
    let connection = Connection::open(&path).unwrap();
    connection
        .execute("INSERT INTO meta VALUES ('touched', '')", [])
        .unwrap();
    let pages: Vec<u64> = tables
        .iter()
        .map(|table| {
            let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
            let page: i64 = connection
                .query_row(sql, [table], |row| row.get(0))
                .unwrap();
            page.unsigned_abs()
        })
        .collect();
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
            row.get::<_, i64>(0)
        })
        .unwrap();
    drop(connection);
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    for page in pages {
        file.write_all_at(&[0xA5; PAGE as usize], (page - 1) * PAGE)
            .unwrap();
    }
}

#[test]
fn accounts_tokens_and_journal_are_saved_when_only_findings_are_damaged() {
    let directory = directory();
    let store = open(&directory);
    fill(store.state());
    drop(store);
    damage(directory.path(), &["finding"]);
    let opened = Store::open(directory.path(), at(1_000)).unwrap();
    assert!(
        opened.notes[0].starts_with("FINDINGS WERE LOST"),
        "{:?}",
        opened.notes
    );
    let state = opened.store.state();
    assert!(!state.accounts_lost().unwrap());
    assert_eq!(state.accounts().unwrap().len(), 2);
    assert_eq!(state.tokens().unwrap().len(), 1);
    let check = state.journal_verify().unwrap();
    assert_eq!((check.records, check.broken), (101, None));
    let newest = state.journal_page(None, 1).unwrap().remove(0);
    assert_eq!(newest.entry.action, "state.set-aside");
    let (saved, changes) = (state.saved_alerts().unwrap(), everything());
    assert_eq!(saved.alerts, changes.alerts);
    assert_eq!(saved.groups, changes.groups);
    assert_eq!(saved.silences, changes.silences);
    assert_eq!(saved.windows, changes.windows);
    assert_eq!(saved.incidents, changes.incidents);
    assert_eq!(saved.parcels[0].message, changes.messages[0]);
    assert_eq!(state.incident_entries(9).unwrap().len(), 2);
    let last = (saved.last_silence, saved.last_window, saved.last_incident);
    assert_eq!(last, (4, 7, 9));
    assert_eq!(state.judge(&judged(2_000)).unwrap().len(), 50);
    drop((opened, store_again(directory.path())));
}

#[test]
fn what_of_alerting_can_be_read_is_saved_and_what_is_nonsense_is_left_behind() {
    let directory = directory();
    let store = open(&directory);
    fill(store.state());
    let mut more = everything();
    more.messages.push(message(2, 0));
    store.state().save_alerts(&more).unwrap();
    drop(store);
    let file = Connection::open(directory.path().join("state.db")).unwrap();
    file.execute(
        "UPDATE parcel SET parcel = 'nonsense' WHERE key = 'default/1'",
        [],
    )
    .unwrap();
    drop(file);
    let store = open(&directory);
    let damage_found = store.state().saved_alerts().unwrap_err();
    assert!(
        matches!(damage_found, Error::Damaged { .. }),
        "{damage_found:?}"
    );
    drop(store);
    damage(directory.path(), &["silence"]);
    let opened = Store::open(directory.path(), at(1_000)).unwrap();
    assert!(
        opened.notes[0].contains("5 alerts, silences"),
        "{:?}",
        opened.notes
    );
    let saved = opened.store.state().saved_alerts().unwrap();
    assert_eq!((saved.alerts.len(), saved.silences.len()), (1, 0));
    let keys: Vec<&str> = saved
        .parcels
        .iter()
        .map(|parcel| &*parcel.message.key)
        .collect();
    assert_eq!(keys, ["default/2"]);
}

fn store_again(directory: &Path) {
    let refused = Store::open(directory, at(0)).err();
    assert!(refused.is_some(), "the lock is still held");
}

#[test]
fn a_state_damaged_while_running_is_replaced_under_the_feet_of_its_users() {
    let directory = directory();
    let store = open(&directory);
    fill(store.state());
    let mut recorder = Recorder::new(store.clone());
    assert_eq!(recorder.judge(&judged(10)).len(), 50);
    damage(directory.path(), &["finding", "finding_open", "account"]);
    assert!(store.state().accounts().is_err());
    let mut changed = judged(100);
    changed.verdicts[0].findings.pop();
    changed.verdicts[0].findings_total = 49;
    assert_eq!(recorder.judge(&changed).len(), 49);
    let notes = recorder.take_notes();
    assert!(notes[0].starts_with("ACCOUNTS WERE LOST"), "{notes:?}");
    assert!(recorder.status().trouble.is_none());
    let state = store.state();
    assert!(state.accounts_lost().unwrap() && state.accounts().unwrap().is_empty());
    assert_eq!(state.journal_verify().unwrap().records, 101);
    drop((recorder, store));
    let store = open(&directory);
    assert!(store.state().accounts_lost().unwrap());
}

#[test]
fn a_history_damaged_while_running_begins_anew_with_what_waits() {
    let directory = directory();
    let store = open(&directory);
    let path = directory.path().join("history.db");
    std::fs::write(&path, [0xA5; 3 * PAGE as usize]).unwrap();
    let mut recorder = Recorder::new(store.clone());
    recorder.offer(facts(1, 60, 3, 10));
    let generation = store.generation();
    let status = recorder.flush(at(60));
    assert!(status.trouble.is_none(), "{:?}", status.trouble);
    let notes = recorder.take_notes();
    assert!(
        notes.len() == 1 && notes[0].contains("damaged"),
        "{notes:?}"
    );
    assert!(store.generation() > generation);
    assert_eq!(number_at(&store.reader().unwrap(), 60), Some(1));
    drop((recorder, store));
    assert_eq!(number_at(&open(&directory).reader().unwrap(), 60), Some(1));
}
