//! The rules that are built in name checks that exist.

use pawang_alert::inhibit::built_in;
use pawang_config::{OWN_CHECKS, matches};

/// Alerts of others that the rules know by name.
const FOREIGN: [&str; 3] = ["host-down", "HostDown", "NodeDown"];

#[test]
fn every_check_that_explains_or_is_explained_exists() {
    let known = |name: &str| {
        let pattern = name.replace(".*", "*");
        let mut checks = pawang_check::CHECKS.iter().map(|check| check.id);
        checks.any(|id| matches(&pattern, id)) || OWN_CHECKS.contains(&name)
    };
    let mut names = 0;
    for rule in built_in() {
        let sides = rule.source.matchers.iter().chain(&rule.target.matchers);
        for matcher in sides.filter(|matcher| matcher.label == "check") {
            for name in matcher.value.split('|') {
                names += 1;
                let exists = known(name) || FOREIGN.contains(&name);
                assert!(exists, "rule \"{}\" names \"{name}\"", rule.name);
            }
        }
    }
    assert!(names > 80, "only {names} names were read");
}
