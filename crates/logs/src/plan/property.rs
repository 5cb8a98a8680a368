//! The lines below a node of the text format: one line often holds what are several fields of JSON.

use serde_json::{Map, Value};

use super::header;

type Fields = Map<String, Value>;

/// Splits a line at its first colon that ends a key; a key is words, not an expression.
pub(super) fn split(line: &str) -> Option<(&str, &str)> {
    let (key, value) = match line.split_once(": ") {
        Some((key, value)) => (key, value.trim()),
        None => (line.strip_suffix(':')?, ""),
    };
    let words =
        key.starts_with(|first: char| first.is_ascii_uppercase()) || key.starts_with("Trigger ");
    words.then_some((key, value))
}

/// Returns the object of a key, made where there is none.
pub(super) fn group<'a>(fields: &'a mut Fields, key: &str) -> &'a mut Fields {
    let value = fields
        .entry(key)
        .or_insert_with(|| Value::Object(Fields::new()));
    if !value.is_object() {
        *value = Value::Object(Fields::new());
    }
    value.as_object_mut().expect("it was made an object above")
}

/// Reads the number that a text begins with: `12`, `1.50`, `25kB`, `0.1 ms`.
pub(super) fn number(text: &str) -> Value {
    let text = text.trim();
    let end = text
        .find(|next: char| !next.is_ascii_digit() && next != '.')
        .unwrap_or(text.len());
    let digits = &text[..end];
    if let Ok(whole) = digits.parse::<u64>() {
        return whole.into();
    }
    digits.parse::<f64>().map_or(Value::Null, Value::from)
}

/// Names of the text format and of JSON.
type Names = &'static [(&'static str, &'static str)];

/// Lines of columns that have other names in JSON: `Buckets: 1024  Batches: 1  Memory Usage: 9kB`.
const COLUMNS: [(&[&str], Names); 3] = [
    (
        &["Buckets"],
        &[
            ("Buckets", "Hash Buckets"),
            ("Batches", "Hash Batches"),
            ("Memory Usage", "Peak Memory Usage"),
        ],
    ),
    (
        &["Batches", "Planned Partitions"],
        &[
            ("Planned Partitions", "Planned Partitions"),
            ("Batches", "HashAgg Batches"),
            ("Memory Usage", "Peak Memory Usage"),
            ("Disk Usage", "Disk Usage"),
        ],
    ),
    (
        &["Hits"],
        &[
            ("Hits", "Cache Hits"),
            ("Misses", "Cache Misses"),
            ("Evictions", "Cache Evictions"),
            ("Overflows", "Cache Overflows"),
            ("Memory Usage", "Peak Memory Usage"),
        ],
    ),
];

/// Lines of pairs: `exact=12 lossy=3`.
const PAIRS: [(&str, Names); 5] = [
    (
        "Memory",
        &[("used", "Memory Used"), ("allocated", "Memory Allocated")],
    ),
    (
        "Heap Blocks",
        &[
            ("exact", "Exact Heap Blocks"),
            ("lossy", "Lossy Heap Blocks"),
        ],
    ),
    (
        "WAL",
        &[
            ("records", "WAL Records"),
            ("fpi", "WAL FPI"),
            ("bytes", "WAL Bytes"),
            ("buffers full", "WAL Buffers Full"),
        ],
    ),
    (
        "Tuples",
        &[
            ("inserted", "Tuples Inserted"),
            ("updated", "Tuples Updated"),
            ("deleted", "Tuples Deleted"),
            ("skipped", "Tuples Skipped"),
        ],
    ),
    (
        "Estimates",
        &[
            ("capacity", "Estimated Capacity"),
            ("distinct keys", "Estimated Distinct Lookup Keys"),
            ("lookups", "Estimated Lookups"),
            ("hit percent", "Estimated Hit Percent"),
        ],
    ),
];

/// Adds what one line says to the fields of its node.
pub(super) fn property(fields: &mut Fields, key: &str, value: &str) {
    if let Some((_, names)) = COLUMNS.iter().find(|(keys, _)| keys.contains(&key)) {
        return renamed(fields, key, value, names);
    }
    if let Some((_, names)) = PAIRS.iter().find(|(first, _)| *first == key)
        && value.contains('=')
    {
        return pairs(fields, value, names);
    }
    match key {
        "Sort Method" => sort_method(fields, value),
        "Full-sort Groups" | "Pre-sorted Groups" => sort_groups(group(fields, key), value),
        "Storage" => {
            for (name, value) in columns(key, value) {
                let value = if name == "Storage" {
                    value.into()
                } else {
                    number(value)
                };
                set(fields, name, value);
            }
        }
        "Buffers" => buffers(fields, value),
        "I/O Timings" => timings(fields, value),
        "Group Key" | "Hash Key" | "Sort Key" => match fields.get_mut(key) {
            // Grouping sets have several.
            Some(Value::String(keys)) => {
                keys.push_str("; ");
                keys.push_str(value);
            }
            _ => set(fields, key, value.into()),
        },
        _ => set(fields, key, value.into()),
    }
}

fn sort_method(fields: &mut Fields, value: &str) {
    for (name, value) in columns("Sort Method", value) {
        match name {
            "Sort Method" => set(fields, name, value.into()),
            "Memory" | "Disk" => {
                set(fields, "Sort Space Type", name.into());
                set(fields, "Sort Space Used", number(value));
            }
            _ => {}
        }
    }
}

fn set(fields: &mut Fields, key: &str, value: Value) {
    fields.insert(key.to_owned(), value);
}

/// Splits `quicksort  Memory: 25kB` into its pairs, the first of which has its key already.
fn columns<'a>(key: &'a str, value: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let mut parts = value.split("  ").filter(|part| !part.is_empty());
    let first = parts.next().map(|first| (key, first.trim()));
    first
        .into_iter()
        .chain(parts.filter_map(|part| part.trim().split_once(": ")))
}

/// Reads `1024 (originally 512)  Batches: 1  Memory Usage: 9kB` under the names of JSON.
fn renamed(fields: &mut Fields, key: &str, value: &str, names: &[(&str, &str)]) {
    for (name, value) in columns(key, value) {
        let Some((_, renamed)) = names.iter().find(|(from, _)| *from == name) else {
            continue;
        };
        if let Some((_, original)) = value.split_once("(originally ") {
            set(fields, &format!("Original {renamed}"), number(original));
        }
        set(fields, renamed, number(value));
    }
}

/// Reads `exact=12 lossy=3` under the names of JSON; a name may have several words.
fn pairs(fields: &mut Fields, value: &str, names: &[(&str, &str)]) {
    let mut parts = value.split('=');
    let mut name = parts.next().unwrap_or_default().trim();
    for part in parts {
        let part = part.trim();
        let (value, next) = part.split_once(' ').unwrap_or((part, ""));
        if let Some((_, renamed)) = names.iter().find(|(from, _)| *from == name) {
            set(fields, renamed, number(value));
        }
        name = next.trim();
    }
}

fn sort_groups(fields: &mut Fields, value: &str) {
    for (name, value) in columns("Group Count", value) {
        match name {
            "Group Count" => set(fields, name, number(value)),
            "Sort Method" | "Sort Methods" => set(fields, "Sort Methods Used", value.into()),
            _ => {
                let Some((when, place)) = name.split_once(' ') else {
                    continue;
                };
                let space = group(fields, &format!("Sort Space {place}"));
                set(space, &format!("{when} Sort Space Used"), number(value));
            }
        }
    }
}

/// Reads `shared hit=1 read=2, temp read=3 written=4`.
fn buffers(fields: &mut Fields, value: &str) {
    for part in value.split(", ") {
        let Some((kind, counts)) = part.trim().split_once(' ') else {
            continue;
        };
        for pair in counts.split(' ') {
            if let Some((what, count)) = pair.split_once('=') {
                set(
                    fields,
                    &format!("{} {} Blocks", capital(kind), capital(what)),
                    number(count),
                );
            }
        }
    }
}

/// Reads `read=0.1 write=0.2`, `shared/local read=0.1, temp read=0.2` or `shared read=0.1, local write=0.2`.
fn timings(fields: &mut Fields, value: &str) {
    for part in value.split(", ") {
        let part = part.trim();
        let (kind, times) = match part.split_once(' ') {
            Some((kind, times)) if !kind.contains('=') => (kind, times),
            _ => ("", part),
        };
        let kind = match kind {
            "" | "shared/local" => String::new(),
            kind => format!("{} ", capital(kind)),
        };
        for pair in times.split(' ') {
            if let Some((what, time)) = pair.split_once('=') {
                set(
                    fields,
                    &format!("{kind}I/O {} Time", capital(what)),
                    number(time),
                );
            }
        }
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// Reads what follows `Worker 0:`.
pub(super) fn worker(fields: &mut Fields, value: &str) {
    if let Some(actual) = value.strip_prefix("actual ") {
        header::actual(fields, &format!("actual {actual}"));
    } else if value == "never executed" {
        header::actual(fields, value);
    } else if let Some((key, value)) = split(value) {
        property(fields, key, value);
    }
}

/// Reads `time=0.1 ms  output=10kB  format=text`.
pub(super) fn serialization(fields: &mut Fields, value: &str) {
    for part in value.split("  ") {
        match part.trim().split_once('=') {
            Some(("time", time)) => set(fields, "Time", number(time)),
            Some(("output", output)) => set(fields, "Output Volume", number(output)),
            Some(("format", format)) => set(fields, "Format", format.into()),
            _ => {}
        }
    }
}

/// Reads `work_mem = '64kB', search_path = 'a, b'`.
pub(super) fn settings(fields: &mut Fields, value: &str) {
    let mut last: Option<String> = None;
    for part in value.split("', ") {
        let start = part.split_once(" = '").filter(|(name, _)| {
            name.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
        });
        match (start, &last) {
            (Some((name, setting)), _) => {
                set(fields, name, setting.into());
                last = Some(name.to_owned());
            }
            (None, Some(name)) => {
                if let Some(Value::String(setting)) = fields.get_mut(name) {
                    setting.push_str("', ");
                    setting.push_str(part);
                }
            }
            (None, None) => {}
        }
    }
    if let Some(Value::String(setting)) = last.and_then(|last| fields.get_mut(&last))
        && setting.ends_with('\'')
    {
        setting.pop();
    }
}

/// Reads `Trigger RI_Constraint for constraint orders_fkey on orders: time=0.1 calls=2`.
pub(super) fn trigger(key: &str, value: &str) -> Value {
    let mut fields = Fields::new();
    let mut name = key.strip_prefix("Trigger ").unwrap_or(key);
    if let Some((rest, relation)) = name.rsplit_once(" on ") {
        set(&mut fields, "Relation", relation.into());
        name = rest;
    }
    if let Some(constraint) = name.strip_prefix("for constraint ") {
        set(&mut fields, "Constraint Name", constraint.into());
    } else if let Some((name, constraint)) = name.split_once(" for constraint ") {
        set(&mut fields, "Trigger Name", name.into());
        set(&mut fields, "Constraint Name", constraint.into());
    } else {
        set(&mut fields, "Trigger Name", name.into());
    }
    pairs(&mut fields, value, &[("time", "Time"), ("calls", "Calls")]);
    Value::Object(fields)
}

/// Reads a line below `JIT:`.
pub(super) fn jit(fields: &mut Fields, key: &str, value: &str) {
    match key {
        "Functions" => set(fields, key, number(value)),
        "Options" | "Timing" => {
            let fields = group(fields, key);
            for part in value.split(", ") {
                if let Some((name, value)) = part.trim().split_once(' ') {
                    let value = match value {
                        "true" => true.into(),
                        "false" => false.into(),
                        time => number(time),
                    };
                    set(fields, name, value);
                }
            }
        }
        _ => {}
    }
}
