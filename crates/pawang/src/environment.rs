//! The one place that reads the environment, the clock and the operating system's user.
#![expect(
    clippy::disallowed_methods,
    reason = "this module is the edge that the rule sends every reader to"
)]

use std::path::PathBuf;

use pawang_core::Timestamp;
use pawang_postgres::Environment;

/// Returns the time.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Returns the words of the command line, the program's own name first.
pub(crate) fn words() -> impl Iterator<Item = std::ffi::OsString> {
    std::env::args_os()
}

/// Returns a variable that is set and not empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns the path of this program, by which a server calls it.
pub(crate) fn program() -> Option<PathBuf> {
    std::env::current_exe().ok()
}

/// Returns what libpq would look at.
pub(crate) fn libpq() -> Environment {
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        name.starts_with("PG")
            .then(|| Some((name, value.into_string().ok()?)))?
    });
    Environment {
        variables: variables.collect(),
        home: home(),
        os_user: os_user(),
    }
}

/// Returns the directory for the last samples: `$XDG_STATE_HOME/pawang` or `~/.local/state/pawang`.
pub(crate) fn state_directory() -> Option<PathBuf> {
    let base = variable("XDG_STATE_HOME").map(PathBuf::from);
    let base = base.or_else(|| home().map(|home| home.join(".local/state")));
    base.map(|base| base.join("pawang"))
}

/// Returns where the configuration is looked for when `--config` is not given, in order.
pub(crate) fn config_candidates() -> Vec<PathBuf> {
    let base = variable("XDG_CONFIG_HOME").map(PathBuf::from);
    let base = base.or_else(|| home().map(|home| home.join(".config")));
    let mut candidates = vec![PathBuf::from("pawang.toml")];
    candidates.extend(base.map(|base| base.join("pawang/pawang.toml")));
    candidates.push(PathBuf::from("/etc/pawang/pawang.toml"));
    candidates
}

/// Returns who is at the keyboard: whoever called `sudo`, else the user.
pub(crate) fn person() -> String {
    let behind = variable("SUDO_USER").filter(|_| rustix::process::geteuid().is_root());
    behind.unwrap_or_else(os_user)
}

/// Returns a word for this machine since it was started, and for the space of process numbers that this process is in: whoever
/// finds it with a number knows whether that process is there still.
pub(crate) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let boot = read("/proc/sys/kernel/random/boot_id");
    let boot: String = boot.chars().take(8).collect();
    let space = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let space: String = space
        .to_string_lossy()
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    format!("{name} {boot}-{space}")
}

fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| !home.as_os_str().is_empty())
}

/// Returns the user's name as libpq finds it: by user id, in the password database.
fn os_user() -> String {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let name = entry
        .into_iter()
        .find(|fields| fields.get(2) == Some(&uid.as_str()));
    name.and_then(|fields| fields.first().map(|name| (*name).to_owned()))
        .or_else(|| variable("USER"))
        .unwrap_or(uid)
}
