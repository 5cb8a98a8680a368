//! Whether the server lets this role read its files over SQL.

use pawang_core::{Kind, Report, Value};
use pawang_postgres::{Session, Target};

use super::super::TakeRequest;
use super::super::local::list::Hints;
use super::super::local::place::{Files, Place, functions};
use super::super::preflight::Known;
use crate::Error;

/// What reading files takes besides the two functions that begin and end a backup.
const READ: [&str; 3] = [
    "pg_read_binary_file(text, bigint, bigint, boolean)",
    "pg_ls_dir(text, boolean, boolean)",
    "pg_stat_file(text, boolean)",
];
const FACTS: &str = "\
SELECT (SELECT c.catalog_version_no FROM pg_catalog.pg_control_system() AS c)::pg_catalog.int8,
       (SELECT s.setting FROM pg_catalog.pg_settings AS s WHERE s.name = 'wal_log_hints'),
       pg_catalog.floor(EXTRACT(epoch FROM pg_catalog.pg_postmaster_start_time()))::pg_catalog.int8";

/// Says what the role lacks to have backups read over SQL; nothing when they can be.
///
/// # Errors
/// The server could not be reached or asked.
pub async fn missing_grants(target: &Target) -> Result<Option<Report>, Error> {
    let session = Session::connect(target, "backup").await?;
    lacking(&session).await
}

/// Finds the files of a server as its lanes will, or says why they cannot be read so.
///
/// # Errors
/// The server could not be reached or asked.
pub(crate) async fn find(
    request: &TakeRequest,
    known: &Known,
) -> Result<Result<Place, Report>, Error> {
    let session = Session::connect(&request.target, "backup").await?;
    if let Some(report) = lacking(&session).await? {
        return Ok(Err(report));
    }
    let rows = session.read(FACTS).await?;
    let row = rows.rows.first().map(Vec::as_slice).unwrap_or_default();
    let number = |at: usize| row.get(at).and_then(Value::as_int);
    let Some(catalog_version) = number(0) else {
        return Err(Error::Incomplete {
            address: session.address().to_owned(),
            problem: "it does not say which catalog it has".to_owned(),
        });
    };
    Ok(Ok(Place {
        files: Files::Server(request.lanes),
        version_folder: format!("PG_{}_{catalog_version}", known.cluster.major),
        hints: Hints {
            logged: row.get(1).and_then(Value::as_text) == Some("on"),
            server_started_s: number(2).and_then(|at| u64::try_from(at).ok()).unwrap_or(0),
        },
        session,
    }))
}

/// Says what a session lacks to read the files of its server.
pub(crate) async fn lacking(session: &Session) -> Result<Option<Report>, Error> {
    let server = &session.server;
    if session.pooled() {
        let report = Report::new(
            Kind::Refused,
            format!("a pooler stands before \"{}\"", session.address()),
        )
        .with_detail("a server stays in backup mode as long as a session of its own")
        .with_hint("name the server itself in the instance's url");
        return Ok(Some(report));
    }
    let (start, stop) = functions(server.version / 10_000);
    let mut needed = READ.map(str::to_owned).to_vec();
    needed.extend(if server.version < 150_000 {
        [
            format!("{start}(text, boolean, boolean)"),
            format!("{stop}(boolean, boolean)"),
        ]
    } else {
        [
            format!("{start}(text, boolean)"),
            format!("{stop}(boolean)"),
        ]
    });
    let values = needed
        .iter()
        .map(|function| format!("('pg_catalog.{function}')"));
    let sql = format!(
        "SELECT f.name, pg_catalog.quote_ident(current_user) FROM (VALUES {}) AS f (name)
          WHERE NOT pg_catalog.has_function_privilege(f.name, 'EXECUTE')",
        values.collect::<Vec<_>>().join(", ")
    );
    let rows = session.read(&sql).await?;
    let texts = |at: usize| {
        rows.rows
            .iter()
            .filter_map(move |row| row.get(at)?.as_text())
    };
    let Some(role) = texts(1).next() else {
        return Ok(None);
    };
    let lacking: Vec<&str> = texts(0).collect();
    let short = lacking.iter().map(|name| {
        let name = name.trim_start_matches("pg_catalog.");
        name.split_once('(').map_or(name, |(name, _)| name)
    });
    let report = Report::new(
        Kind::Target,
        format!(
            "role \"{}\" may not read the files of the server over SQL",
            server.user
        ),
    )
    .with_detail(format!(
        "in database \"{}\" it may not execute {}",
        server.database,
        short.collect::<Vec<_>>().join(", ")
    ))
    .with_hint(format!(
        "in database \"{}\", as a superuser: GRANT EXECUTE ON FUNCTION {} TO {role};",
        server.database,
        lacking.join(", ")
    ));
    Ok(Some(report))
}
