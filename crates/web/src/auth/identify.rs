//! Finds out who asks: by token, by session, or by sitting at the machine.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use pawang_core::Timestamp;
use pawang_store::state::SignIn;

use super::{Actor, cookie, token};
use crate::problem::Problem;
use crate::server::Shared;

/// A session that is not used for so long ends.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(12 * 3_600);
/// A session ends after so long, used or not.
pub(super) const SESSION_MAX: Duration = Duration::from_secs(7 * 86_400);
/// The end of a session is not moved for less: not every request writes.
const MOVED_MIN: Duration = Duration::from_secs(600);

/// Finds out who asks; `None` is a stranger. Reads the store: call it where a thread may block.
///
/// # Errors
/// The store does not answer.
pub(crate) fn identify(
    shared: &Shared,
    headers: &HeaderMap,
    address: IpAddr,
    now: Timestamp,
) -> Result<Option<Actor>, Problem> {
    let state = shared.site.store.state();
    if let Some(secret) = bearer(headers) {
        let found = state.token(&token::hash(secret), now)?;
        return Ok(found.map(Actor::Token));
    }
    if !shared.signs_in()? {
        return Ok(Some(Actor::Open {
            address,
            csrf: shared.open_csrf.clone(),
        }));
    }
    let secure = shared.site.settings.secure;
    let Some(secret) = cookie::read(headers, cookie::SESSION, secure) else {
        return Ok(None);
    };
    let found = state.sign_in(&token::hash(secret), now)?;
    let Some((sign_in, account)) = found else {
        return Ok(None);
    };
    let sign_in = prolong(shared, sign_in, now)?;
    Ok(sign_in.map(|sign_in| Actor::Account { account, sign_in }))
}

/// Moves the end of a session that is in use, never beyond its longest life; `None` when somebody ended it meanwhile.
fn prolong(shared: &Shared, sign_in: SignIn, now: Timestamp) -> Result<Option<SignIn>, Problem> {
    let expires_at = ends_at(sign_in.created_at, now);
    let moved = sign_in.expires_at.duration_until(expires_at);
    if Duration::try_from(moved).unwrap_or_default() < MOVED_MIN {
        return Ok(Some(sign_in));
    }
    let state = shared.site.store.state();
    let there = state.prolong_sign_in(&sign_in.token_hash, expires_at)?;
    Ok(there.then_some(SignIn {
        expires_at,
        ..sign_in
    }))
}

/// Returns when a session that is used now ends.
pub(super) fn ends_at(created_at: Timestamp, now: Timestamp) -> Timestamp {
    let after = |start: Timestamp, length: Duration| start.saturating_add(length).unwrap_or(start);
    after(now, IDLE_MAX).min(after(created_at, SESSION_MAX))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_end_by_idleness_and_by_age() {
        let at = |hours: i64| Timestamp::from_second(1_800_000_000 + hours * 3_600).unwrap();
        assert_eq!(ends_at(at(0), at(0)), at(12));
        assert_eq!(ends_at(at(0), at(100)), at(112));
        assert_eq!(ends_at(at(0), at(160)), at(168));
    }
}
