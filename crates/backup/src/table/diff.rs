//! A restored copy against the table that it is of, by primary key.

use std::time::Duration;

use pawang_core::Value;
use pawang_core::plan::{ColumnDefault, MergeSeen, MergeShape, Relation, TableShape};
use pawang_postgres::Session;
use serde::Serialize;

use super::{literal, name, read, rows};
use crate::Error;

/// How long a comparison may take.
const LIMIT: Duration = Duration::from_secs(3_600);
/// So many rows of each kind are shown.
const SAMPLES: usize = 5;
/// Types that cannot be compared but as text.
const WITHOUT_EQUALITY: [&str; 9] = [
    "json", "xml", "point", "line", "lseg", "box", "path", "polygon", "circle",
];

/// A row that is not the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// `only-restored`, `only-live`, or `different`.
    pub kind: String,
    /// Its primary key, as a row.
    pub key: String,
}

/// What is different between a restored copy and its table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableDiff {
    /// The table that lives.
    pub table: Relation,
    /// Rows that only the copy has: they were deleted since, or their key was changed.
    pub only_restored: u64,
    /// Rows that only the table has: they came since.
    pub only_live: u64,
    /// Rows with the same key and other values.
    pub different: u64,
    /// Rows that are the same.
    pub same: u64,
    /// Some of those that are not.
    pub samples: Vec<Sample>,
    /// Columns that only one of them has, or whose type changed; they are not compared.
    pub left_out: Vec<String>,
    /// How the copy could be merged into the table, without what is to be done.
    #[serde(skip)]
    pub merge: MergeShape,
}

/// Compares a copy in `schema` with the table that it was of; the reason as a sentence when that cannot be done.
///
/// # Errors
/// The server cannot be asked.
pub async fn compare(
    session: &Session,
    schema: &str,
    shape: &TableShape,
) -> Result<Result<TableDiff, String>, Error> {
    let here = format!("{}.{}", name(&shape.schema), name(&shape.name));
    let table = read(
        session,
        &format!(
            "SELECT c.oid FROM pg_catalog.pg_class AS c WHERE c.oid = pg_catalog.to_regclass({}) AND c.relkind IN ('r', 'p')",
            literal(&here)
        ),
    )
    .await?;
    let oid = rows(&table).next().map(|row| row.text(0));
    let Some(oid) = oid else {
        return Ok(Err(format!("there is no table {here} now")));
    };
    let (merge, left_out) = match columns(session, &oid, schema, shape).await? {
        Ok(found) => found,
        Err(why) => return Ok(Err(why)),
    };
    let copy = format!("{}.{}", name(schema), name(&shape.name));
    let joined = format!(
        "{copy} AS r FULL JOIN {here} AS t ON {}",
        merge.same_key(name)
    );
    let [only_restored, only_live, different] = merge.kinds(name);
    let kinds = [
        ("only-restored", only_restored),
        ("only-live", only_live),
        ("different", different),
    ];
    let conditions = kinds.each_ref().map(|(_, which)| which.as_str());
    let counted = counted(session, &joined, conditions).await?;
    let [only_restored, only_live, different] = counted.digests;
    let merge = MergeShape {
        seen: MergeSeen {
            only_restored,
            only_live,
            different,
        },
        ..merge
    };
    let count = |kind: usize| counted.rows[kind];
    let mut samples = Vec::new();
    for (at, (kind, which)) in kinds.iter().enumerate() {
        if count(at) > 0 {
            let keys = sampled(session, &joined, which, &merge.key).await?;
            samples.extend(keys.into_iter().map(|key| Sample {
                kind: (*kind).to_owned(),
                key,
            }));
        }
    }
    Ok(Ok(TableDiff {
        table: Relation {
            oid: oid.parse().unwrap_or_default(),
            schema: shape.schema.clone(),
            name: shape.name.clone(),
        },
        only_restored: count(0),
        only_live: count(1),
        different: count(2),
        same: counted.all - count(0) - count(1) - count(2),
        samples,
        left_out,
        merge,
    }))
}

/// Rows of a copy and its table together.
struct Counted {
    /// How many there are of each kind that is not the same, and what they hold.
    rows: [u64; 3],
    digests: [String; 3],
    /// How many there are in all.
    all: u64,
}

async fn counted(session: &Session, joined: &str, kinds: [&str; 3]) -> Result<Counted, Error> {
    let columns = kinds.map(|which| {
        let digest = MergeShape::digest(which);
        format!("pg_catalog.count(*) FILTER (WHERE {which}), {digest}")
    });
    let columns = columns.join(", ");
    let sql = format!("SELECT {columns}, pg_catalog.count(*) FROM {joined}");
    let counted = session.read_within(&sql, LIMIT).await?;
    let row = counted.rows.first().map_or(&[][..], Vec::as_slice);
    let number = |column: usize| {
        let value = row.get(column).and_then(Value::as_int);
        value.and_then(|it| u64::try_from(it).ok()).unwrap_or(0)
    };
    let text = |column: usize| {
        let value = row.get(column).and_then(Value::as_text);
        value.unwrap_or_default().to_owned()
    };
    Ok(Counted {
        rows: [number(0), number(2), number(4)],
        digests: [text(1), text(3), text(5)],
        all: number(6),
    })
}

async fn sampled(
    session: &Session,
    joined: &str,
    which: &str,
    key: &[String],
) -> Result<Vec<String>, Error> {
    let values: Vec<String> = key
        .iter()
        .map(|column| format!("COALESCE(r.{0}, t.{0})", name(column)))
        .collect();
    let sql = format!(
        "SELECT ROW({0})::pg_catalog.text FROM {joined} WHERE {which} ORDER BY {0} LIMIT {SAMPLES}",
        values.join(", ")
    );
    let found = session.read_within(&sql, LIMIT).await?;
    let texts = found.rows.iter().filter_map(|row| row[0].as_text());
    Ok(texts.map(str::to_owned).collect())
}

/// Returns what both have in common, and the columns that they have not; or why they cannot be compared.
async fn columns(
    session: &Session,
    oid: &str,
    schema: &str,
    shape: &TableShape,
) -> Result<Result<(MergeShape, Vec<String>), String>, Error> {
    let sql = format!(
        "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attgenerated <> '',
    (SELECT pg_catalog.array_position(i.indkey::pg_catalog.int2[], a.attnum) FROM pg_catalog.pg_index AS i
        WHERE i.indrelid = a.attrelid AND i.indisprimary),
    pg_catalog.ltrim(COALESCE(b.typname, t.typname), '_')
FROM pg_catalog.pg_attribute AS a
JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_type AS b ON b.oid = t.typbasetype
WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum"
    );
    let all = read(session, &sql).await?;
    let mut merge = MergeShape {
        schema: schema.to_owned(),
        key: Vec::new(),
        columns: Vec::new(),
        as_text: Vec::new(),
        insert: false,
        update: false,
        delete: false,
        seen: MergeSeen::default(),
    };
    let mut left_out: Vec<String> = Vec::new();
    let mut key: Vec<(i64, String)> = Vec::new();
    let mut known = Vec::new();
    for row in rows(&all) {
        let (column, kind) = (row.text(0), row.text(1));
        let there = shape.columns.iter().find(|it| it.name == column);
        let same = there.is_some_and(|it| it.data_type == kind);
        known.push(column.clone());
        match (same, row.maybe(3)) {
            (true, Some(_)) => key.push((row.number(3), column)),
            (false, Some(_)) => {
                return Ok(Err(format!("key column \"{column}\" is another one now")));
            }
            (false, None) => left_out.push(column),
            (true, None) if row.holds(2) => {}
            (true, None) => {
                if WITHOUT_EQUALITY.contains(&row.text(4).as_str()) {
                    merge.as_text.push(column.clone());
                }
                merge.columns.push(column);
            }
        }
    }
    let gone = shape.columns.iter().filter(|it| !known.contains(&it.name));
    left_out.extend(gone.map(|it| it.name.clone()));
    // What the copy computes itself is not written either.
    let computed = |column: &String| {
        let found = shape.columns.iter().find(|it| it.name == *column);
        found.is_some_and(|it| matches!(it.default, Some(ColumnDefault::Generated(..))))
    };
    merge.columns.retain(|column| !computed(column));
    key.sort_unstable();
    merge.key = key.into_iter().map(|(_, column)| column).collect();
    Ok(match merge.key.is_empty() {
        true => Err("the table has no primary key by which rows could be compared".to_owned()),
        false => Ok((merge, left_out)),
    })
}
