//! The dependency law: data walks through the crates in one direction.

use cargo_metadata::{DependencyKind, Metadata, Package, TargetKind};

use super::Problem;

/// The rooms of the house from the bottom up: a crate may use the crates of lower rooms only.
const ROOMS: [&[&str]; 6] = [
    &["core"],
    &["config", "postgres", "http", "store", "chart"],
    &["logs"],
    &[
        "collect", "check", "metrics", "alert", "act", "maintain", "backup", "pipeline", "access",
        "settings", "rescue", "report",
    ],
    &["web", "top"],
    &["pawang"],
];
/// The room whose crates never use each other, with one exception.
const DUTIES: usize = 3;
/// The one way to change a server is shared by the duties that do.
const SHARED_DUTY: &str = "act";
/// Throw-away servers, for tests only.
const TESTBED: &str = "testbed";
const XTASK: &str = "xtask";
/// Crates of other people that only some of ours may use.
const RESERVED: [(&str, &[&str]); 3] = [
    ("tokio-postgres", &["postgres", TESTBED]),
    ("postgres-protocol", &["postgres"]),
    ("clap", &["pawang"]),
];

/// Checks names, dependencies and test binaries of all our packages.
pub(super) fn check(metadata: &Metadata, problems: &mut Vec<Problem>) {
    for package in metadata.workspace_packages() {
        let folder = folder(package);
        name(package, &folder, problems);
        tests(package, &folder, problems);
        for dependency in &package.dependencies {
            let used = dependency.name.as_str();
            let owners = RESERVED.iter().find(|(name, _)| *name == used);
            if let Some((_, owners)) = owners.filter(|(_, owners)| !owners.contains(&&*folder)) {
                problems.push(format!(
                    "crates/{folder}: may not use \"{used}\", only {} may",
                    owners.join(" and ")
                ));
            }
            let Some(used) = ours(used) else { continue };
            if let Some(why) = breach(&folder, used, dependency.kind) {
                problems.push(format!("crates/{folder}: may not use \"{used}\": {why}"));
            }
        }
    }
}

fn folder(package: &Package) -> String {
    let folder = package
        .manifest_path
        .parent()
        .and_then(|path| path.file_name());
    folder.unwrap_or_default().to_owned()
}

/// Returns the folder of one of our packages.
fn ours(package: &str) -> Option<&str> {
    match package {
        "pawang" | XTASK => Some(package),
        _ => package.strip_prefix("pawang-"),
    }
}

fn name(package: &Package, folder: &str, problems: &mut Vec<Problem>) {
    if ours(&package.name) != Some(folder) {
        problems.push(format!(
            "crates/{folder}: package \"{}\" must be named \"pawang-{folder}\"",
            package.name
        ));
    }
    if room(folder).is_none() && folder != TESTBED && folder != XTASK {
        problems.push(format!(
            "crates/{folder}: has no place in the dependency law (xtask/src/tidy/law.rs)"
        ));
    }
}

/// One test binary per crate links once instead of once per file.
fn tests(package: &Package, folder: &str, problems: &mut Vec<Problem>) {
    let is_test = |kinds: &[TargetKind]| kinds.contains(&TargetKind::Test);
    let tests: Vec<_> = package
        .targets
        .iter()
        .filter(|target| is_test(&target.kind))
        .collect();
    let has_tests = package
        .manifest_path
        .parent()
        .is_some_and(|path| path.join("tests").is_dir());
    let one = tests.len() == 1
        && tests[0].name == "it"
        && tests[0].src_path.ends_with("tests/it/main.rs");
    if has_tests && !one {
        problems.push(format!(
            "crates/{folder}: tests/ must be one binary: autotests = false, [[test]] name = \"it\", path = \"tests/it/main.rs\" \
             (found {})",
            tests.len()
        ));
    }
}

fn room(folder: &str) -> Option<usize> {
    ROOMS.iter().position(|room| room.contains(&folder))
}

/// Returns why a crate may not use another one, if so.
fn breach(user: &str, used: &str, kind: DependencyKind) -> Option<String> {
    let for_tests = kind == DependencyKind::Development;
    match (user, used) {
        (_, XTASK) => return Some("nothing uses the tasks of the repository".to_owned()),
        (XTASK, TESTBED) => return None,
        (XTASK, _) => return Some("xtask uses the testbed and starts the program".to_owned()),
        (_, TESTBED) if for_tests => return None,
        (_, TESTBED) => return Some("the testbed is for tests only".to_owned()),
        _ => {}
    }
    let upper = room(user).unwrap_or(0);
    let lower = room(used)?;
    if lower < upper || user == used {
        return None;
    }
    if lower > upper {
        return Some(format!(
            "it is above: {}",
            ROOMS.map(|room| room.join(", ")).join(" <- ")
        ));
    }
    // The truth suite of a duty has to fill the store or ask a server somehow.
    if for_tests || (upper == DUTIES && used == SHARED_DUTY) {
        return None;
    }
    Some("crates of the same room never use each other; they meet in core and store".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_walks_in_one_direction() {
        use DependencyKind::{Development, Normal};
        for (user, used, kind, allowed) in [
            ("check", "core", Normal, true),
            ("core", "check", Normal, false),
            ("core", "check", Development, false),
            ("postgres", "config", Normal, false),
            ("check", "collect", Normal, false),
            ("check", "collect", Development, true),
            ("collect", "logs", Normal, true),
            ("logs", "collect", Normal, false),
            ("logs", "chart", Normal, true),
            ("maintain", "act", Normal, true),
            ("act", "maintain", Normal, false),
            ("web", "check", Normal, true),
            ("web", "top", Normal, false),
            ("pawang", "web", Normal, true),
            ("check", "testbed", Normal, false),
            ("check", "testbed", Development, true),
            ("xtask", "testbed", Normal, true),
            ("xtask", "core", Normal, false),
            ("pawang", "xtask", Development, false),
        ] {
            let breach = breach(user, used, kind);
            assert_eq!(breach.is_none(), allowed, "{user} -> {used}: {breach:?}");
        }
    }
}
