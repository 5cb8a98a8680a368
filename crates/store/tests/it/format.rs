//! Files of every released format stay readable.

use pawang_core::Level;
use pawang_store::state::{FindingQuery, Permission};
use rusqlite::Connection;

use crate::world::{directory, open};

#[test]
fn a_state_file_of_version_1_stays_readable() {
    let directory = directory();
    let file = Connection::open(directory.path().join("state.db")).unwrap();
    file.execute_batch(include_str!("../../src/state/format/v1.sql"))
        .unwrap();
    drop(file);
    let store = open(&directory);
    let state = store.state();
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
