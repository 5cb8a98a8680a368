//! Good files become a tree; wrong ones yield every mistake with line, caret and hint.

use std::time::Duration;

use pawang_config::{
    BackupSource, Config, Direction, PROBLEMS_MAX, Period, Quantity, example, parse,
};
use pawang_core::{ByteSize, Unit};
use proptest::prelude::*;

/// The whole text that people see for a wrong file.
fn errors(text: &str) -> String {
    parse(text, "pawang.toml").expect_err(text).to_string()
}

#[test]
fn an_empty_file_is_a_whole_configuration() {
    for text in ["", "\n", "# only a comment", "\u{feff}", "\r\n"] {
        let config = parse(text, "pawang.toml").expect(text);
        assert_eq!((config.instances.len(), config.warnings.len()), (0, 0));
        assert_eq!(
            config.defaults.statement_timeout,
            Period(Duration::from_secs(10))
        );
    }
}

#[test]
fn the_example_says_what_it_shows() {
    let config = parse(example(), "pawang.example.toml").expect("the example parses");
    assert_eq!(config.warnings, [""; 0]);
    let names: Vec<&str> = config.instances.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["dwh-1", "dwh-2"]);
    let primary = &config.instances[0];
    assert_eq!(primary.instance().expected_standbys, ["dwh-2"]);
    assert!(primary.covers_database("mart_sales") && !primary.covers_database("postgres"));
    assert_eq!(primary.backup.len(), 3);
    let BackupSource::Directory { minimum_size, .. } = &primary.backup[0] else {
        panic!("the first backup source is a directory");
    };
    assert_eq!(minimum_size.map(|size| size.0), Some(ByteSize(100 << 20)));
    assert_eq!(
        primary.loads[0].maximum_age,
        Some(Period(Duration::from_secs(26 * 3600)))
    );
    assert_eq!(primary.freshness[0].name, "facts");
    assert_eq!(config.checks["table-bloat"].critical, Some(Quantity::Never));
    assert_eq!(config.checks["unused-index"].enabled, Some(false));
    assert_eq!(config.overrides.len(), 3);
    let own = &config.user_checks[0];
    assert_eq!((own.direction, own.unit), (Direction::Above, Unit::Count));
    assert_eq!(
        (own.limits().warning, own.limits().critical),
        (Some(100.0), Some(1000.0))
    );
    assert!(own.covers("dwh-1") && !own.covers("dwh-2"));
}

#[test]
fn a_misspelt_key_gets_its_nearest_name() {
    assert_eq!(
        errors("[[instance]]\nname = \"dwh-1\"\nexpected_standby = [\"dwh-2\"]\n"),
        r#"error: pawang.toml:3:1: key "expected_standby" does not exist in [[instance]]
detail: expected one of "backup", "backup_policy", "data_directory", "databases", "expected_standbys", "freshness", "group", "labels", "load", "log_directory", "name", "password_file", "patroni", "pgbouncer", "url"
3 | expected_standby = ["dwh-2"]
  | ^^^^^^^^^^^^^^^^
hint: did you mean "expected_standbys"?"#
    );
}

#[test]
fn every_mistake_of_a_file_is_named_at_once_and_passwords_are_veiled() {
    let text = r#"statment = 1
url = "postgres://u:geheim@h/d"

[[instance]]
name = 3
password = "geheim"

[[instance]]
url = "postgres://u:geheim@h/d"  # nmae
databases = "postgres"
"#;
    let errors = errors(text);
    assert_eq!(
        errors,
        r#"error: pawang.toml:1:1: key "statment" does not exist in the file
detail: expected one of "act", "alert", "backup", "check", "collectors", "defaults", "instance", "maintenance", "override", "repository", "serve", "state_directory", "user_check"
1 | statment = 1
  | ^^^^^^^^

error: pawang.toml:2:1: key "url" does not exist in the file
detail: expected one of "act", "alert", "backup", "check", "collectors", "defaults", "instance", "maintenance", "override", "repository", "serve", "state_directory", "user_check"
2 | url = "postgres://u:******@h/d"
  | ^^^
hint: "url" belongs to [[instance]]

error: pawang.toml:5:8: wrong type of "name"
detail: expected a text without spaces, found an integer
5 | name = 3
  |        ^

error: pawang.toml:6:1: key "password" does not exist in [[instance]]
detail: expected one of "backup", "backup_policy", "data_directory", "databases", "expected_standbys", "freshness", "group", "labels", "load", "log_directory", "name", "password_file", "patroni", "pgbouncer", "url"
6 | password = "******"
  | ^^^^^^^^
hint: write the password into a file and set password_file to its path

error: pawang.toml:8:1: [[instance]] has no "name"
detail: expected "name", a text without spaces
8 | [[instance]]
  | ^^^^^^^^^^^^

error: pawang.toml:10:13: wrong type of "databases"
detail: expected a list of texts, found a text
10 | databases = "postgres"
   |             ^^^^^^^^^^"#
    );
}

/// Returns (file, whole error text) of every sample in `wrong.txt`.
fn wrong_samples() -> Vec<(&'static str, &'static str)> {
    let samples = include_str!("wrong.txt").trim_end().split("\n=====\n");
    let pair = |sample: &'static str| sample.split_once("\n-----\n").expect("two parts");
    samples.map(pair).collect()
}

#[test]
fn wrong_files_say_what_was_expected() {
    let samples = wrong_samples();
    assert!(samples.len() > 30, "only {} samples", samples.len());
    for (text, expected) in samples {
        assert_eq!(errors(text), expected, "{text}");
    }
}

#[test]
fn broken_syntax_does_not_hide_other_mistakes_and_invents_none() {
    assert_eq!(
        errors("[check.x]\nwarnin = 3\n\n[[instance]]\nurl = 'x\nname = 'b'\n"),
        r#"error: pawang.toml:2:1: key "warnin" does not exist in [check.x]
detail: expected one of "critical", "enabled", "floors", "warning"
2 | warnin = 3
  | ^^^^^^
hint: did you mean "warning"?

error: pawang.toml:5:9: the text is not TOML: invalid literal string, expected `'`
detail: the line is
5 | url = 'x
  |         ^"#
    );
    // After a broken header no key is where it seems.
    assert_eq!(
        errors("[[instance\nname = 3\n[check.x]\nwarnin = 1\n"),
        r#"error: pawang.toml:1:11: the text is not TOML: unclosed array table, expected `]]`
detail: the line is
1 | [[instance
  |           ^"#
    );
    assert_eq!(
        errors("[[instance]]\nname = 'a'\nname = 'b'\n"),
        r#"error: pawang.toml:3:1: the text is not TOML: duplicate key
detail: the line is
3 | name = 'b'
  | ^^^^"#
    );
}

#[test]
fn a_flood_of_mistakes_is_bounded_and_counted() {
    let text: String = (0..1000).map(|number| format!("k{number} = 1\n")).collect();
    let errors = parse(&text, "pawang.toml").expect_err("no such keys");
    assert_eq!(
        (errors.problems.len(), errors.left_off),
        (PROBLEMS_MAX, 900)
    );
    let reports = errors.reports();
    assert_eq!(
        reports[0].primary,
        "pawang.toml:1:1: key \"k0\" does not exist in the file"
    );
    assert_eq!(
        reports.last().expect("there are some").primary,
        "pawang.toml: 900 more problems are not shown"
    );
    let big = "#".repeat(5 << 20);
    assert_eq!(
        parse(&big, "pawang.toml")
            .expect_err("too large")
            .to_string(),
        "error: pawang.toml: the file is larger than 1048576 bytes"
    );
}

#[test]
fn a_password_in_a_url_is_a_warning_and_shows_nowhere() {
    let text = r#"[[instance]]
name = "a"
url = "postgres://u:geheim@h/d"
pgbouncer = "host=h password=geheim"
patroni = "http://u:geheim@h:8008"
"#;
    let config = parse(text, "pawang.toml").expect("passwords are accepted");
    let warning = |place: &str, key: &str| {
        format!(
            "pawang.toml:{place}: \"{key}\" of instance \"a\" contains a password; move it into a file that only you can read and name it in password_file, or use passfile= or service="
        )
    };
    assert_eq!(
        config.warnings,
        [
            warning("3:7", "url"),
            warning("4:13", "pgbouncer"),
            warning("5:11", "patroni")
        ]
    );
    assert_eq!(config.instances[0].url.reveal(), "postgres://u:geheim@h/d");
    assert!(!format!("{config:?}").contains("geheim"));
    let json = serde_json::to_string(&config).expect("the tree is plain data");
    assert!(!json.contains("geheim"), "{json}");
}

#[test]
fn an_override_that_reaches_nothing_is_a_warning() {
    let text = "[[instance]]\nname = 'dwh-1'\ngroup = 'prod'\n\n\
        [[override]]\ncheck = 'x'\ninstance = 'dhw-1'\nwarning = 1\n\n\
        [[override]]\ncheck = 'x'\ngroup = 'test'\n";
    let config = parse(text, "pawang.toml").expect("it is well formed");
    assert_eq!(
        config.warnings,
        [
            "pawang.toml:10:1: the override changes nothing",
            "pawang.toml:7:12: no instance matches \"dhw-1\"; did you mean \"dwh-1\"?",
            "pawang.toml:12:9: no group matches \"test\"",
        ]
    );
}

/// Texts that look like the format, so that the walk is reached, mixed with noise.
fn toml_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "\\[{0,2}(instance|check|override|user_check|defaults|x)(\\.[a-z\"-]{0,6})?\\]{0,2}\n",
        "(name|url|check|warning|critical|floors|enabled|backup|id|sql|é)( ?[=.] ?)",
        "(\"[^\n]{0,6}\"?|'[^\n]{0,6}'?|[0-9e.+_-]{0,8}|true|nan|-inf|1979-05-27|\\{|\\}|\\[|\\]|,)\n?",
        "(kind ?= ?'(sql|directory|x)'|'5 min'|\"80 %\"|\"\"\"|#)\n?",
        "[\\PC\n\r\t]{0,4}",
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// How the messages of this crate begin.
const OUR_WORDS: [&str; 9] = [
    "the text is not TOML",
    "key \"",
    "wrong type",
    "wrong value",
    "[",
    "name \"",
    "id \"",
    "warning ",
    "critical ",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn no_text_panics_and_every_problem_has_a_place(text in toml_like()) {
        if let Err(errors) = parse(&text, "pawang.toml") {
            prop_assert!(!errors.problems.is_empty());
            for problem in &errors.problems {
                prop_assert!(problem.position.is_some(), "{problem:?}");
                prop_assert!(problem.quote.is_some(), "{problem:?}");
                // Anything else is in the words of serde and means that the walk missed it.
                let ours = OUR_WORDS.iter().any(|start| problem.message.starts_with(start));
                prop_assert!(ours, "{problem:?}");
            }
            let shown = errors.to_string();
            prop_assert!(shown.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'), "{shown:?}");
        }
    }

    #[test]
    fn the_tree_survives_being_written_and_read(quarters in 0_u32..4_000_000, name in "[a-z][a-z0-9-]{0,9}", lag in 0_u32..100_000) {
        let text = format!("[[instance]]\nname = \"{name}\"\n[check.a]\nwarning = {}\ncritical = \"{lag} min\"\n[defaults]\nlock_timeout = \"{lag} ms\"\n", f64::from(quarters) / 4.0);
        let config = parse(&text, "pawang.toml").map_err(|errors| TestCaseError::fail(errors.to_string()))?;
        let json = serde_json::to_string(&config).expect("the tree is plain data");
        let again: Config = serde_json::from_str(&json).map_err(|error| TestCaseError::fail(format!("{error}: {json}")))?;
        prop_assert_eq!(&again.checks, &config.checks);
        prop_assert_eq!(&again.instances, &config.instances);
        prop_assert_eq!(&again.defaults, &config.defaults);
    }
}
