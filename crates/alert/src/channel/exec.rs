//! A program on this machine; it gets the message as JSON on its standard input.
//!
//! The only program that Pawang ever starts: no shell, no environment but a fixed `PATH`, its own process group, and the
//! whole group is killed when it takes too long.

use std::process::Stdio;
use std::time::Duration;

use pawang_config::ExecConfig;
use pawang_core::alert::Message;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::Trouble;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// So much of what it complains about is shown.
const WORDS_MAX: usize = 300;
/// What it said before its end is read within this time.
const LAST_WORDS: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct Exec {
    command: Vec<String>,
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

impl Exec {
    pub(super) fn new(config: &ExecConfig) -> Result<Exec, Trouble> {
        if config.command.first().is_none_or(String::is_empty) {
            return Err(Trouble::new("its command is empty"));
        }
        Ok(Exec {
            command: config.command.clone(),
        })
    }

    pub(super) async fn send(
        &mut self,
        message: &Message,
        timeout: Duration,
    ) -> Result<(), Trouble> {
        let program = &self.command[0];
        let input = serde_json::to_vec(message).expect("texts are JSON");
        let mut child = Command::new(program)
            .args(&self.command[1..])
            .env_clear()
            .env("PATH", PATH)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                Trouble::new(format!("could not start \"{program}\": {error}"))
                    .with_hint("check that it is there and may be executed")
            })?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let mut group = Group(id.and_then(Pid::from_raw));
        let stdin = child.stdin.take();
        let stderr = child.stderr.take();
        let mut words = Vec::new();
        let run = async {
            let write = async {
                if let Some(mut stdin) = stdin {
                    // A program that does not read all of it may still have done its work.
                    let _written = stdin.write_all(&input).await;
                }
            };
            let waited = async {
                let ((), status) = tokio::join!(write, child.wait());
                status
            };
            let drained = drain(stderr, &mut words);
            tokio::pin!(waited, drained);
            tokio::select! {
                status = &mut waited => {
                    // What it left behind may keep the pipe open: only the program itself is waited for.
                    let _rest = tokio::time::timeout(LAST_WORDS, drained).await;
                    status
                }
                () = &mut drained => waited.await,
            }
        };
        let status = tokio::time::timeout(timeout, run).await;
        let Ok(status) = status else {
            let seconds = timeout.as_secs_f32();
            return Err(
                Trouble::new(format!("\"{program}\" did not end within {seconds} s"))
                    .with_hint("raise timeout of the channel, or make the program quicker"),
            );
        };
        group.0 = None;
        let status = status
            .map_err(|error| Trouble::new(format!("could not wait for \"{program}\": {error}")))?;
        if status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&words);
        let line = words.lines().next().unwrap_or_default();
        let line = &line[..line.floor_char_boundary(WORDS_MAX)];
        Err(Trouble::new(format!(
            "\"{program}\" ended with {status}: {line}"
        )))
    }
}

/// Reads all of it, so that the program never waits for us, and keeps the begin.
async fn drain(from: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut bytes = [0_u8; 4_096];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let free = 4_096 - kept.len().min(4_096);
        kept.extend_from_slice(&bytes[..read.min(free)]);
    }
}
