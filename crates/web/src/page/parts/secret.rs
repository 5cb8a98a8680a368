//! Keeps passwords out of pages: settings such as `primary_conninfo` may hold one.

/// What stands in place of a secret.
const REDACTED: &str = "[redacted]";
/// Keywords whose value is a secret.
const KEYWORDS: [&str; 8] = [
    "password",
    "passwd",
    "passphrase",
    "sslpassword",
    "secret",
    "token",
    "access_key",
    "accountkey",
];

/// Returns a text without the passwords of connection strings, URLs and commands in it.
pub(crate) fn without_secrets(text: &str) -> String {
    without_url_passwords(&without_keywords(text))
}

/// Replaces the value after `password=` and its like, quoted or not, up to the next blank.
fn without_keywords(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let found = KEYWORDS.iter().filter_map(|keyword| {
            let mut places = lower[at..].match_indices(keyword);
            places.find_map(|(place, _)| {
                let start = at + place + keyword.len();
                let (lead, length) = value_after(&text[start..])?;
                Some((start + lead, length))
            })
        });
        let Some((start, length)) = found.min_by_key(|(start, _)| *start) else {
            break;
        };
        out.push_str(&text[at..start]);
        out.push_str(REDACTED);
        at = start + length;
    }
    out.push_str(&text[at..]);
    out
}

/// Returns where the value after a keyword begins and how long it is; `None` when no `=`, `:` or blank follows.
fn value_after(rest: &str) -> Option<(usize, usize)> {
    let trimmed = rest.trim_start();
    let sign = trimmed.chars().next()?;
    let after = match sign {
        '=' | ':' => trimmed[1..].trim_start(),
        _ => return None,
    };
    let lead = rest.len() - after.len();
    let length = match after.chars().next()? {
        quote @ ('\'' | '"') => {
            let mut end = after.len();
            let mut escaped = false;
            for (index, c) in after.char_indices().skip(1) {
                match c {
                    _ if escaped => escaped = false,
                    '\\' => escaped = true,
                    c if c == quote => {
                        end = index + 1;
                        break;
                    }
                    _ => {}
                }
            }
            end
        }
        _ => after
            .find(|c: char| c.is_whitespace() || matches!(c, '&' | ';' | '\'' | '"'))
            .unwrap_or(after.len()),
    };
    (length > 0).then_some((lead, length))
}

/// Replaces the password of `scheme://user:password@host`; rather too much than too little.
fn without_url_passwords(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.find("://") {
        let start = found + 3;
        let end = rest[start..]
            .find(|c: char| c.is_whitespace() || matches!(c, '\'' | '"'))
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

    use super::without_secrets;

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
        ] {
            assert_eq!(without_secrets(text), shown);
        }
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
