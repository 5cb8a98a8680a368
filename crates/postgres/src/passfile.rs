//! The password file: `host:port:database:user:password` lines with wildcards and escapes.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use pawang_core::Secret;

const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Returns the password of the first line that matches; a file that others may read is ignored with a warning, as libpq does.
pub(crate) fn find(
    file: &Path,
    host: &str,
    port: u16,
    database: &str,
    user: &str,
) -> Option<Secret<String>> {
    let metadata = std::fs::metadata(file).ok()?;
    let shown = file.display();
    if !metadata.is_file() {
        tracing::warn!("password file \"{shown}\" is ignored: it is no regular file");
        return None;
    }
    if metadata.mode() & 0o077 != 0 {
        tracing::warn!(
            "password file \"{shown}\" is ignored: others may read it; run: chmod 600 {shown}"
        );
        return None;
    }
    match crate::file::read_text(file, FILE_BYTES_MAX) {
        Ok(text) => find_in(&text, [host, &port.to_string(), database, user]),
        Err(error) => {
            tracing::warn!("password file \"{shown}\" is ignored: {error}");
            None
        }
    }
}

fn find_in(text: &str, wanted: [&str; 4]) -> Option<Secret<String>> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            let mut rest = line.strip_suffix('\r').unwrap_or(line);
            for wanted in wanted {
                let field;
                (field, rest) = take_field(rest)?;
                if field.raw != "*" && field.value != wanted {
                    return None;
                }
            }
            Some(Secret::new(unescape(rest)))
        })
}

struct Field<'a> {
    raw: &'a str,
    value: String,
}

fn take_field(text: &str) -> Option<(Field<'_>, &str)> {
    let mut escaped = false;
    for (index, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => {
                let raw = &text[..index];
                let value = unescape(raw);
                return Some((Field { raw, value }, &text[index + 1..]));
            }
            _ => {}
        }
    }
    None
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            _ => plain.push(character),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::find_in;

    fn password(text: &str, wanted: [&str; 4]) -> Option<String> {
        find_in(text, wanted).map(|secret| secret.reveal().clone())
    }

    #[test]
    fn takes_the_first_line_that_matches() {
        let text = "# db:5432:*:ann:no\nshort\ndb:5432:sales:ann:one\ndb:*:*:ann:two\n*:*:*:*:th:r\\ee\\\\\n";
        for (wanted, expected) in [
            (["db", "5432", "sales", "ann"], "one"),
            (["db", "5433", "sales", "ann"], "two"),
            (["db", "5432", "sales", "bob"], "th:ree\\"),
        ] {
            assert_eq!(
                password(text, wanted).as_deref(),
                Some(expected),
                "{wanted:?}"
            );
        }
        assert_eq!(password("db:1:a:b:c", ["db", "2", "a", "b"]), None);
        assert_eq!(password("", ["db", "2", "a", "b"]), None);
        assert_eq!(
            password("\\*:*:*:*:c", ["db", "2", "a", "b"]),
            None,
            "an escaped star is no wildcard"
        );
    }

    proptest! {
        #[test]
        fn escapes_round_trip(fields in prop::array::uniform5("[^\0\r\n]{1,8}")) {
            let escaped = fields.each_ref().map(|field| {
                // The star is escaped too, so that it is no wildcard.
                field.chars().flat_map(|c| ['\\', c]).collect::<String>()
            });
            let wanted = [0, 1, 2, 3].map(|index| fields[index].as_str());
            let found = password(&escaped.join(":"), wanted);
            prop_assert_eq!(found.as_ref(), Some(&fields[4]));
        }
    }
}
