//! Runs the binary in a directory of its own, and shows what a user would see.
#![expect(
    clippy::disallowed_methods,
    reason = "a test of the program starts the program"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A user's directory: configuration, state and output files.
pub(crate) struct Desk {
    directory: tempfile::TempDir,
}

/// What the user sees.
#[derive(Debug)]
pub(crate) struct Screen {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

impl Desk {
    pub(crate) fn new() -> Desk {
        let directory = tempfile::tempdir().unwrap();
        Desk { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Runs `pawang` with these words, in this directory, with an empty environment.
    pub(crate) fn pawang(&self, words: &[&str]) -> Screen {
        self.pawang_with(words, &[])
    }

    /// Runs `pawang` with these words and variables.
    pub(crate) fn pawang_with(&self, words: &[&str], variables: &[(&str, &str)]) -> Screen {
        Screen::of(self.command(words).envs(variables.iter().copied()).output())
    }

    /// Starts `pawang` with these words and does not wait for it.
    pub(crate) fn start(&self, words: &[&str]) -> Running {
        let mut command = self.command(words);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Running(Some(command.spawn().unwrap()))
    }

    /// Starts `pawang` with these words; what it writes goes to two files of this directory, to be read meanwhile.
    pub(crate) fn start_into(&self, words: &[&str], stdout: &str, stderr: &str) -> Running {
        let file = |name| std::fs::File::create(self.path(name)).unwrap();
        let mut command = self.command(words);
        let command = command.stdout(file(stdout)).stderr(file(stderr));
        Running(Some(command.spawn().unwrap()))
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pawang"));
        command
            .args(words)
            .current_dir(self.directory.path())
            .env_clear()
            .env("HOME", self.directory.path())
            .env("TZ", "UTC");
        command
    }
}

/// A `pawang` that runs, and that does not outlive its test.
pub(crate) struct Running(Option<Child>);

impl Running {
    /// Sends a signal, such as `INT`.
    pub(crate) fn signal(&mut self, name: &str) {
        let pid = self.0.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end.
    pub(crate) fn screen(mut self) -> Screen {
        Screen::of(self.0.take().unwrap().wait_with_output())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Screen {
    fn of(output: std::io::Result<Output>) -> Screen {
        let output = output.unwrap();
        Screen {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output
                .status
                .code()
                .expect("the program is not killed by a signal"),
        }
    }
}

impl Screen {
    /// Returns the whole screen with directories and ports made equal.
    pub(crate) fn shown(&self, desk: &Desk) -> String {
        let whole = format!(
            "exit {}\n--- stdout\n{}--- stderr\n{}",
            self.code, self.stdout, self.stderr
        );
        whole.replace(&desk.directory.path().display().to_string(), "[desk]")
    }

    /// Returns the data of the JSON envelope, after checking its schema.
    pub(crate) fn data(&self, schema: &str) -> serde_json::Value {
        let envelope: serde_json::Value = serde_json::from_str(&self.stdout).unwrap();
        assert_eq!(envelope["schema"], schema);
        envelope["data"].clone()
    }

    /// Asserts that nothing panicked and that the error has the house's form.
    pub(crate) fn is_clear_error(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        assert!(self.stderr.contains("error: "), "{self:?}");
        for word in words {
            assert!(
                self.stderr.contains(word),
                "{word:?} is missing in {self:?}"
            );
        }
    }
}

/// Writes one instance of `pawang.toml`.
pub(crate) fn instance(name: &str, url: &str) -> String {
    format!("[[instance]]\nname = \"{name}\"\nurl = \"{url}\"\n\n")
}

/// Returns whether a file exists and is not empty.
pub(crate) fn holds_something(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0)
}
