//! Measures relations with pgstattuple, where it is installed: this reads them.

use std::collections::BTreeMap;
use std::time::Duration;

use pawang_core::bloat::{Space, SpaceKind};
use pawang_core::{ByteSize, Value};
use pawang_postgres::{Rows, Session};
use serde::Serialize;

use super::Answer;
use crate::estate::Job;

/// `statement_timeout` of the measuring of one relation.
const RELATION_MAX: Duration = Duration::from_secs(600);
/// Relations that are measured; the answer says when there are more.
const RELATIONS_MAX: usize = 1_000;

const EXTENSION: &str = "\
SELECT pg_catalog.quote_ident(n.nspname)
  FROM pg_catalog.pg_extension AS e
  JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
 WHERE e.extname = 'pgstattuple'";

/// What reading a relation told.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Measured {
    /// What a rebuild would give back, and its share in percent.
    Waste(ByteSize, f64),
    /// Why it could not be measured.
    Not(String),
}

impl Measured {
    pub(super) fn told(&self) -> String {
        match self {
            Measured::Waste(bytes, percent) => format!("{bytes} ({percent:.0} %)"),
            Measured::Not(why) => why.clone(),
        }
    }
}

/// Measures what is shown, database by database, one relation at a time.
pub(super) async fn measure(job: &Job, answer: &mut Answer) {
    let more = answer.relations.len().saturating_sub(RELATIONS_MAX);
    if more > 0 {
        answer.unseen.push(format!(
            "{more} relations were not measured (limit {RELATIONS_MAX}): use --min or --top"
        ));
    }
    let mut by_database: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, line) in answer.relations.iter().enumerate().take(RELATIONS_MAX) {
        by_database
            .entry(line.space.database.clone())
            .or_default()
            .push(index);
    }
    for (database, lines) in by_database {
        let target = job.target.with_database(&database);
        let session = match open(&target).await {
            Ok(found) => found,
            Err(why) => {
                answer
                    .unseen
                    .push(format!("database \"{database}\": {why}"));
                continue;
            }
        };
        for index in lines {
            let line = &mut answer.relations[index];
            line.exact = Some(one(&session.0, &session.1, &line.space).await);
        }
    }
}

/// Opens a session, and finds where the extension lives.
async fn open(target: &pawang_postgres::Target) -> Result<(Session, String), String> {
    let session = Session::connect(target, "bloat").await;
    let session = session.map_err(|error| error.report().primary)?;
    let rows = session.read(EXTENSION).await;
    let rows = rows.map_err(|error| error.report().primary)?;
    match rows.rows.first().map(Vec::as_slice) {
        Some([Value::Text(schema)]) => {
            let schema = schema.to_string();
            Ok((session, schema))
        }
        _ => Err("pgstattuple is not installed: CREATE EXTENSION pgstattuple".to_owned()),
    }
}

/// Reads one relation; shares count against the fill factor that a rebuild would leave.
async fn one(session: &Session, schema: &str, space: &Space) -> Measured {
    let oid = space.oid;
    let fill = |default: u32| {
        format!(
            "coalesce((SELECT o.option_value::float8 FROM pg_catalog.pg_class AS c, \
             pg_catalog.pg_options_to_table(c.reloptions) AS o WHERE c.oid = {oid} AND o.option_name = 'fillfactor'), {default})"
        )
    };
    let sql = match (space.kind, space.access_method.as_deref()) {
        (SpaceKind::Table, _) => format!(
            "SELECT s.table_len::float8, 1 - (s.approx_tuple_percent) / {} \
               FROM {schema}.pgstattuple_approx({oid}::oid::regclass) AS s",
            fill(100)
        ),
        (SpaceKind::Toast, _) => format!(
            "SELECT s.table_len::float8, 1 - s.tuple_percent / 100 FROM {schema}.pgstattuple({oid}::oid) AS s"
        ),
        (SpaceKind::Index, Some("btree")) => format!(
            "SELECT s.index_size::float8, 1 - (s.leaf_pages * s.avg_leaf_density / {} + s.internal_pages + 1) * 8192 / s.index_size \
               FROM {schema}.pgstatindex({oid}::oid::regclass) AS s WHERE s.leaf_pages > 0",
            fill(90)
        ),
        (SpaceKind::Index, Some("hash")) => format!(
            "SELECT ((s.bucket_pages + s.overflow_pages) * 8192)::float8, s.free_percent / 100 \
               FROM {schema}.pgstathashindex({oid}::oid::regclass) AS s"
        ),
        (SpaceKind::Index, method) => {
            return Measured::Not(format!(
                "pgstattuple does not measure {}",
                method.unwrap_or("it")
            ));
        }
    };
    match session.read_within(&sql, RELATION_MAX).await {
        Ok(rows) => read(&rows),
        Err(error) => Measured::Not(error.report().primary),
    }
}

fn read(rows: &Rows) -> Measured {
    let row = rows.rows.first().map(Vec::as_slice);
    let Some([size, share]) = row else {
        return Measured::Not("it is empty".to_owned());
    };
    match (size.as_float(), share.as_float()) {
        (Some(size), Some(share)) if size > 0.0 && share.is_finite() => {
            let share = share.clamp(0.0, 1.0);
            Measured::Waste(ByteSize((size * share) as u64), 100.0 * share)
        }
        _ => Measured::Not("it is empty".to_owned()),
    }
}
