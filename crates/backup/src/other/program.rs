//! Starts the programs of other tools: by an absolute path or from fixed folders, without a shell, and in our own process
//! group, so that whoever ends us ends them.
//!
//! They keep the environment, unlike other programs that Pawang starts: the user wrote the command, and some of these tools
//! are configured by nothing else.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use pawang_core::{Kind, Report};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::Error;
use crate::child::last_words;
use crate::restore::Owner;

/// Folders that programs are looked for in.
const FOLDERS: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];
/// More than a catalogue of a million segments.
const ANSWER_BYTES_MAX: u64 = 512 << 20;

/// Finds a program: an absolute path, or a name in one of the folders of programs.
///
/// # Errors
/// There is none.
pub fn find(word: &str) -> Result<PathBuf, Error> {
    let path = Path::new(word);
    let found = if word.contains('/') {
        (path.is_absolute() && path.is_file()).then(|| path.to_owned())
    } else {
        let mut paths = FOLDERS.iter().map(|folder| Path::new(folder).join(word));
        paths.find(|path| path.is_file())
    };
    found.ok_or_else(|| {
        let report = Report::new(Kind::Usage, format!("there is no program \"{word}\""));
        let detail = format!("it is looked for in {}", FOLDERS.join(", "));
        Error::Refused(Box::new(report.with_detail(detail).with_hint(
            "pawang wal guard -- /usr/bin/pgbackrest --stanza=main archive-get %f %p",
        )))
    })
}

/// Runs a program to its end; what it says goes where ours goes.
pub(super) async fn run(program: &Path, words: &[String]) -> Result<ExitStatus, Error> {
    let status = command(program, words, None).status().await;
    status.map_err(|source| not_run(program, source))
}

/// Runs a program to its end as `owner`, and returns how it ended with its last words.
pub(super) async fn told(
    program: &Path,
    words: &[String],
    owner: Option<Owner>,
) -> Result<(ExitStatus, String), Error> {
    let failed = |source| not_run(program, source);
    let mut command = command(program, words, owner);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    last_words(&mut child).await.map_err(failed)
}

/// Runs a program as `owner` and returns what it answered, if it says that it was good.
pub(super) async fn ask(
    program: &Path,
    words: &[String],
    owner: Option<Owner>,
) -> Result<Vec<u8>, Error> {
    let failed = |source| not_run(program, source);
    let mut command = command(program, words, owner);
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let mut limited = stdout.take(ANSWER_BYTES_MAX);
        limited.read_to_end(&mut answer).await.map_err(failed)?;
    }
    let status = child.wait().await.map_err(failed)?;
    if status.success() {
        return Ok(answer);
    }
    let told = format!("it ended with {status}: {}", words.join(" "));
    Err(failed(std::io::Error::other(told)))
}

fn command(program: &Path, words: &[String], owner: Option<Owner>) -> Command {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).kill_on_drop(true);
    if let Some(owner) = owner {
        // Theirs, not that of whoever called us; such tools start further programs.
        command.env("PATH", FOLDERS.join(":"));
        // The folder that somebody else stands in may be closed to the owner.
        command.current_dir("/");
        command.as_std_mut().gid(owner.group).uid(owner.user);
    }
    command
}

fn not_run(program: &Path, source: std::io::Error) -> Error {
    Error::File {
        doing: "run",
        path: program.to_owned(),
        source,
    }
}
