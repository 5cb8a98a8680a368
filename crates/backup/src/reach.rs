//! Whether the user who runs a server can use files: the system is asked as that user, since modes alone do not tell.
//!
//! A restored server gets its WAL by a command of its own. What that command cannot read stops recovery hours later.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use pawang_core::{Kind, Report};
use tokio::process::Command;

use crate::{Error, Owner};

const SHELL: &str = "/bin/sh";
/// Changes user and groups at once; nearly every Linux has it.
const SETPRIV: &str = "/usr/bin/setpriv";
/// Two words each: a test and a path. The number of the first that fails is told.
const SCRIPT: &str = r#"
number=0
while [ "$#" -gt 1 ]; do
  if ! test "$1" "$2"; then echo "$number"; exit 0; fi
  number=$((number + 1)); shift 2
done
echo good
"#;
const GOOD: &str = "good";

/// What has to be possible with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The file is read.
    Read,
    /// The file is read, and nobody but its owner may be able to.
    ReadSecret,
    /// The program is started.
    Start,
    /// The folder is listed, and what is in it opened.
    Enter,
}

/// A path that a command of the server needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// What it is, for people.
    pub what: &'static str,
    /// The path, an absolute one.
    pub path: PathBuf,
    /// What is done with it.
    pub access: Access,
}

/// With which groups the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups {
    /// That of its user alone, as a server of a drill.
    Own,
    /// All groups that its user is a member of, as a server that the system starts.
    All,
}

/// Refuses when the user of a server cannot use what its commands need.
///
/// # Errors
/// Something is out of reach, or the system could not be asked.
pub async fn check(owner: Owner, groups: Groups, needs: &[Need]) -> Result<(), Error> {
    let tests: Vec<(&Need, &'static str, &Path)> = needs.iter().flat_map(tests).collect();
    let mut command = asking(owner, groups);
    for (_, test, path) in &tests {
        command.arg(test).arg(path);
    }
    let output = command.output().await.map_err(|source| Error::File {
        doing: "start",
        path: SHELL.into(),
        source,
    })?;
    let answer = String::from_utf8_lossy(&output.stdout);
    let answer = answer.trim();
    if answer == GOOD {
        return Ok(());
    }
    let failed = answer.parse::<usize>().ok();
    let report = match failed.and_then(|number| tests.get(number)) {
        Some((need, _, path)) => refusal(owner, need, path),
        None => {
            let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Report::new(
                Kind::Target,
                "could not find out what the server's user can read",
            )
            .with_detail(words)
        }
    };
    Err(Error::Refused(Box::new(report)))
}

/// Returns the tests of a path: all its folders can be passed through, and it can be used itself.
fn tests(need: &Need) -> Vec<(&Need, &'static str, &Path)> {
    let mut folders: Vec<&Path> = need.path.ancestors().skip(1).collect();
    folders.reverse();
    let mut tests: Vec<_> = folders.into_iter().map(|it| (need, "-x", it)).collect();
    let own: &[&'static str] = match need.access {
        Access::Read | Access::ReadSecret => &["-r"],
        Access::Start => &["-x"],
        Access::Enter => &["-x", "-r"],
    };
    tests.extend(own.iter().map(|test| (need, *test, need.path.as_path())));
    tests
}

fn asking(owner: Owner, groups: Groups) -> Command {
    let all = groups == Groups::All && Path::new(SETPRIV).is_file();
    let mut command = match all {
        true => {
            let mut command = Command::new(SETPRIV);
            command.arg(format!("--reuid={}", owner.user));
            command.arg(format!("--regid={}", owner.group));
            let more: Vec<String> = owner.groups().iter().map(u32::to_string).collect();
            command.arg(match more.is_empty() {
                true => "--clear-groups".to_owned(),
                false => format!("--groups={}", more.join(",")),
            });
            command.args(["--", SHELL]);
            command
        }
        false => {
            let mut command = Command::new(SHELL);
            command.as_std_mut().gid(owner.group).uid(owner.user);
            command
        }
    };
    command
        .args(["-c", SCRIPT, "pawang-reach"])
        .env_clear()
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

fn refusal(owner: Owner, need: &Need, closed: &Path) -> Report {
    let (what, path, user) = (need.what, need.path.display(), owner.name());
    let primary = format!("user \"{user}\", who runs the server, cannot use {what} \"{path}\"");
    let detail = "the server gets its WAL by a command that needs it";
    let there = closed.display();
    let (detail, hint) = if closed != need.path {
        (
            format!("{detail}, and \"{there}\" is closed to that user"),
            format!("chmod o+x {there}, or keep it in a folder that is open to others"),
        )
    } else if need.access == Access::ReadSecret {
        (detail.to_owned(), format!("chown {user} {there}"))
    } else {
        let letter = match need.access {
            Access::Enter => "rx",
            Access::Start => "x",
            Access::Read | Access::ReadSecret => "r",
        };
        let hint = format!("chgrp {} {there} && chmod g+{letter} {there}", owner.group);
        (detail.to_owned(), hint)
    };
    Report::new(Kind::Refused, primary)
        .with_detail(detail)
        .with_hint(hint)
}
