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
    for version in ["14", "15", "16", "17", "18"] {
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

/// Reads the messages of auto_explain of one statement in all formats.
fn automatic(name: &str) -> Vec<(String, Plan)> {
    let formats = ["text", "json", "yaml", "xml"];
    formats
        .map(|format| {
            let path = folder("auto").join(format!("{name}-{format}.log"));
            (fs::read_to_string(&path).unwrap(), read(&path))
        })
        .into()
}

#[test]
fn messages_of_auto_explain_read_alike_in_all_formats() {
    for name in [
        "15-join",
        "15-nested",
        "15-parameter",
        "15-update",
        "18-join",
        "18-parameter",
    ] {
        let plans = automatic(name);
        let (_, first) = &plans[0];
        for (_, plan) in &plans {
            assert_eq!(first.query, plan.query, "{name}");
            assert_eq!(first.parameters, plan.parameters, "{name}");
            assert_eq!(first.settings, plan.settings, "{name}");
            assert_eq!(plan::fingerprint(first), plan::fingerprint(plan), "{name}");
            assert_eq!(
                first.root.children.len(),
                plan.root.children.len(),
                "{name}"
            );
            assert!(plan.execution_time.is_some(), "{name}");
        }
    }
    let (_, join) = &automatic("15-join")[0];
    assert!(
        join.query
            .as_deref()
            .unwrap()
            .ends_with("a secret' limit 5;")
    );
    assert_eq!(
        join.root.children[0].children[1].children[0].detail("Filter"),
        Some("(name <> 'it''s\na secret'::text)")
    );
    let (_, update) = &automatic("15-update")[1];
    assert_eq!(update.triggers[0].name, "audited_each");
    let (_, parameter) = &automatic("18-parameter")[2];
    assert_eq!(
        parameter.parameters.as_deref(),
        Some("$1 = '77', $2 = 'geheim'")
    );
}

#[test]
fn masked_messages_have_no_constants_and_still_read() {
    for name in ["15-join", "15-parameter", "15-update", "18-parameter"] {
        for (text, plan) in automatic(name) {
            let masked = plan::mask(&text);
            for secret in ["secret", "geheim", "'open'", "= 77", "'77'"] {
                assert!(!masked.contains(secret), "{secret} in {masked}");
            }
            let again = plan::read(&masked).unwrap_or_else(|error| panic!("{error}: {masked}"));
            assert_eq!(
                plan::fingerprint(&again),
                plan::fingerprint(&plan),
                "{masked}"
            );
            assert_eq!(again.root.actual, plan.root.actual, "{masked}");
        }
    }
}

#[test]
fn a_record_of_the_log_is_unwrapped() {
    let plan = read(&folder("stderr.log"));
    assert_eq!(plan.execution_time, Some(0.084));
    assert_eq!(plan.root.kind, "Limit");
    assert!(
        plan.query
            .unwrap()
            .starts_with("select o.id, c.name\n  from orders")
    );
}

#[test]
fn findings_have_no_constants() {
    for rule in [
        "seq-scan-filter",
        "index-filter",
        "cast-on-column",
        "function-on-column",
    ] {
        let plan = read(&folder("rules").join(format!("{rule}.txt")));
        for finding in plan::review(&plan) {
            for secret in ["77ppp", "'c000001'", "= 5", "7.0"] {
                assert!(
                    !finding.title.contains(secret) && !finding.remedy.contains(secret),
                    "{finding:?}"
                );
            }
        }
    }
}

/// Reads one of the plans, and the same as `dress` makes it.
fn dressed(name: &str, dress: impl Fn(&str) -> String) {
    let path = folder(name);
    let text = fs::read_to_string(&path).unwrap();
    let dressed = dress(&text);
    let found = plan::read(&dressed).unwrap_or_else(|error| panic!("{error}:\n{dressed}"));
    assert_eq!(found, read(&path), "{dressed}");
}

/// Returns the lines of a plan without what psql puts around it.
fn lines(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| {
        !line.contains("QUERY PLAN") && !line.starts_with("---") && !line.ends_with(" rows)")
    });
    lines
        .filter(|line| !line.is_empty())
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect()
}

#[test]
fn plans_are_read_however_psql_prints_them() {
    for name in ["15/subplans.txt", "18/spill.txt", "15/update.txt"] {
        dressed(name, |text| lines(text).join("\n"));
        dressed(name, |text| lines(text).join("\r\n"));
        dressed(name, |text| {
            lines(text)
                .into_iter()
                .map(|line| format!("    {line}\n"))
                .collect()
        });
        dressed(name, |text| {
            lines(text)
                .into_iter()
                .map(|line| format!("\"{}\"\n", line.replace('"', "\"\"")))
                .collect()
        });
        dressed(name, |text| {
            format!("QUERY PLAN\n{}\n(57 Zeilen)\n", lines(text).join("\n"))
        });
        dressed(name, |text| {
            let rows: String = lines(text)
                .into_iter()
                .map(|line| format!("| {line:<160} |\n"))
                .collect();
            format!(
                "+-----------+\n| {:^160} |\n+-----------+\n{rows}+-----------+\n(57 rows)\n",
                "QUERY PLAN"
            )
        });
        dressed(name, |text| {
            let rows = lines(text).into_iter().enumerate();
            rows.map(|(number, line)| {
                format!("-[ RECORD {} ]-----\nQUERY PLAN | {line}\n", number + 1)
            })
            .collect()
        });
    }
    for name in ["15/subplans.json", "18/spill.yaml", "15/update.xml"] {
        dressed(name, |text| {
            let rows: String = text
                .lines()
                .map(|line| format!(" {line:<150}+\n"))
                .collect();
            format!("          QUERY PLAN          \n------------------------\n{rows} \n(1 row)\n")
        });
        dressed(name, |text| {
            format!("\"{}\"", text.trim_end().replace('"', "\"\""))
        });
    }
}

#[test]
fn errors_say_where_and_what_was_expected() {
    let cases = [
        ("", "it is empty"),
        ("hello\nworld", "line 1: expected a node such as"),
        (
            "Seq Scan on a  (cost=0.00..1.00 rows=1 width=4)\n  whatever",
            "line 2: expected a detail such as",
        ),
        (
            "Seq Scan on a  (cost=0.00..1.00 rows=1 width=4)\nwhatever",
            "line 2: expected a node, or a line such as",
        ),
        (
            "[{\"Plan\": {\"Node Type\": }}]",
            "line 1, column 25: expected JSON",
        ),
        ("[{\"Query Text\": \"x\"}]", "a utility statement has none"),
        (
            "<explain><Plan></explain>",
            "the end of the element that is open",
        ),
        (
            "- Plan:\n    Node Type: \"Result\n",
            "line 2: expected a text in double quotes",
        ),
    ];
    for (text, expected) in cases {
        let error = plan::read(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn fingerprints_differ_when_an_index_or_a_join_changes() {
    let text = fs::read_to_string(folder("15/semi.txt")).unwrap();
    let plan = plan::read(&text).unwrap();
    let other = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} in {text}");
        plan::fingerprint(&plan::read(&text.replace(from, to)).unwrap())
    };
    assert_ne!(plan::fingerprint(&plan), other("Semi Join", "Anti Join"));
    assert_ne!(
        plan::fingerprint(&plan),
        other(
            "Seq Scan on customers",
            "Index Scan using customers_pkey on customers"
        )
    );
    assert_eq!(plan::fingerprint(&plan), other("'900'", "'901'"));
    assert_eq!(plan::fingerprint(&plan), other("rows=2000", "rows=2001"));
}

#[test]
fn rules_have_all_their_texts() {
    let mut ids = Vec::new();
    for rule in plan::rules() {
        assert!(
            rule.id
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
            "{}",
            rule.id
        );
        for text in [rule.what, rule.why, rule.fix] {
            assert!(
                text.len() > 20 && text.ends_with('.'),
                "{}: {text}",
                rule.id
            );
        }
        ids.push(rule.id);
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
    assert!(count >= 25);
}
