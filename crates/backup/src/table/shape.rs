//! What tables are like, by the catalogue of the server that has them.

use std::collections::BTreeSet;

use pawang_core::plan::{
    ColumnDefault, ColumnShape, IndexShape, SequenceOptions, SequenceShape, TableShape,
};
use pawang_core::{Kind, Report};
use pawang_postgres::{Rows, Session};

use super::{Texts, literal, name, read, rows};
use crate::Error;

/// So many tables are restored at once, partitions included.
const TABLES_MAX: usize = 2_000;

/// A table of the catalogue.
struct Found {
    oid: String,
    schema: String,
    name: String,
    kind: String,
    partition_key: Option<String>,
    /// Its parent, and its bound.
    partition_of: Option<(String, String)>,
    comment: Option<String>,
    bytes: u64,
}

/// Describes tables that are named as in SQL, each with its partitions, partitioned ones before their partitions.
///
/// # Errors
/// There is no such table, it is none whose rows a backup has, or two of them have the same name.
pub async fn shapes(session: &Session, names: &[String]) -> Result<Vec<TableShape>, Error> {
    let mut found: Vec<Found> = Vec::new();
    for named in names {
        for table in tree(session, named).await? {
            if !found.iter().any(|known| known.oid == table.oid) {
                found.push(table);
            }
        }
    }
    if found.len() > TABLES_MAX {
        let problem = format!("{} tables with their partitions", found.len());
        let detail = format!("at most {TABLES_MAX} are restored at once");
        return Err(refused(problem, &detail));
    }
    let mut taken = BTreeSet::new();
    if let Some(twice) = found.iter().find(|table| !taken.insert(&table.name)) {
        return Err(refused(
            format!("two tables have the name \"{}\"", twice.name),
            "one schema cannot have both: restore them one after the other, into schemas of their own",
        ));
    }
    let mut shapes = Vec::with_capacity(found.len());
    for table in found {
        shapes.push(shape(session, table).await?);
    }
    Ok(shapes)
}

/// Tells whether a server has a table of this name, as in SQL, now.
///
/// # Errors
/// It is no name, or the server does not say.
pub async fn is_there(session: &Session, named: &str) -> Result<bool, Error> {
    Ok(rows(&resolved(session, named).await?).next().is_some())
}

async fn resolved(session: &Session, named: &str) -> Result<Rows, Error> {
    read(
        session,
        &format!(
            "SELECT c.oid, c.relkind FROM pg_catalog.pg_class AS c WHERE c.oid = pg_catalog.to_regclass({})",
            literal(named)
        ),
    )
    .await
}

/// Finds a table, and all below it when it is partitioned.
async fn tree(session: &Session, named: &str) -> Result<Vec<Found>, Error> {
    let resolved = resolved(session, named).await?;
    let Some(root) = rows(&resolved).next() else {
        let database = &session.server.database;
        return Err(refused(
            format!("there was no table {named} in database \"{database}\" at that time"),
            "a name has its schema, and double quotes where it has capital letters: --table 'dw.\"Fakta\"'",
        ));
    };
    let (root, kind) = (root.text(0), root.text(1));
    let of = match kind.as_str() {
        "p" => format!(
            "SELECT t.relid::pg_catalog.oid, t.level FROM pg_catalog.pg_partition_tree({root}) AS t"
        ),
        _ => format!("SELECT {root}::pg_catalog.oid, 0"),
    };
    let sql = format!(
        "SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence,
    CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END,
    p.relname, pg_catalog.pg_get_expr(c.relpartbound, c.oid),
    pg_catalog.obj_description(c.oid, 'pg_class'), pg_catalog.pg_total_relation_size(c.oid)
FROM ({of}) AS f (oid, level)
JOIN pg_catalog.pg_class AS c ON c.oid = f.oid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = c.oid AND c.relispartition
LEFT JOIN pg_catalog.pg_class AS p ON p.oid = i.inhparent
ORDER BY f.level, c.oid"
    );
    let all = read(session, &sql).await?;
    let mut tables = Vec::new();
    for row in rows(&all) {
        // A partition that is named itself is restored as a table of its own.
        let is_root = row.text(0) == root;
        let table = Found {
            oid: row.text(0),
            schema: row.text(1),
            name: row.text(2),
            kind: row.text(3),
            partition_key: row.maybe(5),
            partition_of: row.maybe(6).zip(row.maybe(7)).filter(|_| !is_root),
            comment: row.maybe(8),
            bytes: u64::try_from(row.number(9)).unwrap_or(0),
        };
        restorable(&table, &row.text(4))?;
        tables.push(table);
    }
    Ok(tables)
}

fn restorable(table: &Found, persistence: &str) -> Result<(), Error> {
    let what = format!("cannot restore {}.{}", table.schema, table.name);
    match (table.kind.as_str(), persistence) {
        ("r" | "p", "p") => Ok(()),
        ("r" | "p", _) => Err(refused(what, "it is not logged: no backup has its rows")),
        ("f", _) => Err(refused(
            what,
            "it is a foreign table: its rows are elsewhere",
        )),
        _ => Err(refused(what, "it is no table")),
    }
}

async fn shape(session: &Session, table: Found) -> Result<TableShape, Error> {
    let oid = &table.oid;
    let part = table.partition_of.is_some();
    let mut columns = columns(session, oid).await?;
    if part {
        // A partition takes these from its table; what is computed must still not be copied.
        for column in &mut columns {
            let computed = matches!(column.default, Some(ColumnDefault::Generated(..)));
            column.default = column.default.take().filter(|_| computed);
        }
    }
    let parameters = format!(
        "SELECT o.option_name, o.option_value FROM pg_catalog.pg_class AS c,
    pg_catalog.pg_options_to_table(c.reloptions) AS o WHERE c.oid = {oid}"
    );
    let constraints = format!(
        "SELECT c.conname, pg_catalog.pg_get_constraintdef(c.oid) FROM pg_catalog.pg_constraint AS c
WHERE c.conrelid = {oid} AND c.contype IN ('p', 'u', 'c', 'x') AND c.conislocal AND c.coninhcount = 0
ORDER BY c.contype <> 'p', c.conname"
    );
    let pairs = async |sql: &str| -> Result<Vec<(String, String)>, Error> {
        let all = read(session, sql).await?;
        Ok(rows(&all).map(|row| (row.text(0), row.text(1))).collect())
    };
    Ok(TableShape {
        parameters: pairs(&parameters).await?,
        constraints: pairs(&constraints).await?,
        indexes: indexes(session, &table).await?,
        columns,
        schema: table.schema,
        name: table.name,
        partition_key: table.partition_key,
        partition_of: table.partition_of,
        comment: table.comment,
        bytes: table.bytes,
    })
}

async fn columns(session: &Session, oid: &str) -> Result<Vec<ColumnShape>, Error> {
    let sql = format!(
        "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attcollation <> t.typcollation THEN pg_catalog.format('%I.%I', cn.nspname, co.collname) END,
    a.attnotnull, a.attidentity, a.attgenerated, pg_catalog.pg_get_expr(d.adbin, d.adrelid),
    pg_catalog.col_description(a.attrelid, a.attnum), s.oid, s.nspname, s.relname
FROM pg_catalog.pg_attribute AS a
JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_collation AS co ON co.oid = a.attcollation
LEFT JOIN pg_catalog.pg_namespace AS cn ON cn.oid = co.collnamespace
LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN LATERAL (
    SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_depend AS p
    JOIN pg_catalog.pg_class AS c ON c.oid = p.objid AND c.relkind = 'S'
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE p.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
        AND p.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        AND p.refobjid = a.attrelid AND p.refobjsubid = a.attnum AND p.deptype IN ('a', 'i')
    ORDER BY c.oid LIMIT 1) AS s ON true
WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum"
    );
    let all = read(session, &sql).await?;
    let mut columns = Vec::new();
    for row in rows(&all) {
        columns.push(ColumnShape {
            name: row.text(0),
            data_type: row.text(1),
            collation: row.maybe(2),
            not_null: row.holds(3),
            default: default(session, &row).await?,
            comment: row.maybe(7),
        });
    }
    Ok(columns)
}

async fn default(session: &Session, row: &Texts<'_>) -> Result<Option<ColumnDefault>, Error> {
    let (identity, generated) = (row.text(4), row.text(5));
    let sequence = row.maybe(8).map(|oid| (oid, row.text(9), row.text(10)));
    let expression = row.maybe(6);
    if !generated.is_empty() {
        let stored = generated == "s";
        return Ok(expression.map(|text| ColumnDefault::Generated(stored, text)));
    }
    let Some((oid, schema, sequence)) = sequence else {
        return Ok(expression.map(ColumnDefault::Expression));
    };
    if !identity.is_empty() {
        let shape = self::sequence(session, &oid, &schema, &sequence).await?;
        return Ok(Some(ColumnDefault::Identity(identity == "a", shape)));
    }
    let (schema_name, sequence_name) = (plain(&schema), plain(&sequence));
    let drawn = literal(&format!("{schema_name}.{sequence_name}"));
    match expression {
        // The sequence belongs to the column, and the column draws from it: that is what serial makes.
        Some(text) if text == format!("nextval({drawn}::regclass)") => {
            let shape = self::sequence(session, &oid, &schema, &sequence).await?;
            Ok(Some(ColumnDefault::Serial(shape)))
        }
        expression => Ok(expression.map(ColumnDefault::Expression)),
    }
}

/// Returns an identifier as the server writes it: quoted only where it has to be. Keywords are not known here; a sequence that is
/// named like one is then taken for a foreign one, which stays right.
fn plain(text: &str) -> String {
    let simple = |at: usize, letter: char| match letter {
        'a'..='z' | '_' => true,
        '0'..='9' => at > 0,
        _ => false,
    };
    match text.chars().enumerate().all(|(at, it)| simple(at, it)) {
        true => text.to_owned(),
        false => name(text),
    }
}

async fn sequence(
    session: &Session,
    oid: &str,
    schema: &str,
    sequence: &str,
) -> Result<SequenceShape, Error> {
    let sql = format!(
        "SELECT pg_catalog.format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache,
    s.seqcycle, l.last_value, l.is_called
FROM pg_catalog.pg_sequence AS s, {}.{} AS l WHERE s.seqrelid = {oid}",
        name(schema),
        name(sequence)
    );
    let all = read(session, &sql).await?;
    let row = rows(&all).next();
    let row = row.ok_or_else(|| refused(format!("sequence {schema}.{sequence} is gone"), ""))?;
    Ok(SequenceShape {
        name: sequence.to_owned(),
        options: SequenceOptions {
            data_type: row.text(0),
            start: row.number(1),
            increment: row.number(2),
            minimum: row.number(3),
            maximum: row.number(4),
            cache: row.number(5),
            cycle: row.holds(6),
        },
        last: (row.number(7), row.holds(8)),
    })
}

/// Reads the indexes that no constraint and no partitioned index made.
async fn indexes(session: &Session, table: &Found) -> Result<Vec<IndexShape>, Error> {
    let sql = format!(
        "SELECT ic.relname, i.indisunique, pg_catalog.pg_get_indexdef(i.indexrelid),
    pg_catalog.format('CREATE %sINDEX %I ON %s%I.%I ', CASE WHEN i.indisunique THEN 'UNIQUE ' END, ic.relname,
        CASE WHEN ic.relkind = 'I' THEN 'ONLY ' END, n.nspname, c.relname)
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS ic ON ic.oid = i.indexrelid
JOIN pg_catalog.pg_class AS c ON c.oid = i.indrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE i.indrelid = {} AND i.indisvalid AND NOT ic.relispartition
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS k
        WHERE k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x'))
ORDER BY ic.relname",
        table.oid
    );
    let all = read(session, &sql).await?;
    let mut indexes = Vec::new();
    for row in rows(&all) {
        let (whole, begin) = (row.text(2), row.text(3));
        let definition = whole
            .strip_prefix(&begin)
            .or_else(|| whole.strip_prefix(&begin.replacen(" ON ONLY ", " ON ", 1)));
        let definition = definition.ok_or_else(|| {
            let what = format!("cannot read the definition of index \"{}\"", row.text(0));
            refused(what, &whole)
        })?;
        indexes.push(IndexShape {
            name: row.text(0),
            unique: row.holds(1),
            definition: definition.to_owned(),
        });
    }
    Ok(indexes)
}

fn refused(primary: String, detail: &str) -> Error {
    let report = Report::new(Kind::Refused, primary);
    Error::Refused(Box::new(match detail.is_empty() {
        true => report,
        false => report.with_detail(detail),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_the_server_quotes_them() {
        for (text, quoted) in [
            ("fact_id_seq", "fact_id_seq"),
            ("Fakta", "\"Fakta\""),
            ("1st", "\"1st\""),
            ("a\"b", "\"a\"\"b\""),
        ] {
            assert_eq!(plain(text), quoted);
        }
    }
}
