//! Small helpers about relations: names, options, quoting.

use crate::Row;

/// Returns `schema.relation` as people read it.
pub fn name(row: &Row<'_>) -> String {
    format!(
        "{}.{}",
        row.text("schemaname").unwrap_or("?"),
        row.text("relname").unwrap_or("?")
    )
}

/// Returns `"schema"."relation"` ready for a statement, quoted where PostgreSQL needs it.
pub fn quoted(schema: &str, relation: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(relation))
}

/// Returns the table of a row ready for a statement.
pub fn table(row: &Row<'_>) -> String {
    quoted(
        row.text("schemaname").unwrap_or("?"),
        row.text("relname").unwrap_or("?"),
    )
}

/// Returns an identifier, in double quotes unless it is plain lower case.
pub fn identifier(name: &str) -> String {
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

/// Takes `schema.relation` apart as the server's own `%I.%I` or `quote_ident` wrote it.
pub fn parts(text: &str) -> Option<(String, String)> {
    let (schema, rest) = part(text)?;
    let (name, rest) = part(rest.strip_prefix('.')?)?;
    rest.is_empty().then_some((schema, name))
}

fn part(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find('.').unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let end = rest.find('"')?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, rest)),
        }
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

/// Returns the value of a storage option such as `fillfactor`.
pub fn option<'a>(options: &'a [String], name: &str) -> Option<&'a str> {
    options.iter().find_map(|option| {
        option
            .split_once('=')
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value)
    })
}

/// Returns whether a Boolean storage option is set and off.
pub fn option_is_off(options: &[String], name: &str) -> bool {
    option(options, name).is_some_and(|value| {
        let value = value.to_ascii_lowercase();
        value == "0"
            || value == "of"
            || value == "off"
            || "false".starts_with(&value)
            || "no".starts_with(&value)
    })
}

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

    #[test]
    fn names_are_read_as_the_server_quotes_them() {
        for (text, schema, name) in [
            ("public.orders", "public", "orders"),
            ("\"Sales\".\"a.b\"", "Sales", "a.b"),
            ("s.\"x\"\"y\"", "s", "x\"y"),
        ] {
            let expected = (schema.to_owned(), name.to_owned());
            assert_eq!(parts(text), Some(expected), "{text}");
        }
        assert_eq!(parts("\"open"), None);
    }

    #[test]
    fn options_are_found_by_their_whole_name() {
        let options = [
            "fillfactor=70".to_owned(),
            "autovacuum_enabled=false".to_owned(),
        ];
        assert_eq!(option(&options, "fillfactor"), Some("70"));
        assert_eq!(option(&options, "fill"), None);
        assert!(option_is_off(&options, "autovacuum_enabled"));
        assert!(!option_is_off(&options, "deduplicate_items"));
    }
}
