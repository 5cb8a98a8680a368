//! Runs programs as the operating system user that owns the clusters, because PostgreSQL refuses to run as root.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Users that may own clusters when the tests run as root, best first.
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];
/// Directories that programs of the system are found in.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[derive(Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
}

/// Tells whether the tests run as root, so that clusters belong to another user.
pub(crate) fn as_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns a command that runs `program` as the owner, without any environment of the caller.
pub(crate) fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    command
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .current_dir("/");
    if let Some(owner) = owner() {
        command.uid(owner.uid).gid(owner.gid);
    }
    command
}

/// Runs a command to its end and panics with its own words when it does not succeed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = output(command);
    assert!(
        output.status.success(),
        "{command:?} ended with {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command to its end and returns what it said.
pub(crate) fn output(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("could not start {command:?}: {error}"))
}

/// Copies a directory that belongs to the owner.
pub(crate) fn copy(from: &Path, to: &Path) {
    run(command("cp")
        .args(["-a", "--reflink=auto", "--"])
        .args([from, to]));
}

/// Writes a file that belongs to the owner.
pub(crate) fn write(path: &Path, text: &str) {
    fs::write(path, text)
        .unwrap_or_else(|error| panic!("could not write \"{}\": {error}", path.display()));
    give(path);
}

/// Creates a directory, with its parents, that belongs to the owner.
pub(crate) fn create_directory(path: &Path) {
    fs::create_dir_all(path)
        .unwrap_or_else(|error| panic!("could not create \"{}\": {error}", path.display()));
    give(path);
}

/// Copies a directory that anybody made into one that belongs to the owner.
pub(crate) fn take_over(from: &Path, to: &Path) {
    run(Command::new("cp")
        .args(["-a", "--reflink=auto", "--"])
        .args([from, to]));
    if let Some(owner) = owner() {
        let names = format!("{}:{}", owner.uid, owner.gid);
        run(Command::new("chown").args(["-R", "-h", &names]).arg(to));
    }
    run(command("chmod").arg("0700").arg(to));
}

fn give(path: &Path) {
    if let Some(owner) = owner() {
        chown(path, Some(owner.uid), Some(owner.gid))
            .unwrap_or_else(|error| panic!("could not give away \"{}\": {error}", path.display()));
    }
}

fn owner() -> Option<Owner> {
    static OWNER: OnceLock<Option<Owner>> = OnceLock::new();
    *OWNER.get_or_init(|| {
        as_root().then(|| {
            let users = fs::read_to_string("/etc/passwd").expect("every Unix has /etc/passwd");
            CANDIDATES
                .iter()
                .find_map(|name| find(&users, name))
                .expect("every Linux has the user nobody")
        })
    })
}

fn find(users: &str, name: &str) -> Option<Owner> {
    users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [user, _, uid, gid, ..] = fields[..] else {
            return None;
        };
        (user == name).then_some(Owner {
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
        })
    })
}
