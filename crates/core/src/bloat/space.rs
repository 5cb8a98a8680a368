//! Every table, TOAST table and index of one database with its size and what a rebuild would give back.

use std::collections::HashSet;

use serde::Serialize;

use super::{Needed, PAGE_BYTES, Pages, Sized, indexes, tables, toast_pages};
use crate::{ByteSize, Facts, Missing, Row, Snapshot, relation};

/// What kind of relation it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpaceKind {
    /// A table or materialized view.
    Table,
    /// The out-of-line values of a table.
    Toast,
    /// An index.
    Index,
}

/// Bytes that a rebuild would give back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Waste {
    /// At least.
    pub least: ByteSize,
    /// Most likely; nothing when the bounds lie too far apart for one number.
    pub likely: Option<ByteSize>,
    /// At most.
    pub most: ByteSize,
}

/// A relation, its size, and what a rebuild would give back.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Space {
    /// The database.
    pub database: String,
    /// What kind of relation.
    pub kind: SpaceKind,
    /// `pg_class.oid`.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name; of a TOAST table that of the table it belongs to.
    pub name: String,
    /// The table of an index.
    pub table: Option<String>,
    /// The oid of that table.
    pub table_oid: Option<u32>,
    /// The access method of an index.
    pub access_method: Option<String>,
    /// Size as of the last VACUUM, ANALYZE or rebuild (`pg_class.relpages`).
    pub size: ByteSize,
    /// Rows as of then.
    pub rows: Option<f64>,
    /// What a rebuild would give back; nothing when nobody can tell.
    pub waste: Option<Waste>,
    /// Why there is no estimate.
    pub why_not: Option<String>,
    /// Whether that is because the role may not read the statistics.
    pub blind: bool,
}

impl Space {
    /// Returns the likely waste in percent of its size.
    pub fn percent(&self) -> Option<f64> {
        let likely = self.waste?.likely?;
        Some(100.0 * likely.0 as f64 / self.size.0.max(1) as f64)
    }

    /// Returns its size after a rebuild, at most: what has to be free while it is made.
    pub fn rebuilt(&self) -> ByteSize {
        let least = self.waste.map_or(ByteSize(0), |waste| waste.least);
        ByteSize(self.size.0.saturating_sub(least.0))
    }
}

/// Returns the tables of a database, those of TOAST too, largest waste first.
///
/// # Errors
/// The reason why collector `table-shape` saw nothing.
pub fn table_spaces(facts: &Facts, database: &str) -> Result<Vec<Space>, Missing> {
    let shapes = facts.snapshot("table-shape", Some(database))?;
    let sized = tables(shapes);
    let mut spaces: Vec<Space> = sized
        .iter()
        .map(|sized| of(sized, database, SpaceKind::Table))
        .collect();
    if let Ok(tables) = facts.snapshot("tables", Some(database)) {
        spaces.extend(toasts(tables, database));
    }
    sort(&mut spaces);
    Ok(spaces)
}

/// Returns the indexes of a database, largest waste first; those that no model knows come with the reason.
///
/// # Errors
/// The reason why collector `index-shape` saw nothing.
pub fn index_spaces(facts: &Facts, database: &str) -> Result<Vec<Space>, Missing> {
    let shapes = facts.snapshot("index-shape", Some(database))?;
    let known = facts.snapshot("extended-statistics", Some(database)).ok();
    let sized = indexes(shapes, known);
    let mut spaces: Vec<Space> = sized
        .iter()
        .map(|sized| of(sized, database, SpaceKind::Index))
        .collect();
    if let Ok(indexes) = facts.snapshot("indexes", Some(database)) {
        let seen: HashSet<u32> = spaces.iter().map(|space| space.oid).collect();
        let others = indexes
            .rows()
            .filter(|row| !seen.contains(&oid(row, "indexrelid")));
        spaces.extend(others.filter_map(|row| unmodelled(&row, database)));
    }
    sort(&mut spaces);
    Ok(spaces)
}

fn sort(spaces: &mut [Space]) {
    let gain = |space: &Space| {
        let likely = space.waste.and_then(|waste| waste.likely);
        likely.map_or(0, |likely| likely.0)
    };
    spaces.sort_by(|a, b| {
        let order = gain(b).cmp(&gain(a)).then(b.size.cmp(&a.size));
        order.then(a.oid.cmp(&b.oid))
    });
}

fn of(sized: &Sized<'_>, database: &str, kind: SpaceKind) -> Space {
    let row = &sized.row;
    let index = kind == SpaceKind::Index;
    let waste = |pages: Pages, certain: bool| Waste {
        least: bytes(sized.pages - pages.most),
        likely: certain.then(|| bytes(sized.pages - pages.likely)),
        most: bytes(sized.pages - pages.least),
    };
    let (waste, why_not) = match sized.needed {
        Needed::Pages(pages) => (Some(waste(pages, true)), None),
        Needed::NotEstimable(reason, pages) => {
            let waste = pages.map(|pages| waste(pages, false));
            (waste, Some(reason.to_owned()))
        }
        Needed::Unreadable => (
            None,
            Some(
                "the role may not read the statistics of its columns: GRANT pg_read_all_data"
                    .to_owned(),
            ),
        ),
    };
    let name = if index { "indexrelname" } else { "relname" };
    Space {
        database: database.to_owned(),
        kind,
        oid: oid(row, if index { "indexrelid" } else { "relid" }),
        schema: text(row, "schemaname"),
        name: text(row, name),
        table: index.then(|| text(row, "relname")),
        table_oid: index.then(|| oid(row, "relid")),
        access_method: index.then(|| "btree".to_owned()),
        size: bytes(sized.pages),
        rows: row.float("reltuples").filter(|rows| *rows >= 0.0),
        waste,
        why_not,
        blind: sized.needed == Needed::Unreadable,
    }
}

fn toasts<'a>(tables: &'a Snapshot, database: &'a str) -> impl Iterator<Item = Space> + 'a {
    let toasts = tables.rows().filter(|row| row.text("relkind") == Some("t"));
    toasts.map(move |row| {
        let pages = row.float("relpages").unwrap_or(0.0);
        let waste = toast_pages(&row).map(|most| Waste {
            least: bytes(pages - most),
            likely: Some(bytes(pages - most)),
            most: bytes(pages),
        });
        let owner = row.text("toast_of").and_then(relation::parts);
        let (schema, name) =
            owner.unwrap_or_else(|| (text(&row, "schemaname"), text(&row, "relname")));
        Space {
            database: database.to_owned(),
            kind: SpaceKind::Toast,
            oid: oid(&row, "relid"),
            schema,
            name,
            table: None,
            table_oid: None,
            access_method: None,
            size: bytes(pages),
            rows: row.float("reltuples").filter(|rows| *rows >= 0.0),
            why_not: waste
                .is_none()
                .then(|| "its rows were never counted: VACUUM the table".to_owned()),
            waste,
            blind: false,
        }
    })
}

/// Returns an index whose size no model tells, or `None` for a B-tree, which `index-shape` left out on purpose.
fn unmodelled(row: &Row<'_>, database: &str) -> Option<Space> {
    let method = row.text("access_method")?;
    let valid = row.flag("indisvalid") == Some(true);
    if row.text("relkind") != Some("i") || (method == "btree" && valid) {
        return None;
    }
    let why_not = if valid {
        format!("how large a fresh {method} index is cannot be told from statistics")
    } else {
        "it is not valid".to_owned()
    };
    Some(Space {
        database: database.to_owned(),
        kind: SpaceKind::Index,
        oid: oid(row, "indexrelid"),
        schema: text(row, "schemaname"),
        name: text(row, "indexrelname"),
        table: Some(text(row, "relname")),
        table_oid: Some(oid(row, "relid")),
        access_method: Some(method.to_owned()),
        size: bytes(row.float("relpages").unwrap_or(0.0)),
        rows: row.float("reltuples").filter(|rows| *rows >= 0.0),
        waste: None,
        why_not: Some(why_not),
        blind: false,
    })
}

fn bytes(pages: f64) -> ByteSize {
    ByteSize(pages.max(0.0) as u64 * PAGE_BYTES)
}

fn oid(row: &Row<'_>, column: &str) -> u32 {
    row.int(column)
        .and_then(|oid| u32::try_from(oid).ok())
        .unwrap_or(0)
}

fn text(row: &Row<'_>, column: &str) -> String {
    row.text(column).unwrap_or("?").to_owned()
}
