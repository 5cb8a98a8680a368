//! Runs initdb once per server release; every cluster starts as a copy of the result.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::owner;
use crate::version::{Installation, pawang_cache};

/// Small, fast and the same on every version: checksums are off by default before 18.
const OPTIONS: [&str; 7] = [
    "--username=postgres",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C.UTF-8",
    "--data-checksums",
    SINCE_14,
    "--no-sync",
];
const SINCE_14: &str = "--no-instructions";

/// Returns the data directory to copy for a server, and makes it when nobody has made it yet.
pub(crate) fn of(server: &Installation, segment_mb: u32) -> PathBuf {
    let directory = pawang_cache().join("templates");
    let size = format!("--wal-segsize={segment_mb}");
    let options: Vec<&str> = OPTIONS.iter().copied().chain([size.as_str()]).collect();
    let made_by = format!("{} {}", server.bin.display(), options.join(" "));
    let name = format!("{}-{:016x}", server.release, hash(&made_by));
    let ready = directory.join(&name);
    if ready.is_dir() {
        return ready;
    }
    owner::create_directory(&directory);
    let lock = lock(&directory.join(format!("{name}.lock")));
    if !ready.is_dir() {
        let unfinished = directory.join(format!("{name}.new"));
        build(server, &options, &unfinished, &ready);
    }
    drop(lock);
    ready
}

/// Builds beside the final name and renames, so that a template with that name is always whole.
fn build(server: &Installation, options: &[&str], unfinished: &Path, ready: &Path) {
    if unfinished.exists() {
        fs::remove_dir_all(unfinished).expect("a template that was left unfinished can be removed");
    }
    let mut initdb = owner::command(server.bin.join("initdb"));
    let options = options
        .iter()
        .filter(|option| server.version.0 >= 14 || **option != SINCE_14);
    owner::run(initdb.args(options).arg("--pgdata").arg(unfinished));
    fs::rename(unfinished, ready).expect("the template gets its name");
}

fn lock(path: &Path) -> File {
    let file = File::create(path)
        .unwrap_or_else(|error| panic!("could not create \"{}\": {error}", path.display()));
    file.lock()
        .unwrap_or_else(|error| panic!("could not lock \"{}\": {error}", path.display()));
    file
}

fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}
