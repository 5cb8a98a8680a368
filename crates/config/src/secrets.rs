//! Keeps passwords out of everything that is printed.

use std::ops::Range;

/// Keys and connection parameters whose value is a secret.
const SECRET_WORDS: [&str; 5] = ["password", "passwd", "sslpassword", "secret", "token"];

/// Returns a URL or conninfo with its passwords replaced by `***`.
pub fn redact(url: &str) -> String {
    let mut text = url.to_owned();
    let mut ranges = secret_ranges(url);
    ranges.sort_by_key(|range| range.start);
    for range in ranges.into_iter().rev() {
        text.replace_range(range, "***");
    }
    text
}

/// Returns whether a URL or conninfo carries a password.
pub(crate) fn has_password(url: &str) -> bool {
    secret_ranges(url).iter().any(|range| !range.is_empty())
}

/// Returns a line of the file with every character of a secret replaced by `*`, so that columns stay.
pub(crate) fn veil(line: &str) -> String {
    let ranges = secret_ranges(line);
    line.char_indices()
        .map(|(index, c)| {
            let secret = ranges.iter().any(|range| range.contains(&index));
            if secret { '*' } else { c }
        })
        .collect()
}

/// Returns the disjoint byte ranges of secrets: `://user:SECRET@`, `password=SECRET`, `password = "SECRET"`.
fn secret_ranges(text: &str) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (start, _) in text.match_indices("://") {
        let authority = &text[start + 3..];
        let authority = authority
            .split(['/', '?', '#', '"', '\''])
            .next()
            .unwrap_or("");
        if let Some(at) = authority.rfind('@')
            && let Some(colon) = authority[..at].find(':')
        {
            ranges.push(start + 3 + colon + 1..start + 3 + at);
        }
    }
    let lower = text.to_ascii_lowercase();
    for word in SECRET_WORDS {
        for (start, _) in lower.match_indices(word) {
            if let Some(range) = value_after(text, start + word.len())
                && !ranges
                    .iter()
                    .any(|other| other.start < range.end && range.start < other.end)
            {
                ranges.push(range);
            }
        }
    }
    ranges
}

/// Returns the range of the value in ` = "value"` or `=value` that starts at `from`.
fn value_after(text: &str, from: usize) -> Option<Range<usize>> {
    let rest = &text[from..];
    let trimmed = rest.trim_start_matches(['"', '\'', ' ', '\t']);
    let value = trimmed.strip_prefix('=')?.trim_start();
    let start = text.len() - value.len();
    let (start, value, ends): (usize, &str, &[char]) = match value.chars().next()? {
        '"' => (start + 1, &value[1..], &['"']),
        '\'' => (start + 1, &value[1..], &['\'']),
        _ => (start, value, &[' ', '&', '"', '\'', '\t']),
    };
    Some(start..start + unescaped(value, ends))
}

/// Returns where the first of `ends` stands that no backslash protects.
fn unescaped(text: &str, ends: &[char]) -> usize {
    let mut escaped = false;
    for (index, c) in text.char_indices() {
        if !escaped && ends.contains(&c) {
            return index;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn passwords_never_show() {
        for (text, shown) in [
            ("postgres://u:pw@h/db", "postgres://u:***@h/db"),
            ("postgres://u:p@w:x@h/db", "postgres://u:***@h/db"),
            ("postgres://u@h/db", "postgres://u@h/db"),
            ("postgres://h:5432/db", "postgres://h:5432/db"),
            (
                "postgres://h/db?password=pw&user=u",
                "postgres://h/db?password=***&user=u",
            ),
            ("host=h password=pw user=u", "host=h password=*** user=u"),
            (
                "host=h password = 'p w' user=u",
                "host=h password = '***' user=u",
            ),
            (r"password=p\ w\'x user=u", "password=*** user=u"),
            ("host=h", "host=h"),
        ] {
            assert_eq!(redact(text), shown);
            assert_eq!(has_password(text), text != shown, "{text}");
        }
        assert_eq!(
            veil("password = \"hunter2\" # x"),
            "password = \"*******\" # x"
        );
    }

    #[test]
    fn the_file_of_a_password_is_no_secret() {
        let line = "password_file = \"/etc/pawang/password\"";
        assert_eq!(veil(line), line);
    }

    proptest! {
        #[test]
        fn any_text_keeps_its_length(text in "(postgres://)?[a-zé:@/?= '\"&]{0,20}(password ?= ?)?[a-zé:@'\" ]{0,12}") {
            prop_assert_eq!(veil(&text).chars().count(), text.chars().count());
            let _ = redact(&text);
        }
    }
}
