//! Finds the PostgreSQL servers of this machine.

use std::env;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::owner;

/// Major versions that Pawang serves.
const SERVED: RangeInclusive<u32> = 14..=18;
/// Major versions that are looked for: one more on each side, to test how Pawang refuses them.
const LOOKED_FOR: RangeInclusive<u32> = 13..=19;
/// The version that every change is tested on, beside the newest.
const USUAL: Version = Version(15);

/// The program that the packages of other servers do not have.
const COMBINEBACKUP: &str = "pg_combinebackup";

/// A major version of PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A PostgreSQL server that is installed on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Its major version.
    pub version: Version,
    /// Its full version as it writes it, such as `17.10`.
    pub release: String,
    /// The directory of its programs: at least `initdb`, `pg_ctl` and `postgres`.
    pub bin: PathBuf,
}

/// Returns the versions to test: `$PAWANG_PG` (`15,18` or `all`), else 15 and the newest that is installed.
///
/// # Panics
///
/// When one of them is not installed and `$PAWANG_REQUIRE_PG` is 1; otherwise those that are missing are left out.
pub fn versions() -> Vec<Version> {
    let installed: Vec<Version> = installations().iter().map(|i| i.version).collect();
    let wanted = match env::var("PAWANG_PG").as_deref() {
        Ok("all") => SERVED.map(Version).collect(),
        Ok(list) if !list.is_empty() => parse(list),
        _ => {
            let newest = installed
                .iter()
                .rfind(|version| SERVED.contains(&version.0));
            let newest = newest.copied().unwrap_or(USUAL);
            let mut wanted = vec![USUAL, newest];
            wanted.dedup();
            wanted
        }
    };
    let required = required();
    wanted
        .into_iter()
        .filter(|version| {
            let found = installed.contains(version);
            assert!(found || !required, "{}", missing(*version));
            found
        })
        .collect()
}

/// Returns every server that is installed, oldest first, one per major version.
///
/// It looks into `$PAWANG_PG_BIN`, Debian's directories and [`cache_directory`], in this order.
pub fn installations() -> &'static [Installation] {
    static FOUND: OnceLock<Vec<Installation>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let named = env::var_os("PAWANG_PG_BIN").and_then(|bin| inspect(Path::new(&bin)));
        LOOKED_FOR
            .filter_map(|major| {
                let named = named.clone().filter(|found| found.version.0 == major);
                named
                    .or_else(|| inspect(&PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"))))
                    .or_else(|| inspect(&cache_directory().join(major.to_string()).join("bin")))
            })
            .collect()
    })
}

/// Returns where fetched servers are kept, one directory per major version.
///
/// That is `$PAWANG_PG_CACHE`, else `~/.cache/pawang/postgres`; root uses `/var/cache/pawang/postgres`.
pub fn cache_directory() -> PathBuf {
    if let Some(directory) = env::var_os("PAWANG_PG_CACHE") {
        return PathBuf::from(directory);
    }
    pawang_cache().join("postgres")
}

/// Returns where what can be made again is kept; root's own home is closed to the user that owns the clusters.
pub(crate) fn pawang_cache() -> PathBuf {
    if owner::as_root() {
        return PathBuf::from("/var/cache/pawang");
    }
    let home = env::var_os("HOME").expect("a user who is not root has $HOME");
    PathBuf::from(home).join(".cache/pawang")
}

/// Returns PostgreSQL's own `pg_combinebackup`: of a server that is installed, or the one that was fetched.
///
/// # Panics
///
/// When there is none and `$PAWANG_REQUIRE_PG` is 1.
pub fn combinebackup() -> Option<PathBuf> {
    let installed = installations().iter().rev().map(|found| found.bin.clone());
    let mut folders = installed.chain([tools_directory()]);
    let found = folders.find_map(|folder| {
        let program = folder.join(COMBINEBACKUP);
        program.is_file().then_some(program)
    });
    assert!(
        found.is_some() || !required(),
        "{COMBINEBACKUP} is not installed (hint: cargo xtask postgres tools)"
    );
    found
}

/// Returns where fetched client programs are kept.
pub fn tools_directory() -> PathBuf {
    pawang_cache().join("tools")
}

/// Tells whether whatever a test needs must be there, as it must in CI.
pub(crate) fn required() -> bool {
    env::var("PAWANG_REQUIRE_PG").is_ok_and(|value| value == "1")
}

pub(crate) fn find(version: Option<Version>) -> &'static Installation {
    let version = version.or_else(|| versions().first().copied());
    let found = match version {
        Some(version) => installations().iter().find(|i| i.version == version),
        None => installations()
            .iter()
            .rfind(|found| SERVED.contains(&found.version.0)),
    };
    found.unwrap_or_else(|| panic!("{}", missing(version.unwrap_or(USUAL))))
}

fn missing(version: Version) -> String {
    format!(
        "PostgreSQL {version} is not installed (hint: cargo xtask postgres fetch {version}, or set PAWANG_PG_BIN)"
    )
}

fn parse(list: &str) -> Vec<Version> {
    list.split(',')
        .map(|major| match major.trim().parse() {
            Ok(major) => Version(major),
            Err(_) => panic!("$PAWANG_PG must be \"all\" or like \"15,18\", not \"{list}\""),
        })
        .collect()
}

fn inspect(bin: &Path) -> Option<Installation> {
    let output = Command::new(bin.join("postgres"))
        .arg("--version")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let release = text.split_whitespace().nth(2)?.to_owned();
    let major = release.split('.').next()?.parse().ok()?;
    Some(Installation {
        version: Version(major),
        release,
        bin: bin.to_owned(),
    })
}
