//! The TOML header of a collector.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pawang_core::{Column, ColumnKind, Role};
use serde::{Deserialize, Deserializer};

/// Where a collector's facts live, and therefore how often it is asked per run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Once per server.
    Server,
    /// Once in every database.
    Database,
    /// On PgBouncer's console.
    Pgbouncer,
    /// From Patroni's REST API.
    Patroni,
    /// From the operating system, when the server is local.
    Host,
    /// Nowhere: computed by the daemon from what other collectors saw.
    Derived,
}

/// The header of a collector: everything about it except its SQL.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// One sentence: what a row is.
    pub summary: String,
    /// Where its facts live.
    pub scope: Scope,
    /// How often the daemon asks it.
    #[serde(deserialize_with = "duration")]
    pub interval: Duration,
    /// Only on servers in this role; `None` on both.
    #[serde(default)]
    pub role: Option<Role>,
    /// The extension whose version, not the server's, picks the SQL file.
    #[serde(default)]
    pub extension: Option<String>,
    /// Whether a database without the extension is simply not concerned, instead of not seen.
    #[serde(default)]
    pub optional: bool,
    /// Whether a one-shot run keeps its last snapshot for rates.
    #[serde(default)]
    pub remember: bool,
    /// The statement that gives the missing privilege; `{role}` is the monitoring role.
    #[serde(default = "default_grant")]
    pub grant: String,
    /// `statement_timeout` of its statement; that of the session when not set.
    #[serde(default, deserialize_with = "some_duration")]
    pub timeout: Option<Duration>,
    /// For a collector that shows the largest relations only: how it is asked for all of them.
    #[serde(default)]
    pub paging: Option<Paging>,
    /// Columns in order: name to `kind` or `kind unit`.
    #[serde(deserialize_with = "columns")]
    pub columns: Arc<[Column]>,
}

/// How a collector that shows the largest relations only is asked for all of them, page by page.
///
/// Its statement has the placeholders `{relations}`, `{pages_min}`, `{below_pages}` and `{below_oid}`; relations come
/// sorted by `relpages` and then by oid, both descending.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paging {
    /// How many relations one statement returns when only the largest are wanted.
    pub relations: u32,
    /// Relations with fewer pages are left out then.
    pub pages_min: u32,
    /// The column with the oid of the relation.
    pub key: String,
}

fn default_grant() -> String {
    "GRANT pg_monitor TO {role};".to_owned()
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let span: jiff::SignedDuration = text.parse().map_err(serde::de::Error::custom)?;
    Duration::try_from(span).map_err(serde::de::Error::custom)
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

fn columns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[Column]>, D::Error> {
    struct InOrder;
    impl<'de> serde::de::Visitor<'de> for InOrder {
        type Value = Vec<Column>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a table of column name to kind and unit")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(
            self,
            mut map: A,
        ) -> Result<Vec<Column>, A::Error> {
            let mut columns = Vec::new();
            while let Some((name, description)) = map.next_entry::<String, String>()? {
                columns.push(column(name, &description).map_err(serde::de::Error::custom)?);
            }
            Ok(columns)
        }
    }
    deserializer.deserialize_map(InOrder).map(Arc::from)
}

fn column(name: String, description: &str) -> Result<Column, String> {
    let (kind, unit) = match description.split_once(' ') {
        Some((kind, unit)) => (kind, Some(unit.to_owned())),
        None => (description, None),
    };
    let kind = match kind {
        "label" => ColumnKind::Label,
        "counter" => ColumnKind::Counter,
        "gauge" => ColumnKind::Gauge,
        "info" => ColumnKind::Info,
        _ => {
            return Err(format!(
                "column \"{name}\": \"{kind}\" is none of label, counter, gauge, info"
            ));
        }
    };
    Ok(Column { name, kind, unit })
}

/// Excluded columns of `pg_stat*` views: `view` or `view.column` to the reason.
pub type Exclusions = BTreeMap<String, String>;
