//! The built-in rules against the catalogue of checks.

use std::collections::BTreeSet;

use pawang_alert::rule::{Class, OWN_CHECKS, RuleSet};

/// What people must be able to rely on, some of each kind.
const CLASSES: [(Class, &[&str]); 4] = [
    (
        Class::Outage,
        &[
            "connection",
            "server-down",
            "checksum-failures",
            "xid-wraparound",
            "disk-free",
            "patroni-leader",
        ],
    ),
    (
        Class::Degraded,
        &[
            "backup-age",
            "archiver-failing",
            "expected-standbys",
            "blocking",
            "disk-space",
            "load-failed",
            "monitor-stale",
        ],
    ),
    (
        Class::Load,
        &[
            "cpu-usage",
            "oldest-query",
            "temp-bytes",
            "wal-rate",
            "requested-checkpoints",
            "exclusive-locks",
        ],
    ),
    (
        Class::Hygiene,
        &[
            "unused-index",
            "ssl",
            "hba-trust",
            "minor-version",
            "settings-drift",
            "swappiness",
        ],
    ),
];

#[test]
fn every_check_has_a_rule_and_every_rule_a_check() {
    let rules = RuleSet::default();
    let known: BTreeSet<&str> = pawang_check::CHECKS.iter().map(|check| check.id).collect();
    let ruled: BTreeSet<&str> = rules.checks().into_iter().collect();
    let own = BTreeSet::from(OWN_CHECKS);
    let without: Vec<_> = known.difference(&ruled).collect();
    assert!(
        without.is_empty(),
        "checks without a rule in data/rules.toml: {without:?}"
    );
    let expected: BTreeSet<&str> = known.union(&own).copied().collect();
    let gone: Vec<_> = ruled.difference(&expected).collect();
    assert!(
        gone.is_empty(),
        "rules of checks that do not exist: {gone:?}"
    );
}

#[test]
fn checks_are_as_urgent_as_people_rely_on() {
    let rules = RuleSet::default();
    for (class, checks) in CLASSES {
        for check in checks {
            assert_eq!(rules.rule(check, None, "dwh-1", "").class, class, "{check}");
        }
    }
}

#[test]
fn what_is_down_is_told_at_once_and_load_outlasts_a_night() {
    let rules = RuleSet::default();
    for check in [
        "connection",
        "server-down",
        "checksum-failures",
        "deadlocks",
        "restart",
    ] {
        let rule = rules.rule(check, None, "dwh-1", "");
        assert!(
            rule.lasts.is_zero() && rule.lasts_critical.is_zero(),
            "{check}"
        );
    }
    for check in [
        "cpu-usage",
        "disk-busy",
        "temp-bytes",
        "oldest-query",
        "requested-checkpoints",
    ] {
        let rule = rules.rule(check, None, "dwh-1", "");
        assert!(rule.expected_in_batch, "{check}");
        assert!(rule.lasts.as_secs() > 8 * 3_600, "{check}");
        assert!(rule.lasts_critical.as_secs() > 4 * 3_600, "{check}");
    }
}
