//! Holds a parsed document against the schema and finds everything that does not fit, not only the first.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::pattern::nearest;
use crate::problem::{Draft, Origin, PROBLEMS_MAX};
use crate::quantity::{Period, Quantity, Size};
use crate::schema::{allowed_texts, resolve, variants};

/// Longest name of an instance, a load or a check.
const NAME_LENGTH_MAX: usize = 63;

/// Returns what does not fit; the span of every key goes into `origin`.
pub(crate) fn walk(
    root: &Value,
    document: &Spanned<DeTable<'_>>,
    origin: &mut Origin,
) -> Vec<Draft> {
    let mut walk = Walk {
        root,
        origin,
        drafts: Vec::new(),
    };
    walk.table(root, document.get_ref(), document.span(), "");
    walk.drafts
}

struct Walk<'a> {
    root: &'a Value,
    origin: &'a mut Origin,
    drafts: Vec<Draft>,
}

impl Walk<'_> {
    fn value(&mut self, schema: &Value, value: &Spanned<DeValue<'_>>, path: &str, key: &str) {
        let root = self.root;
        let schema = resolve(root, schema);
        let span = value.span();
        if let DeValue::Table(table) = value.get_ref() {
            if variants(schema).is_some() {
                return self.variant(schema, table, span, path);
            }
            if schema["type"] == "object" {
                return self.table(schema, table, span, path);
            }
        } else if accepts(schema, value.get_ref()) {
            if let DeValue::Array(items) = value.get_ref() {
                return self.list(&schema["items"], items, path, key);
            }
            return self.scalar(schema, value, key);
        }
        let draft = Draft::new(
            Some(span),
            format!("wrong type of \"{}\"", printable(key)),
            format!(
                "expected {}, found {}",
                words(root, schema),
                found(value.get_ref())
            ),
        );
        let is_list_of_tables = schema["type"] == "array" && is_table(root, &schema["items"]);
        if is_list_of_tables && matches!(value.get_ref(), DeValue::Table(_)) {
            let hint = format!("write [[{}]] with two brackets", plain(path));
            self.drafts.push(draft.with_hint(Some(hint)));
            return self.value(&schema["items"], value, &format!("{path}[0]"), key);
        }
        self.drafts.push(draft);
    }

    fn list(&mut self, schema: &Value, items: &[Spanned<DeValue<'_>>], path: &str, key: &str) {
        let unique = unique_key(resolve(self.root, schema));
        let mut seen: BTreeMap<&str, Range<usize>> = BTreeMap::new();
        let mut repetitions = 0;
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            self.origin.spans.insert(path.clone(), item.span());
            self.value(schema, item, &path, key);
            let name = unique.and_then(|unique| item.get_ref().as_table()?.get(unique));
            let Some((unique, name)) = unique.zip(name) else {
                continue;
            };
            let Some(text) = name.get_ref().as_str() else {
                continue;
            };
            if let Some(earlier) = seen.get(text) {
                let message = format!("{unique} \"{}\" occurs twice", printable(text));
                // Looking a place up is a pass over the text, and what is beyond the bound is not shown.
                let expected = if repetitions < PROBLEMS_MAX {
                    format!("the first one is at {}", self.origin.place(earlier.clone()))
                } else {
                    String::new()
                };
                repetitions += 1;
                self.drafts
                    .push(Draft::new(Some(name.span()), message, expected));
            } else {
                seen.insert(text, name.span());
            }
        }
    }

    fn variant(&mut self, schema: &Value, table: &DeTable<'_>, span: Range<usize>, path: &str) {
        let variants = variants(schema).unwrap_or_default();
        let kinds: Vec<&str> = variants.iter().map(|(kind, _)| *kind).collect();
        let Some((_, kind)) = table.iter().find(|(key, _)| key.get_ref() == "kind") else {
            let message = format!("{} has no \"kind\"", title(path));
            let expected = format!("expected {}", choice(&kinds));
            return self.drafts.push(Draft::absent(span, message, expected));
        };
        match variants
            .iter()
            .find(|(name, _)| kind.get_ref().as_str() == Some(name))
        {
            Some((_, variant)) => self.table(variant, table, span, path),
            None => {
                let any_text = serde_json::json!({"type": "string", "enum": kinds});
                self.value(&any_text, kind, &format!("{path}.kind"), "kind");
            }
        }
    }

    fn table(&mut self, schema: &Value, table: &DeTable<'_>, span: Range<usize>, path: &str) {
        let properties = &schema["properties"];
        for (key, value) in table.iter() {
            let name = key.get_ref().as_ref();
            let path = if path.is_empty() {
                name.to_owned()
            } else {
                format!("{path}.{name}")
            };
            let is_table = matches!(value.get_ref(), DeValue::Table(_));
            let place = if is_table { key.span() } else { value.span() };
            self.origin.spans.insert(path.clone(), place);
            if let Some(property) = properties.get(name) {
                self.value(property, value, &path, name);
            } else if schema["additionalProperties"].is_object() {
                self.value(&schema["additionalProperties"], value, &path, name);
            } else {
                self.stranger(schema, name, key.span(), &path);
            }
        }
        let required = schema["required"].as_array().into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            if !table.iter().any(|(key, _)| key.get_ref() == name) {
                let message = format!("{} has no \"{name}\"", title(path));
                let expected = format!(
                    "expected \"{name}\", {}",
                    words(self.root, resolve(self.root, &properties[name]))
                );
                self.drafts
                    .push(Draft::absent(span.clone(), message, expected));
            }
        }
    }

    /// Reports a key that its table does not have.
    fn stranger(&mut self, schema: &Value, name: &str, span: Range<usize>, path: &str) {
        let keys: Vec<&str> = schema["properties"]
            .as_object()
            .map(|properties| properties.keys().map(String::as_str).collect())
            .unwrap_or_default();
        let parent = path.strip_suffix(name).unwrap_or("").trim_end_matches('.');
        let hint = if let Some(near) = nearest(name, keys.iter().copied()) {
            Some(format!("did you mean \"{near}\"?"))
        } else if matches!(name, "password" | "passwd" | "pgpassword" | "pass") {
            Some("write the password into a file and set password_file to its path".to_owned())
        } else {
            home(self.root, name).map(|home| format!("\"{name}\" belongs to {home}"))
        };
        let message = format!(
            "key \"{}\" does not exist in {}",
            printable(name),
            title(parent)
        );
        let draft = Draft::new(Some(span), message, format!("expected {}", choice(&keys)));
        self.drafts.push(draft.with_hint(hint));
    }

    fn scalar(&mut self, schema: &Value, value: &Spanned<DeValue<'_>>, key: &str) {
        let problem = match value.get_ref() {
            DeValue::String(text) => self.text(schema, text),
            DeValue::Integer(number) => {
                let text = number.to_string();
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => number_problem(schema, text, number as f64),
                    Err(_) => Some((format!("{text} is out of range"), None)),
                }
            }
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(number) => number_problem(schema, number.to_string(), number),
                Err(_) => Some((format!("{} is no number", number.as_str()), None)),
            },
            _ => None,
        };
        if let Some((what, hint)) = problem {
            let message = format!("wrong value of \"{}\": {what}", printable(key));
            let expected = format!("expected {}", words(self.root, schema));
            let draft = Draft::new(Some(value.span()), message, expected);
            self.drafts.push(draft.with_hint(hint));
        }
    }

    fn text(&self, schema: &Value, text: &str) -> Option<(String, Option<String>)> {
        if let Some(allowed) = allowed_texts(schema) {
            if allowed.contains(&text) {
                return None;
            }
            let hint = nearest(text, allowed).map(|near| format!("did you mean \"{near}\"?"));
            return Some((format!("\"{}\" does not exist", printable(text)), hint));
        }
        match schema["format"].as_str() {
            Some("name") => name_problem(text, |c| !c.is_whitespace() && !c.is_control()),
            Some("kebab-case") => name_problem(text, |c| {
                c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
            }),
            Some("address") => address_problem(text),
            Some("web-url") => web_url_problem(text),
            _ if text.is_empty()
                && schema["minLength"]
                    .as_u64()
                    .is_some_and(|length| length > 0) =>
            {
                Some(("it is empty".to_owned(), None))
            }
            _ => quantity_problem(schema, text.parse()),
        }
    }
}

fn name_problem(text: &str, allowed: impl Fn(char) -> bool) -> Option<(String, Option<String>)> {
    let what = if text.is_empty() {
        "it is empty".to_owned()
    } else if text.len() > NAME_LENGTH_MAX {
        format!("it is longer than {NAME_LENGTH_MAX} bytes")
    } else {
        let wrong = text.chars().find(|c| !allowed(*c))?;
        format!("it contains {wrong:?}")
    };
    Some((what, None))
}

/// An address is one of numbers: a name could stand for several, or for another one tomorrow.
fn address_problem(text: &str) -> Option<(String, Option<String>)> {
    if text.parse::<SocketAddr>().is_ok() {
        return None;
    }
    let what = format!("\"{}\" is no address and port", printable(text));
    let port = text.rsplit_once(':').map_or(text, |(_, port)| port);
    let hint = match (text.parse::<IpAddr>(), port.parse::<u16>()) {
        (Ok(ip), _) => Some(SocketAddr::new(ip, 8432).to_string()),
        (_, Ok(port)) if text.starts_with("localhost") || text == port.to_string() => {
            Some(format!("127.0.0.1:{port}"))
        }
        (_, Ok(port)) if text.starts_with("*:") || text.starts_with(':') => {
            Some(format!("0.0.0.0:{port}"))
        }
        _ => None,
    };
    Some((what, hint.map(|hint| format!("write \"{hint}\""))))
}

fn web_url_problem(text: &str) -> Option<(String, Option<String>)> {
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    let host = text.split("://").nth(1).unwrap_or_default();
    let good = matches!(scheme, "http" | "https") && !host.is_empty() && !host.starts_with('/');
    // The text itself may hold a password.
    (!good).then(|| ("it is no URL of HTTP".to_owned(), None))
}

fn number_problem(schema: &Value, text: String, number: f64) -> Option<(String, Option<String>)> {
    let below = schema["minimum"]
        .as_f64()
        .is_some_and(|minimum| number < minimum);
    let above = schema["maximum"]
        .as_f64()
        .is_some_and(|maximum| number > maximum);
    if below || above || number.is_nan() && schema["format"] == "double" {
        return Some((format!("{text} is out of range"), None));
    }
    quantity_problem(schema, Quantity::plain(number))
}

fn quantity_problem(
    schema: &Value,
    quantity: Result<Quantity, String>,
) -> Option<(String, Option<String>)> {
    let result = match schema["format"].as_str() {
        Some("quantity") => quantity.map(drop),
        Some("period") => quantity.and_then(Period::try_from).map(drop),
        Some("size") => quantity.and_then(Size::try_from).map(drop),
        _ => Ok(()),
    };
    result.err().map(|error| (error, None))
}

fn accepts(schema: &Value, value: &DeValue<'_>) -> bool {
    let names: &[&str] = match value {
        DeValue::String(_) => &["string"],
        DeValue::Integer(_) => &["integer", "number"],
        DeValue::Float(_) => &["number"],
        DeValue::Boolean(_) => &["boolean"],
        DeValue::Array(_) => &["array"],
        DeValue::Table(_) => &["object"],
        DeValue::Datetime(_) => &[],
    };
    match &schema["type"] {
        Value::Array(types) => types.iter().any(|name| names.iter().any(|n| name == n)),
        Value::String(name) => names.contains(&name.as_str()),
        // A choice between documented texts carries no type of its own.
        _ => allowed_texts(schema).is_some() && names.contains(&"string"),
    }
}

/// Returns what a value of the schema is, in words that complete "expected ...".
fn words(root: &Value, schema: &Value) -> String {
    if let Some(texts) = allowed_texts(schema) {
        return choice(&texts);
    }
    let integer = || match (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
        (Some(minimum), Some(maximum)) => format!("an integer from {minimum} to {maximum}"),
        _ => "an integer".to_owned(),
    };
    match (schema["format"].as_str(), schema["type"].as_str()) {
        (Some("quantity"), _) => {
            "a number, or a text such as \"80 %\", \"5 min\", \"1 GB\"".to_owned()
        }
        (Some("period"), _) => "a duration such as \"5 min\", or a number of seconds".to_owned(),
        (Some("size"), _) => "a size such as \"100 MB\", or a number of bytes".to_owned(),
        (Some("name"), _) => "a text without spaces".to_owned(),
        (Some("address"), _) => "ADDRESS:PORT, such as \"127.0.0.1:8432\"".to_owned(),
        (Some("web-url"), _) => "a URL that begins with http:// or https://".to_owned(),
        (Some("kebab-case"), _) => "a text of a-z, 0-9 and \"-\"".to_owned(),
        (_, Some("boolean")) => "true or false".to_owned(),
        (_, Some("integer")) => integer(),
        (_, Some("number")) => match (&schema["minimum"], &schema["maximum"]) {
            (Value::Number(minimum), Value::Number(maximum)) => {
                format!("a number from {minimum} to {maximum}")
            }
            _ => "a number".to_owned(),
        },
        (_, Some("array")) if is_table(root, &schema["items"]) => "a list of tables".to_owned(),
        (_, Some("array")) => "a list of texts".to_owned(),
        (_, Some("object")) => "a table".to_owned(),
        (_, None) => "a table".to_owned(),
        _ if schema["minLength"].is_u64() => "a text that is not empty".to_owned(),
        _ => "a text".to_owned(),
    }
}

fn found(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Boolean(true) => "true",
        DeValue::Boolean(false) => "false",
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
        DeValue::Datetime(_) => "a date",
    }
}

fn is_table(root: &Value, schema: &Value) -> bool {
    let schema = resolve(root, schema);
    schema["type"] == "object" || variants(schema).is_some()
}

/// Returns `one of "a", "b"`.
fn choice(texts: &[&str]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("\"{text}\"")).collect();
    match quoted.as_slice() {
        [one] => one.clone(),
        _ => format!("one of {}", quoted.join(", ")),
    }
}

/// Returns the key by which the tables of a list are told apart.
fn unique_key(schema: &Value) -> Option<&str> {
    let properties = schema["properties"].as_object()?;
    let mut keys = properties.iter();
    keys.find(|(_, property)| property["x-unique"] == true)
        .map(|(key, _)| key.as_str())
}

/// Returns the path without list positions: `instance.backup`.
fn plain(path: &str) -> String {
    let parts = path.split('[').enumerate();
    let parts = parts.map(|(index, part)| match (index, part.split_once(']')) {
        (1.., Some((_, rest))) => rest,
        _ => part,
    });
    parts.collect::<String>().escape_debug().to_string()
}

/// Returns how the table at `path` is written in the file.
fn title(path: &str) -> String {
    match (path.is_empty(), path.ends_with(']')) {
        (true, _) => "the file".to_owned(),
        (false, true) => format!("[[{}]]", plain(path)),
        (false, false) => format!("[{}]", plain(path)),
    }
}

/// Returns the table of the format that has a key of this very name, the outermost one if there are several.
fn home(root: &Value, name: &str) -> Option<String> {
    let mut level = vec![(String::new(), root)];
    while !level.is_empty() {
        let mut next = Vec::new();
        for (path, schema) in level {
            let Some(properties) = resolve(root, schema)["properties"].as_object() else {
                continue;
            };
            if !path.is_empty() && properties.contains_key(name) {
                return Some(title(&path));
            }
            for (key, property) in properties {
                let separator = if path.is_empty() { "" } else { "." };
                let path = format!("{path}{separator}{key}");
                let property = resolve(root, property);
                next.push((format!("{path}[]"), &property["items"]));
                next.push((format!("{path}.<id>"), &property["additionalProperties"]));
                next.push((path, property));
            }
        }
        level = next;
    }
    None
}

fn printable(text: &str) -> String {
    const SHOWN_MAX: usize = 80;
    let shown: String = text.chars().take(SHOWN_MAX).collect();
    let ellipsis = if shown.len() < text.len() { "..." } else { "" };
    format!("{}{ellipsis}", shown.escape_debug())
}
