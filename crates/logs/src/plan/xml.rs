//! The XML that EXPLAIN writes: elements and text, no attributes but the name space of the first. No other XML.

use serde_json::{Map, Value};

use super::Error;

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 600;

/// Elements that hold a list, whatever the names of what is in them.
const LISTS: [&str; 7] = [
    "Plans",
    "Workers",
    "Triggers",
    "Target Tables",
    "Grouping Sets",
    "Group Keys",
    "Hash Keys",
];

struct Element<'a> {
    name: &'a str,
    text: String,
    children: Vec<(String, Value)>,
}

/// Reads a text to the tree that the JSON format would be.
pub(super) fn read(text: &str) -> Result<Value, Error> {
    let mut stack: Vec<Element<'_>> = Vec::new();
    let mut rest = text.trim_start();
    let line = |rest: &str| text[..text.len() - rest.len()].matches('\n').count();
    loop {
        let Some((before, after)) = rest.split_once('<') else {
            return Err(Error::line(
                line(rest),
                "an element such as \"<explain>\" and its end",
                rest,
            ));
        };
        if let Some(open) = stack.last_mut() {
            open.text.push_str(before);
        } else if !before.trim().is_empty() {
            return Err(Error::line(
                line(rest),
                "nothing before \"<explain>\"",
                before,
            ));
        }
        let Some((tag, next)) = after.split_once('>') else {
            return Err(Error::line(line(after), "the end of a tag", after));
        };
        if let Some(name) = tag.strip_prefix('/') {
            let Some(element) = stack.pop().filter(|element| element.name == name.trim()) else {
                return Err(Error::line(
                    line(after),
                    "the end of the element that is open",
                    tag,
                ));
            };
            let (name, value) = close(element);
            match stack.last_mut() {
                Some(parent) => parent.children.push((name, value)),
                None => return Ok(value),
            }
        } else if !tag.starts_with(['?', '!']) {
            if stack.len() > MAX_DEPTH {
                return Err(Error::TooLarge);
            }
            let empty = tag.ends_with('/');
            let name = tag
                .trim_end_matches('/')
                .split_whitespace()
                .next()
                .unwrap_or_default();
            let element = Element {
                name,
                text: String::new(),
                children: Vec::new(),
            };
            if !empty {
                stack.push(element);
            } else if let Some(parent) = stack.last_mut() {
                parent.children.push(close(element));
            }
        }
        rest = next;
    }
}

/// Makes the value of an element that has ended.
fn close(element: Element<'_>) -> (String, Value) {
    let name = words(element.name);
    let items = !element.children.is_empty()
        && element
            .children
            .iter()
            .all(|(child, _)| child == "Item" || *child == name);
    // auto_explain puts one plan into it without a list.
    let plans = name == "explain" && element.children.iter().all(|(child, _)| child == "Query");
    if items || plans || LISTS.contains(&name.as_str()) {
        let values = element.children.into_iter().map(|(_, value)| value);
        return (name, Value::Array(values.collect()));
    }
    if element.children.is_empty() {
        // Keys of an empty grouping set are a list without items.
        let empty =
            matches!(name.as_str(), "Group Key" | "Hash Key") && element.text.trim().is_empty();
        let value = if empty {
            Value::Array(Vec::new())
        } else {
            unescape(&element.text).into()
        };
        return (name, value);
    }
    (name, Value::Object(named(element.children)))
}

/// Makes an object of elements; those of an incremental sort have the same name twice, in the order that JSON has names for.
fn named(children: Vec<(String, Value)>) -> Map<String, Value> {
    let external = children
        .iter()
        .any(|(name, value)| name == "Sort Methods Used" && value.to_string().contains("external"));
    let spaces = children
        .iter()
        .filter(|(name, _)| name == "Sort Space")
        .count();
    let mut map = Map::new();
    for (name, value) in children {
        let name = match name.as_str() {
            "Incremental Sort Groups" if map.contains_key("Full-sort Groups") => {
                "Pre-sorted Groups".to_owned()
            }
            "Incremental Sort Groups" => "Full-sort Groups".to_owned(),
            "Sort Space" if map.contains_key("Sort Space Memory") || spaces == 1 && external => {
                "Sort Space Disk".to_owned()
            }
            "Sort Space" => "Sort Space Memory".to_owned(),
            _ => name,
        };
        map.insert(name, value);
    }
    map
}

/// Returns the name that JSON has for a tag.
fn words(tag: &str) -> String {
    let name = tag.replace('-', " ");
    match name.as_str() {
        "Full sort Groups" => "Full-sort Groups".to_owned(),
        "Pre sorted Groups" => "Pre-sorted Groups".to_owned(),
        "One Time Filter" => "One-Time Filter".to_owned(),
        _ => name.replace("I O ", "I/O "),
    }
}

fn unescape(text: &str) -> String {
    if !text.contains('&') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let known = [
            ("lt;", '<'),
            ("gt;", '>'),
            ("quot;", '"'),
            ("apos;", '\''),
            ("#x0d;", '\r'),
            ("#xd;", '\r'),
            ("#10;", '\n'),
            ("amp;", '&'),
        ];
        let found = known.iter().find(|(name, _)| after.starts_with(name));
        if let Some((name, character)) = found {
            out.push(*character);
            rest = &after[name.len()..];
        } else {
            out.push('&');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}
