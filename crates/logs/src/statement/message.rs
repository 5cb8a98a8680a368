//! Messages without their numbers and quoted names, so that equal errors are counted together.

use std::borrow::Cow;

/// Longest message that is looked at; a normalised one is never longer.
const MESSAGE_BYTES_MAX: usize = 1024;

/// Pairs of quotes, in the languages of the server's messages.
const QUOTES: [(&[u8], &[u8]); 5] = [
    (b"\"", b"\""),
    ("«".as_bytes(), "»".as_bytes()),
    ("»".as_bytes(), "«".as_bytes()),
    ("“".as_bytes(), "”".as_bytes()),
    ("„".as_bytes(), "“".as_bytes()),
];

/// Returns the first bytes of a text, at the end of a character, with what is no UTF-8 replaced.
///
/// What replaces a byte is longer than it, and counts: cutting twice is cutting once.
pub(crate) fn cut(text: &[u8], bytes: usize) -> Cow<'_, str> {
    let mut end = bytes.min(text.len());
    while end < text.len() && end > 0 && end + 4 > bytes && text[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    match String::from_utf8_lossy(&text[..end]) {
        Cow::Owned(mut replaced) => {
            replaced.truncate(replaced.floor_char_boundary(bytes));
            Cow::Owned(replaced)
        }
        valid => valid,
    }
}

/// Appends a message to `out` with `?` for its numbers and for what is in quotes; white space is collapsed.
pub fn normalise_message(message: &[u8], out: &mut String) {
    let text = cut(message, MESSAGE_BYTES_MAX);
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut copied = 0;
    while at < bytes.len() {
        let end = special_end(bytes, at);
        if end > at {
            out.push_str(&text[copied..at]);
            let space = bytes[at].is_ascii_whitespace();
            out.push(if space { ' ' } else { '?' });
            at = end;
            copied = at;
        } else if is_word(bytes[at]) {
            while at < bytes.len() && is_word(bytes[at]) {
                at += 1;
            }
        } else {
            at += 1;
        }
    }
    out.push_str(&text[copied..]);
}

/// Returns where the number, quoted name or white space that begins here ends; `at` itself when none does.
fn special_end(bytes: &[u8], at: usize) -> usize {
    let byte = bytes[at];
    let rest = &bytes[at..];
    if byte.is_ascii_whitespace() {
        let length = rest
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        return if length == 1 && byte == b' ' {
            at
        } else {
            at + length
        };
    }
    if is_word(byte) {
        let length = rest.iter().take_while(|&&byte| is_word(byte)).count();
        let word = &rest[..length];
        let digits = word.iter().any(u8::is_ascii_digit);
        let hexadecimal = length >= 8 && digits && word.iter().all(u8::is_ascii_hexdigit);
        return if byte.is_ascii_digit() || hexadecimal {
            number_end(bytes, at + length)
        } else {
            at
        };
    }
    if byte.is_ascii() && byte != b'"' {
        return at;
    }
    for (opening, closing) in QUOTES {
        if rest.starts_with(opening) {
            let inside = &rest[opening.len()..];
            return match memchr::memmem::find(inside, closing) {
                Some(found) => at + opening.len() + found + closing.len(),
                None => bytes.len(),
            };
        }
    }
    at
}

/// Goes on over `.5`, `/1A2B`, `:30` and `-01`, which belong to a number before.
fn number_end(bytes: &[u8], mut at: usize) -> usize {
    while at + 1 < bytes.len()
        && matches!(bytes[at], b'.' | b'/' | b':' | b'-')
        && bytes[at + 1].is_ascii_hexdigit()
    {
        let word = bytes[at + 1..]
            .iter()
            .take_while(|&&byte| is_word(byte))
            .count();
        if !bytes[at + 1..at + 1 + word].iter().any(u8::is_ascii_digit) {
            break;
        }
        at += 1 + word;
    }
    at
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(message: &str) -> String {
        let mut out = String::new();
        normalise_message(message.as_bytes(), &mut out);
        out
    }

    #[test]
    fn cutting_twice_is_cutting_once() {
        for text in [
            &b"\xfb".repeat(100)[..],
            "\u{e9}".repeat(100).as_bytes(),
            b"a\xff\xc3",
        ] {
            for bytes in 0..120 {
                let once = cut(text, bytes);
                assert!(once.len() <= bytes, "{once} of {bytes}");
                assert_eq!(cut(once.as_bytes(), bytes), once);
            }
        }
    }

    #[test]
    fn numbers_and_quoted_names_are_masked() {
        for (message, expected) in [
            (
                "relation \"x\" does not exist at character 15",
                "relation ? does not exist at character ?",
            ),
            (
                "la relation « x » n'existe pas au caractère 15",
                "la relation ? n'existe pas au caractère ?",
            ),
            ("Relation »x« existiert nicht", "Relation ? existiert nicht"),
            (
                "invalid record at 0/1A2B3C, int4 and utf8",
                "invalid record at ?, int4 and utf8",
            ),
            ("at 2026-11-22 04:23:06.226\n\tWIB", "at ? ? WIB"),
            ("file 0000000100000000000000AB", "file ?"),
            ("host 10.0.0.1 and \"cut", "host ? and ?"),
        ] {
            assert_eq!(normal(message), expected);
        }
        assert!(normal(&"é".repeat(5000)).len() <= MESSAGE_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_do(message in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut out = String::new();
            normalise_message(&message, &mut out);
            prop_assert!(!out.contains('\n'));
        }
    }
}
