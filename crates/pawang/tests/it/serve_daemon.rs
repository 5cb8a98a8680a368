//! A `pawang serve` that a test started, and that ends with the test however that ends.
#![expect(
    clippy::disallowed_methods,
    reason = "a test of the program starts the program"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use pawang_testbed::until;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::program::Desk;

/// The shell owns the daemon: when the test's end of the pipe closes, it kills it, and nothing else.
const GUARD: &str = r#"
log=$1; shift
trap '' HUP INT TERM PIPE XFSZ
"$@" </dev/null >>"$log" 2>&1 &
child=$!
echo "$child"
while read -r order; do
  case $order in
    reap) wait "$child"; echo "$?"; child= ;;
  esac
done
[ -n "$child" ] && kill -s KILL "$child"
wait
"#;

/// A running daemon.
pub(crate) struct Daemon<'a> {
    desk: &'a Desk,
    guard: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pid: String,
    log: PathBuf,
}

impl<'a> Daemon<'a> {
    /// Starts `pawang serve` in the desk's directory on a free port, and waits until it says that it runs.
    pub(crate) async fn start(desk: &'a Desk) -> Daemon<'a> {
        Daemon::start_with(desk, &[], &[]).await
    }

    /// Starts it with more words and variables.
    pub(crate) async fn start_with(
        desk: &'a Desk,
        words: &[&str],
        variables: &[(&str, &str)],
    ) -> Daemon<'a> {
        let daemon = Daemon::spawn(
            desk,
            &[&["--listen", "127.0.0.1:0"], words].concat(),
            variables,
        );
        until("the daemon runs", async || {
            assert!(daemon.lives(), "{}", daemon.log());
            daemon.log().contains("dashboard on http")
        })
        .await;
        daemon
    }

    /// Starts it and does not wait.
    pub(crate) fn spawn(desk: &'a Desk, words: &[&str], variables: &[(&str, &str)]) -> Daemon<'a> {
        let log = desk.path("serve.log");
        std::fs::write(&log, "").unwrap();
        let mut guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "guard"])
            .arg(&log)
            .args([env!("CARGO_BIN_EXE_pawang"), "serve"])
            .args(words)
            .current_dir(desk.path(""))
            .env_clear()
            .env("HOME", desk.path(""))
            .env("TZ", "UTC")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let orders = guard.stdin.take();
        let mut answers = BufReader::new(guard.stdout.take().unwrap());
        let mut pid = String::new();
        answers.read_line(&mut pid).unwrap();
        Daemon {
            desk,
            guard,
            orders,
            answers,
            pid: pid.trim().to_owned(),
            log,
        }
    }

    /// Returns its process id.
    pub(crate) fn pid(&self) -> &str {
        &self.pid
    }

    /// Returns what it wrote.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Returns the address of its dashboard, `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        let log = self.log();
        let rest = log.split("dashboard on http://").nth(1).unwrap();
        rest.split(',').next().unwrap().to_owned()
    }

    /// Asks the dashboard and returns its whole answer; each header ends its line.
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let address = self.address();
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends a signal, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Lets no file that it writes become larger than so many bytes, as a full disk would.
    pub(crate) fn limit_files(&self, bytes: u64) {
        let bytes = match bytes {
            u64::MAX => "unlimited".to_owned(),
            bytes => bytes.to_string(),
        };
        let words = [
            &format!("--pid={}", self.pid),
            &format!("--fsize={bytes}:unlimited"),
        ];
        let limited = Command::new("prlimit").args(words).status();
        assert!(limited.unwrap().success());
    }

    /// Says whether it has not ended yet.
    pub(crate) fn lives(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }

    /// Waits for its end and returns its exit code; 128 and the signal when one ended it.
    pub(crate) async fn ended(mut self) -> i32 {
        until("the daemon has ended", async || !self.lives()).await;
        writeln!(self.orders.as_mut().unwrap(), "reap").unwrap();
        let mut code = String::new();
        self.answers.read_line(&mut code).unwrap();
        code.trim().parse().unwrap()
    }

    /// Returns what `pawang serve status` tells.
    pub(crate) fn status(&self) -> Value {
        let screen = self.desk.pawang(&["serve", "status", "--json"]);
        assert!(screen.code <= 1, "{screen:?}\n{}", self.log());
        screen.data("pawang.serve.status/1")
    }

    /// Returns one instance of the status; `Null` when there is none.
    pub(crate) fn instance(&self, name: &str) -> Value {
        let status = self.status();
        let instances = status["instances"].as_array().unwrap().iter();
        let found = instances.into_iter().find(|i| i["name"] == name);
        found.cloned().unwrap_or_default()
    }

    /// Has an instance looked at now; by itself the daemon may leave a server that is down alone for half a minute.
    pub(crate) fn look(&self, name: &str) {
        let socket = self.desk.path("state/data/pawang.sock");
        let mut stream = UnixStream::connect(socket).unwrap();
        writeln!(stream, "look {name}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("done"), "{answer}\n{}", self.log());
    }

    /// Waits until an instance has been judged.
    pub(crate) async fn judged(&self, name: &str) -> Value {
        until(&format!("{name} is judged\n{}", self.log()), async || {
            self.instance(name)["level"].is_string()
        })
        .await;
        self.instance(name)
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        self.orders = None;
        let _ended = self.guard.wait();
    }
}
