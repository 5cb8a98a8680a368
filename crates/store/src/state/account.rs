//! Who may look and who may change.

use pawang_core::Timestamp;
use serde::{Deserialize, Serialize};

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
