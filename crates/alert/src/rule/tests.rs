//! Rules: what is laid over what, which mistakes are told, and what holds an alert.

use std::time::Duration;

use pawang_config::{Quantity, RuleConfig};
use pawang_core::{Finding, Level, Measure, Unit};

use super::read::samples;
use super::*;

/// Reads rules as they are written in `pawang.toml`.
fn written(text: &str) -> Vec<RuleConfig> {
    #[derive(serde::Deserialize)]
    struct File {
        rule: Vec<RuleConfig>,
    }
    toml::from_str::<File>(text).expect(text).rule
}

#[test]
fn samples_are_read_and_mistakes_named() {
    for (text, expected) in [
        ("3 of 5", (3, 5)),
        ("1of1", (1, 1)),
        (" 64  of 64 ", (64, 64)),
    ] {
        assert_eq!(samples(text), Ok(expected), "{text}");
    }
    for (text, expected) in [
        ("", "how many of how many"),
        ("3/5", "how many of how many"),
        ("of", "\"\" is no whole number"),
        ("three of 5", "\"three\" is no whole number"),
        ("-1 of 5", "\"-1\" is no whole number"),
        ("3 of 5 of 7", "\"5 of 7\" is no whole number"),
        ("0 of 5", "always be enough"),
        ("6 of 5", "more than all"),
        ("3 of 65", "only the last 64"),
        ("3 of 500", "\"500\" is no whole number"),
        ("\u{1b} of 5", "\\u{1b}"),
    ] {
        let error = samples(text).expect_err(text);
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains('\u{1b}'), "{error:?}");
    }
}

#[test]
fn later_rules_win_key_by_key() {
    let rules = written(
        r#"
        rule = [
            { check = "*", for = "7 min", runbook = "a" },
            { check = "disk-*", for = "3 min", group = "prod*" },
            { check = "disk-space", level = "critical", object = "/data*" },
            { check = "disk-space", runbook = "b" },
            { check = "*", enabled = false, instance = "test-1" },
        ]"#,
    );
    let set = RuleSet::new(&rules).expect("no mistakes");
    let cases = [
        ("disk-space prod-a dwh-1 /data/1", "3 critical b on"),
        ("disk-space prod-a dwh-1 /", "3 warning b on"),
        ("disk-space test dwh-1 /data", "7 critical b on"),
        ("disk-free test test-1 /", "7 warning a off"),
        ("our-own prod dwh-1 /", "7 warning a on"),
        ("our-own prod test-1 /", "7 warning a off"),
    ];
    for (asked, expected) in cases {
        let words: Vec<&str> = asked.split(' ').collect();
        let rule = set.rule(words[0], Some(words[1]), words[2], words[3]);
        let found = format!(
            "{} {} {} {}",
            rule.lasts.as_secs() / 60,
            rule.level,
            rule.runbook.as_deref().unwrap_or("-"),
            if rule.enabled { "on" } else { "off" }
        );
        assert_eq!(found, expected, "{asked}");
    }
    let class = |check| set.rule(check, None, "dwh-1", "").class;
    assert_eq!(class("our-own"), Class::Degraded);
    assert_eq!(class("disk-free"), Class::Outage);
}

#[test]
fn the_quick_way_gives_what_the_slow_way_gives() {
    let rules = written(
        r#"
        rule = [
            { check = "*", keep_firing = "1 min" },
            { check = "*-space", keep_firing = "2 min", instance = "a*" },
            { check = "disk-*", keep_firing = "3 min" },
            { check = "*", keep_firing = "4 min", object = "/" },
        ]"#,
    );
    let set = RuleSet::new(&rules).expect("no mistakes");
    let holds = |pattern: &Option<String>, text: &str| {
        let pattern = pattern.as_deref().unwrap_or("*");
        pawang_config::matches(pattern, text)
    };
    for check in [
        "disk-space",
        "temp-space",
        "disk-free",
        "load",
        "our-own-space",
        "own",
    ] {
        for (instance, object) in [("a1", ""), ("a1", "/"), ("b1", ""), ("b1", "/")] {
            let mut expected = RuleSet::default().rule(check, None, instance, object);
            for rule in &rules {
                if pawang_config::matches(&rule.check, check)
                    && holds(&rule.instance, instance)
                    && holds(&rule.object, object)
                {
                    expected.keep_firing = rule.keep_firing.expect("it is set").0;
                }
            }
            let found = set.rule(check, None, instance, object);
            assert_eq!(found, expected, "{check} {instance} {object}");
        }
    }
}

#[test]
fn a_shorter_for_is_one_for_critical_too() {
    let rules = written(r#"rule = [{ check = "cpu-usage", for = "1 min" }]"#);
    let set = RuleSet::new(&rules).expect("no mistakes");
    let rule = set.rule("cpu-usage", None, "dwh-1", "");
    assert_eq!(rule.lasts, Duration::from_secs(60));
    assert_eq!(rule.lasts_critical, Duration::from_secs(60));
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let rules = written(
        r#"
        rule = [
            { check = "*" },
            { check = "", samples = "5 of 3", deviations = 0.5 },
            { check = "load", clear_margin_percent = nan, group = "" },
        ]"#,
    );
    let mistakes = RuleSet::new(&rules).expect_err("there are mistakes");
    let places: Vec<String> = mistakes
        .iter()
        .map(|(index, key, ..)| format!("{index} {key}"))
        .collect();
    let expected = "1 check, 1 samples, 1 deviations, 2 group, 2 clear_margin_percent";
    assert_eq!(places.join(", "), expected);
}

fn measure(value: f64, warning: Option<f64>, critical: Option<f64>) -> Measure {
    Measure {
        object: String::new(),
        value,
        level: Level::Ok,
        warning,
        critical,
    }
}

fn finding(value: f64, threshold: f64, unit: Unit) -> Finding {
    Finding {
        check: "disk-space".to_owned(),
        object: String::new(),
        database: None,
        level: Level::Warning,
        title: String::new(),
        value: Some(value),
        unit,
        threshold: Some(threshold),
        since: None,
        evidence: Vec::new(),
        remedy: String::new(),
        blind: None,
        fingerprint: String::new(),
    }
}

#[test]
fn what_is_between_clear_and_limit_holds() {
    let plain = RuleSet::default().rule("our-own", None, "dwh-1", "");
    let clear = |clear: &str| Rule {
        clear: Some(clear.parse().expect("a quantity")),
        ..plain.clone()
    };
    let margin = Rule {
        clear_margin_percent: 10.0,
        ..plain.clone()
    };
    let above = finding(92.0, 90.0, Unit::Percent);
    let days = finding(5.0, 7.0, Unit::Days);
    let on = finding(1.0, 1.0, Unit::Count);
    let state = Finding {
        threshold: None,
        ..finding(1.0, 0.0, Unit::State)
    };
    let both = (Some(80.0), Some(90.0));
    for (rule, value, limits, finding, expected) in [
        (&plain, 79.0, both, &above, false),
        (&margin, 72.0, both, &above, true),
        (&margin, 71.9, both, &above, false),
        (&margin, 82.0, (None, Some(90.0)), &above, true),
        (&margin, 80.0, (None, None), &above, false),
        (&margin, 81.0, (None, None), &above, true),
        (&clear("60 %"), 65.0, both, &above, true),
        (&clear("60 %"), 59.0, both, &above, false),
        (&clear("85 %"), 79.0, both, &above, false),
        (&clear("1 GB"), 79.0, both, &above, false),
        (&clear("never"), 79.0, both, &above, false),
        (&clear("10 d"), 9.0, (Some(7.0), Some(3.0)), &days, true),
        (&clear("10 d"), 10.5, (Some(7.0), Some(3.0)), &days, false),
        (&clear("10 d"), 9.0, (Some(7.0), None), &days, true),
        (&margin, 7.5, (Some(7.0), Some(7.0)), &days, true),
        (&margin, 8.0, (Some(7.0), None), &days, false),
        (&margin, 0.95, (Some(1.0), None), &on, true),
        (&margin, 0.0, (Some(1.0), None), &on, false),
        (&margin, 1.05, (Some(1.0), None), &on, true),
        (&margin, 2.0, (Some(1.0), None), &on, false),
        (&margin, f64::NAN, both, &above, true),
        (&plain, f64::NAN, both, &above, false),
        (&margin, f64::NAN, (None, None), &state, false),
    ] {
        let found = rule.holds(&measure(value, limits.0, limits.1), finding);
        assert_eq!(found, expected, "{value} {limits:?} {:?}", rule.clear);
    }
    let both = Rule {
        clear: Some(Quantity::Plain(85.0)),
        clear_margin_percent: 10.0,
        ..plain
    };
    assert!(
        both.holds(&measure(75.0, Some(80.0), None), &above),
        "the stricter one counts"
    );
}
