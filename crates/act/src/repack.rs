//! pg_repack by its client program: absolute path, arguments without a shell, its whole process group ended with us.
//!
//! `--no-kill-backend` always: it never ends the session of another, and gives up instead. The password never stands in
//! an argument.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use pawang_core::plan::Relation;
use pawang_postgres::Ssl;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// Where Debian and PGDG put the program of one major version.
const FOLDERS: [&str; 3] = [
    "/usr/lib/postgresql/{major}/bin",
    "/usr/pgsql-{major}/bin",
    "/usr/bin",
];
const PROGRAM: &str = "pg_repack";
const PATH: &str = "/usr/bin:/bin";
/// So much of what it says is kept.
const WORDS_MAX: usize = 4_096;
/// It cleans up its triggers and tables within this time after SIGINT; then its group is killed.
const GRACE: Duration = Duration::from_secs(30);

/// How the program reaches the server.
#[derive(Clone, Debug)]
pub struct Reach<'a> {
    /// A host name, or the folder of a socket.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// The role, which must own the table or be superuser.
    pub user: &'a str,
    /// The database.
    pub database: &'a str,
    /// The password, if one is needed; it goes by the environment of the program.
    pub password: Option<&'a str>,
    /// How much protection by TLS is demanded, and by which files.
    pub ssl: &'a Ssl,
    /// The name of its sessions on the server.
    pub application: &'a str,
}

/// What became of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It says that the table is written anew.
    Done,
    /// It was told to stop, and had time to clean up, or not.
    Stopped {
        /// Whether it ended by itself; if not, its trigger and tables may be left.
        clean: bool,
    },
    /// It gave up; its last words.
    Failed(String),
}

/// Returns the program for a server of this major version, if it is on this machine.
pub fn find(major: u32) -> Option<PathBuf> {
    let folders = FOLDERS
        .iter()
        .map(|folder| folder.replace("{major}", &major.to_string()));
    let mut paths = folders.map(|folder| Path::new(&folder).join(PROGRAM));
    paths.find(|path| path.is_file())
}

/// Returns the arguments: no shell ever sees them.
pub fn arguments(table: &Relation, reach: &Reach<'_>, wait: Duration) -> Vec<String> {
    let mut arguments = vec![
        "--no-kill-backend".to_owned(),
        "--no-password".to_owned(),
        format!("--wait-timeout={}", wait.as_secs().max(1)),
        format!("--host={}", parameter(reach.host)),
        format!("--port={}", reach.port),
        format!("--username={}", parameter(reach.user)),
        format!("--dbname={}", parameter(reach.database)),
    ];
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    arguments.push(format!(
        "--table={}.{}",
        quoted(&table.schema),
        quoted(&table.name)
    ));
    arguments
}

/// Returns a value as it may stand in a connection string: the program puts it there as it is, also what would be a
/// parameter of its own.
fn parameter(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Writes a table anew, until it is done or `stop` becomes true; dropped half-way, the group is killed.
///
/// # Errors
/// The program cannot be started or waited for.
pub async fn repack(
    program: &Path,
    table: &Relation,
    reach: &Reach<'_>,
    wait: Duration,
    stop: &mut watch::Receiver<bool>,
) -> std::io::Result<Ended> {
    let mut command = Command::new(program);
    command
        .args(arguments(table, reach, wait))
        .env_clear()
        .env("PATH", PATH)
        .env("PGAPPNAME", reach.application)
        .envs(reach.ssl.variables())
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(password) = reach.password {
        command.env("PGPASSWORD", password);
    }
    let mut child = command.spawn()?;
    let mut group = Group(
        child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)),
    );
    let stderr = child.stderr.take();
    let mut words = Vec::new();
    let run = async {
        let (status, ()) = tokio::join!(child.wait(), drain(stderr, &mut words));
        status
    };
    let finished = tokio::select! {
        status = run => Some(status?),
        () = stopped(stop) => None,
    };
    let Some(status) = finished else {
        return end(&mut child, &mut group).await;
    };
    group.0 = None;
    Ok(if status.success() && !gave_up(&words) {
        Ended::Done
    } else {
        Ended::Failed(last_words(&words))
    })
}

/// The program ends with 0 also where it skipped the table with a WARNING.
fn gave_up(words: &[u8]) -> bool {
    let text = String::from_utf8_lossy(words);
    text.lines()
        .any(|line| line.starts_with("WARNING:") || line.starts_with("ERROR:"))
}

fn last_words(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let bad = text
        .lines()
        .filter(|line| !line.starts_with("INFO:") && !line.starts_with("NOTICE:"));
    bad.collect::<Vec<_>>().join("; ")
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // Nobody is left who could stop it.
        std::future::pending::<()>().await;
    }
}

/// Asks the program to end and clean up, then kills its group.
async fn end(child: &mut Child, group: &mut Group) -> std::io::Result<Ended> {
    if let Some(pid) = group.0 {
        // It may have ended this moment.
        let _gone = kill_process_group(pid, Signal::INT);
    }
    match tokio::time::timeout(GRACE, child.wait()).await {
        Ok(status) => {
            status?;
            group.0 = None;
            Ok(Ended::Stopped { clean: true })
        }
        Err(_) => Ok(Ended::Stopped { clean: false }),
    }
}

/// Kills the group unless the program ended by itself.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended this moment.
            let _gone = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Reads all of it, so that the program never waits for us, and keeps the end.
async fn drain(from: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut bytes = [0_u8; 4_096];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        kept.extend_from_slice(&bytes[..read]);
        let over = kept.len().saturating_sub(WORDS_MAX);
        kept.drain(..over);
    }
}

#[cfg(test)]
mod tests {
    use pawang_postgres::{RootCertificate, SslMode};

    use super::*;

    #[test]
    fn arguments_name_one_table_and_never_end_sessions() {
        let table = Relation {
            oid: 1,
            schema: "dw".to_owned(),
            name: "Fact \"x\"; DROP".to_owned(),
        };
        let reach = Reach {
            host: "/run/postgresql",
            port: 5432,
            user: "dba",
            database: "sales",
            password: Some("secret"),
            ssl: &Ssl {
                mode: SslMode::VerifyFull,
                root: RootCertificate::File("/etc/ca.crt".into()),
                ..Ssl::default()
            },
            application: "pawang:rewrite",
        };
        let protection = reach.ssl.variables();
        assert!(protection.contains(&("PGSSLMODE", "verify-full".into())));
        assert!(protection.contains(&("PGSSLROOTCERT", "/etc/ca.crt".into())));
        let arguments = arguments(&table, &reach, Duration::from_secs(60));
        assert!(arguments.contains(&"--no-kill-backend".to_owned()));
        assert!(arguments.contains(&"--table=\"dw\".\"Fact \"\"x\"\"; DROP\"".to_owned()));
        assert!(!arguments.iter().any(|argument| argument.contains("secret")));
    }

    #[test]
    fn names_stay_one_value_in_the_connection_string_of_the_program() {
        for (name, expected) in [
            ("sales", "sales"),
            ("Gudang data", "'Gudang data'"),
            ("x host=evil", "'x host=evil'"),
            (r"o'clock\", r"'o\'clock\\'"),
            ("", "''"),
        ] {
            assert_eq!(parameter(name), expected);
        }
    }

    #[test]
    fn a_table_that_was_skipped_is_not_done() {
        assert!(gave_up(
            b"INFO: repacking table \"a\"\nWARNING: relation \"a\" must have a primary key"
        ));
        assert!(!gave_up(b"INFO: repacking table \"public.a\"\n"));
    }
}
