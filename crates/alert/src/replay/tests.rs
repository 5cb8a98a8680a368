//! Tests of the notation, and of whole test files with limits of their own.

use std::sync::Arc;

use pawang_core::{Level, Unit};

use super::values::{Cell, cells};
use super::{Asked, Graded, Outcome, TestFile, run};
use crate::setup::Setup;

const CONFIG: &str = r#"
[alert]
group_wait = "0 s"
[[alert.channel]]
name = "log"
exec = { command = ["/bin/true"] }
[[alert.channel]]
name = "pager"
exec = { command = ["/bin/true"] }
[[alert.policy]]
name = "ladder"
[[alert.policy.step]]
after = "0 s"
notify = ["log"]
[[alert.policy.step]]
after = "15 min"
notify = ["pager"]
[[alert.route]]
name = "disks"
match = ["check=disk-space"]
policy = "ladder"
[[alert.route]]
name = "rest"
notify = ["log"]
[[alert.rule]]
check = "disk-space"
for = "5 min"
for_critical = "1 min"
keep_firing = "1 min"
"#;

fn setup() -> Arc<Setup> {
    let config = toml::from_str(CONFIG).unwrap();
    Arc::new(Setup::compile(&config).unwrap())
}

/// A check of percent with limits 80 and 90.
fn grade(asked: &Asked<'_>) -> Option<Graded> {
    if asked.placed.check != "disk-space" {
        return None;
    }
    let (level, threshold) = match asked.value {
        Some(value) if value >= 90.0 => (Level::Critical, Some(90.0)),
        Some(value) if value >= 80.0 => (Level::Warning, Some(80.0)),
        _ => (Level::Ok, None),
    };
    Some(Graded {
        level,
        threshold,
        limits: (Some(80.0), Some(90.0)),
        title: "Disk space".to_owned(),
        unit: Unit::Percent,
        remedy: "make room".to_owned(),
    })
}

fn outcome(text: &str) -> Result<Outcome, String> {
    let file: TestFile = toml::from_str(text).unwrap();
    let (test, setup) = (&file.tests[0], setup());
    run(test, &setup, &test.subject(&setup), &grade)
}

#[test]
fn the_short_notation_stands_for_samples() {
    let check =
        |text: &str, expected: &[Cell]| assert_eq!(cells(text).unwrap(), expected, "{text}");
    let value = Cell::Value;
    check("70", &[value(70.0)]);
    check("70x2 _", &[value(70.0), value(70.0), Cell::Nothing]);
    check("-1.5+0.5x3", &[value(-1.5), value(-1.0), value(-0.5)]);
    check("9-4x2", &[value(9.0), value(5.0)]);
    let critical = Cell::Level(Level::Critical);
    check(
        "criticalx2 ok",
        &[critical, critical, Cell::Level(Level::Ok)],
    );
    for wrong in [
        "",
        "x",
        "70x",
        "70xy",
        "infox2",
        "nan",
        "1+x2",
        "1x9999999999",
    ] {
        assert!(cells(wrong).is_err(), "{wrong}");
    }
}

const DISK: &str = r#"
[[test]]
name = "a full disk climbs the ladder until somebody takes care"
instance = "dwh-1"
[[test.sample]]
check = "disk-space"
object = "/data"
values = "70x30 95x60 70x60"
every = "1 min"
[[test.expect]]
at = "29 min"
check = "disk-space"
object = "/data"
state = "ok"
messages = 0
[[test.expect]]
at = "30 min 30 s"
check = "disk-space"
object = "/data"
state = "pending"
told = []
[[test.expect]]
at = "32 min"
check = "disk-space"
object = "/data"
state = "firing"
level = "critical"
told = ["log"]
[[test.expect]]
at = "50 min"
check = "disk-space"
object = "/data"
told = ["log", "pager"]
[[test.order]]
at = "55 min"
do = "acknowledge"
check = "disk-space"
object = "/data"
[[test.expect]]
at = "56 min"
check = "disk-space"
object = "/data"
handling = "acknowledged"
messages = 2
"#;

#[test]
fn what_comes_of_samples_is_what_a_person_expects() {
    // Periods are one number and one unit.
    let text = DISK.replace("30 min 30 s", "1830 s");
    let found = outcome(&text).unwrap();
    assert_eq!(found.differences, []);
    assert_eq!(found.fired.len(), 1);
    assert_eq!(found.fired[0].told.len(), 2);
}

#[test]
fn what_is_not_so_is_told() {
    let text = DISK
        .replace("30 min 30 s", "1830 s")
        .replace("level = \"critical\"", "level = \"warning\"");
    let found = outcome(&text).unwrap();
    let [difference] = found.differences.as_slice() else {
        panic!("{:?}", found.differences)
    };
    assert_eq!(difference.what, "disk-space /data: level");
    assert_eq!(
        (&*difference.expected, &*difference.found),
        ("warning", "critical")
    );
}

#[test]
fn a_test_that_cannot_be_run_says_why() {
    let check = |sample: &str, words: &str| {
        let text = format!("[[test]]\nname = \"x\"\ninstance = \"i\"\n[[test.sample]]\n{sample}\n");
        let wrong = outcome(&text).unwrap_err();
        assert!(wrong.contains(words), "{wrong}");
    };
    check(
        "check = \"nothing\"\nvalue = 1",
        "there is no check \"nothing\"",
    );
    check(
        "check = \"disk-space\"",
        "exactly one of value, level and values",
    );
    check(
        "check = \"disk-space\"\nvalue = 1\nlevel = \"ok\"",
        "exactly one of",
    );
    check(
        "check = \"disk-space\"\nvalues = \"hm\"",
        "\"hm\" is no sample",
    );
    check(
        "check = \"disk-space\"\nvalue = 1\nat = \"400 d\"",
        "looks of at most",
    );
    let order = "check = \"disk-space\"\nvalue = 1\n[[test.order]]\nat = \"1 min\"\ndo = \"snooze\"\ncheck = \"disk-space\"";
    check(order, "for is needed");
}
