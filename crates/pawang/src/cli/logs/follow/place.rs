//! Where the log is: files, or a server that hands them out.

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use pawang_core::{Kind, Report, Value};
use pawang_logs::choose::Wish;
use pawang_logs::follow::{TARGETS_MAX, Target};
use pawang_postgres::Session;

use super::super::remote::{self, RemoteFile};
use super::no_place;
use crate::cli::Global;
use crate::estate::{Estate, told};

/// What a server says about its log; `pg_settings` hides from a role what `current_setting` refuses.
const ABOUT: &str = "\
SELECT pg_catalog.current_setting('log_line_prefix'), pg_catalog.current_setting('log_timezone'),
       pg_catalog.current_setting('logging_collector') = 'on',
       (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'data_directory'),
       (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'log_directory'),
       coalesce(pg_catalog.has_function_privilege(
           pg_catalog.to_regprocedure('public.pawang_read_log(text, bigint, integer)'), 'EXECUTE'), false)";

/// Where the log is.
pub(super) enum Place {
    /// Files of this machine.
    Files(Vec<Target>),
    /// Files that a server hands out.
    Server(Box<pawang_postgres::Target>),
}

/// Returns the files of the command line.
///
/// # Errors
/// A file is not there or cannot be read, or there are too many.
pub(super) fn of_files(files: &[PathBuf]) -> Result<Place, Report> {
    if files.len() > TARGETS_MAX {
        let report = no_place("cannot follow so many files at once");
        return Err(report.with_detail(format!("{} files of at most {TARGETS_MAX}", files.len())));
    }
    files
        .iter()
        .map(|file| of_file(file))
        .collect::<Result<_, _>>()
        .map(Place::Files)
}

fn of_file(path: &Path) -> Result<Target, Report> {
    if path == Path::new("-") {
        return Err(no_place("cannot follow standard input").with_hint("pawang logs report -"));
    }
    let refused = |error: std::io::Error| {
        let primary = format!("could not open file \"{}\"", path.display());
        Report::new(Kind::Target, primary).with_detail(error.to_string())
    };
    let facts = std::fs::metadata(path).map_err(refused)?;
    if !facts.is_dir() {
        std::fs::File::open(path).map_err(refused)?;
        return Ok(Target::File(path.to_owned()));
    }
    std::fs::read_dir(path).map_err(refused)?;
    Ok(if path.join("current_logfiles").is_file() {
        Target::DataDirectory(path.to_owned())
    } else {
        Target::Newest(path.to_owned())
    })
}

/// Asks the one server of `-i` where its log is, and learns its settings.
///
/// # Errors
/// There is not one such server, it does not answer, it has no log of its own, or its role may not read it.
pub(super) async fn of_server(global: &Global, wish: &mut Wish) -> Result<Place, Report> {
    if global.instances.is_empty() {
        return Err(no_place("neither a file nor a server is given"));
    }
    let estate = Estate::load(global.config.as_deref()).map_err(told)?;
    let target = remote::job(&estate, global, "pawang logs follow -i NAME")?.target;
    let session = Session::connect(&target, "logs")
        .await
        .map_err(|error| error.report())?;
    let rows = session.read(ABOUT).await.map_err(|error| error.report())?;
    let row = rows.rows.first().map_or(&[] as &[Value], |row| row);
    let text = |column: usize| row.get(column).and_then(Value::as_text);
    let holds = |column: usize| matches!(row.get(column), Some(Value::Bool(true)));
    if !holds(2) {
        return Err(Report::new(
            Kind::Target,
            "the server keeps no log of its own: logging_collector is off",
        )
        .with_detail("its log goes where standard error of its start went, or to syslog")
        .with_hint("pawang logs follow /var/log/postgresql"));
    }
    if wish.prefixes.is_empty() {
        wish.prefixes.extend(text(0).map(str::to_owned));
    }
    if wish.zone.is_none() {
        wish.zone = text(1).and_then(|name| TimeZone::get(name).ok());
    }
    let files = remote::list(&session).await.map_err(|report| {
        report.with_hint("GRANT pg_monitor TO the role: pg_ls_logdir() lists the log directory")
    })?;
    let local = match (text(3), text(4)) {
        (Some(data), Some(log)) => local(Path::new(data), Path::new(log), files.last()),
        _ => None,
    };
    match local {
        Some(local) => Ok(Place::Files(vec![local])),
        None if holds(5) => Ok(Place::Server(Box::new(target))),
        None => Err(remote::refused(&session)),
    }
}

/// Returns the server's log as a file of this machine, when it is one that can be read.
fn local(data: &Path, log: &Path, newest: Option<&RemoteFile>) -> Option<Target> {
    let newest = newest?;
    let directory = data.join(log);
    let file = std::fs::File::open(directory.join(&newest.name)).ok()?;
    // A directory of the same name on another machine has no such file that was just written.
    let facts = file.metadata().ok()?;
    let modified = std::os::unix::fs::MetadataExt::mtime(&facts);
    let listed = newest.modified? / 1_000_000;
    if facts.len() < newest.size || modified < listed {
        return None;
    }
    let named = std::fs::read_to_string(data.join("current_logfiles")).is_ok();
    Some(if named {
        Target::DataDirectory(data.to_owned())
    } else {
        Target::Newest(directory)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_log_that_is_the_server_s_is_read_as_a_file() {
        let data = tempfile::tempdir().unwrap();
        let log = data.path().join("log");
        std::fs::create_dir(&log).unwrap();
        std::fs::write(log.join("a.log"), "1234").unwrap();
        let listed = |size, modified| RemoteFile {
            name: "a.log".to_owned(),
            size,
            modified: Some(modified),
        };
        let found = |file: &RemoteFile| local(data.path(), Path::new("log"), Some(file));
        assert_eq!(found(&listed(4, 0)), Some(Target::Newest(log.clone())));
        assert_eq!(found(&listed(5, 0)), None);
        assert_eq!(found(&listed(4, i64::MAX)), None);
        std::fs::write(data.path().join("current_logfiles"), "stderr log/a.log\n").unwrap();
        assert_eq!(
            found(&listed(3, 0)),
            Some(Target::DataDirectory(data.path().to_owned()))
        );
    }
}
