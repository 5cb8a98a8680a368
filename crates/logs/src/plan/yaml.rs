//! The YAML that EXPLAIN writes: maps and lists by indentation, texts in double quotes with the escapes of JSON. No other YAML.

use serde_json::{Map, Value};

use super::Error;
use super::text::rows_line;

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 600;

struct Line<'a> {
    column: usize,
    content: &'a str,
    number: usize,
}

/// Reads a text to the tree that the JSON format would be.
pub(super) fn read(text: &str) -> Result<Value, Error> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let content = line.trim();
        if content.is_empty() || content == "---" || rows_line(content) {
            continue;
        }
        let mut column = line.len() - line.trim_start_matches(' ').len();
        let mut content = content;
        // `- Node Type: "x"` is a list item and, two columns further, the first line of what is in it.
        while let Some(rest) = content.strip_prefix("- ") {
            lines.push(Line {
                column,
                content: "-",
                number,
            });
            column += content.len() - rest.trim_start().len();
            content = rest.trim_start();
        }
        lines.push(Line {
            column,
            content,
            number,
        });
    }
    let first = lines.first().ok_or(Error::Empty)?.column;
    let mut at = 0;
    let value = block(&lines, &mut at, first, 0)?;
    match lines.get(at) {
        Some(line) => Err(Error::line(
            line.number,
            "a line of the same indentation as the first",
            line.content,
        )),
        None => Ok(value),
    }
}

/// Reads the lines of one block, which all begin at a column or right of it.
fn block(lines: &[Line<'_>], at: &mut usize, column: usize, depth: usize) -> Result<Value, Error> {
    if depth > MAX_DEPTH {
        return Err(Error::TooLarge);
    }
    let Some(line) = lines.get(*at) else {
        return Ok(Value::Null);
    };
    if line.content == "-" {
        return list(lines, at, column, depth);
    }
    if key(line.content).is_none() {
        *at += 1;
        return scalar(line.content, line.number);
    }
    let mut map = Map::new();
    while let Some(line) = lines
        .get(*at)
        .filter(|line| line.column == column && line.content != "-")
    {
        let Some((key, value)) = key(line.content) else {
            return Err(Error::line(
                line.number,
                "a key such as \"Node Type: \"",
                line.content,
            ));
        };
        *at += 1;
        let value = if value.is_empty() {
            nested(lines, at, column, depth)?
        } else {
            scalar(value, line.number)?
        };
        map.insert(key.to_owned(), value);
    }
    Ok(Value::Object(map))
}

/// Reads what is under a key: deeper lines, or a list at the same column.
fn nested(lines: &[Line<'_>], at: &mut usize, column: usize, depth: usize) -> Result<Value, Error> {
    match lines.get(*at) {
        Some(next) if next.column > column || (next.column == column && next.content == "-") => {
            block(lines, at, next.column, depth + 1)
        }
        _ => Ok(Value::Null),
    }
}

fn list(lines: &[Line<'_>], at: &mut usize, column: usize, depth: usize) -> Result<Value, Error> {
    let mut items = Vec::new();
    while lines
        .get(*at)
        .is_some_and(|line| line.column == column && line.content == "-")
    {
        *at += 1;
        match lines.get(*at) {
            Some(next) if next.column > column => {
                items.push(block(lines, at, next.column, depth + 1)?)
            }
            _ => items.push(Value::Null),
        }
    }
    Ok(Value::Array(items))
}

/// Splits `Key: value`; a scalar has no key.
fn key(content: &str) -> Option<(&str, &str)> {
    if content.starts_with(['"', '[', '{']) {
        return None;
    }
    match content.split_once(": ") {
        Some((key, value)) => Some((key, value.trim())),
        None => content.strip_suffix(':').map(|key| (key, "")),
    }
}

fn scalar(text: &str, number: usize) -> Result<Value, Error> {
    if text.starts_with(['"', '[', '{']) {
        return serde_json::from_str(text)
            .map_err(|_| Error::line(number, "a text in double quotes", text));
    }
    Ok(match text {
        "true" => true.into(),
        "false" => false.into(),
        _ => match text.parse::<serde_json::Number>() {
            Ok(number) => Value::Number(number),
            Err(_) => text.into(),
        },
    })
}
