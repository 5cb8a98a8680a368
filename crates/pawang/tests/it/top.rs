//! `pawang top` on a real terminal: beside a daemon, without one, and where there is no terminal.
#![expect(
    clippy::disallowed_methods,
    reason = "a test of the program starts the program"
)]

use std::io::Write;
use std::process::{Child, Command, Stdio};

use pawang_testbed::{Cluster, Setup, until};

use crate::program::{Desk, instance};
use crate::serve::file;
use crate::serve_daemon::Daemon;

/// A terminal of 80 columns and 24 lines in which `pawang top` runs; it ends with the test.
struct Terminal<'a> {
    desk: &'a Desk,
    script: Child,
}

impl Terminal<'_> {
    fn start<'a>(desk: &'a Desk, words: &str) -> Terminal<'a> {
        let program = env!("CARGO_BIN_EXE_pawang");
        // When the test's end of the pipe closes, script hangs up, and the program ends.
        let script = Command::new("script")
            .args(["--quiet", "--flush", "--return", "--command"])
            .arg(format!("stty rows 24 cols 80; exec {program} top {words}"))
            .arg("screen")
            .current_dir(desk.path(""))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", desk.path(""))
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Terminal { desk, script }
    }

    /// Waits until all of these were drawn.
    async fn shows(&self, words: &[&str]) {
        until(&format!("the terminal shows {words:?}"), async || {
            let drawn = std::fs::read(self.desk.path("screen")).unwrap_or_default();
            let drawn = String::from_utf8_lossy(&drawn).into_owned();
            words.iter().all(|word| drawn.contains(word))
        })
        .await;
    }

    fn press(&mut self, keys: &str) {
        let stdin = self.script.stdin.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Waits for the end and returns the exit code.
    async fn ended(mut self) -> Option<i32> {
        until("the dashboard has ended", async || {
            self.script.try_wait().unwrap().is_some()
        })
        .await;
        self.script.wait().unwrap().code()
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let _gone = self.script.kill();
        let _ended = self.script.wait();
    }
}

#[tokio::test]
async fn it_shows_what_the_daemon_knows_and_looks_by_itself_without_one() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    file(&desk, &instance("dwh-1", &cluster.url("postgres")));
    let daemon = Daemon::start(&desk).await;
    daemon.judged("dwh-1").await;
    let mut terminal = Terminal::start(&desk, "");
    terminal
        .shows(&["dwh-1", "primary", "daemon", "act now"])
        .await;
    terminal.press("2");
    terminal.shows(&["finding"]).await;
    terminal.press("q");
    assert_eq!(terminal.ended().await, Some(0));
    let one = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pawang:%'";
    assert_eq!(
        cluster.sql("postgres", one).await[0][0].as_deref(),
        Some("1")
    );
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await, 0);
    std::fs::remove_file(desk.path("screen")).unwrap();
    let mut terminal = Terminal::start(&desk, "");
    terminal.shows(&["dwh-1", "primary", "direct"]).await;
    terminal.press("q");
    assert_eq!(terminal.ended().await, Some(0));
    until("the server is left", async || {
        cluster.sql("postgres", one).await[0][0].as_deref() == Some("0")
    })
    .await;
    desk.pawang(&["top"])
        .is_clear_error(2, &["no terminal", "pawang check"]);
}
