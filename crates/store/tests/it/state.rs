//! Accounts, sign-ins, tokens.

use std::time::Duration;

use pawang_store::state::{Account, ApiToken, Permission, SignIn};

use crate::world::{at, directory, open};

fn account(name: &str, permission: Permission) -> Account {
    Account {
        name: name.to_owned(),
        permission,
        password_hash: format!("$argon2id${name}"),
        created_at: at(0),
    }
}

fn sign_in(account: &str, number: u8) -> SignIn {
    SignIn {
        token_hash: [number; 32],
        account: account.to_owned(),
        csrf: "secret".to_owned(),
        created_at: at(i64::from(number)),
        expires_at: at(3_600),
    }
}

#[test]
fn sign_ins_end_with_time_password_and_account() {
    let directory = directory();
    let store = open(&directory);
    let state = store.state();
    let alice = account("alice", Permission::Viewer);
    state.put_account(&alice).unwrap();
    state
        .put_account(&account("bob", Permission::Admin))
        .unwrap();
    let first = sign_in("alice", 1);
    state.put_sign_in(&first).unwrap();
    assert_eq!(
        state.sign_in(&[1; 32], at(2)).unwrap(),
        Some((first, alice))
    );
    assert_eq!(state.sign_in(&[2; 32], at(2)).unwrap(), None);
    assert_eq!(state.sign_in(&[1; 32], at(3_600)).unwrap(), None);
    // A new password ends what the old one opened.
    state
        .put_account(&account("alice", Permission::Operator))
        .unwrap();
    assert_eq!(state.sign_in(&[1; 32], at(2)).unwrap(), None);
    assert_eq!(
        state.account("alice").unwrap().unwrap().permission,
        Permission::Operator
    );
    state.put_sign_in(&sign_in("alice", 3)).unwrap();
    state.put_sign_in(&sign_in("bob", 4)).unwrap();
    assert!(state.prolong_sign_in(&[4; 32], at(7_200)).unwrap());
    let (longer, _) = state.sign_in(&[4; 32], at(3_600)).unwrap().unwrap();
    assert_eq!(longer.expires_at, at(7_200));
    state.remove_sign_in(&[4; 32]).unwrap();
    assert!(!state.prolong_sign_in(&[4; 32], at(7_200)).unwrap());
    assert_eq!(state.sign_in(&[4; 32], at(5)).unwrap(), None);
    assert!(state.remove_account("alice").unwrap());
    assert!(!state.remove_account("alice").unwrap());
    assert_eq!(state.sign_in(&[3; 32], at(4)).unwrap(), None);
    assert!(state.put_sign_in(&sign_in("nobody", 5)).is_err());
    assert_eq!(state.accounts().unwrap().len(), 1);
    assert!(state.has_accounts().unwrap());
    state.remove_account("bob").unwrap();
    assert!(!state.has_accounts().unwrap());
}

#[test]
fn the_oldest_of_too_many_sign_ins_is_signed_out() {
    let directory = directory();
    let store = open(&directory);
    let state = store.state();
    state
        .put_account(&account("alice", Permission::Viewer))
        .unwrap();
    for number in 1..=51 {
        state.put_sign_in(&sign_in("alice", number)).unwrap();
    }
    assert!(state.sign_in(&[1; 32], at(60)).unwrap().is_none());
    assert!(state.sign_in(&[2; 32], at(60)).unwrap().is_some());
}

#[test]
fn tokens_end_with_their_time() {
    let directory = directory();
    let store = open(&directory);
    let state = store.state();
    let token = ApiToken {
        name: "ci".to_owned(),
        permission: Permission::Operator,
        token_hash: [7; 32],
        created_at: at(0),
        expires_at: Some(at(0) + Duration::from_secs(60)),
    };
    let forever = ApiToken {
        name: "prometheus".to_owned(),
        permission: Permission::Viewer,
        token_hash: [8; 32],
        expires_at: None,
        ..token.clone()
    };
    state.put_token(&token).unwrap();
    state.put_token(&forever).unwrap();
    assert_eq!(
        state.token(&[7; 32], at(59)).unwrap().as_ref(),
        Some(&token)
    );
    assert_eq!(state.token(&[7; 32], at(60)).unwrap(), None);
    assert_eq!(state.token(&[8; 32], at(1 << 30)).unwrap(), Some(forever));
    assert_eq!(state.token(&[9; 32], at(0)).unwrap(), None);
    assert_eq!(state.tokens().unwrap().len(), 2);
    assert!(state.remove_token("ci").unwrap());
    assert!(!state.remove_token("ci").unwrap());
}
