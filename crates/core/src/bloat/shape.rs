//! From the rows of `table-shape` and `index-shape` to the inputs of the estimators.

use std::collections::HashMap;

use super::estimate::{Btree, Column, Estimate, Heap, Length, Pages, btree_pages, heap_pages};
use crate::{Row, Snapshot, relation};

/// A relation, its size, and what a rebuild would leave.
pub struct Sized<'a> {
    /// The first of its rows.
    pub row: Row<'a>,
    /// Pages now, as of the last VACUUM, ANALYZE or rebuild.
    pub pages: f64,
    /// Pages after a rebuild, or why that cannot be told.
    pub needed: Needed,
}

/// What a rebuild would leave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Needed {
    /// This many pages.
    Pages(Pages),
    /// Column statistics are needed, and the role may not read them.
    Unreadable,
    /// Statistics cannot decide; the reason, and how far the answers lie apart where there are any.
    NotEstimable(&'static str, Option<Pages>),
}

/// Why a column is no input.
enum Gap {
    Unreadable,
    NoStatistics,
}

const NEVER_ANALYZED: &str =
    "no column statistics: the table was never analyzed, or row security hides them";
const NO_COUNT: &str = "the number of rows is not known: never vacuumed or analyzed";

/// Returns every table of `table-shape` with its estimate.
pub fn tables(snapshot: &Snapshot) -> Vec<Sized<'_>> {
    groups(snapshot, "relid")
        .into_iter()
        .map(|rows| Sized {
            row: rows[0],
            pages: rows[0].float("relpages").unwrap_or(0.0),
            needed: table(&rows),
        })
        .collect()
}

/// Returns every index of `index-shape` with its estimate; `known` is what `extended-statistics` saw there.
pub fn indexes<'a>(snapshot: &'a Snapshot, known: Option<&Snapshot>) -> Vec<Sized<'a>> {
    let known = known.map(Combinations::of).unwrap_or_default();
    groups(snapshot, "indexrelid")
        .into_iter()
        .map(|rows| Sized {
            row: rows[0],
            pages: rows[0].float("relpages").unwrap_or(0.0),
            needed: index(&rows, &known),
        })
        .collect()
}

/// Splits rows that come sorted into one slice per relation.
fn groups<'a>(snapshot: &'a Snapshot, key: &str) -> Vec<Vec<Row<'a>>> {
    let mut groups: Vec<Vec<Row<'a>>> = Vec::new();
    for row in snapshot.rows() {
        match groups.last_mut() {
            Some(group) if group[0].int(key) == row.int(key) => group.push(row),
            _ => groups.push(vec![row]),
        }
    }
    groups
}

fn table(rows: &[Row<'_>]) -> Needed {
    let first = rows[0];
    let count = first.float("reltuples").unwrap_or(-1.0);
    if count < 0.0 {
        return Needed::NotEstimable(NO_COUNT, None);
    }
    let living = rows
        .iter()
        .filter(|row| row.flag("attisdropped") != Some(true));
    let columns: Result<Vec<Column>, Gap> =
        living.map(|row| column(row, count, false, false)).collect();
    match columns {
        Ok(columns) => Needed::Pages(heap_pages(&Heap {
            rows: count,
            columns_total: first.int("relnatts").unwrap_or(1).max(1) as usize,
            dropped: rows
                .iter()
                .any(|row| row.flag("attisdropped") == Some(true)),
            fillfactor: fillfactor(first, 100.0),
            columns,
        })),
        Err(gap) => gap.into(),
    }
}

fn index(rows: &[Row<'_>], combinations: &Combinations) -> Needed {
    let first = rows[0];
    let count = first.float("reltuples").unwrap_or(-1.0);
    let table_rows = first.float("table_reltuples").unwrap_or(-1.0).max(count);
    if count < 0.0 {
        return Needed::NotEstimable(NO_COUNT, None);
    }
    let deduplicates = first.flag("indisunique") == Some(false)
        && rows
            .iter()
            .all(|row| row.flag("deduplicates") == Some(true))
        && !relation::option_is_off(first.list("reloptions"), "deduplicate_items");
    let keys: Vec<i64> = first
        .text("indkey")
        .unwrap_or("")
        .split(' ')
        .filter_map(|key| key.parse().ok())
        .collect();
    let columns: Result<Vec<Column>, Gap> = rows
        .iter()
        .zip(keys.iter().chain(std::iter::repeat(&0)))
        .map(|(row, key)| column(row, table_rows, deduplicates, *key == 0))
        .collect();
    let columns = match columns {
        Ok(columns) => columns,
        Err(gap) => return gap.into(),
    };
    let known = combinations.count(first.int("relid").unwrap_or(0), &keys);
    let estimate = btree_pages(&Btree {
        rows: count,
        table_rows,
        fillfactor: fillfactor(first, 90.0),
        deduplicates,
        sample_rows: first.float("sample_rows").unwrap_or(30_000.0),
        combinations: known,
        columns,
    });
    match estimate {
        Estimate::Pages(pages) => Needed::Pages(pages),
        Estimate::NotEstimable(reason, pages) => Needed::NotEstimable(reason, pages),
    }
}

/// How many combinations of columns extended statistics count, by table and sorted column numbers.
#[derive(Default)]
struct Combinations(HashMap<(i64, Vec<i64>), f64>);

impl Combinations {
    fn of(known: &Snapshot) -> Combinations {
        let mut counts = HashMap::new();
        for row in known.rows() {
            let (Some(relid), Some(text)) = (row.int("relid"), row.text("n_distinct")) else {
                continue;
            };
            for (keys, count) in parse_combinations(text) {
                counts.entry((relid, keys)).or_insert(count);
            }
        }
        Combinations(counts)
    }

    fn count(&self, relid: i64, keys: &[i64]) -> Option<f64> {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        self.0.get(&(relid, keys)).copied()
    }
}

/// Reads the text form of `pg_ndistinct`, such as `{"1, 2": 500, "1, 2, 3": 900}`; columns come sorted.
fn parse_combinations(text: &str) -> Vec<(Vec<i64>, f64)> {
    let body = text.trim_matches(['{', '}']);
    let mut parts = body.split('"');
    // Text before the first quote is empty; then keys and counts take turns.
    parts.next();
    let mut found = Vec::new();
    while let (Some(keys), Some(count)) = (parts.next(), parts.next()) {
        let keys = keys.split(',').filter_map(|key| key.trim().parse().ok());
        let mut keys: Vec<i64> = keys.collect();
        keys.sort_unstable();
        if let Ok(count) = count.trim_matches([':', ' ', ',']).parse() {
            found.push((keys, count));
        }
    }
    found
}

impl From<Gap> for Needed {
    fn from(gap: Gap) -> Needed {
        match gap {
            Gap::Unreadable => Needed::Unreadable,
            Gap::NoStatistics => Needed::NotEstimable(NEVER_ANALYZED, None),
        }
    }
}

/// Returns the model of one column; a fixed-width NOT NULL one needs no statistics unless its repetition matters.
fn column(
    row: &Row<'_>,
    table_rows: f64,
    repetition: bool,
    expression: bool,
) -> Result<Column, Gap> {
    let bytes = row.float("attlen").unwrap_or(-1.0);
    let null_share = row.float("null_frac");
    let not_null = row.flag("not_null") == Some(true);
    if null_share.is_none() && (repetition || bytes < 0.0 || !not_null) {
        return Err(if row.flag("readable") == Some(false) {
            Gap::Unreadable
        } else {
            Gap::NoStatistics
        });
    }
    let distinct = row.float("n_distinct").map(|distinct| {
        if distinct < 0.0 {
            -distinct * table_rows
        } else {
            distinct
        }
    });
    Ok(Column {
        length: if bytes >= 0.0 {
            Length::Fixed(bytes)
        } else {
            length(row, expression)
        },
        align: match row.text("attalign") {
            Some("s") => 2,
            Some("i") => 4,
            Some("d") => 8,
            _ => 1,
        },
        null_share: null_share.unwrap_or(0.0),
        distinct,
        common_count: row.float("mcv_count").unwrap_or(0.0),
        common_share: row.float("mcv_share").unwrap_or(0.0),
        skew: row.float("mcv_skew").unwrap_or(1.0),
        correlation: row.float("correlation").unwrap_or(0.0),
    })
}

fn length(row: &Row<'_>, expression: bool) -> Length {
    // ANALYZE measures the value of an expression with a long header, which the index stores with a short one.
    let stored = match row.float("avg_width").unwrap_or(0.0) {
        width if expression && (4.0..=130.0).contains(&width) => width - 3.0,
        width => width,
    };
    let sampled = row.float("sample_width");
    let string = row.float("attlen") == Some(-2.0);
    // ANALYZE cuts the mean to whole bytes; values that are compressed or moved out of line are shorter than they read.
    let fits = sampled.is_some_and(|width| string || (width - stored).abs() < stored * 0.25 + 2.0);
    let residues: Vec<f64> = row
        .list("sample_residues")
        .iter()
        .filter_map(|share| share.parse().ok())
        .collect();
    let residues: Option<[f64; 8]> = residues.try_into().ok().filter(|_| fits);
    let mean = match sampled {
        Some(width) if string => width,
        Some(width) if fits => width.clamp(stored, stored + 0.99),
        _ => stored + 0.5,
    };
    let long_share = match row.float("sample_long_share") {
        Some(share) if fits => share,
        _ if stored > 127.0 => 1.0,
        _ => 0.0,
    };
    Length::Variable {
        mean,
        residues,
        long_share,
        constant: fits && row.flag("sample_constant") == Some(true),
    }
}

fn fillfactor(row: Row<'_>, default: f64) -> f64 {
    relation::option(row.list("reloptions"), "fillfactor")
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::parse_combinations;

    #[test]
    fn combinations_are_found_whatever_the_order_of_their_columns() {
        let found = parse_combinations("{\"2, 1\": 500, \"1, 2, 3\": 900}");
        assert_eq!(found, [(vec![1, 2], 500.0), (vec![1, 2, 3], 900.0)]);
    }
}
