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
mod tests;
