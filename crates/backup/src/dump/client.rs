//! The client programs: found where they are at least as new as the server, run without a shell, and ended with us.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use pawang_core::{Kind, Report};
use tokio::process::{Child, Command};

use crate::Error;
use crate::child::last_words;
use crate::drill::binaries;

const DUMP: &str = "pg_dump";
const PATH: &str = "/usr/bin:/bin";

/// A folder with client programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The folder.
    pub folder: PathBuf,
    /// What `pg_dump --version` says.
    pub version: String,
}

/// Finds client programs that are not older than the server: those of its own major version first.
///
/// # Errors
/// There are none, or those in the folder that is named are too old.
pub async fn client(major: u32, named: Option<&Path>) -> Result<Client, Error> {
    let found = match named {
        Some(folder) => Some(folder.to_owned()),
        None => binaries::client(major, DUMP),
    };
    let folder = found.ok_or_else(|| {
        let what = format!("no {DUMP} of PostgreSQL {major} or later is on this machine");
        let report = Report::new(Kind::Target, what)
            .with_detail("an older one cannot dump a newer server")
            .with_hint(format!("apt-get install postgresql-client-{major}"));
        Error::Refused(Box::new(report))
    })?;
    let program = folder.join(DUMP);
    let failed = |source| Error::File {
        doing: "run",
        path: program.clone(),
        source,
    };
    let version = binaries::version(&program).await.map_err(failed)?;
    let its = binaries::major_of(&version).ok_or_else(|| {
        failed(std::io::Error::other(format!(
            "it does not say its version: {version}"
        )))
    })?;
    if its < major {
        let what = format!("{DUMP} in \"{}\" is of PostgreSQL {its}", folder.display());
        let report = Report::new(Kind::Refused, what)
            .with_detail(format!(
                "the server is of PostgreSQL {major}, which an older program cannot dump"
            ))
            .with_hint(format!("apt-get install postgresql-client-{major}"));
        return Err(Error::Refused(Box::new(report)));
    }
    Ok(Client { folder, version })
}

impl Client {
    /// Starts a program with these words; its environment holds how the server is reached and nothing else.
    pub(super) fn start(
        &self,
        program: &str,
        words: &[String],
        reach: &[(&'static str, OsString)],
        stdin: Stdio,
        stdout: Stdio,
    ) -> Result<Child, Error> {
        let path = self.folder.join(program);
        let mut command = Command::new(&path);
        command
            .args(words)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C.UTF-8")
            .envs(reach.iter().cloned())
            .current_dir("/")
            .stdin(stdin)
            .stdout(stdout)
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command.spawn().map_err(|source| Error::File {
            doing: "start",
            path,
            source,
        })
    }

    /// Waits for a program's end.
    pub(super) async fn end(&self, program: &str, child: &mut Child) -> Result<(), Error> {
        let failed = |source| Error::File {
            doing: "run",
            path: self.folder.join(program),
            source,
        };
        let (status, words) = last_words(child).await.map_err(failed)?;
        if status.success() {
            return Ok(());
        }
        let report = Report::new(Kind::Target, format!("{program} ended with {status}"));
        Err(Error::Refused(Box::new(report.with_detail(words))))
    }
}

/// Returns the same refusal of a program with what to do about it.
pub(super) fn hinted(error: Error, hint: String) -> Error {
    match error {
        Error::Refused(report) => Error::Refused(Box::new(report.with_hint(hint))),
        other => other,
    }
}

/// Returns a role as a statement has it.
pub(super) fn quoted(role: &str) -> String {
    format!("\"{}\"", role.replace('"', "\"\""))
}
