//! Starts programs and says what went wrong in their own words.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tokio::runtime::Runtime;

/// Returns the repository's folder.
pub(crate) fn repository() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest
        .parent()
        .expect("xtask is a folder of the repository")
        .to_owned()
}

/// Returns a command that runs in the repository.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(repository());
    command
}

/// Returns a cargo command of the same toolchain.
pub(crate) fn cargo(words: &[&str]) -> Command {
    let mut command = command(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    command.args(words);
    // Set by `cargo run` for this very package; they would mislead build scripts, and make them run again.
    for (name, _) in std::env::vars_os() {
        let own = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        });
        if own {
            command.env_remove(name);
        }
    }
    command
}

/// Returns the path of something below cargo's target folder.
pub(crate) fn built(path: &str) -> Result<PathBuf, String> {
    let words = ["metadata", "--format-version=1", "--no-deps", "--locked"];
    let metadata: Value = serde_json::from_str(&quiet(&mut cargo(&words))?)
        .map_err(|error| format!("could not read cargo's metadata: {error}"))?;
    let target = metadata["target_directory"].as_str();
    Ok(Path::new(target.unwrap_or("target")).join(path))
}

/// Returns the command as a person would type it.
pub(crate) fn typed(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!(
                "{}={}",
                name.to_string_lossy(),
                quoted(&value.to_string_lossy())
            ));
        }
    }
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    words.push(program.to_string_lossy().into_owned());
    let arguments = command
        .get_args()
        .map(|word| quoted(&word.to_string_lossy()));
    words.extend(arguments);
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Runs a command whose output goes to the person, and wants it to succeed.
pub(crate) fn loud(command: &mut Command) -> Result<(), String> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("could not start \"{}\": {error}", typed(command)))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("\"{}\" ended with {status}", typed(command)))
    }
}

/// Runs a command, wants it to succeed and returns what it wrote.
pub(crate) fn quiet(command: &mut Command) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("could not start \"{}\": {error}", typed(command)))?;
    if !output.status.success() {
        return Err(format!(
            "\"{}\" ended with {}\n{}",
            typed(command),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    String::from_utf8(output.stdout)
        .map_err(|_| format!("\"{}\" wrote something that is not text", typed(command)))
}

/// Tells whether a program can be started at all and says that it is well.
pub(crate) fn works(program: &str, words: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null());
    command.output().is_ok_and(|output| output.status.success())
}

/// Returns a runtime for the sessions of the testbed.
pub(crate) fn runtime() -> Result<Runtime, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("could not start the runtime: {error}"))
}
