//! Keeps passwords out of pages: settings such as `primary_conninfo` may hold one.

/// What stands in place of a secret.
const REDACTED: &str = "[redacted]";
/// Keywords whose value is a secret.
const KEYWORDS: [&str; 10] = [
    "password",
    "passwd",
    "passphrase",
    "sslpassword",
    "secret",
    "secrets",
    "radiussecrets",
    "token",
    "access_key",
    "accountkey",
];
/// Longest text that is searched; longer ones are cut.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Longest name of an option of a command.
const OPTION_BYTES_MAX: usize = 64;

/// Returns a text without the passwords of connection strings, URLs and commands in it; cut after 64 KiB.
pub fn without_secrets(text: &str) -> String {
    let cut = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
    if cut.len() == text.len() && !text.contains(['=', ':', '\'']) && !text.contains("--") {
        return text.to_owned();
    }
    let mut shown = without_url_passwords(&without_keywords(cut));
    if cut.len() < text.len() {
        shown.push_str("...");
    }
    shown
}

/// Returns the value of a setting without its secrets: all of it where the name of a custom setting says that it is
/// one. Names without a dot are the server's own, such as `password_encryption`.
pub(crate) fn safe_setting(name: &str, text: &str) -> String {
    match name.contains('.') && names_secret(name) && !text.is_empty() {
        true => REDACTED.to_owned(),
        false => without_secrets(text),
    }
}

/// Returns an item of a list without its secrets: all of the value of an option such as `ldapbindpasswd=...`.
pub(crate) fn safe_item(item: &str) -> String {
    match item.split_once('=') {
        Some((name, value)) if names_secret(name) && !value.is_empty() => {
            format!("{name}={REDACTED}")
        }
        _ => without_secrets(item),
    }
}

fn names_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    KEYWORDS.iter().any(|keyword| lower.contains(keyword))
}

/// The next value of one keyword.
#[derive(Clone, Copy)]
enum Next {
    /// Nobody has looked from here on.
    Unsought,
    /// It begins here.
    At(usize),
    /// There is none.
    Gone,
}

/// Replaces the value after `password=` and its like, quoted or not, up to the next blank.
fn without_keywords(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    // Every keyword is sought once over the whole text, however often another one is found.
    let mut next = [Next::Unsought; KEYWORDS.len()];
    loop {
        for (next, keyword) in next.iter_mut().zip(KEYWORDS) {
            let known = match *next {
                Next::Unsought => false,
                Next::At(start) => start >= at,
                Next::Gone => true,
            };
            if !known {
                *next = value_of(keyword, text, &lower, at).map_or(Next::Gone, Next::At);
            }
        }
        let starts = next.iter().filter_map(|next| match next {
            Next::At(start) => Some(*start),
            Next::Unsought | Next::Gone => None,
        });
        let Some(start) = starts.min() else {
            break;
        };
        out.push_str(&text[at..start]);
        out.push_str(REDACTED);
        at = start + value_length(&text[start..]);
    }
    out.push_str(&text[at..]);
    out
}

/// Returns where the first value of a keyword at or after `at` begins.
fn value_of(keyword: &str, text: &str, lower: &str, at: usize) -> Option<usize> {
    let mut places = lower[at..].match_indices(keyword);
    places.find_map(|(place, _)| {
        let end = at + place + keyword.len();
        let rest = &text[end..];
        let trimmed = rest.trim_start();
        let value = match trimmed.chars().next()? {
            '=' | ':' => trimmed[1..].trim_start(),
            // PASSWORD '...' of SQL.
            '\'' if trimmed.len() < rest.len() => trimmed,
            _ if trimmed.len() < rest.len() && ends_option(&lower[..end]) => trimmed,
            _ => return None,
        };
        (!value.is_empty()).then(|| text.len() - value.len())
    })
}

/// Says whether a text ends with an option whose value may follow after a blank, such as `--password`.
fn ends_option(text: &str) -> bool {
    let bytes = text.as_bytes();
    let bytes = &bytes[bytes.len().saturating_sub(OPTION_BYTES_MAX)..];
    let begin = bytes
        .iter()
        .rposition(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
    let word = &bytes[begin.map_or(0, |begin| begin + 1)..];
    word.starts_with(b"--") && !word.starts_with(b"--no-")
}

/// Returns how long the value is that a text begins with: up to a blank that is neither quoted nor after a backslash.
fn value_length(value: &str) -> usize {
    // libpq takes quotes within a value as they are; only one that begins with a quote is quoted.
    let quote = value.chars().next().filter(|c| matches!(c, '\'' | '"'));
    let mut quoted = false;
    let mut escaped = false;
    for (index, c) in value.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if Some(c) == quote => quoted = !quoted,
            c if c.is_whitespace() && !quoted => return index,
            _ => {}
        }
    }
    value.len()
}

/// Replaces the password of `scheme://user:password@host`; rather too much than too little.
fn without_url_passwords(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.find("://") {
        let start = found + 3;
        let end = rest[start..]
            .find(char::is_whitespace)
            .map_or(rest.len(), |length| start + length);
        let authority = &rest[start..end];
        let password = authority
            .rfind('@')
            .and_then(|at| authority[..at].find(':').map(|colon| (colon, at)));
        match password {
            Some((colon, at)) => {
                out.push_str(&rest[..=start + colon]);
                out.push_str(REDACTED);
                out.push_str(&rest[start + at..end]);
            }
            None => out.push_str(&rest[..end]),
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{TEXT_BYTES_MAX, safe_item, safe_setting, without_secrets};

    #[test]
    fn passwords_vanish_and_the_rest_stays() {
        for (text, shown) in [
            (
                "host=a password=hunter2 port=1",
                "host=a password=[redacted] port=1",
            ),
            (
                "PASSWORD = 'it\\'s x' user=u",
                "PASSWORD = [redacted] user=u",
            ),
            (
                "postgres://u:p@h/db?x=1",
                "postgres://u:[redacted]@h/db?x=1",
            ),
            (
                "cp --url=https://a:b@c %p; x --token=abc",
                "cp --url=https://a:[redacted]@c %p; x --token=[redacted]",
            ),
            ("scram-sha-256", "scram-sha-256"),
            ("password_encryption", "password_encryption"),
            ("passfile=/x/.pgpass", "passfile=/x/.pgpass"),
            ("http://host:80/", "http://host:80/"),
            ("password=", "password="),
            (
                "password_encryption on, password=x",
                "password_encryption on, password=[redacted]",
            ),
            ("postgres://u:a/b@h/db", "postgres://u:[redacted]@h/db"),
            ("é password=é é", "é password=[redacted] é"),
            ("password=a'b;c&d x=1", "password=[redacted] x=1"),
            ("password=a\\ b x=1", "password=[redacted] x=1"),
            ("password='it''s x' y", "password=[redacted] y"),
            (
                "radiussecrets=\"a b\",\"c d\" x",
                "radiussecrets=[redacted] x",
            ),
            ("x --password hunter2 -h a", "x --password [redacted] -h a"),
            ("x --no-password -h a", "x --no-password -h a"),
            ("the password is set", "the password is set"),
            (
                "ALTER ROLE a PASSWORD 'b c';",
                "ALTER ROLE a PASSWORD [redacted]",
            ),
            ("postgres://u:a'b\"c@h/db", "postgres://u:[redacted]@h/db"),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }

    #[test]
    fn settings_whose_name_tells_of_a_secret_are_hidden_whole() {
        assert_eq!(safe_setting("app.jwt_secret", "s3"), "[redacted]");
        assert_eq!(safe_setting("app.jwt_secret", ""), "");
        assert_eq!(safe_setting("app.place", "here"), "here");
        assert_eq!(safe_setting("password_encryption", "md5"), "md5");
        assert_eq!(
            safe_setting("primary_conninfo", "user=u password=s3"),
            "user=u password=[redacted]"
        );
        assert_eq!(
            safe_item("ldapbindpasswd=a b c"),
            "ldapbindpasswd=[redacted]"
        );
        assert_eq!(safe_item("map=m"), "map=m");
    }

    #[test]
    fn long_texts_are_cut_and_take_no_long_time() {
        for word in ["password", "password token=' ", "secret=\"'", "--token  "] {
            let text = word.repeat(1 << 20);
            assert!(without_secrets(&text).len() <= 2 * TEXT_BYTES_MAX);
        }
        let text = format!("{}é password=hunter2", "x".repeat(TEXT_BYTES_MAX - 1));
        let shown = without_secrets(&text);
        assert!(shown.ends_with("x...") && !shown.contains("hunter2"));
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in any::<String>()) {
            without_secrets(&text);
        }

        #[test]
        fn no_password_survives(user in "[a-z]{1,8}", password in "[A-Z0-9]{6,12}") {
            for text in [
                format!("user={user} password={password}"),
                format!("postgresql://{user}:{password}@host"),
                format!("password='{password}' user={user}"),
            ] {
                prop_assert!(!without_secrets(&text).contains(&password));
            }
        }
    }
}
