//! A server on a restored directory that nobody else sees, and that never outlives whoever wanted it.
//!
//! A shell reads from a pipe whose other end only this process holds. However this process ends, the kernel closes the pipe,
//! the shell's `read` returns, and it stops its server by process id and removes the folder that it made itself.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use pawang_core::{Kind, Report};
use pawang_postgres::{Environment, Target};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, sleep};

use crate::Error;
use crate::restore::{Action, Options, Owner, RestorePlan, WORKERS};

/// The order of words: the folder, then the server's command line.
const SCRIPT: &str = r#"
folder=$1; shift
trap '' HUP INT TERM PIPE
umask 077
mkdir -m 700 -- "$folder" || exit 1
echo ready
child=
while read -r order; do
  case $order in
    start) "$@" </dev/null >>"$folder/log" 2>&1 & child=$!; echo "$child" ;;
    stop) kill -s INT "$child"; wait "$child"; echo "$?"; child= ;;
  esac
done
if [ -n "$child" ]; then
  kill -s QUIT "$child"
  wait "$child"
fi
rm -rf -- "$folder"
"#;
const SHELL: &str = "/bin/sh";
/// What a restore command finds programs in.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// It only names the socket: there is no TCP.
pub const PORT: u16 = 5432;
/// A socket's path may have 107 bytes with its end; this is what the server puts behind the folder.
const SOCKET_PATH_MAX: usize = 107 - "/.s.PGSQL.5432.lock".len();
/// How often the server's own file is looked at.
const POLL: Duration = Duration::from_millis(20);
/// How many lines of the log are told when it does not start.
const LOG_LINES: usize = 12;
const LOG_BYTES: u64 = 16 << 10;
const CONNECTIONS: u32 = 40;
/// Seconds since 1970 with milliseconds, then the server's words.
const LOG_PREFIX: &str = "%n ";
/// Transactions that were prepared on the source are prepared again in its copy, which refuses to recover without room.
const PREPARED_MAX: u32 = 1_000;
/// Everybody who reaches the socket may be anybody; the folder is closed to all others.
const HBA: &str = "local all all trust\n";

/// How a scratch server is run.
#[derive(Clone, Debug)]
pub struct ScratchSettings {
    /// The folder that is made for everything, and removed at the end; its name must be free.
    pub folder: PathBuf,
    /// The folder of the server's programs.
    pub programs: PathBuf,
    /// Who runs it; nobody else than the caller without it.
    pub owner: Option<Owner>,
    /// The role that asks it, a superuser of the restored cluster.
    pub role: String,
    /// `shared_buffers` in megabytes.
    pub shared_buffers_mb: u32,
    /// Libraries that must be loaded before data can be read; others of the source would begin to work by themselves.
    pub preload: String,
    /// Further variables of its environment, for its restore command.
    pub environment: Vec<(String, String)>,
    /// Further settings, which count more than those of the source.
    pub settings: Vec<(&'static str, String)>,
}

/// How long recovery took, by the server's own log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Milestones {
    /// From the first record of WAL to the last.
    pub replay: Duration,
    /// From then until it was open for writing.
    pub promote: Duration,
}

/// A folder with a server that stops, and goes away, with this value.
#[derive(Debug)]
pub struct Scratch {
    settings: ScratchSettings,
    shell: Child,
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    server: Option<u32>,
}

impl ScratchSettings {
    /// Returns how a plan is restored into the folder: as a server of its own, which opens at the target.
    pub fn options(&self, plan: &RestorePlan, restore_command: &str, word: &str) -> Options {
        let oids = plan.tablespaces.iter().map(|tablespace| tablespace.oid);
        Options {
            into: data(&self.folder),
            replace: false,
            delta: false,
            tablespaces: oids
                .map(|oid| (oid, tablespace(&self.folder, oid)))
                .collect(),
            action: Action::Promote,
            restore_command: restore_command.to_owned(),
            workers: WORKERS,
            word: word.to_owned(),
        }
    }
}

impl Scratch {
    /// Makes the folder, with a supervisor that removes it; the data come later.
    ///
    /// # Errors
    /// The folder cannot be made, or no server runs from there.
    pub async fn new(settings: ScratchSettings) -> Result<Scratch, Error> {
        let folder = &settings.folder;
        if folder.as_os_str().len() > SOCKET_PATH_MAX {
            return Err(refused(
                format!("the path \"{}\" is too long for a socket", folder.display()),
                "name a folder near the root with --scratch",
            ));
        }
        if settings.owner.is_none() && rustix::process::geteuid().is_root() {
            return Err(refused(
                "a server refuses to run as root, and nobody else owns the folder".to_owned(),
                "name a folder of the user postgres with --scratch",
            ));
        }
        let mut command = Command::new(SHELL);
        command
            .args(["-c", SCRIPT, "pawang-scratch"])
            .arg(folder)
            .args(server_words(&settings))
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .envs(settings.environment.iter().cloned())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        command.as_std_mut().process_group(0);
        if let Some(owner) = settings.owner {
            command.as_std_mut().gid(owner.group).uid(owner.user);
        }
        let could_not = |source| Error::File {
            doing: "create",
            path: folder.clone(),
            source,
        };
        let mut shell = command.spawn().map_err(could_not)?;
        let orders = shell.stdin.take();
        let answers = shell.stdout.take().expect("it was asked for");
        let mut scratch = Scratch {
            shell,
            orders,
            answers: BufReader::new(answers).lines(),
            server: None,
            settings: settings.clone(),
        };
        match scratch.answer().await {
            Some(word) if word == "ready" => Ok(scratch),
            _ => Err(refused(
                format!("could not create the folder \"{}\"", folder.display()),
                "name a folder that its owner can write with --scratch",
            )),
        }
    }

    /// Returns the folder that has everything, with the socket.
    pub fn folder(&self) -> &Path {
        &self.settings.folder
    }

    /// Returns the superuser that asks.
    pub fn role(&self) -> &str {
        &self.settings.role
    }

    /// Returns the data directory that the server will have.
    pub fn data(&self) -> PathBuf {
        data(&self.settings.folder)
    }

    /// Returns the folder of a tablespace.
    pub fn tablespace(&self, oid: u32) -> PathBuf {
        tablespace(&self.settings.folder, oid)
    }

    /// Returns how a plan is restored into the folder: as a server of its own, which opens at the target.
    pub fn options(&self, plan: &RestorePlan, restore_command: &str, word: &str) -> Options {
        self.settings.options(plan, restore_command, word)
    }

    /// Returns how sessions reach a database.
    ///
    /// # Errors
    /// The folder's path cannot stand in an address.
    pub fn target(&self, database: &str) -> Result<Target, Error> {
        let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
        let text = format!(
            "host={} port={PORT} user={} dbname={}",
            quoted(&self.settings.folder.display().to_string()),
            quoted(&self.settings.role),
            quoted(database)
        );
        let nobody = Environment {
            variables: std::collections::BTreeMap::new(),
            home: None,
            os_user: self.settings.role.clone(),
        };
        Ok(Target::parse(&text, &nobody)?)
    }

    /// Returns how programs reach it: host, port, role.
    pub fn arguments(&self) -> [String; 3] {
        [
            format!("--host={}", self.settings.folder.display()),
            format!("--port={PORT}"),
            format!("--username={}", self.settings.role),
        ]
    }

    /// Returns a command that runs as the server's user, with nothing of our environment.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if let Some(owner) = self.settings.owner {
            command.as_std_mut().gid(owner.group).uid(owner.user);
        }
        command
    }

    /// Starts the server and waits until it is open for writing: recovered to its target, and promoted.
    ///
    /// # Errors
    /// It ended by itself, or is not open within `limit`; its last words are told.
    pub async fn start(&mut self, limit: Duration) -> Result<(), Error> {
        self.configure()?;
        let answer = self.order("start").await;
        self.server = answer.and_then(|pid| pid.parse().ok());
        let Some(pid) = self.server else {
            return Err(self.told("the supervisor of the scratch server ended"));
        };
        let deadline = Instant::now() + limit;
        loop {
            match status(&self.data(), pid) {
                Some(status) if status == "ready" => return Ok(()),
                _ if !runs(pid) => {
                    self.server = None;
                    return Err(self.told("the scratch server ended before it was open"));
                }
                _ if Instant::now() > deadline => {
                    return Err(self.told(&format!(
                        "the scratch server was not open after {} s",
                        limit.as_secs()
                    )));
                }
                _ => sleep(POLL).await,
            }
        }
    }

    /// Stops the server in an orderly way; its folder stays until this value goes.
    pub async fn stop(&mut self) {
        if self.server.take().is_some() {
            self.order("stop").await;
        }
    }

    /// Stops the server at once and removes the folder.
    pub async fn remove(mut self) {
        self.orders = None;
        // Whatever it says, there is nothing left to do.
        let _ = self.shell.wait().await;
    }

    /// Returns the last lines of the server's log.
    pub fn log_tail(&self) -> String {
        let text = tail(&self.settings.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// Reads from the log how long recovery took.
    pub fn milestones(&self) -> Milestones {
        milestones(&tail(&self.settings.folder.join("log")).unwrap_or_default())
    }

    fn configure(&self) -> Result<(), Error> {
        let folder = &self.settings.folder;
        let mut files = vec![
            (folder.join("pg_hba.conf"), HBA),
            (folder.join("pg_ident.conf"), ""),
        ];
        let main = self.data().join("postgresql.conf");
        // Debian keeps it elsewhere; a server does not start without one.
        if !main.exists() {
            files.push((main, ""));
        }
        for (path, text) in files {
            let failed = |source| Error::File {
                doing: "write",
                path: path.clone(),
                source,
            };
            let write = || -> std::io::Result<()> {
                use std::io::Write as _;
                let mut file = fs::File::create(&path)?;
                file.write_all(text.as_bytes())?;
                match self.settings.owner {
                    Some(owner) => {
                        std::os::unix::fs::fchown(&file, Some(owner.user), Some(owner.group))
                    }
                    None => Ok(()),
                }
            };
            write().map_err(failed)?;
        }
        Ok(())
    }

    async fn order(&mut self, order: &str) -> Option<String> {
        let orders = self.orders.as_mut()?;
        orders
            .write_all(format!("{order}\n").as_bytes())
            .await
            .ok()?;
        self.answer().await
    }

    async fn answer(&mut self) -> Option<String> {
        self.answers.next_line().await.ok().flatten()
    }

    fn told(&self, primary: &str) -> Error {
        let report = Report::new(Kind::Answer, primary);
        let log = self.log_tail();
        let report = if log.is_empty() {
            report
        } else {
            report.with_detail(log)
        };
        Error::Refused(Box::new(report))
    }
}

fn tablespace(folder: &Path, oid: u32) -> PathBuf {
    folder.join(format!("tablespace-{oid}"))
}

/// Returns the data directory of a scratch server in a folder.
pub(super) fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// Returns the command line of the server: what stands here counts more than every file of the source.
fn server_words(settings: &ScratchSettings) -> Vec<String> {
    let folder = settings.folder.display().to_string();
    let mut words = vec![
        settings.programs.join("postgres").display().to_string(),
        "-D".to_owned(),
        data(&settings.folder).display().to_string(),
    ];
    for (name, value) in [
        // A file of the source may name the source's own, and would count more than -D.
        (
            "data_directory",
            data(&settings.folder).display().to_string(),
        ),
        ("listen_addresses", String::new()),
        ("unix_socket_directories", folder.clone()),
        ("port", PORT.to_string()),
        ("hba_file", format!("{folder}/pg_hba.conf")),
        ("ident_file", format!("{folder}/pg_ident.conf")),
        ("external_pid_file", String::new()),
        ("cluster_name", "pawang-scratch".to_owned()),
        ("ssl", "off".to_owned()),
        ("archive_mode", "off".to_owned()),
        // Nobody reads before it is open, so its limits need not be those of the source.
        ("hot_standby", "off".to_owned()),
        ("max_connections", CONNECTIONS.to_string()),
        ("superuser_reserved_connections", "3".to_owned()),
        ("max_wal_senders", "0".to_owned()),
        (
            "shared_buffers",
            format!("{}MB", settings.shared_buffers_mb),
        ),
        ("huge_pages", "off".to_owned()),
        ("max_prepared_transactions", PREPARED_MAX.to_string()),
        // What the source did by itself, its copy must not do: jobs, subscriptions, clean-up.
        ("shared_preload_libraries", settings.preload.clone()),
        ("session_preload_libraries", String::new()),
        ("local_preload_libraries", String::new()),
        ("max_logical_replication_workers", "0".to_owned()),
        ("autovacuum", "off".to_owned()),
        ("logging_collector", "off".to_owned()),
        ("log_destination", "stderr".to_owned()),
        ("log_line_prefix", LOG_PREFIX.to_owned()),
        ("lc_messages", "C".to_owned()),
        ("synchronous_standby_names", String::new()),
    ]
    .into_iter()
    .chain(settings.settings.iter().cloned())
    {
        words.push("-c".to_owned());
        words.push(format!("{name}={value}"));
    }
    words
}

/// Returns the state that the postmaster writes into its file.
fn status(data: &Path, pid: u32) -> Option<String> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let mut lines = text.lines();
    // A file of the source would have come with the backup.
    (lines.next()?.trim() == pid.to_string()).then_some(())?;
    Some(lines.nth(6)?.trim().to_owned())
}

fn milestones(log: &str) -> Milestones {
    let at = |words: &str| {
        let line = log.lines().rev().find(|line| line.contains(words))?;
        let (seconds, _) = line.split_once(' ')?;
        Duration::try_from_secs_f64(seconds.parse().ok()?).ok()
    };
    let between = |from: Option<Duration>, to: Option<Duration>| {
        to.zip(from)
            .map_or(Duration::ZERO, |(to, from)| to.saturating_sub(from))
    };
    let done = at("LOG:  redo done at ");
    Milestones {
        replay: between(at("LOG:  redo starts at "), done),
        promote: between(
            done,
            at("LOG:  database system is ready to accept connections"),
        ),
    }
}

/// Tells whether a process runs; one that ended waits for the shell as a zombie.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

fn tail(path: &Path) -> std::io::Result<String> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn refused(primary: String, hint: &str) -> Error {
    Error::Refused(Box::new(
        Report::new(Kind::Refused, primary).with_hint(hint),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_says_how_long_recovery_took() {
        let log = "1800000000.250 LOG:  starting point-in-time recovery to 2026-11-20\n\
                   1800000001.500 LOG:  redo starts at 0/2000028\n\
                   1800000004.000 LOG:  redo done at 0/5000110 system usage: CPU: user: 0.00 s\n\
                   1800000004.125 LOG:  selected new timeline ID: 2\n\
                   1800000004.750 LOG:  database system is ready to accept connections\n";
        let found = milestones(log);
        assert_eq!(found.replay, Duration::from_millis(2_500));
        assert_eq!(found.promote, Duration::from_millis(750));
        assert_eq!(milestones("nothing"), Milestones::default());
    }

    #[test]
    fn a_process_that_is_there_runs() {
        assert!(runs(std::process::id()));
        assert!(!runs(u32::MAX));
    }
}
