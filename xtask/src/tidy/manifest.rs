//! Manifests: a reason for each dependency, and licences that allow us to pass it on.

use cargo_metadata::Metadata;

use super::{File, Problem};

/// Licences that ask for no more than a notice.
const PERMISSIVE: [&str; 12] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    // A BSD licence in other words: its text must go along, nothing more.
    "bzip2-1.0.6",
    "Unicode-3.0",
    "CC0-1.0",
    "0BSD",
    "BSL-1.0",
];
/// Roots of certificate authorities are data, under a licence of their own.
const PERMISSIVE_DATA: &str = "CDLA-Permissive-2.0";

/// Checks the reasons in the root manifest and the licences of the lock file.
pub(super) fn check(metadata: &Metadata, files: &[File], problems: &mut Vec<Problem>) {
    if let Some(root) = files.iter().find(|file| file.path == "Cargo.toml") {
        reasons(&root.text, problems);
    }
    for package in &metadata.packages {
        match &package.license {
            Some(licence) if permissive(licence) => {}
            licence => problems.push(format!(
                "Cargo.lock: package \"{}\" has licence {:?}, which is not in the permissive list",
                package.name,
                licence.as_deref().unwrap_or("none")
            )),
        }
    }
}

/// Wants a comment above each dependency, or above the group of lines that it stands in.
fn reasons(manifest: &str, problems: &mut Vec<Problem>) {
    let mut inside = false;
    let mut reason = false;
    for (number, line) in (1..).zip(manifest.lines()) {
        let line = line.trim();
        if line.starts_with('[') {
            inside = line == "[workspace.dependencies]";
            reason = false;
        } else if line.is_empty() {
            reason = false;
        } else if line.starts_with('#') {
            reason = true;
        } else if inside && !reason && !line.contains("path = ") && line.contains('=') {
            problems.push(format!(
                "Cargo.toml:{number}: dependency \"{}\" needs a comment above it that says why",
                line.split('=').next().unwrap_or_default().trim()
            ));
        }
    }
}

/// Tells whether an SPDX expression leaves a way that has permissive licences only.
fn permissive(expression: &str) -> bool {
    // Before SPDX, crates wrote "MIT/Apache-2.0" for a choice.
    let expression = expression.replace('/', " OR ");
    let spaced = expression.replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    any_of(&mut rest) && rest.is_empty()
}

fn any_of(words: &mut &[&str]) -> bool {
    let mut result = all_of(words);
    while let [first, rest @ ..] = words
        && *first == "OR"
    {
        *words = rest;
        result |= all_of(words);
    }
    result
}

fn all_of(words: &mut &[&str]) -> bool {
    let mut result = one(words);
    while let [first, rest @ ..] = words
        && *first == "AND"
    {
        *words = rest;
        result &= one(words);
    }
    result
}

fn one(words: &mut &[&str]) -> bool {
    match words {
        ["(", rest @ ..] => {
            *words = rest;
            let inner = any_of(words);
            *words = words.get(1..).unwrap_or_default();
            inner
        }
        [name, "WITH", exception, rest @ ..] => {
            let name = format!("{name} WITH {exception}");
            *words = rest;
            PERMISSIVE.contains(&name.as_str())
        }
        [name, rest @ ..] => {
            let known = PERMISSIVE.contains(name) || *name == PERMISSIVE_DATA;
            *words = rest;
            known
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_needs_one_permissive_way() {
        for (expression, expected) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("(MIT OR Apache-2.0) AND MPL-2.0", false),
            ("MPL-2.0 OR (ISC AND Zlib)", true),
            ("Apache-2.0 WITH LLVM-exception OR GPL-2.0", true),
            ("GPL-2.0 WITH Classpath-exception-2.0", false),
            ("", false),
        ] {
            assert_eq!(permissive(expression), expected, "{expression}");
        }
    }

    #[test]
    fn every_dependency_has_a_reason() {
        let mut problems = Vec::new();
        let manifest = "\
[workspace.dependencies]
own = { path = \"own\" }

# Why.
one = \"1\"
two = \"1\"

three = \"1\"
[profile.dev]
debug = 0
";
        reasons(manifest, &mut problems);
        assert_eq!(
            problems,
            ["Cargo.toml:8: dependency \"three\" needs a comment above it that says why"]
        );
    }
}
