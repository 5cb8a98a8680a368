//! Files of every released format stay readable.

use pawang_core::Level;
use pawang_core::alert::Saved;
use pawang_store::state::{EventQuery, FindingQuery, Permission, State};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::alerts::everything;
use crate::world::{directory, open};

const V1: &str = include_str!("../../src/state/format/v1.sql");
const V2: &str = include_str!("../../src/state/format/v2.sql");

fn state_file(sql: &str) -> TempDir {
    let directory = directory();
    let file = Connection::open(directory.path().join("state.db")).unwrap();
    file.execute_batch(sql).unwrap();
    directory
}

#[test]
fn a_state_file_of_version_1_stays_readable() {
    let store = open(&state_file(V1));
    whole(store.state());
    assert_eq!(store.state().saved_alerts().unwrap(), Saved::default());
    store.state().save_alerts(&everything()).unwrap();
}

#[test]
fn a_state_file_of_version_2_stays_readable() {
    let store = open(&state_file(V2));
    let state = store.state();
    whole(state);
    let (saved, changes) = (state.saved_alerts().unwrap(), everything());
    assert_eq!(saved.alerts, changes.alerts);
    assert_eq!(saved.groups, changes.groups);
    assert_eq!(saved.silences, changes.silences);
    assert_eq!(saved.windows, changes.windows);
    assert_eq!(saved.incidents, changes.incidents);
    assert_eq!(saved.parcels[0].message, changes.messages[0]);
    assert_eq!(state.incident_entries(9).unwrap().len(), 2);
    let query = EventQuery {
        limit: 9,
        ..EventQuery::default()
    };
    let mut events = state.alert_events(&query).unwrap();
    events.reverse();
    assert_eq!(events, changes.events);
}

#[test]
fn every_way_to_a_state_file_leads_to_the_same_tables() {
    let tables = |directory: &TempDir| -> Vec<String> {
        drop(open(directory));
        let file = Connection::open(directory.path().join("state.db")).unwrap();
        let sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name";
        let mut found = file.prepare(sql).unwrap();
        let found = found.query_map([], |row| row.get(0)).unwrap();
        found.map(Result::unwrap).collect()
    };
    let new = tables(&directory());
    assert!(new.len() > 20);
    assert_eq!(tables(&state_file(V1)), new);
    assert_eq!(tables(&state_file(V2)), new);
}

/// Asserts that everything that version 1 knows is there.
fn whole(state: &State) {
    let noon = "2026-11-21T12:00:00Z".parse().unwrap();
    let (sign_in, account) = state.sign_in(&[1; 32], noon).unwrap().unwrap();
    assert_eq!(
        (sign_in.account.as_str(), sign_in.created_at),
        ("alice", noon)
    );
    assert_eq!(account.permission, Permission::Admin);
    assert_eq!(state.token(&[2; 32], noon).unwrap().unwrap().name, "ci");
    let check = state.journal_verify().unwrap();
    assert_eq!((check.records, check.broken), (2, None));
    assert_eq!(state.journal_page(None, 9).unwrap()[1].entry.at, noon);
    let query = FindingQuery {
        limit: 9,
        ..FindingQuery::default()
    };
    let finding = state.findings(&query).unwrap().remove(0);
    assert_eq!((finding.worst, finding.opened_at), (Level::Critical, noon));
    assert_eq!(finding.finding.value, Some(85.0));
    assert_eq!(state.text(-42).unwrap().as_deref(), Some("SELECT $1"));
    assert!(!state.accounts_lost().unwrap());
}
