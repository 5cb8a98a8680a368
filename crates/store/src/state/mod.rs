//! What must never be lost: accounts, sessions, tokens, the journal, findings.

mod account;
mod finding;
mod journal;

use pawang_core::Timestamp;

pub use account::{Account, ApiToken, Permission, SignIn};
pub use finding::{FindingQuery, FindingRecord};
pub use journal::{Entry, JournalRecord};

use crate::Error;

/// The state file, for any thread; every change is durable when its function returns.
#[derive(Clone)]
pub struct State {}

impl State {
    /// Adds an account, or replaces password and permission of the one with that name.
    pub fn put_account(&self, _account: &Account) -> Result<(), Error> {
        Ok(())
    }

    /// Returns an account by name.
    pub fn account(&self, _name: &str) -> Result<Option<Account>, Error> {
        Ok(None)
    }

    /// Returns all accounts by name.
    pub fn accounts(&self) -> Result<Vec<Account>, Error> {
        Ok(Vec::new())
    }

    /// Removes an account with its sign-ins and tokens; says whether there was one.
    pub fn remove_account(&self, _name: &str) -> Result<bool, Error> {
        Ok(false)
    }

    /// Keeps a sign-in (a browser session).
    pub fn put_sign_in(&self, _sign_in: &SignIn) -> Result<(), Error> {
        Ok(())
    }

    /// Returns the sign-in with this hash that has not expired, with its account.
    pub fn sign_in(
        &self,
        _token_hash: &[u8; 32],
        _now: Timestamp,
    ) -> Result<Option<(SignIn, Account)>, Error> {
        Ok(None)
    }

    /// Ends a sign-in.
    pub fn remove_sign_in(&self, _token_hash: &[u8; 32]) -> Result<(), Error> {
        Ok(())
    }

    /// Keeps an API token.
    pub fn put_token(&self, _token: &ApiToken) -> Result<(), Error> {
        Ok(())
    }

    /// Returns the API token with this hash that has not expired.
    pub fn token(
        &self,
        _token_hash: &[u8; 32],
        _now: Timestamp,
    ) -> Result<Option<ApiToken>, Error> {
        Ok(None)
    }

    /// Returns all API tokens by name.
    pub fn tokens(&self) -> Result<Vec<ApiToken>, Error> {
        Ok(Vec::new())
    }

    /// Removes an API token by name; says whether there was one.
    pub fn remove_token(&self, _name: &str) -> Result<bool, Error> {
        Ok(false)
    }

    /// Appends to the journal; the record names the hash of the one before.
    pub fn journal(&self, _entry: &Entry) -> Result<JournalRecord, Error> {
        unreachable!("not written yet")
    }

    /// Returns journal records, newest first, older than `before`.
    pub fn journal_page(
        &self,
        _before: Option<i64>,
        _limit: usize,
    ) -> Result<Vec<JournalRecord>, Error> {
        Ok(Vec::new())
    }
}
