//! Who may look and who may change.

use pawang_core::Timestamp;
use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{ACCOUNTS_LOST, State, instant, stored, unreadable};
use crate::Error;

/// Browsers that one account may be signed in with at a time; the oldest is signed out.
const SIGN_INS_MAX: i64 = 50;

/// What an account or token may do; each may all that the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// Look.
    Viewer,
    /// Act on instances.
    Operator,
    /// Change accounts and configuration.
    Admin,
}

/// Somebody who signs in.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// Unique name.
    pub name: String,
    /// What it may do.
    pub permission: Permission,
    /// PHC string of argon2id.
    pub password_hash: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// One browser that is signed in; the token itself is only in its cookie.
#[derive(Clone, Debug, PartialEq)]
pub struct SignIn {
    /// SHA-256 of the token in the cookie.
    pub token_hash: [u8; 32],
    /// Whose it is.
    pub account: String,
    /// The secret that forms must carry.
    pub csrf: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A token of a program; the token itself is shown once and kept nowhere.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiToken {
    /// Unique name.
    pub name: String,
    /// What it may do.
    pub permission: Permission,
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends, if ever.
    pub expires_at: Option<Timestamp>,
}

impl Permission {
    /// Returns the kebab-case name used on every wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Permission::Viewer => "viewer",
            Permission::Operator => "operator",
            Permission::Admin => "admin",
        }
    }
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Returns what is kept of the token of a browser or program.
pub fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl State {
    /// Adds an account, or replaces password and permission of the one with that name and ends its sign-ins.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn put_account(&self, account: &Account) -> Result<(), Error> {
        self.put_accounts(std::slice::from_ref(account))
    }

    /// Adds or replaces all of them, or none.
    pub(super) fn put_accounts(&self, accounts: &[Account]) -> Result<(), Error> {
        self.write(|transaction| {
            for account in accounts {
                transaction.execute(
                    "INSERT INTO account (name, permission, password_hash, created_at) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (name) DO UPDATE
                     SET permission = excluded.permission, password_hash = excluded.password_hash",
                    params![
                        account.name,
                        account.permission.as_str(),
                        account.password_hash,
                        stored(account.created_at)
                    ],
                )?;
                transaction.execute("DELETE FROM sign_in WHERE account = ?1", [&account.name])?;
            }
            transaction.execute("DELETE FROM meta WHERE name = ?1", [ACCOUNTS_LOST])?;
            Ok(())
        })
    }

    /// Returns an account by name.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn account(&self, name: &str) -> Result<Option<Account>, Error> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT name, permission, password_hash, created_at FROM account WHERE name = ?1",
                )?
                .query_row([name], |row| account_at(row, 0))
                .optional()
        })
    }

    /// Returns all accounts by name.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn accounts(&self) -> Result<Vec<Account>, Error> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT name, permission, password_hash, created_at FROM account ORDER BY name",
                )?
                .query_map([], |row| account_at(row, 0))?
                .collect()
        })
    }

    /// Says whether there is an account.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn has_accounts(&self) -> Result<bool, Error> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM account)")?
                .query_row([], |row| row.get(0))
        })
    }

    /// Removes an account with its sign-ins; says whether there was one. Tokens belong to nobody and stay.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove_account(&self, name: &str) -> Result<bool, Error> {
        self.write(|transaction| {
            let removed = transaction.execute("DELETE FROM account WHERE name = ?1", [name])?;
            Ok(removed > 0)
        })
    }

    /// Keeps a sign-in (a browser session), or replaces the one with this hash; also forgets those that have expired.
    ///
    /// # Errors
    /// The disk refuses, or there is no such account.
    pub fn put_sign_in(&self, sign_in: &SignIn) -> Result<(), Error> {
        self.write(|transaction| {
            transaction.execute(
                "DELETE FROM sign_in WHERE expires_at <= ?1",
                [stored(sign_in.created_at)],
            )?;
            transaction.execute(
                "INSERT INTO sign_in (token_hash, account, csrf, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (token_hash) DO UPDATE
                 SET csrf = excluded.csrf, created_at = excluded.created_at, expires_at = excluded.expires_at",
                params![
                    sign_in.token_hash,
                    sign_in.account,
                    sign_in.csrf,
                    stored(sign_in.created_at),
                    stored(sign_in.expires_at)
                ],
            )?;
            transaction.execute(
                "DELETE FROM sign_in WHERE account = ?1 AND token_hash NOT IN (
                     SELECT token_hash FROM sign_in WHERE account = ?1 ORDER BY created_at DESC LIMIT ?2)",
                params![sign_in.account, SIGN_INS_MAX],
            )?;
            Ok(())
        })
    }

    /// Returns the sign-in with this hash that has not expired, with its account.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn sign_in(
        &self,
        token_hash: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<(SignIn, Account)>, Error> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT s.token_hash, s.csrf, s.created_at, s.expires_at,
                            a.name, a.permission, a.password_hash, a.created_at
                     FROM sign_in s JOIN account a ON a.name = s.account
                     WHERE s.token_hash = ?1 AND s.expires_at > ?2",
                )?
                .query_row(params![token_hash, stored(now)], |row| {
                    let account = account_at(row, 4)?;
                    let sign_in = SignIn {
                        token_hash: row.get(0)?,
                        account: account.name.clone(),
                        csrf: row.get(1)?,
                        created_at: instant(row.get(2)?),
                        expires_at: instant(row.get(3)?),
                    };
                    Ok((sign_in, account))
                })
                .optional()
        })
    }

    /// Moves the end of a sign-in; says whether there still is one, since one that was ended stays so.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn prolong_sign_in(
        &self,
        token_hash: &[u8; 32],
        expires_at: Timestamp,
    ) -> Result<bool, Error> {
        self.write(|transaction| {
            let moved = transaction.execute(
                "UPDATE sign_in SET expires_at = ?2 WHERE token_hash = ?1",
                params![token_hash, stored(expires_at)],
            )?;
            Ok(moved > 0)
        })
    }

    /// Ends a sign-in.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove_sign_in(&self, token_hash: &[u8; 32]) -> Result<(), Error> {
        self.write(|transaction| {
            transaction.execute("DELETE FROM sign_in WHERE token_hash = ?1", [token_hash])?;
            Ok(())
        })
    }

    /// Keeps an API token, or replaces the one with that name.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn put_token(&self, token: &ApiToken) -> Result<(), Error> {
        self.write(|transaction| {
            transaction.execute(
                "INSERT INTO token (name, permission, token_hash, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (name) DO UPDATE
                 SET permission = excluded.permission, token_hash = excluded.token_hash,
                     created_at = excluded.created_at, expires_at = excluded.expires_at",
                params![
                    token.name,
                    token.permission.as_str(),
                    token.token_hash,
                    stored(token.created_at),
                    token.expires_at.map(stored)
                ],
            )?;
            Ok(())
        })
    }

    /// Returns the API token with this hash that has not expired.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn token(&self, token_hash: &[u8; 32], now: Timestamp) -> Result<Option<ApiToken>, Error> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT name, permission, token_hash, created_at, expires_at FROM token
                     WHERE token_hash = ?1 AND (expires_at IS NULL OR expires_at > ?2)",
                )?
                .query_row(params![token_hash, stored(now)], token_of)
                .optional()
        })
    }

    /// Returns all API tokens by name.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn tokens(&self) -> Result<Vec<ApiToken>, Error> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT name, permission, token_hash, created_at, expires_at FROM token ORDER BY name",
                )?
                .query_map([], token_of)?
                .collect()
        })
    }

    /// Removes an API token by name; says whether there was one.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove_token(&self, name: &str) -> Result<bool, Error> {
        self.write(|transaction| {
            let removed = transaction.execute("DELETE FROM token WHERE name = ?1", [name])?;
            Ok(removed > 0)
        })
    }
}

fn account_at(row: &Row<'_>, first: usize) -> rusqlite::Result<Account> {
    Ok(Account {
        name: row.get(first)?,
        permission: permission_at(row, first + 1)?,
        password_hash: row.get(first + 2)?,
        created_at: instant(row.get(first + 3)?),
    })
}

fn token_of(row: &Row<'_>) -> rusqlite::Result<ApiToken> {
    Ok(ApiToken {
        name: row.get(0)?,
        permission: permission_at(row, 1)?,
        token_hash: row.get(2)?,
        created_at: instant(row.get(3)?),
        expires_at: row.get::<_, Option<i64>>(4)?.map(instant),
    })
}

fn permission_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Permission> {
    let name: String = row.get(column)?;
    [Permission::Viewer, Permission::Operator, Permission::Admin]
        .into_iter()
        .find(|permission| permission.as_str() == name)
        .ok_or_else(|| unreadable(column, format!("there is no permission \"{name}\"")))
}
