//! Who asks, and what they may: sessions of browsers, tokens of programs, and guards against forged requests.

mod cookie;
mod doors;
mod forgery;
mod identify;
mod sign_in;
pub(crate) mod token;

use std::net::IpAddr;

use pawang_store::state::{Account, ApiToken, Permission, SignIn};

pub(crate) use doors::{Doors, network};
pub(crate) use forgery::check;
pub(crate) use identify::identify;
pub(crate) use sign_in::{ask, own_path, redirect, sign_in, sign_out};

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) enum Actor {
    /// Somebody on this machine, where nobody has to sign in.
    Open {
        /// From where.
        address: IpAddr,
        /// What changing requests must carry.
        csrf: String,
    },
    /// Somebody who has signed in.
    Account {
        /// Who.
        account: Account,
        /// By which browser.
        sign_in: SignIn,
    },
    /// A program with a token.
    Token(ApiToken),
}

impl Actor {
    /// Returns the actor as the journal names it.
    pub(crate) fn name(&self) -> String {
        match self {
            Actor::Open { address, .. } => stranger(*address),
            Actor::Account { account, .. } => format!("account:{}", account.name),
            Actor::Token(token) => format!("token:{}", token.name),
        }
    }

    /// Returns what the actor may do; who sits at the machine of an open dashboard may do everything.
    pub(crate) fn permission(&self) -> Permission {
        match self {
            Actor::Open { .. } => Permission::Admin,
            Actor::Account { account, .. } => account.permission,
            Actor::Token(token) => token.permission,
        }
    }

    /// Returns what changing requests of this actor must carry; `None` for programs, whose token no browser sends on
    /// behalf of somebody else's page.
    pub(crate) fn csrf(&self) -> Option<&str> {
        match self {
            Actor::Open { csrf, .. } => Some(csrf),
            Actor::Account { sign_in, .. } => Some(&sign_in.csrf),
            Actor::Token(_) => None,
        }
    }

    /// Returns what nobody else has: pages of one actor are never shown to another.
    pub(crate) fn secret(&self) -> String {
        match self {
            Actor::Token(token) => format!("token:{}", token.name),
            actor => actor.csrf().unwrap_or_default().to_owned(),
        }
    }

    /// Returns the account, when somebody has signed in.
    pub(crate) fn account(&self) -> Option<&Account> {
        match self {
            Actor::Account { account, .. } => Some(account),
            Actor::Open { .. } | Actor::Token(_) => None,
        }
    }
}

/// Returns what the journal calls somebody of whom only the address is known.
pub(crate) fn stranger(address: IpAddr) -> String {
    format!("address:{address}")
}
