//! Secrets in texts that are shown with their constants.

use std::borrow::Cow;

/// Names of settings, columns and parameters whose value is a secret, in lower case, with what is shown instead.
const KEYS: [(&str, &str); 20] = [
    ("password", "password"),
    ("passwd", "password"),
    ("passphrase", "password"),
    ("pwd", "password"),
    ("pgpassword", "password"),
    ("secret", "secret"),
    ("client_secret", "secret"),
    ("secret_key", "secret"),
    ("secret_access_key", "secret"),
    ("aws_secret_access_key", "secret"),
    ("private_key", "key"),
    ("encryption_key", "key"),
    ("account_key", "key"),
    ("access_key", "key"),
    ("api_key", "key"),
    ("apikey", "key"),
    ("token", "token"),
    ("access_token", "token"),
    ("refresh_token", "token"),
    ("auth_token", "token"),
];
/// Beginnings of tokens that tell what they are, with the fewest characters that follow.
const TOKENS: [(&str, usize); 18] = [
    ("AKIA", 16),
    ("ASIA", 16),
    ("AIza", 30),
    ("eyJ", 20),
    ("ghp_", 20),
    ("gho_", 20),
    ("ghs_", 20),
    ("github_pat_", 20),
    ("glpat-", 16),
    ("xoxb-", 10),
    ("xoxp-", 10),
    ("xapp-", 10),
    ("sk-", 20),
    ("sk_live_", 10),
    ("rk_live_", 10),
    ("hvs.", 20),
    ("SCRAM-SHA-256$", 20),
    ("dop_v1_", 20),
];
const MARK: &str = "[redacted ";
/// How a private key in PEM begins.
const BLOCK: &[u8] = b"-----BEGIN ";

/// Replaces secrets by `[redacted password]` and the like: passwords, the password of a connection URI, tokens, keys, hashes of passwords.
///
/// It knows them by what is before them or by how they begin; a secret that looks like any other constant stays. Redacting twice changes
/// nothing.
pub fn redact(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    while at < bytes.len() {
        match secret(text, at) {
            Some((start, end, kind)) if end > start => {
                out.push_str(&text[copied..start]);
                out.push_str(MARK);
                out.push_str(kind);
                out.push(']');
                copied = end;
                at = end;
            }
            _ => at += step(bytes, at),
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// Returns how far the next place is where a secret may be told from: the next word, or what is between words.
fn step(bytes: &[u8], at: usize) -> usize {
    let word = is_word(bytes[at]);
    bytes[at..]
        .iter()
        .take_while(|&&byte| is_word(byte) == word)
        .count()
        .min(if word { usize::MAX } else { 1 })
}

/// Returns where the secret lies that begins here or that the word here announces, and what it is.
fn secret(text: &str, at: usize) -> Option<(usize, usize, &'static str)> {
    let rest = &text.as_bytes()[at..];
    match rest[0] {
        b'-' if rest.starts_with(BLOCK) => block(rest).map(|end| (at, at + end, "key")),
        b':' if rest.starts_with(b"://") => {
            uri(rest).map(|(start, end)| (at + start, at + end, "password"))
        }
        byte if is_word(byte) => {
            let length = rest.iter().take_while(|&&byte| is_word(byte)).count();
            token(rest).map(|end| (at, at + end, "token")).or_else(|| {
                let (start, end, kind) = keyed(rest, length)?;
                Some((at + start, at + end, kind))
            })
        }
        _ => None,
    }
}

/// Returns the end of a block such as a private key; a certificate is none.
fn block(rest: &[u8]) -> Option<usize> {
    let line = &rest[..memchr::memmem::find(&rest[11..], b"-----")? + 11];
    memchr::memmem::find(line, b"PRIVATE KEY")?;
    let Some(end) = memchr::memmem::find(rest, b"-----END ") else {
        return Some(rest.len());
    };
    let tail = memchr::memmem::find(&rest[end + 9..], b"-----");
    Some(tail.map_or(rest.len(), |found| end + 9 + found + 5))
}

/// Returns where the password lies in `://user:password@`.
fn uri(rest: &[u8]) -> Option<(usize, usize)> {
    let stop = |byte: &&u8| {
        !byte.is_ascii_whitespace()
            && !matches!(byte, b'/' | b'?' | b'#' | b'\'' | b'"' | b'<' | b'>')
    };
    let authority = rest[3..].iter().take_while(stop).count();
    let authority = &rest[3..3 + authority];
    let at_sign = memchr::memrchr(b'@', authority)?;
    let colon = memchr::memchr(b':', &authority[..at_sign])?;
    // A mark holds a space, at which the authority would have ended.
    (at_sign > colon + 1).then_some((3 + colon + 1, 3 + at_sign))
}

fn token(rest: &[u8]) -> Option<usize> {
    let length = |from: usize, test: fn(u8) -> bool| {
        rest[from..].iter().take_while(|&&byte| test(byte)).count()
    };
    let inside =
        |byte: u8| is_word(byte) || matches!(byte, b'-' | b'.' | b'$' | b'+' | b'/' | b'=' | b':');
    for (prefix, least) in TOKENS {
        if rest.starts_with(prefix.as_bytes()) {
            let tail = length(prefix.len(), inside);
            return (tail >= least).then_some(prefix.len() + tail);
        }
    }
    if rest.len() >= 35 && rest.starts_with(b"md5") {
        return (length(3, |byte| byte.is_ascii_hexdigit()) == 32).then_some(35);
    }
    None
}

/// Returns where the value lies that follows a key such as `password`, and what it is.
fn keyed(rest: &[u8], length: usize) -> Option<(usize, usize, &'static str)> {
    let word = &rest[..length];
    let bearer = word.eq_ignore_ascii_case(b"bearer") || word.eq_ignore_ascii_case(b"basic");
    let kind = if bearer {
        "token"
    } else {
        KEYS.iter()
            .find(|(key, _)| word.eq_ignore_ascii_case(key.as_bytes()))?
            .1
    };
    let skip = |from: usize, bytes: &[u8]| {
        from + rest[from..]
            .iter()
            .take_while(|byte| bytes.contains(byte))
            .count()
    };
    // A closing quote belongs to the key, as in `"password": "x"`.
    let quoted = skip(length, b"\"'").min(length + 1);
    let spaced = skip(quoted, b" \t\n");
    let joined = skip(spaced, b"=:>");
    let start = skip(joined, b" \t\n");
    let after = rest.get(start)?;
    let string = matches!(after, b'\'' | b'"');
    // A private key has spaces in it, and tells itself.
    if rest[start..].starts_with(BLOCK) {
        return None;
    }
    if rest[start..].starts_with(MARK.as_bytes())
        || (string && rest[start + 1..].starts_with(MARK.as_bytes()))
    {
        return None;
    }
    if string {
        return Some((
            start + 1,
            start + 1 + string_length(&rest[start + 1..], *after),
            kind,
        ));
    }
    if matches!(rest[start..], [b'e' | b'E', b'\'', ..]) {
        return Some((
            start + 2,
            start + 2 + string_length(&rest[start + 2..], b'\''),
            kind,
        ));
    }
    let plain = |byte: &&u8| {
        !byte.is_ascii_whitespace()
            && !matches!(byte, b',' | b';' | b'\'' | b'"' | b')' | b'&' | b'}')
    };
    let end = start + rest[start..].iter().take_while(plain).count();
    if rest[start..end].ends_with(MARK.as_bytes().trim_ascii_end()) {
        return None;
    }
    // A name and its colon are no token, such as the name of the secret which follows.
    let long = bearer && spaced > length && end - start >= 8 && rest[end - 1] != b':';
    (joined > spaced && *after != b'$' && *after != b'?' || long).then_some((start, end, kind))
}

fn string_length(text: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while at < text.len() {
        if text[at] == b'\\' {
            at += 1;
        } else if text[at] == quote {
            if text.get(at + 1) != Some(&quote) {
                return at;
            }
            at += 1;
        }
        at += 1;
    }
    text.len()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_are_replaced_by_their_kind() {
        for (text, expected) in [
            (
                "alter role a password 'x''y' valid",
                "alter role a password '[redacted password]' valid",
            ),
            (
                "CREATE USER a ENCRYPTED PASSWORD E'x\\'y'",
                "CREATE USER a ENCRYPTED PASSWORD E'[redacted password]'",
            ),
            (
                "host=h password=abc user=u",
                "host=h password=[redacted password] user=u",
            ),
            (
                "postgres://u:p@h/d?x=1",
                "postgres://u:[redacted password]@h/d?x=1",
            ),
            (
                "{\"api_key\": \"k1\", \"b\": 1}",
                "{\"api_key\": \"[redacted key]\", \"b\": 1}",
            ),
            (
                "Authorization: Bearer abcdefghij",
                "Authorization: Bearer [redacted token]",
            ),
            ("x AKIAABCDEFGHIJKLMNOP y", "x [redacted token] y"),
            (
                "a -----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- b",
                "a [redacted key] b",
            ),
            (
                "private_key=-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- b",
                "private_key=[redacted key] b",
            ),
            (
                "Bearer secret_access_key: abc",
                "Bearer secret_access_key: [redacted secret]",
            ),
            (
                "'md5d41d8cd98f00b204e9800998ecf8427e'",
                "'[redacted token]'",
            ),
            (
                "\\set password => 'x",
                "\\set password => '[redacted password]",
            ),
        ] {
            assert_eq!(redact(text), expected);
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "",
            "password authentication failed for user \"a\"",
            "select password from users where token = $1 and secret = ?",
            "select 'https://a.b/c@d' , 'budi@itera.ac.id'",
            "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----",
            "update t set task-id = 'x'",
            "Bearer token=[redacted token]",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    const PART: &str = "[a-zA-Z0-9 '\"=:@/,\\\\-]{0,6}|password|://|token|é|Bearer |AKIA";

    proptest! {
        #[test]
        fn redacting_twice_changes_nothing(parts in prop::collection::vec(PART, 0..20)) {
            let text = parts.concat();
            let once = redact(&text).into_owned();
            prop_assert_eq!(redact(&once), once.as_str());
        }
    }
}
