//! What every answer says to browsers, and which names the server answers to.

use std::net::IpAddr;

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};

use crate::Settings;
use crate::problem::Problem;

/// Scripts, styles and pictures only from here; nobody frames these pages, and forms go nowhere else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// What the pages have no use for.
const PERMISSIONS: &str =
    "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()";
/// One year.
const STRICT_TRANSPORT: &str = "max-age=31536000";
/// The name that every machine gives itself.
const LOCALHOST: &str = "localhost";

/// Adds what every answer says to browsers.
pub(crate) fn secure(headers: &mut HeaderMap, settings: &Settings) {
    let fixed = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        // Not "no-referrer": browsers would send "Origin: null" with our own forms.
        (REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (HeaderName::from_static("permissions-policy"), PERMISSIONS),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if settings.secure {
        headers.insert(
            STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static(STRICT_TRANSPORT),
        );
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}

/// Refuses requests for names that are not ours: a page of somebody else whose name was made to point here (DNS
/// rebinding) could read everything otherwise. An address instead of a name cannot be such a page.
///
/// # Errors
/// There is no `Host`, or it is a name that is neither `localhost` nor in `serve.hosts`.
pub(crate) fn check_host(
    headers: &HeaderMap,
    uri: &Uri,
    settings: &Settings,
) -> Result<(), Problem> {
    let Some(host) = host(headers, uri) else {
        return Err(
            Problem::new(StatusCode::BAD_REQUEST, "the request has no Host header")
                .with_hint("use HTTP/1.1 with one Host header"),
        );
    };
    let name = without_port(&host);
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let known = address.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case(LOCALHOST)
        || settings
            .hosts
            .iter()
            .any(|own| name.eq_ignore_ascii_case(without_port(own)));
    if known {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        format!("this Pawang does not answer to the name \"{name}\""),
    )
    .with_hint("add the name to serve.hosts in pawang.toml"))
}

/// Returns what the request calls this server, with port; `None` when it says nothing, or two things.
pub(crate) fn host(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    if let Some(authority) = uri.authority() {
        return Some(authority.as_str().to_owned());
    }
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    (hosts.next().is_none() && !host.is_empty()).then(|| host.to_owned())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !open(name) => name,
        _ => host,
    }
}

/// Says whether the colon that was found lies within an IPv6 address in brackets.
fn open(name: &str) -> bool {
    name.starts_with('[') && !name.ends_with(']')
}

#[cfg(test)]
mod tests {
    use pawang_config::{MetricsConfig, QueryText};

    use super::*;

    fn settings() -> Settings {
        Settings {
            listen: ([127, 0, 0, 1], 8432).into(),
            sign_in: false,
            sign_in_configured: None,
            secure: false,
            hosts: vec!["pawang.example.org".to_owned()],
            query_text: QueryText::Normalised,
            metrics: MetricsConfig::default(),
        }
    }

    #[test]
    fn answers_only_to_its_own_names() {
        for (host, status) in [
            ("localhost", None),
            ("LOCALHOST:8432", None),
            ("127.0.0.1:8432", None),
            ("[::1]:8432", None),
            ("[::1]", None),
            ("10.0.0.7", None),
            ("pawang.example.org", None),
            ("Pawang.Example.org:443", None),
            ("evil.example.org", Some(421)),
            ("localhost.evil.example.org", Some(421)),
            ("127.0.0.1.evil.example.org:80", Some(421)),
            ("pawang.example.org.", Some(421)),
            ("", Some(400)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            let refused = check_host(&headers, &Uri::from_static("/"), &settings());
            assert_eq!(
                refused.err().map(|problem| problem.status.as_u16()),
                status,
                "{host}"
            );
        }
    }

    #[test]
    fn two_hosts_are_no_host() {
        let mut headers = HeaderMap::new();
        headers.append(HOST, HeaderValue::from_static("localhost"));
        headers.append(HOST, HeaderValue::from_static("evil.example.org"));
        assert!(check_host(&headers, &Uri::from_static("/"), &settings()).is_err());
    }
}
