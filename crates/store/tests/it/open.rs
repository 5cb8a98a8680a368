//! The data directory: lock, permissions, newer and damaged files, reading beside a daemon.

use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use pawang_store::state::{Account, Permission};
use pawang_store::{Error, Store};

use crate::world::{at, directory, open};

fn account() -> Account {
    Account {
        name: "alice".to_owned(),
        permission: Permission::Admin,
        password_hash: "$argon2id$".to_owned(),
        created_at: at(0),
    }
}

/// Writes over every page after the first.
fn damage(file: &Path) {
    let bytes = std::fs::metadata(file).unwrap().len();
    let handle = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    for page in 1..bytes / 4096 {
        handle.write_all_at(&[0xA5; 4096], page * 4096).unwrap();
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn only_the_owner_may_read_what_is_kept() {
    let parent = directory();
    let path = parent.path().join("state/data");
    let store = Store::open(&path, at(0)).unwrap().store;
    store.state().put_account(&account()).unwrap();
    assert_eq!(mode(&path), 0o700);
    for name in ["state.db", "state.db-wal", "history.db", "pawang.lock"] {
        assert_eq!(mode(&path.join(name)), 0o600, "{name}");
    }
    assert!(store.bytes() > 0);
    assert_eq!(store.directory(), path);
}

#[test]
fn a_second_pawang_is_refused_and_told_who_holds_it() {
    let directory = directory();
    let store = open(&directory);
    let refused = Store::open(directory.path(), at(1)).err().unwrap();
    assert!(
        matches!(&refused, Error::Locked { pid: Some(pid), .. } if *pid == std::process::id()),
        "{refused:?}"
    );
    let clone = store.clone();
    drop(store);
    assert!(Store::open(directory.path(), at(2)).is_err());
    drop(clone);
    open(&directory);
}

#[test]
fn whoever_changes_the_state_alone_keeps_others_out_and_hides_no_crash() {
    let directory = directory();
    let lock = directory.path().join("pawang.lock");
    let store = open(&directory);
    let refused = Store::open_state_alone(directory.path()).err().unwrap();
    assert!(matches!(refused, Error::Locked { .. }), "{refused:?}");
    drop(store);
    let (state, alone) = Store::open_state_alone(directory.path()).unwrap();
    assert!(Store::open(directory.path(), at(1)).is_err());
    drop((state, alone));
    assert_eq!(
        std::fs::read_to_string(&lock).unwrap(),
        "",
        "closed in order"
    );
    // A process that was killed leaves its number: the next daemon has to know.
    std::fs::write(&lock, "4711\n").unwrap();
    drop(Store::open_state_alone(directory.path()).unwrap());
    assert_ne!(std::fs::read_to_string(&lock).unwrap(), "");
    open(&directory);
    assert_eq!(std::fs::read_to_string(&lock).unwrap(), "");
}

#[test]
fn files_of_a_newer_pawang_are_left_alone() {
    for name in ["state.db", "history.db"] {
        let directory = directory();
        drop(open(&directory));
        let path = directory.path().join(name);
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        drop(connection);
        for refused in [
            Store::open(directory.path(), at(1)).err().unwrap(),
            Store::open_to_read(directory.path()).err().unwrap(),
        ] {
            assert!(
                matches!(&refused, Error::Newer { found: 99, path: file, .. } if *file == path),
                "{refused:?}"
            );
        }
        let names = names(directory.path());
        assert!(
            !names.iter().any(|name| name.contains("damaged")),
            "{names:?}"
        );
    }
}

#[test]
fn a_damaged_history_is_set_aside_and_accounts_stay() {
    let directory = directory();
    let store = open(&directory);
    store.state().put_account(&account()).unwrap();
    drop(store);
    std::fs::write(
        directory.path().join("history.db"),
        "this is not a database, is it",
    )
    .unwrap();
    let opened = Store::open(directory.path(), at(0)).unwrap();
    assert_eq!(opened.notes.len(), 1);
    assert!(
        opened.notes[0].contains("history.db.damaged-20260921T141320Z"),
        "{:?}",
        opened.notes
    );
    assert!(
        opened
            .store
            .reader()
            .unwrap()
            .instances()
            .unwrap()
            .is_empty()
    );
    assert_eq!(opened.store.state().accounts().unwrap(), [account()]);
    assert!(!opened.store.state().accounts_lost().unwrap());
    assert!(names(directory.path()).contains(&"history.db.damaged-20260921T141320Z".to_owned()));
}

#[test]
fn a_damaged_state_closes_the_door_until_there_is_an_account_again() {
    let directory = directory();
    let store = open(&directory);
    store.state().put_account(&account()).unwrap();
    drop(store);
    damage(&directory.path().join("state.db"));
    let opened = Store::open(directory.path(), at(0)).unwrap();
    assert!(opened.notes[0].contains("ACCOUNTS"), "{:?}", opened.notes);
    let state = opened.store.state();
    assert!(state.accounts().unwrap().is_empty());
    assert!(state.accounts_lost().unwrap());
    state.put_account(&account()).unwrap();
    assert!(!state.accounts_lost().unwrap());
}

#[test]
fn a_state_that_vanished_closes_the_door_too() {
    let directory = directory();
    drop(open(&directory));
    std::fs::remove_file(directory.path().join("state.db")).unwrap();
    // A new account program, not the daemon, is the first to come by.
    let state = Store::open_state(directory.path()).unwrap();
    assert!(state.accounts_lost().unwrap());
    drop(state);
    std::fs::remove_file(directory.path().join("state.db")).unwrap();
    let opened = Store::open(directory.path(), at(1)).unwrap();
    assert!(opened.notes[0].contains("MISSING"), "{:?}", opened.notes);
    assert!(opened.store.state().accounts_lost().unwrap());
}

#[test]
fn accounts_are_made_before_the_first_start_and_beside_a_daemon() {
    let directory = directory();
    let before = Store::open_state(directory.path()).unwrap();
    before.put_account(&account()).unwrap();
    assert!(!before.accounts_lost().unwrap());
    let store = open(&directory);
    assert_eq!(store.state().accounts().unwrap(), [account()]);
    let beside = Store::open_state(directory.path()).unwrap();
    assert!(beside.remove_account("alice").unwrap());
    assert!(store.state().accounts().unwrap().is_empty());
}

#[test]
fn reading_takes_no_lock_and_works_with_and_without_a_daemon() {
    let directory = directory();
    let missing = Store::open_to_read(&directory.path().join("nothing"));
    assert!(matches!(missing.err(), Some(Error::File { .. })));
    assert!(!directory.path().join("nothing").exists());
    let store = open(&directory);
    store.state().put_account(&account()).unwrap();
    let beside = Store::open_to_read(directory.path()).unwrap();
    assert_eq!(beside.state().accounts().unwrap(), [account()]);
    assert!(beside.state().put_account(&account()).is_err());
    assert!(beside.reader().is_ok());
    drop(store);
    let alone = Store::open_to_read(directory.path()).unwrap();
    assert_eq!(alone.state().accounts().unwrap(), [account()]);
    open(&directory);
}
