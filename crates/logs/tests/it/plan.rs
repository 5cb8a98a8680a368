//! Plans of real servers, in all formats.

use std::fs;
use std::path::{Path, PathBuf};

use pawang_logs::plan::{self, Node, Plan};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/plan")
        .join(name)
}

/// Returns the files of a folder with one extension, sorted.
fn files(name: &str, extension: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = all
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{name} has files *.{extension}");
    files
}

fn read(path: &Path) -> Plan {
    let text = fs::read_to_string(path).unwrap();
    plan::read(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Takes away what the text format says only when it matters.
fn comparable(mut plan: Plan) -> Plan {
    fn level(node: &mut Node) {
        node.children.iter_mut().for_each(level);
    }
    level(&mut plan.root);
    plan
}

#[test]
fn four_formats_read_to_the_same_tree() {
    for version in ["15", "18"] {
        for text in files(version, "txt") {
            let expected = comparable(read(&text));
            for extension in ["json", "yaml", "xml"] {
                let other = comparable(read(&text.with_extension(extension)));
                assert_eq!(expected, other, "{} and {extension}", text.display());
                assert_eq!(plan::fingerprint(&expected), plan::fingerprint(&other));
            }
        }
    }
}

/// Returns the rules that speak up about a plan.
fn fired(plan: &Plan) -> Vec<String> {
    plan::review(plan)
        .into_iter()
        .map(|finding| finding.rule)
        .collect()
}

#[test]
fn every_rule_fires_on_its_plan() {
    let mut missing = Vec::new();
    for rule in plan::rules() {
        let path = folder("rules").join(format!("{}.txt", rule.id));
        let plan = read(&path);
        let fired = fired(&plan);
        if !fired.iter().any(|fired| fired == rule.id) {
            missing.push(format!("{}: {fired:?}\n{plan}", rule.id));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_rule_is_silent_on_healthy_plans() {
    for path in files("healthy", "txt") {
        let plan = read(&path);
        let findings = plan::review(&plan);
        assert!(
            findings.is_empty(),
            "{}: {findings:#?}\n{plan}",
            path.display()
        );
    }
}
