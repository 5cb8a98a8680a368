//! Names and texts as SQL has them.

use pawang_core::plan::Relation;

/// Returns an identifier in double quotes.
pub(crate) fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns a string literal; sessions that write have `standard_conforming_strings` on.
pub(crate) fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Returns a relation with its schema.
pub(crate) fn relation(relation: &Relation) -> String {
    qualified(&relation.schema, &relation.name)
}

/// Returns a name with its schema.
pub(crate) fn qualified(schema: &str, object: &str) -> String {
    format!("{}.{}", name(schema), name(object))
}

/// Returns a relation as an argument of a function.
pub(crate) fn regclass(relation: &Relation) -> String {
    format!("{}::pg_catalog.regclass", text(&self::relation(relation)))
}

/// Returns names with commas between.
pub(crate) fn names(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|one| name(one)).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use pawang_core::plan::Relation;

    #[test]
    fn quotes_are_doubled() {
        let odd = Relation {
            oid: 1,
            schema: "Gudang \"Data\"".to_owned(),
            name: "o'clock".to_owned(),
        };
        assert_eq!(super::relation(&odd), r#""Gudang ""Data"""."o'clock""#);
        assert_eq!(
            super::regclass(&odd),
            r#"'"Gudang ""Data"""."o''clock"'::pg_catalog.regclass"#
        );
    }
}
