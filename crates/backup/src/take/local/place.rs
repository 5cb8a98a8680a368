//! Where the files of a server are, and whether its data directory is on this machine and may be read.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use pawang_core::Value;
use pawang_postgres::Session;
use pawang_postgres::control_file::{self, State};

use super::super::TakeRequest;
use super::super::parent::words;
use super::super::preflight::Known;
use super::list::Hints;
use crate::Error;
use crate::repository::Mode;

/// The server writes its own file this long before it says that it started, at most.
const START_TOLERANCE_S: u64 = 60;
/// What the server says of itself. `pg_settings` has no row of what the role may not see.
const FACTS: &str = "\
SELECT (SELECT s.setting FROM pg_catalog.pg_settings AS s WHERE s.name = 'data_directory'),
       (SELECT s.setting FROM pg_catalog.pg_settings AS s WHERE s.name = 'port'),
       (SELECT s.setting FROM pg_catalog.pg_settings AS s WHERE s.name = 'wal_log_hints'),
       pg_catalog.floor(EXTRACT(epoch FROM pg_catalog.pg_postmaster_start_time()))::pg_catalog.int8::pg_catalog.text,
       pg_catalog.has_function_privilege(";

/// Files that can be read, and a session with their server.
pub(crate) struct Place {
    pub(crate) files: Files,
    /// Folder that this server has in each tablespace.
    pub(crate) version_folder: String,
    pub(crate) hints: Hints,
    pub(crate) session: Session,
}

/// Where the files of a server are read.
pub(crate) enum Files {
    /// In this data directory.
    Here(PathBuf),
    /// At the server, by so many lanes.
    Server(NonZeroUsize),
}

/// What the server says of itself.
struct Facts {
    root: PathBuf,
    port: String,
    started_s: u64,
    logged: bool,
}

impl Files {
    /// Returns how a backup of them is read.
    pub(crate) fn mode(&self) -> Mode {
        match self {
            Files::Here(_) => Mode::Local,
            Files::Server(_) => Mode::Lanes,
        }
    }
}

/// Finds the data directory of the server, or says why it cannot be read.
///
/// # Errors
/// The server could not be asked.
pub(crate) async fn find(
    request: &TakeRequest,
    known: &Known,
) -> Result<Result<Place, String>, Error> {
    let session = match Session::connect(&request.target, "backup").await {
        Ok(session) => session,
        // Replication may be allowed where nothing else is.
        Err(error) => return Ok(Err(words(error.report()))),
    };
    if session.pooled() {
        return Ok(Err("a pooler stands between".to_owned()));
    }
    let facts = match facts(&session, known).await? {
        Ok(facts) => facts,
        Err(why) => return Ok(Err(why)),
    };
    Ok(same(&facts, known).map(|version_folder| Place {
        files: Files::Here(facts.root),
        version_folder,
        hints: Hints {
            logged: facts.logged,
            server_started_s: facts.started_s,
        },
        session,
    }))
}

/// The functions that begin and end a backup.
pub(crate) fn functions(major: u32) -> (&'static str, &'static str) {
    match major {
        ..15 => ("pg_start_backup", "pg_stop_backup"),
        _ => ("pg_backup_start", "pg_backup_stop"),
    }
}

async fn facts(session: &Session, known: &Known) -> Result<Result<Facts, String>, Error> {
    let (start, stop) = functions(known.cluster.major);
    let exclusive = if known.cluster.major < 15 {
        ", boolean"
    } else {
        ""
    };
    let sql = format!(
        "{FACTS}'pg_catalog.{start}(text, boolean{exclusive})', 'EXECUTE')
   AND pg_catalog.has_function_privilege('pg_catalog.{stop}(boolean{exclusive})', 'EXECUTE')"
    );
    let rows = session.read(&sql).await?;
    let Some([root, port, logged, started, may]) = rows.rows.first().map(Vec::as_slice) else {
        return Ok(Err("it does not say where its files are".to_owned()));
    };
    let (Some(root), Some(port)) = (root.as_text(), port.as_text()) else {
        return Ok(Err(
            "the role may not see \"data_directory\" (pg_read_all_settings)".to_owned(),
        ));
    };
    if *may != Value::Bool(true) {
        return Ok(Err(format!("the role may not execute {start} and {stop}")));
    }
    let started = started.as_text().and_then(|text| text.parse().ok());
    Ok(Ok(Facts {
        root: PathBuf::from(root),
        port: port.to_owned(),
        started_s: started.unwrap_or(0),
        logged: logged.as_text() == Some("on"),
    }))
}

/// Says whether the data directory of that name here is the one of the server, and not that of another machine: a standby has
/// the same path, and the same identity. Returns the folder that the server has in tablespaces.
fn same(facts: &Facts, known: &Known) -> Result<String, String> {
    let root = &facts.root;
    let shown = root.display();
    let control = control_file::read(root).map_err(|error| words(error.report()))?;
    if control.system_identifier != known.cluster.system_identifier {
        return Err(format!("\"{shown}\" here is of another cluster"));
    }
    let in_recovery = control.state == State::InArchiveRecovery;
    if !in_recovery && control.state != State::InProduction || in_recovery != known.standby {
        return Err(format!(
            "\"{shown}\" here is of another server: {}",
            control.state
        ));
    }
    let (started_s, port) = postmaster(root)
        .ok_or_else(|| format!("\"{shown}\" here has no \"postmaster.pid\" that could be read"))?;
    if started_s.abs_diff(facts.started_s) > START_TOLERANCE_S || port != facts.port {
        return Err(format!("\"{shown}\" here is that of another server"));
    }
    Ok(format!(
        "PG_{}_{}",
        known.cluster.major, control.catalog_version
    ))
}

/// Reads when the server was started, and its port.
fn postmaster(root: &Path) -> Option<(u64, String)> {
    let text = fs::read_to_string(root.join("postmaster.pid")).ok()?;
    let mut lines = text.lines().skip(2).map(str::trim);
    Some((lines.next()?.parse().ok()?, lines.next()?.to_owned()))
}
