//! Tags that sqlcommenter puts into a comment at the end of a statement: `/*application='shop',controller='orders'*/`.

use std::collections::BTreeMap;

/// Most tags that are read of one statement.
const TAGS_MAX: usize = 16;
/// Longest key or value that is read.
const TAG_BYTES_MAX: usize = 200;

/// Returns the tags of the comment that ends a statement, decoded; none when it has no such comment.
pub fn tags(statement: &[u8]) -> BTreeMap<String, String> {
    comment(statement).and_then(pairs).unwrap_or_default()
}

fn comment(statement: &[u8]) -> Option<&[u8]> {
    let mut text = statement.trim_ascii_end();
    while let Some(rest) = text.strip_suffix(b";") {
        text = rest.trim_ascii_end();
    }
    let text = text.strip_suffix(b"*/")?;
    Some(&text[memchr::memmem::rfind(text, b"/*")? + 2..])
}

fn pairs(comment: &[u8]) -> Option<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    let mut rest = comment.trim_ascii();
    while !rest.is_empty() && tags.len() < TAGS_MAX {
        let equals = memchr::memchr(b'=', rest)?;
        let key = decode(rest[..equals].trim_ascii())?;
        let value = rest[equals + 1..].trim_ascii_start().strip_prefix(b"'")?;
        let mut end = 0;
        while *value.get(end)? != b'\'' {
            end += if value[end] == b'\\' { 2 } else { 1 };
        }
        tags.insert(key, decode(&value[..end])?);
        rest = value[end + 1..].trim_ascii_start();
        rest = rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start();
    }
    Some(tags)
}

/// Decodes `%2F` and `\'`.
fn decode(text: &[u8]) -> Option<String> {
    if text.is_empty() || text.len() > TAG_BYTES_MAX {
        return None;
    }
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let hexadecimal = |index: usize| {
            text.get(index)
                .and_then(|&byte| char::from(byte).to_digit(16))
        };
        match (text[at], hexadecimal(at + 1), hexadecimal(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (b'\\', ..) if at + 1 < text.len() => {
                out.push(text[at + 1]);
                at += 2;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(statement: &str, expected: &[(&str, &str)]) {
        let seen = tags(statement.as_bytes());
        let seen: Vec<(&str, &str)> = seen
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        assert_eq!(seen, expected, "{statement}");
    }

    #[test]
    fn tags_are_decoded_and_other_comments_have_none() {
        check(
            "select 1 /*route='%2Fa%20b',name='it\\'s'*/;",
            &[("name", "it's"), ("route", "/a b")],
        );
        check("select 1 /* a = 'b' , c='d' */", &[("a", "b"), ("c", "d")]);
        for none in [
            "select 1",
            "select 1 /* note */",
            "/*a='b'*/ select 1",
            "/*a='b",
            "*/",
            "/*a='\\*/",
            "/*=''*/",
        ] {
            check(none, &[]);
        }
    }
}
