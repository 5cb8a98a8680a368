//! Cookies: not readable by scripts, not sent with requests of other sites that change anything, and bound to this
//! host by name where TLS is used.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

/// The cookie of a session.
pub(crate) const SESSION: &str = "pawang";
/// The cookie that the sign-in form must repeat.
pub(crate) const FORM: &str = "pawang-form";

/// Returns the value of a cookie.
pub(crate) fn read<'a>(headers: &'a HeaderMap, name: &str, secure: bool) -> Option<&'a str> {
    let name = full_name(name, secure);
    let cookies = headers.get_all(COOKIE).iter();
    let mut pairs = cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
        .filter(|value| !value.is_empty())
}

/// Returns the header that sets a cookie for `seconds`, or removes it with 0.
///
/// `SameSite=Lax`: with `Strict` a link to a finding in a chat message would end at the sign-in form although somebody
/// is signed in. Nothing that is asked by GET changes anything.
pub(crate) fn write(name: &str, value: &str, secure: bool, seconds: i64) -> HeaderValue {
    let name = full_name(name, secure);
    let flag = if secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{flag}");
    HeaderValue::from_str(&text).expect("names and hexadecimal secrets are ASCII")
}

/// Browsers take the prefix only from the host itself, over TLS, for all paths.
fn full_name(name: &str, secure: bool) -> String {
    let prefix = if secure { "__Host-" } else { "" };
    format!("{prefix}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_cookie_only() {
        for (header, secure, value) in [
            ("a=1; pawang=secret; b=2", false, Some("secret")),
            ("pawang=secret", true, None),
            ("__Host-pawang=secret", true, Some("secret")),
            ("__Host-pawang=secret", false, None),
            ("pawang=", false, None),
            ("pawang", false, None),
            ("xpawang=1;pawang=2", false, Some("2")),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, header.parse().unwrap());
            assert_eq!(read(&headers, SESSION, secure), value, "{header}");
        }
    }

    #[test]
    fn cookies_are_guarded() {
        let header = write(SESSION, "abc", true, 60);
        assert_eq!(
            header,
            "__Host-pawang=abc; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure"
        );
        assert!(
            !write(SESSION, "abc", false, 60)
                .to_str()
                .unwrap()
                .contains("Secure")
        );
    }
}
