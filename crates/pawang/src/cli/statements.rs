//! pg_stat_statements of a server that is asked now, over one read-only connection: looks at its entries, and their texts.
//!
//! What is missing on the server is told with the statement that provides it.

use std::collections::BTreeMap;

use pawang_core::{Kind, Report, Timestamp, Value};
use pawang_logs::looks::{Counters, Entry, Key, Look};
use pawang_logs::render::without_secrets;
use pawang_logs::threshold::Spread;
use pawang_postgres::{Rows, Session, Target};

/// Entries of one look, the costliest first; the extension keeps 5,000 unless told otherwise.
const ENTRIES_MAX: usize = 20_000;
/// Characters of one text.
const TEXT_CHARACTERS_MAX: usize = 10_000;
/// The first version that tells nesting, and evictions.
const OLDEST: (u32, u32) = (1, 9);
/// The first version that tells when an entry began.
const TELLS_SINCE: (u32, u32) = (1, 11);
/// What the extension shows in place of a text that the role may not see.
const HIDDEN: &str = "<insufficient privilege>";

const ABOUT: &str = "\
SELECT x.extversion,
       pg_catalog.quote_ident(n.nspname::text),
       pg_catalog.has_schema_privilege(n.oid, 'USAGE'),
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_settings AS s WHERE s.name = 'pg_stat_statements.max'),
       (SELECT s.setting FROM pg_catalog.pg_settings AS s WHERE s.name = 'shared_preload_libraries'),
       (SELECT s.setting FROM pg_catalog.pg_settings AS s WHERE s.name = 'pg_stat_statements.track'),
       (SELECT s.setting FROM pg_catalog.pg_settings AS s WHERE s.name = 'compute_query_id')
  FROM (SELECT) AS one
  LEFT JOIN pg_catalog.pg_extension AS x ON x.extname = 'pg_stat_statements'
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = x.extnamespace";

/// pg_stat_statements of one server.
pub(super) struct Statements {
    /// The connection.
    pub session: Session,
    /// Why nothing may be counted, with the statement against it.
    pub quiet: Option<String>,
    schema: String,
    tells_since: bool,
}

impl Statements {
    /// Connects, and finds the extension.
    ///
    /// # Errors
    /// The server does not answer, or the extension is not there for this role: with the statement that provides it.
    pub(super) async fn open(target: &Target, purpose: &str) -> Result<Statements, Report> {
        let session = Session::connect(target, purpose)
            .await
            .map_err(|error| error.report())?;
        let rows = read(&session, ABOUT).await?;
        let row = rows.rows.first().map_or(&[] as &[Value], |row| row);
        let about = About::of(row);
        let (schema, version) = about.usable(&session)?;
        Ok(Statements {
            quiet: about.quiet(),
            schema,
            tells_since: version >= TELLS_SINCE,
            session,
        })
    }

    /// Looks at all entries.
    ///
    /// # Errors
    /// The server does not answer within its limit.
    pub(super) async fn look(&self) -> Result<Look, Report> {
        let schema = &self.schema;
        let info = format!(
            "SELECT pg_catalog.clock_timestamp(), i.stats_reset, i.dealloc FROM {schema}.pg_stat_statements_info() AS i"
        );
        let info = read(&self.session, &info).await?;
        let since = if self.tells_since {
            "p.stats_since"
        } else {
            "NULL::pg_catalog.timestamptz"
        };
        let entries = format!(
            "SELECT p.userid, p.dbid, p.queryid, p.toplevel,
       coalesce(d.datname::text, p.dbid::text), coalesce(a.rolname::text, p.userid::text), {since},
       p.calls::float8, p.total_exec_time, p.rows::float8, p.shared_blks_hit::float8, p.shared_blks_read::float8,
       (p.temp_blks_read OPERATOR(pg_catalog.+) p.temp_blks_written)::float8, p.wal_bytes::float8, p.total_plan_time
  FROM {schema}.pg_stat_statements(false) AS p
  LEFT JOIN pg_catalog.pg_database AS d ON d.oid = p.dbid
  LEFT JOIN pg_catalog.pg_roles AS a ON a.oid = p.userid
 ORDER BY p.total_exec_time DESC
 LIMIT {}",
            ENTRIES_MAX + 1
        );
        let entries = read(&self.session, &entries).await?;
        Ok(look(&info, &entries))
    }

    /// Returns the texts of statements, secrets masked, without those that the role may not see.
    ///
    /// # Errors
    /// The server does not answer within its limit.
    pub(super) async fn texts(&self, ids: &[i64]) -> Result<BTreeMap<i64, String>, Report> {
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
        let sql = format!(
            "SELECT DISTINCT ON (p.queryid) p.queryid, pg_catalog.left(p.query, {TEXT_CHARACTERS_MAX})
  FROM {}.pg_stat_statements(true) AS p
 WHERE p.queryid OPERATOR(pg_catalog.=) ANY ('{{{}}}'::pg_catalog.int8[])
   AND p.query OPERATOR(pg_catalog.<>) '{HIDDEN}'
 ORDER BY p.queryid",
            self.schema,
            ids.join(",")
        );
        let rows = read(&self.session, &sql).await?;
        let text = |row: &Vec<Value>| {
            let text = row.get(1)?.as_text()?;
            Some((row.first()?.as_int()?, without_secrets(text).into_owned()))
        };
        Ok(rows.rows.iter().filter_map(text).collect())
    }

    /// Returns how long the calls of each entry take, and over how many seconds that was counted.
    ///
    /// # Errors
    /// The server does not answer within its limit.
    pub(super) async fn spreads(&self) -> Result<(Vec<Spread>, f64), Report> {
        let age = if self.tells_since {
            "EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - p.stats_since)"
        } else {
            "EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - i.stats_reset)"
        };
        let sql = format!(
            "SELECT p.calls::float8, p.mean_exec_time, p.stddev_exec_time, p.min_exec_time, p.max_exec_time,
       pg_catalog.octet_length(p.query)::float8, ({age})::float8,
       EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - i.stats_reset)::float8
  FROM {0}.pg_stat_statements(true) AS p
 CROSS JOIN {0}.pg_stat_statements_info() AS i
 WHERE p.toplevel
 ORDER BY p.total_exec_time DESC
 LIMIT {ENTRIES_MAX}",
            self.schema
        );
        let rows = read(&self.session, &sql).await?;
        let number =
            |row: &[Value], column: usize| row.get(column).and_then(Value::as_float).unwrap_or(0.0);
        let spread = |row: &Vec<Value>| Spread {
            calls: number(row, 0),
            mean_ms: number(row, 1),
            deviation_ms: number(row, 2),
            min_ms: number(row, 3),
            max_ms: number(row, 4),
            text_bytes: number(row, 5),
            seconds: number(row, 6),
        };
        let seconds = rows.rows.first().map_or(0.0, |row| number(row, 7));
        Ok((rows.rows.iter().map(spread).collect(), seconds))
    }
}

async fn read(session: &Session, sql: &str) -> Result<Rows, Report> {
    session.read(sql).await.map_err(|error| error.report())
}

/// What a server says about the extension.
#[derive(Default)]
struct About {
    version: Option<String>,
    schema: String,
    usage: bool,
    loaded: bool,
    /// The libraries of its start, where the role may see them.
    libraries: Option<String>,
    track: Option<String>,
    query_id: Option<String>,
}

impl About {
    fn of(row: &[Value]) -> About {
        let text = |column: usize| row.get(column).and_then(Value::as_text).map(str::to_owned);
        About {
            version: text(0),
            schema: text(1).unwrap_or_default(),
            usage: matches!(row.get(2), Some(Value::Bool(true))),
            loaded: row.get(3).and_then(Value::as_int) == Some(1),
            libraries: text(4),
            track: text(5),
            query_id: text(6),
        }
    }

    /// Returns why it may count nothing.
    fn quiet(&self) -> Option<String> {
        let says = |name: &str, value: &Option<String>, bad: &str, statement: &str| {
            let bad = value.as_deref() == Some(bad);
            bad.then(|| {
                format!(
                    "{name} is {}: {statement} SELECT pg_reload_conf();",
                    value.as_deref().unwrap_or_default()
                )
            })
        };
        says(
            "pg_stat_statements.track",
            &self.track,
            "none",
            "ALTER SYSTEM SET pg_stat_statements.track = 'top';",
        )
        .or_else(|| {
            says(
                "compute_query_id",
                &self.query_id,
                "off",
                "ALTER SYSTEM SET compute_query_id = 'auto';",
            )
        })
    }

    /// Returns where it is and of which version.
    fn usable(&self, session: &Session) -> Result<(String, (u32, u32)), Report> {
        let missing = |primary: &str| Report::new(Kind::Target, primary.to_owned());
        let database = &session.server.database;
        if !self.loaded {
            return Err(missing(
                "pg_stat_statements counts nothing on this server: it was not loaded at its start",
            )
            .with_detail("a superuser runs the statement, and the server is restarted")
            .with_hint(load(self.libraries.as_deref())));
        }
        let Some(version) = &self.version else {
            return Err(missing(&format!("there is no extension pg_stat_statements in database \"{database}\""))
                .with_detail("it is loaded, and counts all databases; one of them needs the extension to show it")
                .with_hint("CREATE EXTENSION pg_stat_statements;"));
        };
        let role = format!("\"{}\"", session.server.user.replace('"', "\"\""));
        if !self.usage {
            return Err(
                missing("the role may not use the schema of pg_stat_statements")
                    .with_hint(format!("GRANT USAGE ON SCHEMA {} TO {role};", self.schema)),
            );
        }
        let number = parsed(version);
        if number < OLDEST {
            return Err(missing(&format!(
                "extension pg_stat_statements in database \"{database}\" is of version {version}"
            ))
            .with_detail("the server has a newer one, which tells resets and evictions")
            .with_hint("ALTER EXTENSION pg_stat_statements UPDATE;"));
        }
        Ok((self.schema.clone(), number))
    }
}

/// Returns the statement that loads the library besides those that are loaded.
fn load(libraries: Option<&str>) -> String {
    let Some(libraries) = libraries else {
        return "SHOW shared_preload_libraries;  -- as a superuser, then ALTER SYSTEM SET shared_preload_libraries = that list and 'pg_stat_statements';".to_owned();
    };
    let mut items: Vec<String> = libraries
        .split(',')
        .map(|item| item.trim().trim_matches('"'))
        .filter(|item| !item.is_empty() && *item != "pg_stat_statements")
        .map(|item| format!("'{}'", item.replace('\'', "''")))
        .collect();
    items.push("'pg_stat_statements'".to_owned());
    format!(
        "ALTER SYSTEM SET shared_preload_libraries = {};",
        items.join(", ")
    )
}

fn parsed(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

fn look(info: &Rows, entries: &Rows) -> Look {
    let about = info.rows.first().map_or(&[] as &[Value], |row| row);
    let time = |row: &[Value], column: usize| match row.get(column) {
        Some(Value::Time(at)) => Some(*at),
        _ => None,
    };
    let mut look = Look {
        at: time(about, 0).unwrap_or(Timestamp::UNIX_EPOCH),
        reset_at: time(about, 1),
        evictions: about.get(2).and_then(Value::as_int).unwrap_or(0),
        entries: Vec::with_capacity(entries.rows.len()),
        cut: entries.rows.len() > ENTRIES_MAX,
        hidden: 0,
        hidden_ms: 0.0,
    };
    for row in entries.rows.iter().take(ENTRIES_MAX) {
        let int = |column: usize| row.get(column).and_then(Value::as_int);
        let number = |column: usize| row.get(column).and_then(Value::as_float).unwrap_or(0.0);
        let text = |column: usize| {
            row.get(column)
                .and_then(Value::as_text)
                .unwrap_or_default()
                .to_owned()
        };
        let counters = Counters {
            calls: number(7),
            total_ms: number(8),
            rows: number(9),
            hit: number(10),
            read: number(11),
            temp: number(12),
            wal_bytes: number(13),
            plan_ms: number(14),
        };
        // Entries of others have no identifier for a role that may not see them.
        let Some(queryid) = int(2) else {
            look.hidden += 1;
            look.hidden_ms += counters.total_ms;
            continue;
        };
        look.entries.push(Entry {
            key: Key {
                user_id: int(0).unwrap_or(0),
                database_id: int(1).unwrap_or(0),
                queryid,
                toplevel: row.get(3) == Some(&Value::Bool(true)),
            },
            database: text(4),
            role: text(5),
            since: time(row, 6),
            counters,
        });
    }
    look
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_loaded_besides_the_others() {
        let list = |libraries| load(Some(libraries));
        assert_eq!(
            list(""),
            "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements';"
        );
        assert_eq!(
            list("timescaledb, \"auto_explain\""),
            "ALTER SYSTEM SET shared_preload_libraries = 'timescaledb', 'auto_explain', 'pg_stat_statements';"
        );
        assert!(load(None).starts_with("SHOW shared_preload_libraries"));
    }

    #[test]
    fn versions_are_numbers() {
        assert!(parsed("1.10") > parsed("1.9"));
        assert!(parsed("1.8") < OLDEST);
    }

    #[test]
    fn a_setting_that_counts_nothing_is_told_with_its_statement() {
        let about = |track: &str, query_id: &str| About {
            track: Some(track.to_owned()),
            query_id: Some(query_id.to_owned()),
            ..About::default()
        };
        assert_eq!(about("top", "auto").quiet(), None);
        assert!(
            about("none", "auto")
                .quiet()
                .is_some_and(|text| text.contains("track = 'top'"))
        );
        assert!(
            about("all", "off")
                .quiet()
                .is_some_and(|text| text.contains("compute_query_id = 'auto'"))
        );
    }
}
