//! The schema and the reference page describe the format whole.

use pawang_config::{example, reference, schema};
use serde_json::Value;

/// Calls `visit` for every property of the schema.
fn properties<'a>(schema: &'a Value, path: &str, visit: &mut dyn FnMut(&str, &'a Value)) {
    if let Some(properties) = schema["properties"].as_object() {
        for (key, property) in properties {
            visit(&format!("{path}.{key}"), property);
        }
    }
    match schema {
        Value::Object(map) => map
            .iter()
            .for_each(|(key, value)| properties(value, &format!("{path}.{key}"), visit)),
        Value::Array(items) => items.iter().for_each(|item| properties(item, path, visit)),
        _ => {}
    }
}

#[test]
fn every_key_is_described_in_schema_and_reference() {
    let (schema, page) = (schema(), reference());
    let mut count = 0;
    properties(&schema, "", &mut |path, property| {
        count += 1;
        let described = property["description"].is_string() || property["const"].is_string();
        assert!(described, "{path} has no description");
        let key = path.rsplit('.').next().expect("a path has a last part");
        let shown = [
            format!("| `{key}` |"),
            format!("[{key}]"),
            format!("[{key}."),
            format!(".{key}]"),
        ];
        assert!(
            shown.iter().any(|text| page.contains(text.as_str())),
            "{path} is not in the reference"
        );
    });
    assert!(count > 50, "only {count} keys were seen");
}

#[test]
fn the_schema_knows_no_null_and_refuses_other_keys() {
    let schema = schema();
    assert!(!schema.to_string().contains("null"), "{schema}");
    assert_eq!(schema["title"], "pawang.toml");
    assert_eq!(schema["additionalProperties"], false);
    for (name, definition) in schema["$defs"].as_object().expect("there are definitions") {
        let open = definition["type"] == "object" && definition["additionalProperties"] != false;
        assert!(!open, "{name} accepts any key");
    }
}

#[test]
fn the_reference_reads_as_people_write() {
    let page = reference();
    for line in [
        "## `[check.<id>]`",
        "## `[[instance.backup]]`",
        "### `kind = \"pgbackrest\"`",
        "| `name` | text | required | Name of the server in every output; unique, without spaces. |",
        "| `concurrency` | integer, 1 to 256 | `8` | How many servers are read at the same time. |",
        "| `budget_percent` | number, 0.01 to 100 | `0.5` | Share of one core of the server that observing may use, in percent; collectors are asked less often to keep it. |",
        "| `maximum_age` | duration | required | How old the newest row may be. |",
        "| `minimum_size` | size |  | A smaller one counts as failed. |",
        "| `direction` | `\"above\"`, `\"below\"` | `\"above\"` | Which side of the limits is wrong. |",
        "| `kind` | `\"sql\"` | required | Which kind of source it is. |",
        "The most particular one wins: object, then database, instance, group, estate; among equals the later one.",
    ] {
        assert!(page.lines().any(|shown| shown == line), "{line}\n\n{page}");
    }
}

#[test]
fn the_example_shows_every_table_of_the_format() {
    for table in [
        "[defaults]",
        "[[instance]]",
        "[[instance.backup]]",
        "[[instance.load]]",
        "[[instance.freshness]]",
        "[check.",
        "[[override]]",
        "[[user_check]]",
        "[collectors]",
        "state_directory",
        "pgbouncer",
        "patroni",
        "[serve]",
        "[serve.tls]",
        "[serve.retention]",
        "[serve.logs]",
        "[serve.metrics]",
        "[[serve.remote_write]]",
        "[[repository]]",
        "[backup]",
        "[[backup.probe]]",
        "[instance.backup_policy]",
    ] {
        assert!(example().contains(table), "{table}");
    }
}
