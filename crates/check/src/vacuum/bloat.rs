//! Space that a rebuild would give back.

use pawang_core::bloat::{Needed, Sized, indexes, tables, toast_pages};
use pawang_core::{Blind, ByteSize, Level, Missing, Row, Unit};

use crate::{Check, Direction, Floor, Group, Observation, Scope, View, relation};

const SIZE: Floor = Floor {
    name: "size",
    value: 50.0 * 1024.0 * 1024.0,
    unit: Unit::Bytes,
    ignores: "relations smaller than this",
};

const CATALOG_SIZE: Floor = Floor {
    name: "size",
    value: 20.0 * 1024.0 * 1024.0,
    unit: Unit::Bytes,
    ignores: "catalogs smaller than this",
};

pub(super) const TABLE_BLOAT: Check = Check {
    id: "table-bloat",
    group: Group::Vacuum,
    title: "table bloat",
    scope: Scope::Database,
    needs: &["table-shape"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: Some(50.0),
    critical: Some(80.0),
    floors: &[SIZE],
    what: "Share of a table's pages that VACUUM FULL would give back: pages now (pg_class.relpages) against a model of the \
           rewritten table built from row count, column widths, alignment, NULL bitmaps and fillfactor. It reads no page and \
           describes the moment of the last VACUUM or ANALYZE, and judges the 100 largest tables. The statistics of a column can only be read by a role that \
           may read the column: without pg_read_all_data the bloat of most tables is not known.",
    why: "Every sequential scan, cache and backup carries the empty space; dead tuples alone do not show it, because space \
          that VACUUM freed is no longer dead.",
    fix: "If the table will not grow into the space again: REPACK (CONCURRENTLY) on PostgreSQL 19, pg_repack or pg_squeeze where \
          installed, else VACUUM FULL in a maintenance window (it locks the table and needs room for a copy).",
    observe: |view| {
        judge(view, "table", tables(view.here("table-shape")?), |row| {
            !is_catalog(row)
        })
    },
};

pub(super) const CATALOG_BLOAT: Check = Check {
    id: "catalog-bloat",
    group: Group::Vacuum,
    title: "catalog bloat",
    scope: Scope::Database,
    needs: &["table-shape"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: Some(60.0),
    critical: None,
    floors: &[CATALOG_SIZE],
    what: "Share of the pages of a table in pg_catalog that a rewrite would give back, by the model of table-bloat.",
    why: "Temporary tables created and dropped in every load bloat pg_attribute and pg_class; planning and every new \
          connection of every session then become slower.",
    fix: "VACUUM FULL the catalog table in a maintenance window, and use TRUNCATE or ON COMMIT DELETE ROWS instead of creating \
          temporary tables in every run.",
    observe: |view| {
        judge(
            view,
            "catalog",
            tables(view.here("table-shape")?),
            is_catalog,
        )
    },
};

pub(super) const INDEX_BLOAT: Check = Check {
    id: "index-bloat",
    group: Group::Vacuum,
    title: "B-tree index bloat",
    scope: Scope::Database,
    needs: &["index-shape", "extended-statistics"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: Some(50.0),
    critical: Some(80.0),
    floors: &[SIZE],
    what: "Share of a B-tree index's pages that REINDEX would give back: pages now (pg_class.relpages) against a model of a \
           freshly built index, with deduplication (posting lists by number of distinct values), key widths, alignment, \
           NULLs, INCLUDE columns and fillfactor. It reads no page and judges the 200 largest indexes. An index filled in random order is about 30 % \
           above a fresh one by nature. Without pg_read_all_data the bloat of most indexes is not known.",
    why: "A bloated index costs cache, I/O on every scan, and time in every vacuum.",
    fix: "REINDEX INDEX CONCURRENTLY, while no old snapshot is open (it waits for them); not on PostgreSQL 14.0 to 14.3, where it \
          can corrupt the index.",
    observe: index_bloat,
};

pub(super) const TOAST_BLOAT: Check = Check {
    id: "toast-bloat",
    group: Group::Vacuum,
    title: "TOAST bloat",
    scope: Scope::Database,
    needs: &["tables"],
    unit: Unit::Percent,
    direction: Direction::Above,
    warning: Some(50.0),
    critical: Some(80.0),
    floors: &[SIZE],
    what: "Share of a TOAST table's pages that a rewrite would give back at least: pages now against four chunks per page \
           (pg_class.reltuples of the TOAST table, which VACUUM counts). Values whose last chunk is short need even less, so \
           the true figure may be higher.",
    why: "Large values that are updated or deleted leave their space behind in the TOAST table, where n_dead_tup of the main \
          table does not show it.",
    fix: "VACUUM (PROCESS_TOAST) often enough; to give the space back rewrite the main table (pg_repack, pg_squeeze, or VACUUM FULL \
          in a maintenance window).",
    observe: toast_bloat,
};

fn is_catalog(row: &Row<'_>) -> bool {
    row.text("schemaname") == Some("pg_catalog")
}

fn index_bloat(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let shapes = view.here("index-shape")?;
    let known = view.here("extended-statistics").ok();
    judge(view, "index", indexes(shapes, known), |row| {
        !is_catalog(row)
    })
}

/// Judges every relation above the floor, and counts those that cannot be judged.
fn judge(
    view: &View<'_>,
    kind: &str,
    relations: Vec<Sized<'_>>,
    concerned: fn(&Row<'_>) -> bool,
) -> Result<Vec<Observation>, Missing> {
    let page = block_size(view);
    let floor = view.floor("size");
    let mut observations = Vec::new();
    let mut unreadable = 0_usize;
    let mut blurred: Vec<(String, &'static str)> = Vec::new();
    for relation in relations
        .iter()
        .filter(|relation| concerned(&relation.row) && relation.pages * page >= floor)
    {
        match relation.needed {
            Needed::Pages(needed) => {
                observations.push(observation(relation, kind, needed.likely, page));
            }
            Needed::Unreadable => unreadable += 1,
            Needed::NotEstimable(reason, _) => blurred.push((object(&relation.row, kind), reason)),
        }
    }
    if unreadable > 0 {
        let blind = not_readable(view, unreadable, kind);
        if observations.is_empty() {
            return Err(blind.into());
        }
        observations.push(Observation {
            level: Some(Level::Unknown),
            title: blind.sentence(),
            remedy: Some(blind.remedy()),
            ..Observation::default()
        });
    }
    if !blurred.is_empty() {
        observations.push(not_estimable(kind, &blurred));
    }
    Ok(observations)
}

fn observation(relation: &Sized<'_>, kind: &str, needed: f64, page: f64) -> Observation {
    let row = &relation.row;
    let wasted = (relation.pages - needed).max(0.0);
    let share = relation.percent(needed);
    let bytes = |pages: f64| ByteSize((pages * page) as u64);
    let command = if kind == "index" {
        "REINDEX"
    } else {
        "a rewrite"
    };
    let remedy = (kind == "index").then(|| {
        let name = relation::quoted(
            row.text("schemaname").unwrap_or("?"),
            row.text("indexrelname").unwrap_or("?"),
        );
        format!("REINDEX INDEX CONCURRENTLY {name};")
    });
    Observation {
        object: object(row, kind),
        value: share,
        title: format!(
            "{command} would give back {} of {} ({share:.0} %)",
            bytes(wasted),
            bytes(relation.pages)
        ),
        evidence: vec![
            ("relpages".to_owned(), format!("{:.0}", relation.pages)),
            ("pages_needed".to_owned(), format!("{needed:.0}")),
            ("reltuples".to_owned(), row.value("reltuples").to_string()),
        ],
        remedy,
        ..Observation::default()
    }
}

fn object(row: &Row<'_>, kind: &str) -> String {
    if kind == "index" {
        format!(
            "{}.{}",
            row.text("schemaname").unwrap_or("?"),
            row.text("indexrelname").unwrap_or("?")
        )
    } else {
        relation::name(row)
    }
}

fn not_readable(view: &View<'_>, count: usize, kind: &str) -> Blind {
    let user = view
        .facts
        .server
        .as_ref()
        .map_or("pawang", |server| server.user.as_str());
    Blind::NoPrivilege {
        what: format!("column statistics (pg_stats) of {count} of the larger {kind} relations"),
        grant: format!("GRANT pg_read_all_data TO {};", relation::identifier(user)),
    }
}

fn not_estimable(kind: &str, blurred: &[(String, &'static str)]) -> Observation {
    let (first, reason) = &blurred[0];
    Observation {
        level: Some(Level::Info),
        value: 0.0,
        title: format!(
            "the bloat of {} {kind} relation{} is not estimable, such as {first}: {reason}",
            blurred.len(),
            if blurred.len() == 1 { "" } else { "s" }
        ),
        evidence: blurred
            .iter()
            .take(20)
            .map(|(object, reason)| (object.clone(), (*reason).to_owned()))
            .collect(),
        remedy: Some("ANALYZE the table; where combinations of columns matter: CREATE STATISTICS name (ndistinct) ON a, b FROM table; \
                      or measure with pgstattuple (pgstatindex)".to_owned()),
        ..Observation::default()
    }
}

fn toast_bloat(view: &View<'_>) -> Result<Vec<Observation>, Missing> {
    let page = block_size(view);
    let floor = view.floor("size");
    let tables = view.here("tables")?;
    let toasts = tables.rows().filter(|row| {
        row.text("relkind") == Some("t")
            && row.float("size_bytes").unwrap_or(0.0) >= floor
            && row.float("reltuples").unwrap_or(-1.0) >= 0.0
    });
    let observations = toasts.map(|row| {
        let pages = row.float("relpages").unwrap_or(0.0);
        let most = toast_pages(&row).unwrap_or(0.0);
        let wasted = (pages - most).max(0.0);
        let share = 100.0 * wasted / pages.max(1.0);
        Observation {
            object: format!("TOAST of {}", row.text("toast_of").unwrap_or("?")),
            value: share,
            title: format!(
                "a rewrite would give back at least {} of {} ({share:.0} %)",
                ByteSize((wasted * page) as u64),
                ByteSize((pages * page) as u64)
            ),
            evidence: row.evidence(&["relname", "relpages", "reltuples", "n_dead_tup"]),
            ..Observation::default()
        }
    });
    Ok(observations.collect())
}

/// Returns the server's page size; nobody compiles another one, but the model would be wrong silently.
fn block_size(view: &View<'_>) -> f64 {
    let setting = view.setting("block_size").ok().flatten();
    setting.and_then(|text| text.parse().ok()).unwrap_or(8192.0)
}
