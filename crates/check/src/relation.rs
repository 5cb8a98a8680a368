//! Small helpers for checks about relations: names, options, quoting.

use pawang_core::Row;
pub(crate) use pawang_core::{storage_option as option, storage_option_is_off as option_is_off};

/// Returns `schema.relation` as people read it.
pub(crate) fn name(row: &Row<'_>) -> String {
    format!(
        "{}.{}",
        row.text("schemaname").unwrap_or("?"),
        row.text("relname").unwrap_or("?")
    )
}

/// Returns `"schema"."relation"` ready for a statement, quoted where PostgreSQL needs it.
pub(crate) fn quoted(schema: &str, relation: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(relation))
}

/// Returns the table of a row ready for a statement.
pub(crate) fn table(row: &Row<'_>) -> String {
    quoted(
        row.text("schemaname").unwrap_or("?"),
        row.text("relname").unwrap_or("?"),
    )
}

/// Returns an identifier, in double quotes unless it is plain lower case.
pub(crate) fn identifier(name: &str) -> String {
    let plain = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !RESERVED.contains(&name);
    if plain {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// Key words that people use as names and that PostgreSQL reserves.
const RESERVED: [&str; 21] = [
    "all",
    "analyze",
    "check",
    "column",
    "constraint",
    "default",
    "desc",
    "do",
    "end",
    "from",
    "grant",
    "group",
    "limit",
    "offset",
    "order",
    "primary",
    "references",
    "select",
    "table",
    "to",
    "user",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_quoted_where_the_server_needs_it() {
        for (name, text) in [
            ("orders", "orders"),
            ("Orders", "\"Orders\""),
            ("2024", "\"2024\""),
            ("a\"b", "\"a\"\"b\""),
            ("order", "\"order\""),
        ] {
            assert_eq!(identifier(name), text);
        }
    }
}
