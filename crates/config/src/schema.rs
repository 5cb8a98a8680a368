//! The JSON schema of `pawang.toml` and the reference page made from it.

use std::fmt::Write as _;
use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::tree::Config;

/// Returns the JSON schema (draft 2020-12) of `pawang.toml`, keys in alphabetical order.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12()
        .for_deserialize()
        .into_generator();
    let mut schema = tidy(generator.into_root_schema_for::<Config>().to_value());
    if let Some(map) = schema.as_object_mut() {
        map.insert("title".to_owned(), Value::from("pawang.toml"));
    }
    sorted(schema)
}

/// The schema that every file is held against; it never changes while the program runs.
pub(crate) static SCHEMA: LazyLock<Value> = LazyLock::new(schema);

/// Removes `null`, which TOML does not have, from every type and default.
fn tidy(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(tidy).collect()),
        Value::Object(map) => tidy_object(map),
        other => other,
    }
}

fn tidy_object(map: Map<String, Value>) -> Value {
    let mut tidied = Map::new();
    for (key, value) in map {
        match (key.as_str(), value) {
            (_, Value::Null) => {}
            ("type", Value::Array(types)) => {
                let mut types: Vec<Value> = types.into_iter().filter(|t| t != "null").collect();
                let value = match types.len() {
                    1 => types.remove(0),
                    _ => Value::Array(types),
                };
                tidied.insert(key, value);
            }
            ("anyOf", Value::Array(choices)) => {
                let mut choices: Vec<Value> = choices
                    .into_iter()
                    .filter(|choice| choice["type"] != "null")
                    .map(tidy)
                    .collect();
                match (choices.len(), choices.pop()) {
                    (1, Some(Value::Object(only))) => tidied.extend(only),
                    (_, last) => {
                        choices.extend(last);
                        tidied.insert(key, Value::Array(choices));
                    }
                }
            }
            (_, value) => {
                tidied.insert(key, tidy(value));
            }
        }
    }
    Value::Object(tidied)
}

/// Sorts keys, so that the text does not depend on which features of serde_json another crate switched on.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|one, other| one.0.cmp(&other.0));
            let entries = entries.into_iter().map(|(key, value)| (key, sorted(value)));
            Value::Object(entries.collect())
        }
        other => other,
    }
}

/// Follows `$ref` within the schema.
pub(crate) fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let name = schema["$ref"]
        .as_str()
        .and_then(|path| path.strip_prefix("#/$defs/"));
    match name {
        Some(name) => &root["$defs"][name],
        None => schema,
    }
}

/// Returns the variants of a schema that chooses between tables by the key `kind`, with their kind.
pub(crate) fn variants(schema: &Value) -> Option<Vec<(&str, &Value)>> {
    let choices = schema["oneOf"].as_array()?;
    choices
        .iter()
        .map(|choice| Some((choice["properties"]["kind"]["const"].as_str()?, choice)))
        .collect()
}

/// Returns the texts that a schema allows, where it allows only some.
pub(crate) fn allowed_texts(schema: &Value) -> Option<Vec<&str>> {
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(Value::as_str).collect();
    }
    let choices = schema["oneOf"].as_array()?;
    choices
        .iter()
        .map(|choice| choice["const"].as_str())
        .collect()
}

/// Returns the documentation of every key as Markdown, for `docs/reference/config.md`.
pub fn reference() -> String {
    let root = schema();
    let mut page = String::from(
        "# pawang.toml\n\n<!-- Generated from the structs that read the file; change them, not this page. -->\n\n",
    );
    let _ = writeln!(page, "{}\n", description(&root));
    let _ = writeln!(page, "{UNITS}\n");
    keys(&root, &root, "", &mut page);
    format!("{}\n", page.trim_end())
}

const UNITS: &str = "A **limit** is a number in the check's own unit, or a text with a unit: `\"80 %\"`, `\"250 ms\"`, `\"5 min\"`, `\"26 h\"`, `\"7 d\"`,\n\
`\"100 MB\"` (1 kB is 1,024 bytes), `\"16 MB/s\"`, `\"10 /s\"`, or `\"never\"`. A **duration** is such a text or a number of seconds, a **size**\n\
such a text or a number of bytes. In a **pattern**, `*` stands for any run of characters.";

/// A table of the format, for its chapter of the reference.
struct Section<'a> {
    path: String,
    list: bool,
    /// What the key says about itself; the table may say more.
    about: &'a str,
    schema: &'a Value,
}

fn section(root: &Value, section: &Section<'_>, page: &mut String) {
    let path = section.path.as_str();
    let (open, close) = if section.list {
        ("[[", "]]")
    } else {
        ("[", "]")
    };
    let _ = writeln!(page, "## `{open}{path}{close}`\n");
    let mut texts = vec![section.about, description(section.schema)];
    texts.dedup();
    for text in texts {
        let _ = writeln!(page, "{text}\n");
    }
    let Some(variants) = variants(section.schema) else {
        return keys(root, section.schema, path, page);
    };
    for (kind, variant) in variants {
        let about = description(variant);
        let _ = writeln!(page, "### `kind = \"{kind}\"`\n\n{about}\n");
        keys(root, variant, path, page);
    }
}

/// Writes the table of the plain keys, required ones first, then a section for each key that is a table.
fn keys(root: &Value, schema: &Value, path: &str, page: &mut String) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    let required: Vec<&str> = schema["required"]
        .as_array()
        .map(|keys| keys.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let mut rows = Vec::new();
    let mut nested = Vec::new();
    for (key, property) in properties {
        match nested_section(root, property, path, key) {
            Some(section) => nested.push(section),
            None => {
                let required = required.contains(&key.as_str());
                rows.push((!required, row(root, key, property, required)));
            }
        }
    }
    if !rows.is_empty() {
        rows.sort_by_key(|(optional, _)| *optional);
        let rows: String = rows.into_iter().map(|(_, row)| row).collect();
        let _ = writeln!(
            page,
            "| key | type | default | meaning |\n|---|---|---|---|\n{rows}"
        );
    }
    for nested in nested {
        section(root, &nested, page);
    }
}

/// Returns the chapter of a key that is a table, a list of tables or a map of tables.
fn nested_section<'a>(
    root: &'a Value,
    property: &'a Value,
    path: &str,
    key: &str,
) -> Option<Section<'a>> {
    let target = resolve(root, property);
    let item = resolve(root, &target["items"]);
    let entry = resolve(root, &target["additionalProperties"]);
    let (suffix, list, schema) = if is_table(target) {
        ("", false, target)
    } else if is_table(item) {
        ("", true, item)
    } else if is_table(entry) {
        (".<id>", false, entry)
    } else {
        return None;
    };
    let separator = if path.is_empty() { "" } else { "." };
    Some(Section {
        path: format!("{path}{separator}{key}{suffix}"),
        list,
        about: description(property),
        schema,
    })
}

fn row(root: &Value, key: &str, property: &Value, required: bool) -> String {
    let default = match &property["default"] {
        _ if required => "required".to_owned(),
        Value::Null => String::new(),
        value => format!("`{value}`"),
    };
    let text = description(property)
        .replace("\n\n", " ")
        .replace('\n', " ");
    let text = if property["const"].is_string() {
        "Which kind of source it is."
    } else {
        &text
    };
    let kind = type_words(root, property).replace('|', "\\|");
    let text = text.replace('|', "\\|");
    format!("| `{key}` | {kind} | {default} | {text} |\n")
}

fn is_table(schema: &Value) -> bool {
    schema["properties"].is_object() || variants(schema).is_some()
}

fn description(schema: &Value) -> &str {
    schema["description"].as_str().unwrap_or("")
}

/// Returns the type of a key in words.
fn type_words(root: &Value, schema: &Value) -> String {
    let target = resolve(root, schema);
    if let Some(texts) = allowed_texts(target) {
        let texts: Vec<String> = texts.iter().map(|text| format!("`\"{text}\"`")).collect();
        return texts.join(", ");
    }
    if let Some(text) = schema["const"].as_str() {
        return format!("`\"{text}\"`");
    }
    match (target["format"].as_str(), target["type"].as_str()) {
        (Some("quantity"), _) => "limit".to_owned(),
        (Some("period"), _) => "duration".to_owned(),
        (Some("size"), _) => "size".to_owned(),
        (Some("address"), _) => "address and port".to_owned(),
        (_, Some("boolean")) => "true or false".to_owned(),
        (_, Some("integer")) => match (target["minimum"].as_i64(), target["maximum"].as_i64()) {
            (Some(minimum), Some(maximum)) => format!("integer, {minimum} to {maximum}"),
            _ => "integer".to_owned(),
        },
        (_, Some("number")) => match (target["minimum"].as_f64(), target["maximum"].as_f64()) {
            (Some(minimum), Some(maximum)) => format!("number, {minimum} to {maximum}"),
            _ => "number".to_owned(),
        },
        (_, Some("array")) => format!("list of {}s", type_words(root, &target["items"])),
        (_, Some("object")) => format!(
            "table of {}s",
            type_words(root, &target["additionalProperties"])
        ),
        _ => "text".to_owned(),
    }
}
