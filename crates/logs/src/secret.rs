//! Secrets in texts of a log: passwords, tokens and keys, found by what stands before them or by their own form.
//!
//! A secret that stands where a constant would is gone with the constants of a normalised statement already; this is for everything else.

use std::borrow::Cow;

/// What a secret is, which its replacement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Secret {
    Password,
    Token,
    Key,
}

impl Secret {
    const fn marker(self) -> &'static str {
        match self {
            Secret::Password => "[redacted password]",
            Secret::Token => "[redacted token]",
            Secret::Key => "[redacted key]",
        }
    }
}

/// Where a secret begins and ends, and what it is.
type Found = (usize, usize, Secret);

/// What stands for secrets that were there.
const MARKERS: [&str; 3] = [
    Secret::Password.marker(),
    Secret::Token.marker(),
    Secret::Key.marker(),
];
/// How a private key in PEM begins.
const BLOCK: &str = "-----BEGIN ";
/// Parts of names whose values are secrets.
const NAMES: [(&str, Secret); 15] = [
    ("passw", Secret::Password),
    ("passphrase", Secret::Password),
    ("pwd", Secret::Password),
    ("credential", Secret::Password),
    ("secret", Secret::Key),
    ("api_key", Secret::Key),
    ("api-key", Secret::Key),
    ("apikey", Secret::Key),
    ("access_key", Secret::Key),
    ("accesskey", Secret::Key),
    ("private_key", Secret::Key),
    ("encryption_key", Secret::Key),
    ("account_key", Secret::Key),
    ("token", Secret::Token),
    ("authorization", Secret::Token),
];
/// Names with such a part that hold no secret.
const HARMLESS: [&str; 4] = [
    "password_encryption",
    "password_required",
    "tokenizer",
    "max_tokens",
];
/// Functions whose constants are passphrases or what they protect.
const FUNCTIONS: [&str; 6] = [
    "pgp_sym_encrypt",
    "pgp_sym_encrypt_bytea",
    "pgp_sym_decrypt",
    "pgp_sym_decrypt_bytea",
    "crypt",
    "hmac",
];
/// Beginnings of tokens that tell themselves, and how many more characters they have at least.
const TOKENS: [(&str, usize, Secret); 20] = [
    ("AKIA", 16, Secret::Key),
    ("ASIA", 16, Secret::Key),
    ("AIza", 30, Secret::Key),
    ("ghp_", 20, Secret::Token),
    ("gho_", 20, Secret::Token),
    ("ghs_", 20, Secret::Token),
    ("ghu_", 20, Secret::Token),
    ("github_pat_", 20, Secret::Token),
    ("glpat-", 16, Secret::Token),
    ("xoxb-", 10, Secret::Token),
    ("xoxp-", 10, Secret::Token),
    ("xoxa-", 10, Secret::Token),
    ("xapp-", 10, Secret::Token),
    ("dop_v1_", 20, Secret::Token),
    ("sk_live_", 10, Secret::Key),
    ("rk_live_", 10, Secret::Key),
    ("sk-ant-", 10, Secret::Key),
    ("sk-", 20, Secret::Key),
    ("hvs.", 20, Secret::Token),
    ("npm_", 30, Secret::Token),
];
/// Bytes that a token after the word `bearer` has at least.
const BEARER_BYTES_MIN: usize = 16;
/// How far the end of an address or of the values of a key is looked for.
const REACH_BYTES_MAX: usize = 4_096;
/// How often a text is looked at: what replaces a secret may show where another one begins.
const PASSES_MAX: usize = 8;

/// Returns a text without the secrets in it; each is replaced by what it was.
///
/// Nothing changes when the result is redacted again. A text in which each look finds more secrets is not shown at all.
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    let Some(mut safe) = pass(text) else {
        return Cow::Borrowed(text);
    };
    for _ in 1..PASSES_MAX {
        match pass(&safe) {
            Some(safer) => safe = safer,
            None => return Cow::Owned(safe),
        }
    }
    Cow::Owned(Secret::Key.marker().to_owned())
}

/// Replaces each secret that a text shows; none when it shows none.
fn pass(text: &str) -> Option<String> {
    let mut out = String::new();
    let (mut kept, mut at) = (0, 0);
    while let Some(next) = announcing(text.as_bytes(), at) {
        at = next;
        match found(text, at) {
            Ok((start, end, secret)) => {
                out.push_str(&text[kept..start]);
                out.push_str(secret.marker());
                let end = past_marker(text, end);
                (kept, at) = (end, end.max(at + 1));
            }
            Err(next) => at = next,
        }
    }
    if kept == 0 && out.is_empty() {
        return None;
    }
    out.push_str(&text[kept..]);
    Some(out)
}

/// Returns the length of the marker that a text begins with. Half of one, or one with another word, is a text like any other: whoever wrote
/// the log may have put it there.
fn marker(text: &str) -> Option<usize> {
    let known = MARKERS.iter().find(|marker| text.starts_with(**marker));
    known.map(|marker| marker.len())
}

/// Returns the end of the marker within which `end` lies, so that none is cut in two.
fn past_marker(text: &str, end: usize) -> usize {
    let longest = MARKERS.iter().map(|marker| marker.len()).max().unwrap_or(0);
    let begun = (end.saturating_sub(longest)..end).filter(|start| text.is_char_boundary(*start));
    let mut ends = begun.filter_map(|start| Some(start + marker(&text[start..])?));
    ends.find(|marked| *marked > end).unwrap_or(end)
}

/// What a byte may be the beginning of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Byte {
    /// Nothing that announces a secret.
    Plain,
    /// A word.
    Name,
    /// One of the marks that [`found`] looks at.
    Mark,
}

const BYTES: [Byte; 256] = {
    let mut bytes = [Byte::Plain; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            bytes[at] = Byte::Name;
        } else if matches!(byte, b'[' | b'-' | b')' | b':') {
            bytes[at] = Byte::Mark;
        }
        at += 1;
    }
    bytes
};

/// Returns the next place, from `at` on, at which [`found`] may find something: a word, or a mark with the one that follows it.
///
/// All of them are ASCII, so that it is the beginning of a character.
fn announcing(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(&byte) = bytes.get(at) {
        let may = match BYTES[usize::from(byte)] {
            Byte::Plain => false,
            Byte::Name => at == 0 || BYTES[usize::from(bytes[at - 1])] != Byte::Name,
            Byte::Mark => {
                let next = bytes.get(at + 1);
                next == Some(match byte {
                    b'[' => &b'r',
                    b'-' => &b'-',
                    b')' => &b'=',
                    _ => &b'/',
                })
            }
        };
        if may {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// Returns the secret that something at `at` announces, or where to look next.
fn found(text: &str, at: usize) -> Result<Found, usize> {
    let bytes = text.as_bytes();
    let rest = &text[at..];
    if let Some(length) = marker(rest) {
        return Err(at + length);
    }
    match bytes[at] {
        b'-' if rest.starts_with(BLOCK) => private_key(rest).map(|end| (at, at + end, Secret::Key)),
        // The names before it may hold secrets themselves, and were looked at.
        b')' if rest.starts_with(")=(") => key_values(text, at),
        b':' if rest.starts_with("://") => address(text, at + 3),
        byte if name_byte(byte) && (at == 0 || !name_byte(bytes[at - 1])) => return word(text, at),
        _ => None,
    }
    .ok_or_else(|| at + rest.chars().next().map_or(1, char::len_utf8))
}

fn name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Judges the word that begins at `at`.
fn word(text: &str, at: usize) -> Result<Found, usize> {
    let rest = &text[at..];
    if let Some(found) = token(rest) {
        return Ok((at, at + found.0, found.1));
    }
    let mut letters = 0;
    let mut end = rest.len();
    for (place, byte) in rest.bytes().enumerate() {
        if !name_byte(byte) && byte != b'-' {
            end = place;
            break;
        }
        letters |= letter(byte);
    }
    // Most words have no letters that could be one of those looked for.
    if !names_something(letters) {
        return Err(at + block_or(rest, end, letters).max(1));
    }
    let end = block_or(rest, end, letters);
    let name = rest[..end].to_ascii_lowercase();
    let next = at + end.max(1);
    if FUNCTIONS.contains(&name.as_str()) && rest[end..].trim_start().starts_with('(') {
        return constants(text, at + end).ok_or(next);
    }
    if name == BEARER {
        return bearer(text, at + end).ok_or(next);
    }
    let secret = secret_name(&name).ok_or(next)?;
    value(text, at + end)
        .map(|(start, end)| (start, end, secret))
        .ok_or(next)
}

/// Returns the end of a word of these letters: where a private key begins in it, or `end`.
fn block_or(rest: &str, end: usize, letters: u32) -> usize {
    let block = match letters & letter(b'-') {
        0 => None,
        _ => rest[..end].find(BLOCK.trim_end()),
    };
    block.unwrap_or(end)
}

/// The word before a token of HTTP.
const BEARER: &str = "bearer";

/// Returns the bit of a letter, the same for upper and lower case, or that of other bytes that names have.
const fn letter(byte: u8) -> u32 {
    match byte {
        b'a'..=b'z' => 1 << (byte - b'a'),
        b'A'..=b'Z' => 1 << (byte - b'A'),
        b'-' => 1 << 26,
        b'_' => 1 << 27,
        _ => 0,
    }
}

/// Returns the letters of a word.
const fn letters(word: &str) -> u32 {
    let bytes = word.as_bytes();
    let (mut all, mut at) = (0, 0);
    while at < bytes.len() {
        all |= letter(bytes[at]);
        at += 1;
    }
    all
}

/// The letters of everything that [`word`] looks for in a word.
const NAMED: [u32; NAMES.len() + FUNCTIONS.len() + 1] = {
    let mut all = [letters(BEARER); NAMES.len() + FUNCTIONS.len() + 1];
    let mut at = 0;
    while at < NAMES.len() {
        all[at] = letters(NAMES[at].0);
        at += 1;
    }
    let mut function = 0;
    while function < FUNCTIONS.len() {
        all[at + function] = letters(FUNCTIONS[function]);
        function += 1;
    }
    all
};

/// Says whether a word of these letters may have a name of a secret in it.
fn names_something(letters: u32) -> bool {
    NAMED.iter().any(|needed| letters & needed == *needed)
}

/// Returns the token after the word `bearer`, with the secret that its end announces: it may be the name of one instead.
fn bearer(text: &str, after: usize) -> Option<Found> {
    let value = text[after..].trim_start();
    let start = text.len() - value.len();
    let length = value
        .bytes()
        .position(|byte| !token_byte(byte))
        .unwrap_or(value.len());
    if length < BEARER_BYTES_MIN {
        return None;
    }
    let end = word(text, start).map_or(0, |(_, end, _)| end);
    Some((start, end.max(start + length), Secret::Token))
}

fn secret_name(name: &str) -> Option<Secret> {
    if HARMLESS.contains(&name) {
        return None;
    }
    let known = NAMES.iter().find(|(part, _)| name.contains(part));
    known.map(|(_, secret)| *secret)
}

fn token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'~' | b'+' | b'/' | b'=')
}

/// How other secrets begin that tell themselves by their form.
const JWT: &str = "eyJ";
const SCRAM: &str = "SCRAM-SHA-256$";
const MD5: &str = "md5";

/// Whether a token may have a byte as its first, and as its second.
const TOKEN_BYTES: [[bool; 256]; 2] = {
    let mut bytes = [[false; 256]; 2];
    let others = [JWT, SCRAM, MD5];
    let mut at = 0;
    while at < TOKENS.len() + others.len() {
        let start = match at < TOKENS.len() {
            true => TOKENS[at].0.as_bytes(),
            false => others[at - TOKENS.len()].as_bytes(),
        };
        bytes[0][start[0] as usize] = true;
        bytes[1][start[1] as usize] = true;
        at += 1;
    }
    bytes
};

/// Returns the length of a secret that tells itself by its form.
fn token(rest: &str) -> Option<(usize, Secret)> {
    let [first, second, ..] = rest.as_bytes() else {
        return None;
    };
    let may = TOKEN_BYTES[0][usize::from(*first)] && TOKEN_BYTES[1][usize::from(*second)];
    if may { token_of(rest) } else { None }
}

fn token_of(rest: &str) -> Option<(usize, Secret)> {
    let tail = |from: usize| {
        let after = &rest.as_bytes()[from..];
        let own = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        after.iter().take_while(|byte| own(byte)).count()
    };
    let known = TOKENS
        .iter()
        .find(|(start, least, _)| rest.starts_with(start) && tail(start.len()) >= *least);
    if let Some((start, _, secret)) = known {
        return Some((start.len() + tail(start.len()), *secret));
    }
    if rest.starts_with(JWT) {
        let own = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let length = rest
            .bytes()
            .position(|byte| !own(byte))
            .unwrap_or(rest.len());
        let dots = rest[..length].matches('.').count();
        return (length >= 30 && dots >= 2).then_some((length, Secret::Token));
    }
    if let Some(verifier) = rest.strip_prefix(SCRAM) {
        let length = verifier
            .bytes()
            .position(|byte| !(token_byte(byte) || matches!(byte, b':' | b'$')));
        let length = length.unwrap_or(verifier.len());
        return (length >= 20).then_some((14 + length, Secret::Password));
    }
    if let Some(hash) = rest.strip_prefix(MD5) {
        let length = hash
            .bytes()
            .position(|byte| !name_byte(byte))
            .unwrap_or(hash.len());
        let hex = hash[..length].bytes().all(|byte| byte.is_ascii_hexdigit());
        return (length == 32 && hex).then_some((35, Secret::Password));
    }
    None
}

/// Returns the value that a name has in SQL, in a connection string, in a setting, in JSON or in a message.
fn value(text: &str, after_name: usize) -> Option<(usize, usize)> {
    let mut at = after_name;
    if matches!(text.as_bytes().get(at), Some(b'"' | b'\'')) {
        at += 1;
    }
    let spaces = |at: usize| at + (text.len() - at - text[at..].trim_start().len());
    at = spaces(at);
    let rest = &text[at..];
    let separator = [":=", "=>", "->>", "->", "=", ":"]
        .iter()
        .find(|separator| rest.starts_with(**separator) && !rest.starts_with("::"));
    let assigned = separator.is_some();
    let word = |word: &str| {
        let length = word.len();
        rest.get(..length)
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
            && rest[length..].starts_with([' ', '\t', '\n', '\''])
    };
    if let Some(separator) = separator {
        at = spaces(at + separator.len());
    } else if word("to") || word("is") || word("by") {
        at = spaces(at + 2);
    }
    let rest = &text[at..];
    if let Some((start, end)) = quoted(rest, assigned) {
        let inner = &rest[start..end];
        let open = inner.is_empty() || MARKERS.contains(&inner) || placeholder(inner);
        return (!open).then_some((at + start, at + end));
    }
    if !assigned {
        return None;
    }
    let scheme = ["basic ", "bearer "].iter().find(|scheme| {
        let start = rest.get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    let skipped = scheme.map_or(0, |scheme| scheme.len());
    let bare = &rest[skipped..];
    let stop = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | ')' | '\'' | '"' | '&' | '}');
    let marked = marker(bare).unwrap_or(0);
    let rest = &bare[marked..];
    let length = marked + rest.find(stop).unwrap_or(rest.len());
    // A private key has spaces in it, and tells itself.
    let nothing = length == marked || rest.starts_with(BLOCK) || placeholder(&bare[..length]);
    (!nothing).then_some((at + skipped, at + skipped + length))
}

/// Returns the inside of a constant in quotes; a text that was cut ends within it.
fn quoted(rest: &str, double: bool) -> Option<(usize, usize)> {
    let prefix = usize::from(rest.starts_with(['e', 'E', 'n', 'N']) && rest[1..].starts_with('\''));
    let body = &rest[prefix..];
    if let Some(tagged) = body.strip_prefix('$') {
        let tag_end = tagged.find('$')? + 2;
        let tag = &body[..tag_end];
        if !tag[1..tag_end - 1].bytes().all(name_byte) {
            return None;
        }
        let end = body[tag_end..]
            .find(tag)
            .map_or(body.len(), |end| tag_end + end);
        return Some((prefix + tag_end, prefix + end));
    }
    let quote = body
        .bytes()
        .next()
        .filter(|byte| *byte == b'\'' || (double && *byte == b'"'))?;
    // A connection string within a constant has its own quotes doubled.
    let doubled = body.strip_prefix("''");
    if let Some(inner) = doubled.filter(|inner| inner.starts_with(|c: char| c.is_alphanumeric())) {
        let end = inner.find("''").unwrap_or(inner.len());
        return Some((prefix + 2, prefix + 2 + end));
    }
    let mut at = 1;
    let bytes = body.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'\\'
                if bytes.get(at + 1).is_some_and(u8::is_ascii)
                    && (prefix == 1 || quote == b'"') =>
            {
                at += 2
            }
            byte if byte == quote && bytes.get(at + 1) == Some(&quote) => at += 2,
            byte if byte == quote => return Some((prefix + 1, prefix + at)),
            _ => at += 1,
        }
    }
    Some((prefix + 1, rest.len()))
}

/// Says whether a value only stands for one: `?`, `$1`, `%s`, `:name`, `NULL`, asterisks.
fn placeholder(value: &str) -> bool {
    value.eq_ignore_ascii_case("null")
        || value.bytes().all(|byte| byte == b'*')
        || value == "?"
        || value == "%s"
        || value.strip_prefix('$').is_some_and(|number| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        })
}

/// Returns the password of an address whose scheme ends at `at`.
fn address(text: &str, at: usize) -> Option<Found> {
    let limit = text.floor_char_boundary((at + REACH_BYTES_MAX).min(text.len()));
    let rest = &text[at..limit];
    let end = rest
        .find(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '`' | '<' | '>'))
        .unwrap_or(rest.len());
    let rest = &rest[..end];
    let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // A password that nobody encoded may have a slash itself.
    let user_end = rest[..authority].rfind('@').or_else(|| rest.rfind('@'))?;
    let colon = rest[..user_end].find(':')?;
    let password = &rest[colon + 1..user_end];
    let open = password.is_empty() || MARKERS.contains(&password);
    (!open).then_some((at + colon + 1, at + user_end, Secret::Password))
}

/// Returns the length of a private key in PEM, up to its end or that of the text.
fn private_key(rest: &str) -> Option<usize> {
    let head = rest[11..].find("-----")? + 11;
    if !rest[..head].ends_with("PRIVATE KEY") {
        return None;
    }
    let Some(foot) = rest[head..].find("-----END ") else {
        return Some(rest.len());
    };
    let foot = head + foot + 9;
    let end = rest[foot..]
        .find("-----")
        .map_or(rest.len(), |end| foot + end + 5);
    Some(end)
}

/// Returns the values of `Key (token)=(...)` where a column has the name of a secret; the names end at `names_end`.
fn key_values(text: &str, names_end: usize) -> Option<Found> {
    let from = text.floor_char_boundary(names_end.saturating_sub(REACH_BYTES_MAX));
    let names = text[from..names_end].to_ascii_lowercase();
    let (before, names) = names.rsplit_once("key (")?;
    if before.bytes().next_back().is_some_and(name_byte) {
        return None;
    }
    // What stands for a secret that was there is no name of a column.
    let names = MARKERS
        .iter()
        .fold(names.to_owned(), |names, marker| names.replace(marker, ""));
    let secret = names
        .split([',', ' ', '(', ')', ':'])
        .find_map(secret_name)?;
    let start = names_end + ")=(".len();
    let limit = text.floor_char_boundary((start + REACH_BYTES_MAX).min(text.len()));
    let values = &text[start..limit];
    let end = values.rfind(") ").or_else(|| values.rfind(')'));
    let end = end.map_or(text.len(), |end| start + end);
    let values = &text[start..end];
    let open = values.is_empty() || MARKERS.contains(&values);
    (!open).then_some((start, end, secret))
}

/// Returns everything from the first to the last constant of a call.
fn constants(text: &str, from: usize) -> Option<Found> {
    let close = text[from..]
        .find([';', '\n'])
        .map_or(text.len(), |end| from + end);
    let call = &text[from..close];
    let first = call.find('\'')?;
    let last = call
        .rfind('\'')
        .filter(|last| *last > first)
        .unwrap_or(call.len());
    let inner = &call[first + 1..last];
    let open = inner.is_empty() || MARKERS.contains(&inner);
    (!open).then_some((from + first + 1, from + last, Secret::Key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What texts with secrets are made of, and what redacting leaves of them.
    const PARTS: &[&str] = &[
        "Key (",
        ")=(",
        ") ",
        ")",
        "(",
        "password",
        "token",
        "secret",
        "=",
        ": ",
        " => ",
        " to ",
        " ",
        ",",
        "'",
        "''",
        "\"",
        "$q$",
        "$",
        "\\",
        "abc",
        "é",
        "hunter2hunter2hunter2",
        "bearer ",
        "basic ",
        "crypt(",
        "hmac ('",
        ";",
        "\n",
        "://",
        "u:",
        "@",
        "/",
        "-----BEGIN PRIVATE KEY-----",
        "-----END PRIVATE KEY-----",
        "ghp_0123456789abcdefghij",
        "[redacted ",
        "]",
        "[redacted key]",
        "[redacted token]",
        "[redacted password]",
        "null",
        "?",
        "$1",
    ];

    fn check(text: &str, expected: &str) {
        assert_eq!(without_secrets(text), expected, "{text}");
        assert_eq!(without_secrets(expected), expected, "twice: {text}");
    }

    #[test]
    fn passwords_are_redacted_wherever_they_are_written() {
        for (text, expected) in [
            (
                "ALTER ROLE a PASSWORD 'x''y' VALID UNTIL 'infinity'",
                "ALTER ROLE a PASSWORD '[redacted password]' VALID UNTIL 'infinity'",
            ),
            (
                "create user a with encrypted password E'a\\'b'",
                "create user a with encrypted password E'[redacted password]'",
            ),
            (
                "alter role a password $q$geheim$q$;",
                "alter role a password $q$[redacted password]$q$;",
            ),
            (
                "alter role a password 'cut of",
                "alter role a password '[redacted password]",
            ),
            (
                "host=db password=s3cret dbname=x",
                "host=db password=[redacted password] dbname=x",
            ),
            (
                "private_key=-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- b",
                "private_key=[redacted key] b",
            ),
            (
                "conninfo 'host=a password=''b c'' user=d'",
                "conninfo 'host=a password=''[redacted password]'' user=d'",
            ),
            (
                "postgres://u:p%40ss@h:5432/d?sslmode=require",
                "postgres://u:[redacted password]@h:5432/d?sslmode=require",
            ),
            ("see https://example.org/a:b", "see https://example.org/a:b"),
            (
                "{\"password\": \"a\\\"b\", \"user\": \"u\"}",
                "{\"password\": \"[redacted password]\", \"user\": \"u\"}",
            ),
            ("ldapbindpasswd=abc", "ldapbindpasswd=[redacted password]"),
            (
                "parameter \"primary_conninfo\" changed to \"host=a password=geheim user=b\"",
                "parameter \"primary_conninfo\" changed to \"host=a password=[redacted password] user=b\"",
            ),
            (
                "\\set password => 'x",
                "\\set password => '[redacted password]",
            ),
            (
                "set app.password to 'abc'",
                "set app.password to '[redacted password]'",
            ),
            (
                "Key (email, password)=(a@b, hunter2) already exists.",
                "Key (email, password)=([redacted password]) already exists.",
            ),
            (
                "Key (password: abc, id)=(hunter2) already exists.",
                "Key (password: [redacted password], id)=([redacted password]) already exists.",
            ),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn what_follows_bearer_is_gone_with_the_secret_that_it_names() {
        for (text, expected) in [
            ("Bearer secret_access_key: abc", "Bearer [redacted token]"),
            (
                "Bearer\nsecret_access_key: abc, b",
                "Bearer\n[redacted token], b",
            ),
            (
                "bearer a_password_of_mine => 'abc'",
                "bearer [redacted token]'",
            ),
            ("Bearer my-secret-token-of-old", "Bearer [redacted token]"),
            (
                "bearer bearer.0123456789abcdef x",
                "bearer [redacted token] x",
            ),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn tokens_and_keys_are_redacted_by_name_and_by_form() {
        for (text, expected) in [
            (
                "Authorization: Bearer abcdefghijklmnop1234",
                "Authorization: Bearer [redacted token]",
            ),
            (
                "Authorization: Basic dXNlcjpwYXNz",
                "Authorization: Basic [redacted token]",
            ),
            (
                "curl -H 'X-Api-Key: abc123'",
                "curl -H 'X-Api-Key: [redacted key]'",
            ),
            ("api_key => 'abc'", "api_key => '[redacted key]'"),
            (
                "private_key=-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- b",
                "private_key=[redacted key] b",
            ),
            (
                "token-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----",
                "token[redacted key]",
            ),
            ("id AKIAIOSFODNN7EXAMPLE used", "id [redacted key] used"),
            ("sk-abcdefghijklmnopqrst", "[redacted key]"),
            ("ghp_0123456789abcdefghij0123", "[redacted token]"),
            (
                "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
                "[redacted token]",
            ),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- x",
                "[redacted key] x",
            ),
            ("-----BEGIN PRIVATE KEY-----\nMII", "[redacted key]"),
            (
                "pgp_sym_encrypt(card, 'key')",
                "pgp_sym_encrypt(card, '[redacted key]')",
            ),
            (
                "verifier SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy",
                "verifier [redacted password]",
            ),
            ("md50123456789abcdef0123456789abcdef", "[redacted password]"),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn a_secret_within_a_secret_is_gone_and_what_replaced_it_stays() {
        for (text, expected) in [
            (
                "crypt(-----BEGIN PRIVATE KEY-----hmac ('Key (",
                "crypt([redacted key]",
            ),
            (
                "Key (token)=(Key (secret)=(abc) hunter2) exists",
                "Key (token)=([redacted token]) exists",
            ),
            (
                "password=[redacted hunter2] x",
                "password=[redacted password] hunter2] x",
            ),
            (
                "[redacted password=hunter2 x",
                "[redacted password=[redacted password] x",
            ),
            (
                "password=[redacted password]hunter2 x",
                "password=[redacted password] x",
            ),
            (
                "password=abc[redacted token] x",
                "password=[redacted password] x",
            ),
            ("crypt('[redacted key]', 'abc')", "crypt('[redacted key]')"),
            (
                "Key (token)=([redacted token], hunter2) exists",
                "Key (token)=([redacted token]) exists",
            ),
        ] {
            check(text, expected);
        }
        let long = format!("Key (token)=({}hunter2", "a ".repeat(REACH_BYTES_MAX));
        check(&long, "Key (token)=([redacted token]");
        let deep = "password=''".repeat(100);
        assert_eq!(
            without_secrets(&without_secrets(&deep)),
            without_secrets(&deep)
        );
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "password authentication failed for user \"budi@itera.ac.id\"",
            "Token \"foo\" is invalid.",
            "select * from t where password = $1 and token = ?",
            "select password from users where token = $1 and secret = ?",
            "select 'https://a.b/c@d' , 'budi@itera.ac.id'",
            "https://host/x@y",
            "Bearer token=[redacted token]",
            "create table tokens (token text, password varchar(100))",
            "SHOW password_encryption",
            "set password_encryption = 'scram-sha-256'",
            "Key (id)=(5) already exists.",
            "-----BEGIN CERTIFICATE-----",
            "md5(random()::text)",
            "eyJust a word",
            "Kunci (sandi)",
            "",
        ] {
            assert!(
                matches!(without_secrets(text), Cow::Borrowed(_)),
                "{text}: {}",
                without_secrets(text)
            );
        }
    }

    /// What texts with secrets are made of.
    const PARTS: [&str; 24] = [
        "password",
        "Passphrase",
        "pwd",
        "x-Api-Key",
        "TOKEN",
        "tokenizer",
        "bearer ",
        "crypt",
        "hmac",
        "key (",
        ")=(",
        "://",
        "eyJ",
        "md5",
        "SCRAM-SHA-256$",
        "-----BEGIN",
        " PRIVATE KEY-----",
        "[redacted token]",
        "a",
        "-",
        "_",
        " ",
        "é",
        "=",
    ];

    #[test]
    fn tokens_are_told_by_their_first_bytes() {
        for (start, least, _) in TOKENS {
            let text = format!("{start}{}", "a".repeat(least));
            assert!(token(&text).is_some(), "{text}");
            assert_eq!(token(&text), token_of(&text));
        }
    }

    proptest! {
        #[test]
        fn what_is_passed_over_announces_nothing(
            parts in prop::collection::vec(prop::sample::select(&PARTS[..]), 0..12), other in "[ -~é]{0,30}",
        ) {
            for text in [parts.concat() + &other, other + &parts.join(" ")] {
                for (at, first) in text.char_indices() {
                    if announcing(text.as_bytes(), at) != Some(at) {
                        prop_assert_eq!(found(&text, at), Err(at + first.len_utf8()), "{}", text);
                    }
                    let rest = &text[at..];
                    prop_assert!(token(rest) == token_of(rest), "{}", rest);
                    let end = rest.bytes().position(|byte| !name_byte(byte) && byte != b'-').unwrap_or(rest.len());
                    let name = rest[..end].to_ascii_lowercase();
                    let named = secret_name(&name).is_some() || name == BEARER || FUNCTIONS.contains(&name.as_str());
                    let letters = letters(&rest[..end]);
                    prop_assert!(!named || names_something(letters), "{}", name);
                    let block = rest[..end].find(BLOCK.trim_end()).unwrap_or(end);
                    prop_assert_eq!(block_or(rest, end, letters), block);
                }
            }
        }

        #[test]
        fn any_text_is_survived_and_redacting_twice_is_redacting_once(text in "(?s).{0,200}") {
            let once = without_secrets(&text).into_owned();
            prop_assert_eq!(without_secrets(&once).into_owned(), once);
        }

        #[test]
        fn what_announces_secrets_within_secrets_is_redacted_once(parts in prop::collection::vec(prop::sample::select(PARTS), 0..14)) {
            let text = parts.concat();
            let once = without_secrets(&text).into_owned();
            prop_assert_eq!(without_secrets(&once).into_owned(), once, "{}", text);
        }

        #[test]
        fn no_password_survives(password in "[a-zA-Z0-9!#%+./^é-]{6,20}", before in "[ -~]{0,20}") {
            for text in [
                format!("alter role a password '{password}'"),
                format!("{} password={password} dbname=x", before.replace(['\'', '"'], "")),
                format!("postgres://u:{password}@h/d"),
            ] {
                prop_assert!(!without_secrets(&text).contains(&password), "{}", text);
            }
        }
    }
}
