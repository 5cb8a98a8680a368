//! Texts of a log as people may see them: printable, bounded, without secrets; and the CSV of pgaudit.

use std::borrow::Cow;

use crate::secret::without_secrets;

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

/// Returns the first `most` bytes as text without its secrets.
pub(crate) fn redacted(bytes: &[u8], most: usize) -> String {
    // The end is cut only after the secrets are gone: one whose end is cut off would not be known as one.
    let text = printable(bytes, most.saturating_mul(2));
    let mut text = without_secrets(&text).into_owned();
    text.truncate(text.floor_char_boundary(most.min(text.len())));
    text
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
    fn a_secret_at_the_bound_does_not_show_its_beginning() {
        let text = format!("{} password='{}' x", "x".repeat(20), "s".repeat(15));
        for (most, expected) in [
            (33, "xxxxxxxxxxxxxxxxxxxx password='[r"),
            (200, "xxxxxxxxxxxxxxxxxxxx password='[redacted password]' x"),
        ] {
            assert_eq!(redacted(text.as_bytes(), most), expected);
        }
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
