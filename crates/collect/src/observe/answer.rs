//! From a collector to its statement, and from the server's answer to a sighting.

use std::collections::BTreeMap;
use std::sync::Arc;

use pawang_core::{Blind, Missing, Role, Server, Sighting, Snapshot, Value};
use pawang_postgres::{Error, Rows, Session};

use crate::catalog::parse_version;
use crate::{Collector, Question};

const EXTENSIONS: &str = "\
SELECT e.extname, e.extversion, pg_catalog.quote_ident(n.nspname)
  FROM pg_catalog.pg_extension AS e
  JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace";

/// An installed extension: its version and the schema it lives in, quoted.
pub(super) struct Extension {
    version: (u32, u32),
    pub(super) schema: String,
}

pub(super) async fn extensions(session: &Session) -> BTreeMap<String, Extension> {
    let rows = match session.read(EXTENSIONS).await {
        Ok(Rows { rows, .. }) => rows,
        Err(error) => {
            tracing::warn!("could not list extensions: {error}");
            Vec::new()
        }
    };
    let mut extensions = BTreeMap::new();
    for row in rows {
        if let [Value::Text(name), Value::Text(version), Value::Text(schema)] = row.as_slice()
            && let Some(version) = parse_version(version)
        {
            extensions.insert(
                name.to_string(),
                Extension {
                    version,
                    schema: schema.to_string(),
                },
            );
        }
    }
    extensions
}

/// Picks the statement, or says why there is none.
pub(super) fn statement(
    collector: &Collector,
    server: &Server,
    extensions: &BTreeMap<String, Extension>,
) -> Result<String, Missing> {
    let header = &collector.header;
    if header.role.is_some_and(|role| role != server.role) {
        let role = if server.role == Role::Primary {
            "a primary"
        } else {
            "a standby"
        };
        return Err(Missing::NotApplicable(format!("the server is {role}")));
    }
    let Some(name) = &header.extension else {
        let sql = collector
            .statement((server.major(), u32::MAX))
            .map(str::to_owned);
        return sql.ok_or_else(|| {
            let oldest = collector
                .statements
                .keys()
                .next()
                .map_or(0, |version| version.0);
            Missing::NotApplicable(format!("needs PostgreSQL {oldest}"))
        });
    };
    match extensions.get(name) {
        Some(extension) => match collector.statement(extension.version) {
            Some(sql) => Ok(sql.replace("{schema}", &extension.schema)),
            None => Err(Missing::NotApplicable(format!(
                "needs a newer version of extension \"{name}\""
            ))),
        },
        None if header.optional => Err(Missing::NotApplicable(format!(
            "extension \"{name}\" is not installed"
        ))),
        None => Err(Blind::MissingExtension {
            name: name.clone(),
            database: server.database.clone(),
        }
        .into()),
    }
}

/// Brings the server's columns into the header's order; a column that was not sent is NULL.
pub(super) fn arrange(snapshot: &Snapshot, rows: Rows) -> Result<Vec<Vec<Value>>, Missing> {
    let declared = &snapshot.columns;
    if let Some(name) = rows
        .names
        .iter()
        .find(|name| !declared.iter().any(|column| column.name == **name))
    {
        let what = format!(
            "collector \"{}\" does not declare its column \"{name}\"",
            snapshot.collector
        );
        return Err(Blind::Failed { what }.into());
    }
    let sources: Vec<Option<usize>> = declared
        .iter()
        .map(|column| rows.names.iter().position(|name| *name == column.name))
        .collect();
    if sources
        .iter()
        .enumerate()
        .all(|(index, source)| *source == Some(index))
    {
        return Ok(rows.rows);
    }
    let arrange = |mut row: Vec<Value>| -> Vec<Value> {
        sources
            .iter()
            .map(|source| source.map_or(Value::Null, |index| std::mem::take(&mut row[index])))
            .collect()
    };
    Ok(rows.rows.into_iter().map(arrange).collect())
}

pub(super) fn sighting(
    collector: &Collector,
    database: Option<&str>,
    seen: Result<Snapshot, Missing>,
) -> Sighting {
    Sighting {
        collector: collector.name.clone(),
        database: database.map(str::to_owned),
        seen: seen.map(Arc::new),
    }
}

/// Says that a question has no answer.
pub(super) fn unanswered(question: &Question, blind: Blind) -> Sighting {
    Sighting {
        collector: question.name.clone(),
        database: None,
        seen: Err(blind.into()),
    }
}

/// Says whether the collector's extension was not in the database that was asked.
pub(super) fn is_homeless(sighting: &Sighting) -> bool {
    matches!(
        &sighting.seen,
        Err(Missing::Blind(Blind::MissingExtension { .. }))
    )
}

/// Says why a collector's statement was refused, with what its header says to grant.
pub(super) fn refusal(collector: &Collector, server: &Server, error: &Error) -> Blind {
    match error.blind() {
        Blind::NoPrivilege { what, .. } => Blind::NoPrivilege {
            what,
            grant: granting(collector, server),
        },
        Blind::Failed { what } => Blind::Failed {
            what: format!("collector \"{}\": {what}", collector.name),
        },
        blind => blind,
    }
}

/// Returns the statement that lets the role read what a collector reads.
pub(super) fn granting(collector: &Collector, server: &Server) -> String {
    let role = quoted(&server.user);
    collector.header.grant.replace("{role}", &role)
}

/// Says why a log-in did not work out; a missing CONNECT is given by another statement than other privileges.
pub(super) fn connect_blind(error: &Error, database: &str, user: &str) -> Blind {
    match error.blind() {
        Blind::NoPrivilege { .. } => connect_privilege(database, user),
        blind => blind,
    }
}

pub(super) fn connect_privilege(database: &str, user: &str) -> Blind {
    let (database, user) = (quoted(database), quoted(user));
    Blind::NoPrivilege {
        what: format!("CONNECT on database {database}"),
        grant: format!("GRANT CONNECT ON DATABASE {database} TO {user};"),
    }
}

pub(super) fn dropped(database: &str) -> Blind {
    Blind::Failed {
        what: format!("database \"{database}\" does not exist or does not accept connections"),
    }
}

pub(super) fn nothing_included(patterns: &[String]) -> Blind {
    if patterns.is_empty() {
        return Blind::Failed {
            what: "the server has no database but templates".to_owned(),
        };
    }
    Blind::NotConfigured {
        key: "databases".to_owned(),
        what: format!("no database of the server matches {}", patterns.join(", ")),
    }
}

/// Says whether the whole server stopped answering, as opposed to one database that does not let Pawang in.
pub(super) fn is_gone(error: &Error) -> bool {
    matches!(
        error,
        Error::Unreachable { .. }
            | Error::ConnectTimeout { .. }
            | Error::NoHost { .. }
            | Error::Closed { .. }
            | Error::StartingUp { .. }
            | Error::Lost { .. }
            | Error::Timeout { .. }
    )
}

fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
