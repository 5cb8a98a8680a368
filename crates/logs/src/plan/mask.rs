//! Plans without the constants of the statement, for reports that leave the house.

use serde_json::Value;

use super::undress;

/// What a constant becomes.
const MASK: char = '?';

/// Keys whose values are the server's own, in all formats: their numbers and words stay.
const KEPT: [&str; 30] = [
    "Alias",
    "Async",
    "Batches",
    "Buckets",
    "Buffers",
    "CTE Name",
    "Cache",
    "Conflict",
    "Disk",
    "Function Name",
    "Functions",
    "Hits",
    "I/O",
    "Index Name",
    "Join Type",
    "Memory",
    "Node Type",
    "Parent Relationship",
    "Partial Mode",
    "Planning Time",
    "Relation Name",
    "Schema",
    "Settings",
    "Sort Method",
    "Storage",
    "Strategy",
    "Subplan Name",
    "Execution Time",
    "WAL",
    "Worker",
];

/// Returns a plan's text, in whatever format, with the constants of its statement as `?` and without its parameters.
///
/// Costs, rows, times and names stay. What is no plan loses all its numbers and quoted texts.
pub fn mask(text: &str) -> String {
    let undressed = undress::undress(text);
    let text = undressed.text.as_ref();
    let begin = text.trim_start();
    if begin.starts_with(['[', '{'])
        && let Ok(mut value) = serde_json::from_str::<Value>(text)
    {
        mask_json(&mut value, "");
        return serde_json::to_string_pretty(&value).unwrap_or_default();
    }
    let mut masker = Masker {
        out: String::with_capacity(text.len()),
        inside: None,
        skipping: false,
        query: false,
    };
    for line in text.lines() {
        masker.line(line);
    }
    masker.out
}

/// Tells whether a value under a key is none of the statement's.
fn kept(key: &str) -> bool {
    KEPT.contains(&key)
}

fn mask_json(value: &mut Value, key: &str) {
    match value {
        Value::String(text) if key == "Query Parameters" => *text = MASK.to_string(),
        Value::String(text) if !kept(key) => *text = constants(text),
        Value::Array(values) => values.iter_mut().for_each(|value| mask_json(value, key)),
        Value::Object(fields) if key != "Settings" => {
            for (key, value) in fields {
                mask_json(value, key);
            }
        }
        _ => {}
    }
}

struct Masker {
    out: String,
    /// The quote of the constant that a line before has begun.
    inside: Option<char>,
    /// The parameters of auto_explain may have several lines.
    skipping: bool,
    /// The statement of auto_explain may have several lines.
    query: bool,
}

impl Masker {
    fn line(&mut self, line: &str) {
        let content = line.trim_start();
        let plain = content.trim_start_matches("- ");
        let node =
            content.starts_with("->") || line.contains("  (cost=") || line.contains(" (actual ");
        if self.inside.is_none() || node {
            if plain.starts_with("Query Parameters:") || plain.starts_with("<Query-Parameters>") {
                self.skipping = true;
                self.query = false;
                return;
            }
            if plain.starts_with("Query Text:") || plain.starts_with("<Query-Text>") {
                self.query = true;
            } else if node || plain.starts_with("Plan:") || plain.starts_with("<Plan>") {
                self.query = false;
                self.skipping = false;
                self.inside = None;
            }
        }
        if self.skipping {
            return;
        }
        let key = key(plain);
        let server = self.inside.is_none()
            && !self.query
            && (node || key.as_ref().is_some_and(|(key, value)| own(key, value)));
        if server {
            self.out.push_str(line);
        } else {
            let skipped = key
                .filter(|_| self.inside.is_none())
                .map_or(0, |(_, value)| line.len() - value.len());
            self.out.push_str(&line[..skipped]);
            let mut rest = &line[skipped..];
            // The double quotes of YAML hold the whole value; those inside are escaped.
            let yaml = self.inside.is_none()
                && rest.starts_with('"')
                && rest.ends_with('"')
                && rest.len() > 1;
            if yaml {
                self.out.push('"');
                rest = &rest[1..rest.len() - 1];
            }
            self.inside = mask_into(&mut self.out, rest, self.inside);
            if yaml {
                self.inside = None;
                self.out.push('"');
            }
        }
        // A constant that goes on is one mask, on one line.
        if self.inside != Some('\'') {
            self.out.push('\n');
        }
    }
}

/// Tells whether a line is the server's own words and numbers.
fn own(key: &str, value: &str) -> bool {
    let key = key.trim();
    let number = value.trim().trim_end_matches(" ms").trim_matches('"');
    let number = number.split("</").next().unwrap_or_default();
    let numeric = number.parse::<f64>().is_ok() && !matches!(key, "Filter" | "Output");
    numeric
        || setting(key)
        || kept(key)
        || kept(key.split(' ').next().unwrap_or_default())
        || key.starts_with("Rows Removed")
        || key.starts_with("Trigger ")
        || key.ends_with("Groups")
}

/// Tells whether a key is the name of a setting, which YAML and XML have as keys of their own.
fn setting(key: &str) -> bool {
    !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'.'))
}

/// Splits `Key: value` or `<Key>value`.
fn key(content: &str) -> Option<(String, &str)> {
    if let Some(tag) = content.strip_prefix('<') {
        let (tag, value) = tag.split_once('>')?;
        return Some((tag.replace('-', " ").replace("I O", "I/O"), value));
    }
    let (key, value) = content.split_once(": ")?;
    let words = key.starts_with(|first: char| first.is_ascii_uppercase()) || setting(key);
    words.then(|| (key.to_owned(), value))
}

/// Returns an expression with its constants masked.
pub(super) fn constants(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    mask_into(&mut out, text, None);
    out
}

/// Writes a text with its constants masked; returns the quote that is open at its end.
fn mask_into(out: &mut String, text: &str, mut inside: Option<char>) -> Option<char> {
    let mut before = ' ';
    let mut characters = text.char_indices().peekable();
    while let Some((at, next)) = characters.next() {
        match inside {
            Some('\'') => {
                if next == '\'' {
                    if characters.peek().is_some_and(|(_, next)| *next == '\'') {
                        characters.next();
                        continue;
                    }
                    inside = None;
                }
                continue;
            }
            Some(quote) => {
                if next == quote {
                    inside = None;
                }
                out.push(next);
            }
            None if next == '\'' => {
                inside = Some('\'');
                out.push(MASK);
            }
            None if next == '"' => {
                inside = Some('"');
                out.push(next);
            }
            None if next == '$' && !word(before) => {
                let rest: &str = &text[at + 1..];
                if let Some(skip) = dollar_quoted(rest) {
                    out.push(MASK);
                    while characters
                        .peek()
                        .is_some_and(|(next, _)| *next < at + 1 + skip)
                    {
                        characters.next();
                    }
                    before = '0';
                    continue;
                }
                out.push(next);
            }
            None if next.is_ascii_digit() && !word(before) => {
                while characters
                    .peek()
                    .is_some_and(|(_, next)| next.is_ascii_alphanumeric() || *next == '.')
                {
                    characters.next();
                }
                out.push(MASK);
                before = '0';
                continue;
            }
            None => out.push(next),
        }
        before = next;
    }
    inside
}

/// Returns the length of what follows the first dollar of `$tag$text$tag$`; all the rest when it does not end.
fn dollar_quoted(rest: &str) -> Option<usize> {
    let end = rest.find('$')?;
    let tag = &rest[..=end];
    let name = &tag[..end];
    if name.starts_with(|first: char| first.is_ascii_digit())
        || !name
            .chars()
            .all(|next| next.is_alphanumeric() || next == '_')
    {
        return None;
    }
    let body = &rest[end + 1..];
    let closing = format!("${tag}");
    Some(
        body.find(&closing)
            .map_or(rest.len(), |at| end + 1 + at + closing.len()),
    )
}

/// Tells whether a digit after this character belongs to a name: `events_2024`, `$1`.
fn word(before: char) -> bool {
    before.is_alphanumeric() || matches!(before, '_' | '$' | '"')
}
