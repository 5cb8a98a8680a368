//! Texts of a log as people may see them: printable, bounded, without secrets; and the CSV of pgaudit.

use std::borrow::Cow;

/// What stands for a secret.
const MASK: &str = "***";

/// Words after which a value is a secret, in lower case.
const SECRET_WORDS: [&str; 6] = [
    "password",
    "passwd",
    "pgpassword",
    "secret",
    "access_key",
    "api_key",
];

/// Returns the first `most` bytes as text: no control characters, no broken UTF-8.
pub(crate) fn printable(bytes: &[u8], most: usize) -> String {
    let cut = bytes.len() > most;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(most)]);
    // A character that the cut went through is no damage of the log.
    let text = if cut {
        text.trim_end_matches('\u{fffd}')
    } else {
        &text
    };
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

/// Returns a name with its control characters as newer servers print them, `\x0a`, so that all formats of a log have the same name.
pub(crate) fn named(name: &[u8]) -> Cow<'_, [u8]> {
    if !name.iter().any(u8::is_ascii_control) {
        return Cow::Borrowed(name);
    }
    let mut escaped = Vec::with_capacity(name.len() + 16);
    for &byte in name {
        if byte.is_ascii_control() {
            escaped.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        } else {
            escaped.push(byte);
        }
    }
    Cow::Owned(escaped)
}

/// Returns the first `most` bytes as text, with values of passwords and credentials of addresses masked.
pub(crate) fn redacted(bytes: &[u8], most: usize) -> String {
    // The end is cut only after masking: a secret whose end is cut off would not be known as one.
    let text = printable(bytes, most.saturating_mul(2));
    let mut masked = mask_addresses(&mask_words(&text));
    if masked.len() > most {
        let end = (0..=most)
            .rev()
            .find(|&end| masked.is_char_boundary(end))
            .unwrap_or(0);
        masked.truncate(end);
    }
    masked
}

/// Masks `password=x`, `password = 'x'` and `PASSWORD 'x'`.
fn mask_words(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut masked = String::with_capacity(text.len());
    let mut done = 0;
    while let Some(word_end) = next_word(&lower, done) {
        let (start, end) = secret_span(&lower, word_end);
        if end > start {
            masked.push_str(&text[done..start]);
            masked.push_str(MASK);
            done = end;
        } else {
            masked.push_str(&text[done..word_end]);
            done = word_end;
        }
    }
    masked.push_str(&text[done..]);
    masked
}

/// Returns the end of the next word of a secret at or after `from`.
fn next_word(lower: &str, from: usize) -> Option<usize> {
    let ends = SECRET_WORDS.iter().filter_map(|word| {
        let start = lower[from..].find(word)?;
        Some((start, from + start + word.len()))
    });
    ends.min().map(|(_, end)| end)
}

/// Returns where the value after a word begins and ends; empty when there is none.
fn secret_span(lower: &str, word_end: usize) -> (usize, usize) {
    let rest = lower[word_end..].trim_start_matches([' ', '"']);
    let assigned = rest.strip_prefix(['=', ':']).map(str::trim_start);
    let value = assigned.unwrap_or(rest);
    let start = lower.len() - value.len();
    if let Some(quote) = value.chars().next().filter(|&c| c == '\'' || c == '"') {
        let length = value[1..].find(quote).map_or(value.len(), |end| end + 2);
        return (start, start + length);
    }
    if assigned.is_none() {
        return (word_end, word_end);
    }
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ';' | '&' | ')');
    let length = value.find(ends).unwrap_or(value.len());
    (start, start + length)
}

/// Masks the password of `scheme://user:password@host`.
fn mask_addresses(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (head, tail) = rest.split_at(start + 3);
        masked.push_str(head);
        let stops = |c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'');
        let authority = &tail[..tail.find(stops).unwrap_or(tail.len())];
        let credentials = authority.rfind('@').map(|end| &authority[..end]);
        match credentials.and_then(|text| text.find(':').map(|colon| (colon, text.len()))) {
            Some((colon, end)) => {
                masked.push_str(&tail[..=colon]);
                masked.push_str(MASK);
                rest = &tail[end..];
            }
            None => rest = tail,
        }
    }
    masked.push_str(rest);
    masked
}

/// Returns the fields of one line of CSV, where quotes may hold commas and line ends, at most `most` of them.
pub(crate) fn csv_fields(text: &[u8], most: usize) -> Vec<Cow<'_, [u8]>> {
    let mut fields = Vec::new();
    let mut rest = Some(text);
    while let Some(field) = rest.filter(|_| fields.len() < most) {
        let (value, length) = if field.first() == Some(&b'"') {
            quoted_field(field)
        } else {
            let end = memchr::memchr(b',', field).unwrap_or(field.len());
            (Cow::Borrowed(&field[..end]), end)
        };
        fields.push(value);
        rest = field[length..].strip_prefix(b",");
    }
    fields
}

/// Returns the value of a field that begins with a quote, and its length with both quotes.
fn quoted_field(field: &[u8]) -> (Cow<'_, [u8]>, usize) {
    let mut value = Vec::new();
    let mut start = 1;
    while let Some(length) = memchr::memchr(b'"', &field[start..]) {
        let quote = start + length;
        if field.get(quote + 1) != Some(&b'"') {
            if value.is_empty() {
                return (Cow::Borrowed(&field[start..quote]), quote + 1);
            }
            value.extend_from_slice(&field[start..quote]);
            return (Cow::Owned(value), quote + 1);
        }
        value.extend_from_slice(&field[start..=quote]);
        start = quote + 2;
    }
    value.extend_from_slice(&field[start.min(field.len())..]);
    (Cow::Owned(value), field.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_text_is_bounded_and_clean() {
        assert_eq!(printable(b"a\tb\nc\x1b[31m", 100), "a b c [31m");
        assert_eq!(printable("päß".as_bytes(), 2), "p");
        assert_eq!(printable(b"\xff!", 10), "\u{fffd}!");
    }

    #[test]
    fn names_show_their_control_characters() {
        assert_eq!(named(b"ahli data").as_ref(), b"ahli data");
        assert_eq!(named(b"x\ny").as_ref(), b"x\\x0ay");
    }

    #[test]
    fn secrets_are_masked() {
        let check = |text: &str, expected: &str| {
            assert_eq!(redacted(text.as_bytes(), 200), expected);
        };
        check(
            "parameter \"primary_conninfo\" changed to \"host=a password=geheim user=b\"",
            "parameter \"primary_conninfo\" changed to \"host=a password=*** user=b\"",
        );
        check(
            "ALTER ROLE a PASSWORD 'x y' VALID",
            "ALTER ROLE a PASSWORD *** VALID",
        );
        check("postgres://a:b@host/db", "postgres://a:***@host/db");
        check("https://host/x@y", "https://host/x@y");
        check(
            "password authentication failed for user \"a\"",
            "password authentication failed for user \"a\"",
        );
        check(
            "password = 'a' and password=b",
            "password = *** and password=***",
        );
        check("password", "password");
    }

    #[test]
    fn a_secret_at_the_bound_does_not_show_its_beginning() {
        let text = format!("{} password='{}' x", "x".repeat(20), "s".repeat(15));
        assert_eq!(
            redacted(text.as_bytes(), 33),
            "xxxxxxxxxxxxxxxxxxxx password=***"
        );
        assert_eq!(
            redacted(text.as_bytes(), 31),
            "xxxxxxxxxxxxxxxxxxxx password=*"
        );
    }

    #[test]
    fn csv_fields_may_hold_quotes_and_commas() {
        let fields = csv_fields(b"a,,\"b,\"\"c\"\"\nd\",\"\",e", 9);
        let texts: Vec<String> = fields
            .iter()
            .map(|field| String::from_utf8_lossy(field).into_owned())
            .collect();
        assert_eq!(texts, ["a", "", "b,\"c\"\nd", "", "e"]);
        assert_eq!(csv_fields(b"a,b,c", 2).len(), 2);
        assert_eq!(csv_fields(b"\"open", 2)[0].as_ref(), b"open");
        assert_eq!(csv_fields(b"\"", 2)[0].as_ref(), b"");
    }
}
