//! `[maintenance]`: the example that ships, and every mistake with its place.

use pawang_config::{Area, parse};

const EXAMPLE: &str = include_str!("../../../../contrib/maintenance/pawang.maintenance.toml");

#[test]
fn the_example_is_right_and_names_a_night_a_week_and_a_month() {
    let config = parse(EXAMPLE, "pawang.maintenance.toml").expect("the example is right");
    assert_eq!(config.warnings, [""; 0]);
    let policies = &config.maintenance.policies;
    let names: Vec<&str> = policies.keys().map(String::as_str).collect();
    assert_eq!(names, ["monthly", "nightly", "weekly"]);
    let areas = policies["nightly"].areas.as_ref();
    assert!(areas.is_some_and(|areas| areas.contains(&Area::Vacuum)));
    assert!(policies.values().all(|policy| policy.window.is_some()));
}

#[test]
fn every_mistake_has_its_place() {
    for (text, expected) in [
        (
            "[maintenance.policy.a]\nwindow = 'someday'",
            "2:10: the window of policy \"a\" cannot be read",
        ),
        ("[maintenance.policy.a]\nareas = ['vacum']", "2:10: "),
        (
            "[maintenance.policy.a]\nareas = []",
            "2:9: the policy looks after nothing",
        ),
        (
            "[maintenance.policy.a]\nvacuum = { dead_percent = 400 }",
            "2:27: ",
        ),
        (
            "[maintenance.policy.a]\n[[maintenance.rule]]\nmatch = '*'\npolicies = ['b']",
            "4:13: there is no policy \"b\"",
        ),
        (
            "[maintenance.policy.a]\npartitions = { keep = '9 d', drop_after = '8 d' }",
            "2:43: \"drop_after\" is shorter than \"keep\"",
        ),
        (
            "[maintenance.policy.a]\ncleanup = { logs_after = '5 min' }",
            "2:26: \"logs_after\" is shorter than an hour",
        ),
        (
            "[[maintenance.rule]]\nskip = true",
            "1:1: [[maintenance.rule]] has no \"match\"",
        ),
    ] {
        let errors = parse(text, "t").expect_err(text);
        let first = errors.problems[0].report().primary;
        assert!(
            first.starts_with(&format!("t:{expected}")),
            "{first}\n{text}"
        );
    }
}

#[test]
fn what_a_policy_proposes_and_may_not_do_is_a_warning() {
    let text = "[maintenance.policy.a]\ncleanup = { logs_after = '9 d' }\n[maintenance.policy.b]\nallow = ['delete-file']\n\
        cleanup = { archive_after = '9 d' }";
    let config = parse(text, "t").expect("no mistake");
    assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
    assert!(config.warnings[0].contains("\"delete-file\" is not in \"allow\""));
    assert!(config.warnings[1].contains("\"archive_directory\" is not set"));
}
