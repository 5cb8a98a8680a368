//! Tables of a throw-away server, made again in a new schema; and their rows, brought back into the tables that they are of.

use pawang_core::plan::{
    ColumnDefault, ColumnShape, MergeShape, Relation, SequenceShape, TableShape, Task,
};

use super::{Facts, Probe, Proof, Recipe, relation_facts, table_numbers};
use crate::quote;

const BEGIN: &str = "BEGIN";
const COMMIT: &str = "COMMIT";

pub(super) fn recipe(task: &Task) -> Result<Recipe, String> {
    match task {
        Task::CopyTables { tables, .. } if tables.is_empty() => {
            Err("there is no table to copy".to_owned())
        }
        Task::CopyTables { schema, tables, .. } => Ok(Recipe {
            sql: statements(schema, tables),
            verify: "all tables are in the new schema".to_owned(),
            undo: format!("DROP SCHEMA {} CASCADE;", quote::name(schema)),
        }),
        Task::MergeRows { table, merge } => merged(table, merge),
        _ => unreachable!("only copies come here"),
    }
}

pub(super) fn probe(task: &Task) -> Probe {
    match task {
        Task::CopyTables { schema, tables, .. } => {
            let names: Vec<String> = tables.iter().map(|it| quote::text(&it.name)).collect();
            Probe {
                facts: None,
                numbers: None,
                proof: Proof::Holds(format!(
                    "SELECT (pg_catalog.count(*) = {})::pg_catalog.text
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = {} AND c.relkind IN ('r', 'p') AND c.relname IN ({})",
                    tables.len(),
                    quote::text(schema),
                    names.join(", ")
                )),
                privilege: Some(COPY_RIGHT.to_owned()),
            }
        }
        Task::MergeRows { table, merge } => Probe {
            facts: Some(relation_facts(table.oid, &copy_fact(table, merge))),
            numbers: Some(table_numbers(table.oid)),
            // Triggers of the table may have changed what was written.
            proof: Proof::Success,
            privilege: Some(rights(table, merge)),
        },
        _ => unreachable!("only copies come here"),
    }
}

/// Returns the statement that reads what a statement of a copy is fed with.
pub(crate) fn feeds(task: &Task, sql: &str) -> Option<String> {
    let Task::CopyTables { schema, tables, .. } = task else {
        return None;
    };
    let table = tables.iter().find(|table| fill(schema, table) == sql)?;
    let there = quote::qualified(&table.schema, &table.name);
    Some(format!("COPY {there} ({}) TO STDOUT", copied(table)))
}

/// A query of whether the role may make schemas in the database (`may`), and what grants that (`grant`).
pub const COPY_RIGHT: &str = "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')::pg_catalog.text AS may,
    pg_catalog.format('GRANT CREATE ON DATABASE %I TO %I;', pg_catalog.current_database(), current_user) AS grant";

/// The identity of the copy that the rows come from.
fn copy_fact(table: &Relation, merge: &MergeShape) -> String {
    let copy = copy_oid(table, merge);
    format!(",\n    ({copy})::pg_catalog.text AS copy")
}

/// Returns a query of the copy's object id. `to_regclass` is an error where the role may not look into the schema.
fn copy_oid(table: &Relation, merge: &MergeShape) -> String {
    format!(
        "SELECT k.oid FROM pg_catalog.pg_class AS k
    JOIN pg_catalog.pg_namespace AS s ON s.oid = k.relnamespace
    WHERE s.nspname = {} AND k.relname = {}",
        quote::text(&merge.schema),
        quote::text(&table.name)
    )
}

/// Returns a query of which rights the statements of a merge need that the role lacks, as what grants them.
fn rights(table: &Relation, merge: &MergeShape) -> String {
    let keeps = merge.update || merge.delete;
    // INSERT alone does not allow the lock.
    let changes = [
        ("SELECT", true),
        ("INSERT", merge.insert),
        ("UPDATE", merge.update || !merge.delete),
        ("DELETE", merge.delete),
    ];
    let changes = changes.into_iter().filter(|(_, needed)| *needed);
    let changes: Vec<&str> = changes.map(|(right, _)| right).collect();
    let inside: &[&str] = if keeps {
        &["USAGE", "CREATE"]
    } else {
        &["USAGE"]
    };
    let copy = quote::qualified(&merge.schema, &table.name);
    let all = |function: &str, object: &str, rights: &[&str]| {
        let each = rights.iter().map(|right| {
            format!("pg_catalog.has_{function}_privilege(current_user, {object}, '{right}')")
        });
        each.collect::<Vec<_>>().join(" AND ")
    };
    let needed = [
        (
            "schema",
            "c.relnamespace",
            &["USAGE"][..],
            format!("SCHEMA {}", quote::name(&table.schema)),
        ),
        ("table", "c.oid", &changes, quote::relation(table)),
        (
            "schema",
            "k.relnamespace",
            inside,
            format!("SCHEMA {}", quote::name(&merge.schema)),
        ),
        ("table", "k.oid", &["SELECT"], copy),
    ];
    let needed = needed.map(|(function, object, rights, on)| {
        let grant = quote::text(&format!("GRANT {} ON {on} TO ", rights.join(", ")));
        format!("({}, {grant})", all(function, object, rights))
    });
    format!(
        "SELECT (n.lacking IS NULL)::pg_catalog.text AS may, n.lacking AS grant
FROM (SELECT pg_catalog.string_agg(g.grant_sql || pg_catalog.format('%I;', current_user), ' ') AS lacking
    FROM pg_catalog.pg_class AS c
    CROSS JOIN pg_catalog.pg_class AS k
    CROSS JOIN LATERAL (VALUES {}) AS g (may, grant_sql)
    WHERE c.oid = {} AND k.oid = ({}) AND NOT g.may) AS n",
        needed.join(", "),
        table.oid,
        copy_oid(table, merge)
    )
}

fn statements(schema: &str, tables: &[TableShape]) -> Vec<String> {
    let mut sql = vec![
        BEGIN.to_owned(),
        format!("CREATE SCHEMA {}", quote::name(schema)),
    ];
    for table in tables {
        sql.extend(sequences(schema, table));
        sql.push(create(schema, table));
        sql.extend(owned(schema, table));
    }
    let filled = tables.iter().filter(|it| it.partition_key.is_none());
    sql.extend(filled.map(|table| fill(schema, table)));
    // Behind the rows: building an index at once costs less than growing it.
    for table in tables {
        let here = quote::qualified(schema, &table.name);
        for (name, definition) in &table.constraints {
            let name = quote::name(name);
            sql.push(format!(
                "ALTER TABLE {here} ADD CONSTRAINT {name} {definition}"
            ));
        }
        for index in &table.indexes {
            let unique = if index.unique { "UNIQUE " } else { "" };
            let (name, definition) = (quote::name(&index.name), &index.definition);
            sql.push(format!(
                "CREATE {unique}INDEX {name} ON {here} {definition}"
            ));
        }
        sql.extend(comments(&here, table));
    }
    sql.push(COMMIT.to_owned());
    sql
}

fn create(schema: &str, table: &TableShape) -> String {
    let mut sql = format!("CREATE TABLE {}", quote::qualified(schema, &table.name));
    match &table.partition_of {
        Some((parent, bound)) => {
            let parent = quote::qualified(schema, parent);
            sql.push_str(&format!(" PARTITION OF {parent} {bound}"));
        }
        None => {
            let columns = table.columns.iter().map(|it| column(schema, it));
            let columns: Vec<String> = columns.collect();
            sql.push_str(&format!(" (\n    {}\n)", columns.join(",\n    ")));
        }
    }
    if let Some(key) = &table.partition_key {
        sql.push_str(&format!(" PARTITION BY {key}"));
    }
    if !table.parameters.is_empty() {
        let all = table.parameters.iter();
        let all =
            all.map(|(name, value)| format!("{} = {}", quote::name(name), quote::text(value)));
        sql.push_str(&format!(" WITH ({})", all.collect::<Vec<_>>().join(", ")));
    }
    sql
}

fn column(schema: &str, column: &ColumnShape) -> String {
    let mut sql = format!("{} {}", quote::name(&column.name), column.data_type);
    if let Some(collation) = &column.collation {
        sql.push_str(&format!(" COLLATE {collation}"));
    }
    if column.not_null {
        sql.push_str(" NOT NULL");
    }
    match &column.default {
        None => {}
        Some(ColumnDefault::Expression(expression)) => {
            sql.push_str(&format!(" DEFAULT {expression}"));
        }
        Some(ColumnDefault::Serial(sequence)) => {
            let sequence = quote::text(&quote::qualified(schema, &sequence.name));
            sql.push_str(&format!(
                " DEFAULT pg_catalog.nextval({sequence}::pg_catalog.regclass)"
            ));
        }
        Some(ColumnDefault::Identity(always, sequence)) => {
            let when = if *always { "ALWAYS" } else { "BY DEFAULT" };
            let name = quote::qualified(schema, &sequence.name);
            let options = options(sequence);
            sql.push_str(&format!(
                " GENERATED {when} AS IDENTITY (SEQUENCE NAME {name}{options})"
            ));
        }
        Some(ColumnDefault::Generated(stored, expression)) => {
            let kept = if *stored { "STORED" } else { "VIRTUAL" };
            sql.push_str(&format!(" GENERATED ALWAYS AS ({expression}) {kept}"));
        }
    }
    sql
}

fn options(sequence: &SequenceShape) -> String {
    let it = &sequence.options;
    format!(
        " INCREMENT BY {} MINVALUE {} MAXVALUE {} START WITH {} CACHE {} {}",
        it.increment,
        it.minimum,
        it.maximum,
        it.start,
        it.cache,
        if it.cycle { "CYCLE" } else { "NO CYCLE" }
    )
}

/// Returns the sequences that have to be there before the table.
fn sequences(schema: &str, table: &TableShape) -> Vec<String> {
    let serial = table
        .columns
        .iter()
        .filter_map(|column| match &column.default {
            Some(ColumnDefault::Serial(sequence)) => Some(sequence),
            _ => None,
        });
    let created = serial.map(|sequence| {
        format!(
            "CREATE SEQUENCE {} AS {}{}",
            quote::qualified(schema, &sequence.name),
            sequence.options.data_type,
            options(sequence)
        )
    });
    created.collect()
}

/// Returns what makes sequences belong to their columns, and stand where they stood.
fn owned(schema: &str, table: &TableShape) -> Vec<String> {
    let mut sql = Vec::new();
    for column in &table.columns {
        let sequence = match &column.default {
            Some(ColumnDefault::Serial(sequence)) => {
                sql.push(format!(
                    "ALTER SEQUENCE {} OWNED BY {}.{}",
                    quote::qualified(schema, &sequence.name),
                    quote::qualified(schema, &table.name),
                    quote::name(&column.name)
                ));
                sequence
            }
            Some(ColumnDefault::Identity(_, sequence)) => sequence,
            _ => continue,
        };
        let name = quote::text(&quote::qualified(schema, &sequence.name));
        let (last, called) = sequence.last;
        sql.push(format!(
            "SELECT pg_catalog.setval({name}::pg_catalog.regclass, {last}, {called})"
        ));
    }
    sql
}

fn comments(here: &str, table: &TableShape) -> Vec<String> {
    let mut sql = Vec::new();
    if let Some(comment) = &table.comment {
        sql.push(format!(
            "COMMENT ON TABLE {here} IS {}",
            quote::text(comment)
        ));
    }
    for column in &table.columns {
        if let Some(comment) = &column.comment {
            let (name, text) = (quote::name(&column.name), quote::text(comment));
            sql.push(format!("COMMENT ON COLUMN {here}.{name} IS {text}"));
        }
    }
    sql
}

fn fill(schema: &str, table: &TableShape) -> String {
    let here = quote::qualified(schema, &table.name);
    format!("COPY {here} ({}) FROM STDIN", copied(table))
}

fn copied(table: &TableShape) -> String {
    let names: Vec<String> = table.copied().map(|column| column.name.clone()).collect();
    quote::names(&names)
}

/// Returns the statements of a merge. What it changes or deletes is kept beside the copy first.
fn merged(table: &Relation, merge: &MergeShape) -> Result<Recipe, String> {
    if merge.key.is_empty() {
        return Err("the table has no primary key".to_owned());
    }
    let into = quote::relation(table);
    let from = quote::qualified(&merge.schema, &table.name);
    let kept = quote::qualified(&merge.schema, &kept_name(&table.name));
    let same = merge.same_key(quote::name);
    let different = merge.different(quote::name);
    let absent = format!("NOT EXISTS (SELECT FROM {from} AS r WHERE {same})");
    let changed = format!("EXISTS (SELECT FROM {from} AS r WHERE {same} AND {different})");
    let mut touched = Vec::new();
    let mut sql = Vec::new();
    if merge.delete {
        sql.push(format!("DELETE FROM {into} AS t WHERE {absent}"));
        touched.push(absent);
    }
    if merge.update && !merge.columns.is_empty() {
        let set: Vec<String> = merge.columns.iter().map(|name| quote::name(name)).collect();
        let set: Vec<String> = set
            .iter()
            .map(|name| format!("{name} = r.{name}"))
            .collect();
        sql.push(format!(
            "UPDATE {into} AS t SET {} FROM {from} AS r WHERE {same} AND {different}",
            set.join(", ")
        ));
        touched.push(changed);
    }
    if merge.insert {
        let names: Vec<String> = merge.key.iter().chain(&merge.columns).cloned().collect();
        let names = quote::names(&names);
        sql.push(format!(
            "INSERT INTO {into} ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM {from} AS r \
             WHERE NOT EXISTS (SELECT FROM {into} AS t WHERE {same})"
        ));
    }
    if sql.is_empty() {
        return Err("nothing is to be inserted, updated or deleted".to_owned());
    }
    let mut all = vec![
        BEGIN.to_owned(),
        format!("LOCK TABLE {into} IN SHARE ROW EXCLUSIVE MODE"),
        unchanged(&into, &from, merge),
    ];
    if !touched.is_empty() {
        all.push(format!(
            "CREATE TABLE {kept} AS SELECT t.* FROM {into} AS t WHERE {}",
            touched.join(" OR ")
        ));
    }
    all.extend(sql);
    all.push(COMMIT.to_owned());
    Ok(Recipe {
        sql: all,
        verify: "the statements were done in one transaction".to_owned(),
        undo: format!("rows that were changed or deleted are in {kept}"),
    })
}

/// The SQLSTATE by which a merge says that rows are not what was compared; its class is nobody else's.
pub(crate) const CHANGED: &str = "PW001";

/// Returns the statement that ends the transaction unless the rows are still those that were compared. It stands behind the
/// lock: what was looked at before could change until then.
fn unchanged(into: &str, from: &str, merge: &MergeShape) -> String {
    let seen = &merge.seen;
    let [only_restored, only_live, different] = merge.kinds(quote::name);
    let wanted = [
        (merge.insert, only_restored, &seen.only_restored),
        (merge.delete, only_live, &seen.only_live),
        (merge.update, different, &seen.different),
    ];
    let wanted = wanted.into_iter().filter(|(wanted, ..)| *wanted);
    let (digests, texts): (Vec<String>, Vec<String>) = wanted
        .map(|(_, which, seen)| (MergeShape::digest(&which), quote::text(seen)))
        .unzip();
    let body = format!(
        "BEGIN IF (SELECT ARRAY[{}] IS DISTINCT FROM ARRAY[{}] FROM {from} AS r FULL JOIN {into} AS t ON {}) THEN \
         RAISE EXCEPTION USING ERRCODE = '{CHANGED}', MESSAGE = 'rows were changed since they were compared'; END IF; END",
        digests.join(", "),
        texts.join(", "),
        merge.same_key(quote::name)
    );
    format!("DO {}", quote::text(&body))
}

/// Returns the name of the table that keeps what a merge changes; names have 63 bytes at most.
fn kept_name(name: &str) -> String {
    const SUFFIX: &str = " before merge";
    let end = name.floor_char_boundary(63 - SUFFIX.len());
    format!("{}{SUFFIX}", &name[..end])
}

/// Returns why rows cannot be merged into a table with these facts.
pub(super) fn refusal(facts: &Facts) -> Option<String> {
    let copy = facts.get("copy").map_or("", String::as_str);
    copy.is_empty()
        .then(|| "the restored copy that the rows come from is gone".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge() -> MergeShape {
        MergeShape {
            schema: "restored".to_owned(),
            key: vec!["id".to_owned()],
            columns: vec!["Nama".to_owned(), "data".to_owned()],
            as_text: vec!["data".to_owned()],
            insert: true,
            update: true,
            delete: false,
            seen: pawang_core::plan::MergeSeen {
                only_restored: "3:12".to_owned(),
                ..Default::default()
            },
        }
    }

    #[test]
    fn a_merge_keeps_what_it_changes_and_deletes_only_when_told() {
        let table = Relation {
            oid: 1,
            schema: "dw".to_owned(),
            name: "fact".to_owned(),
        };
        let recipe = merged(&table, &merge()).unwrap();
        let text = recipe.sql.join(";\n");
        assert!(!text.contains("DELETE"), "{text}");
        let at = |words: &str| recipe.sql.iter().position(|one| one.contains(words));
        assert!(at("LOCK TABLE") < at("''3:12''") && at("''3:12''") < at("CREATE TABLE"));
        assert!(
            text.contains(r#"CREATE TABLE "restored"."fact before merge" AS"#),
            "{text}"
        );
        assert!(
            text.contains(
                r#"ROW(r."Nama", r."data"::pg_catalog.text) IS DISTINCT FROM ROW(t."Nama", t."data"::pg_catalog.text)"#
            ),
            "{text}"
        );
        let mut only = merge();
        (only.insert, only.update) = (false, false);
        assert!(merged(&table, &only).is_err());
        only.delete = true;
        assert!(
            merged(&table, &only)
                .unwrap()
                .sql
                .join(" ")
                .contains("DELETE FROM")
        );
        only.key.clear();
        assert!(merged(&table, &only).is_err());
        assert_eq!(kept_name(&"ü".repeat(40)).len(), 63);
    }

    #[test]
    fn rows_come_before_indexes_and_only_into_tables_that_have_them() {
        let parent = TableShape {
            schema: "dw".to_owned(),
            name: "fact".to_owned(),
            columns: vec![ColumnShape {
                name: "at".to_owned(),
                data_type: "date".to_owned(),
                not_null: true,
                ..ColumnShape::default()
            }],
            partition_key: Some("RANGE (at)".to_owned()),
            constraints: vec![("fact_pkey".to_owned(), "PRIMARY KEY (at)".to_owned())],
            ..TableShape::default()
        };
        let child = TableShape {
            name: "fact_1".to_owned(),
            partition_key: None,
            partition_of: Some(("fact".to_owned(), "DEFAULT".to_owned())),
            constraints: Vec::new(),
            ..parent.clone()
        };
        let tables = [parent, child];
        let sql = statements("new", &tables);
        let at = |words: &str| sql.iter().position(|one| one.contains(words)).unwrap();
        assert!(at("PARTITION BY") < at("PARTITION OF") && at("PARTITION OF") < at("COPY"));
        assert!(at("COPY") < at("PRIMARY KEY"));
        let copies = sql.iter().filter(|one| one.starts_with("COPY")).count();
        assert_eq!(copies, 1);
        let task = Task::CopyTables {
            schema: "new".to_owned(),
            tables: tables.to_vec(),
            source: pawang_core::plan::RowSource {
                folder: "/s".to_owned(),
                port: 5432,
                role: "postgres".to_owned(),
                database: "dwh".to_owned(),
            },
        };
        assert_eq!(
            feeds(&task, &sql[at("COPY")]).as_deref(),
            Some(r#"COPY "dw"."fact_1" ("at") TO STDOUT"#)
        );
        assert_eq!(feeds(&task, "COMMIT"), None);
    }
}
