//! Guards changing requests against pages of other sites that make somebody's browser send them.

use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, StatusCode, Uri};

use super::{Actor, token};
use crate::problem::Problem;
use crate::server::{host, is_json};

/// The field of forms that carries the secret of the session.
pub(crate) const CSRF_FIELD: &str = "csrf";
/// The header in its place, for scripts and programs.
const CSRF_HEADER: &str = "x-csrf-token";

/// Refuses a changing request that a page of another site may have caused.
///
/// # Errors
/// The browser says that it comes from elsewhere, or it does not carry the secret of its session.
pub(crate) fn check(
    headers: &HeaderMap,
    uri: &Uri,
    form: &[(String, String)],
    actor: &Actor,
) -> Result<(), Problem> {
    check_origin(headers, uri)?;
    let Some(secret) = actor.csrf() else {
        return Ok(());
    };
    match carried(headers, form) {
        Some(carried) if token::same(carried, secret) => Ok(()),
        None if matches!(actor, Actor::Open { .. }) && by_program(headers) => Ok(()),
        _ => Err(refused("the request does not carry the secret of its session")
            .with_hint("load the page again; programs send X-CSRF-Token, which GET /api/v1/session tells, or use a token: pawang token create NAME")),
    }
}

/// Says whether only a program can have sent this: JSON without the headers by which browsers say where a request comes
/// from. A page of another site cannot send JSON either, since it would have to ask before, and is never answered.
fn by_program(headers: &HeaderMap) -> bool {
    let silent = ["sec-fetch-site", "sec-fetch-mode", "origin", "referer"];
    is_json(headers) && silent.iter().all(|name| !headers.contains_key(*name))
}

/// Refuses what the browser itself says is caused by another site.
///
/// # Errors
/// `Sec-Fetch-Site` or `Origin` name another site.
pub(crate) fn check_origin(headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    if let Some(site) = text("sec-fetch-site") {
        return match site {
            "same-origin" => Ok(()),
            _ => Err(refused("the request was caused by a page of another site")),
        };
    }
    let Some(origin) = text(ORIGIN.as_str()) else {
        return Ok(());
    };
    let named = origin.split_once("://").map(|(_, host)| host.to_owned());
    match named.is_some() && named == host(headers, uri) {
        true => Ok(()),
        false => Err(refused("the request was caused by a page of another site")),
    }
}

/// Returns the secret that the request carries.
pub(crate) fn carried<'a>(headers: &'a HeaderMap, form: &'a [(String, String)]) -> Option<&'a str> {
    let header = headers
        .get(CSRF_HEADER)
        .and_then(|value| value.to_str().ok());
    let mut fields = form.iter().filter(|(name, _)| name == CSRF_FIELD);
    header.or_else(|| fields.next().map(|(_, value)| value.as_str()))
}

/// Returns the refusal of a request that may be forged.
pub(crate) fn refused(primary: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, primary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_send_json_that_says_nothing_of_where_it_comes_from() {
        let json = ("content-type", "application/json");
        for (headers, program) in [
            (&[json][..], true),
            (&[("content-type", "application/json; charset=utf-8")], true),
            (&[json, ("origin", "http://localhost")], false),
            (&[json, ("sec-fetch-site", "same-origin")], false),
            (&[json, ("referer", "http://localhost/")], false),
            (&[("content-type", "text/plain;application/json")], false),
            (&[("content-type", "text/plain")], false),
            (&[], false),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, value.parse().unwrap());
            }
            assert_eq!(by_program(&map), program, "{headers:?}");
        }
    }

    #[test]
    fn origins_are_compared_with_the_host() {
        for (headers, passes) in [
            (&[("host", "localhost:8432")][..], true),
            (
                &[
                    ("host", "localhost:8432"),
                    ("origin", "http://localhost:8432"),
                ],
                true,
            ),
            (
                &[
                    ("host", "localhost:8432"),
                    ("origin", "http://localhost:9999"),
                ],
                false,
            ),
            (&[("host", "localhost:8432"), ("origin", "null")], false),
            (&[("host", "a"), ("origin", "https://evil.example")], false),
            (&[("host", "a"), ("sec-fetch-site", "same-origin")], true),
            (&[("host", "a"), ("sec-fetch-site", "same-site")], false),
            (&[("host", "a"), ("sec-fetch-site", "cross-site")], false),
            (&[("host", "a"), ("sec-fetch-site", "none")], false),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, value.parse().unwrap());
            }
            let checked = check_origin(&map, &Uri::from_static("/sign-out"));
            assert_eq!(checked.is_ok(), passes, "{headers:?}");
        }
    }
}
