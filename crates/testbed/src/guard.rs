//! A shell that owns one server process and its directory, and removes both when the test process goes away.
//!
//! The shell reads from a pipe whose other end only the test process holds. However that process ends, the kernel closes
//! the pipe, the shell's `read` returns, and it cleans up; an answer that nobody reads any more must not end it before.
//! It knows its server by process id and signals nothing else.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Duration, Instant, sleep};

use crate::owner;
use crate::until::DEADLINE;

/// SIGCONT follows the stop signal because a test may have frozen its server. A server that was killed leaves the
/// System V segment that `postmaster.pid` names; the next start would remove it, but there is none. Patroni, when killed,
/// leaves its postmaster, which works in the directory that it serves; a browser's driver leaves the browser, whose
/// profile is in the directory.
const SCRIPT: &str = r#"
directory=$1 signal=$2 child=
trap '' HUP INT TERM PIPE
mkdir -m 700 -- "$directory" || exit 1
echo ready
while read -r order words; do
  case $order in
    start) eval "set -- $words"; "$@" </dev/null >>"$directory/log" 2>&1 & child=$!; echo "$child" ;;
    reap) wait "$child"; echo "$?"; child= ;;
  esac
done
if [ -n "$child" ]; then
  kill -s "$signal" "$child" && kill -s CONT "$child"
  wait "$child"
fi
# grep also fails when a process ends while it looks.
while orphans=$(grep -lsz -e "[u]ser-data-dir=$directory/" /proc/[0-9]*/cmdline); [ -n "$orphans" ]; do
  for orphan in $orphans; do
    orphan=${orphan#/proc/}
    kill -s KILL "${orphan%/cmdline}"
  done
  sleep 0.05
done
if [ -f "$directory/data/postmaster.pid" ]; then
  orphan=$(sed -n 1p "$directory/data/postmaster.pid")
  while [ "/proc/$orphan/cwd" -ef "$directory/data" ]; do
    kill -s QUIT "$orphan"
    sleep 0.05
  done
fi
if [ -f "$directory/data/postmaster.pid" ]; then
  segment=$(sed -n '7s/.* //p' "$directory/data/postmaster.pid")
  [ -n "$segment" ] && ipcrm -m "$segment"
fi
for attempt in 1 2 3 4 5 6 7 8 9 10; do
  rm -rf -- "$directory" && break
  sleep 0.1
done
"#;
const POLL: Duration = Duration::from_millis(5);
/// How many directory names are tried; those of earlier processes with the same id may be taken.
const NAMES_MAX: u32 = 1_000;

pub(crate) struct Guard {
    shell: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    directory: PathBuf,
    server: Option<Pid>,
}

impl Guard {
    /// Starts a guard with a new directory; `signal` is what stops its server at once.
    pub(crate) fn new(signal: &str) -> Guard {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        for _ in 0..NAMES_MAX {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            // Not the caller's temporary directory: a socket's path may have 107 bytes, and the owner must get there.
            let directory = PathBuf::from(format!("/tmp/pawang-{}-{number}", std::process::id()));
            if !directory.exists()
                && let Some(guard) = spawn(directory, signal)
            {
                return guard;
            }
        }
        panic!("could not create a directory below \"/tmp\" in {NAMES_MAX} attempts");
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Returns the process id of the server while it has not been stopped.
    pub(crate) fn server(&self) -> Option<Pid> {
        self.server
    }

    /// Starts the server; the guard can only have one.
    pub(crate) fn start(&mut self, words: &[&str]) -> Pid {
        assert!(self.server.is_none(), "the server runs already");
        let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
        let answer = self.ask(&format!("start {}", quoted.join(" ")));
        let server = answer.parse().ok().and_then(Pid::from_raw);
        self.server = server;
        server.expect("the guard answers with a process id")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let server = self.server.expect("the server runs");
        // A server that ended by itself is a zombie until it is reaped, so its process id cannot be another's.
        kill_process(server, signal).expect("the server has not been reaped yet");
    }

    /// Tells whether the server's process still runs.
    pub(crate) fn alive(&self) -> bool {
        self.server.is_some_and(alive)
    }

    /// Waits until the server has ended. It polls, because connections of the same thread must be able to close meanwhile.
    pub(crate) async fn ended(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        while self.alive() {
            assert!(
                Instant::now() < deadline,
                "the server did not stop within {} s\n{}",
                DEADLINE.as_secs(),
                self.log_tail()
            );
            sleep(POLL).await;
        }
        self.reap();
    }

    /// Kills the server and its children like a power failure does, and forgets it.
    pub(crate) fn kill(&mut self) {
        let server = self.server.expect("the server runs");
        // A stopped parent neither forks nor reaps, so the ids of its children stay theirs until all are killed.
        self.signal(Signal::STOP);
        wait_for_state(server, "TZ");
        let children = children(server);
        for &child in &children {
            // It may be a zombie already; then it is gone anyway.
            let _gone = kill_process(child, Signal::KILL);
        }
        // The next start refuses while one of them still has the shared memory.
        for child in children {
            wait_for_state(child, "Z");
        }
        self.signal(Signal::KILL);
        self.reap();
    }

    /// Returns the end of the server's log, for panics.
    pub(crate) fn log_tail(&self) -> String {
        const LINES: usize = 30;
        let log = fs::read(self.log_file()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    fn reap(&mut self) {
        if self.server.take().is_some() {
            self.ask("reap");
        }
    }

    fn ask(&mut self, order: &str) -> String {
        let orders = self.orders.as_mut().expect("open until drop");
        writeln!(orders, "{order}").expect("the guard listens");
        let mut answer = String::new();
        self.answers
            .read_line(&mut answer)
            .expect("the guard answers");
        answer.trim_end().to_owned()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.orders = None;
        // Nothing can be done about an error here, and a panic in drop would hide the test's own.
        let _status = self.shell.wait();
    }
}

fn spawn(directory: PathBuf, signal: &str) -> Option<Guard> {
    let mut shell = owner::command("/bin/sh")
        .args(["-c", SCRIPT, "pawang-guard"])
        .arg(&directory)
        .arg(signal)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // Test runners kill the process group of a test that takes too long; the guard must outlive that.
        .process_group(0)
        .spawn()
        .expect("every Unix has a shell");
    let orders = shell.stdin.take();
    let mut answers = BufReader::new(shell.stdout.take().expect("it was asked for"));
    let mut line = String::new();
    answers.read_line(&mut line).expect("the guard answers");
    if line.is_empty() {
        let _status = shell.wait();
        return None;
    }
    Some(Guard {
        shell,
        orders,
        answers,
        directory,
        server: None,
    })
}

fn alive(pid: Pid) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

fn wait_for_state(pid: Pid, states: &str) {
    let deadline = std::time::Instant::now() + DEADLINE;
    while state(pid).is_some_and(|state| !states.contains(state)) {
        assert!(
            std::time::Instant::now() < deadline,
            "process {pid} did not obey its signal"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Returns the state of a process as the kernel's letter: `T` is stopped, `Z` has ended but was not reaped.
fn state(pid: Pid) -> Option<char> {
    // The state follows the program's name, which may itself contain parentheses and blanks.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn children(pid: Pid) -> Vec<Pid> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|id| id.parse().ok().and_then(Pid::from_raw))
        .collect()
}

fn quote(word: &str) -> String {
    assert!(!word.contains('\n'), "an order is one line");
    format!("'{}'", word.replace('\'', r"'\''"))
}
