//! Every kind is told by its own examples, and by nothing else.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::record::{Origin, Record};

/// Takes an example apart: its record as the kinds' own origin writes it.
fn record(example: &str) -> Record<'_> {
    let (word, rest) = example
        .split_once(' ')
        .expect("an example begins with a severity");
    let (origin, severity) = match word {
        "BOUNCER" => (Origin::PgBouncer, Severity::Log),
        word => (
            Origin::Server,
            Severity::of(word.as_bytes()).expect("a severity"),
        ),
    };
    if origin == Origin::PgBouncer {
        return Record {
            severity,
            origin,
            message: rest.as_bytes(),
            ..Record::default()
        };
    }
    let (code, message) = rest.split_once(": ").expect("an example has a SQLSTATE");
    Record {
        severity,
        sqlstate: code.as_bytes().try_into().expect("five characters"),
        message: message.as_bytes(),
        ..Record::default()
    }
}

fn name(record: &Record<'_>) -> &'static str {
    &classify(record).kind().id
}

#[test]
fn every_kind_is_told_by_its_examples_with_and_without_sqlstate() {
    let mut wrong = Vec::new();
    for kind in kinds().iter().filter(|kind| !kind.context_only) {
        assert!(!kind.example.is_empty(), "{} has no example", kind.id);
        for example in &kind.example {
            if let Some(line) = example.strip_prefix("RAW ") {
                let told = &classify_raw(line.as_bytes()).kind().id;
                if *told != kind.id {
                    wrong.push(format!("{example:?} is {told}, not {}", kind.id));
                }
                continue;
            }
            let with = record(example);
            let without = Record {
                sqlstate: [0; 5],
                ..with.clone()
            };
            let records = if kind.sqlstate_only {
                vec![with]
            } else {
                vec![with, without]
            };
            for record in records {
                if name(&record) != kind.id {
                    wrong.push(format!("{example:?} is {}, not {}", name(&record), kind.id));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn examples_ids_codes_and_patterns_belong_to_one_kind() {
    let mut seen = HashSet::new();
    let mut patterns = HashMap::new();
    for kind in kinds() {
        let codes = kind.sqlstate.iter().chain(&kind.class);
        for text in kind.example.iter().chain([&kind.id]).chain(codes) {
            assert!(seen.insert(text), "{text} is there twice");
        }
        for pattern in &kind.message {
            let severities = if kind.severity.is_empty() {
                Severity::ALL.to_vec()
            } else {
                kind.severity.clone()
            };
            for severity in severities {
                if let Some(other) = patterns.insert((kind.origin, severity, pattern), &kind.id) {
                    panic!("{pattern} is of {other} and of {}", kind.id);
                }
            }
        }
    }
}

#[test]
fn there_are_at_least_190_kinds_and_each_is_explained() {
    assert!(kinds().len() >= 190, "{}", kinds().len());
    for kind in kinds() {
        for text in [&kind.meaning, &kind.cause, &kind.remedy] {
            assert!(
                text.ends_with('.') && text.len() > 8,
                "{}: {text:?}",
                kind.id
            );
        }
        assert!(
            kind.id
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
            "{}",
            kind.id
        );
    }
    assert_eq!(
        kinds().last().map(|kind| kind.id.as_str()),
        Some("unclassified")
    );
}

#[test]
fn what_code_raises_is_told_by_its_context() {
    let raised = |severity, message: &'static str| Record {
        severity,
        message: message.as_bytes(),
        context: b"PL/pgSQL function f() line 3 at RAISE",
        ..Record::default()
    };
    assert_eq!(name(&raised(Severity::Log, "duration: 5 ms")), "raise-log");
    assert_eq!(
        name(&raised(Severity::Warning, "deadlock detected")),
        "raise-warning"
    );
    assert_eq!(
        name(&raised(Severity::Error, "deadlock detected")),
        "raise-exception"
    );
}

#[test]
fn a_subscriber_that_cannot_apply_is_no_everyday_error() {
    let record = Record {
        severity: Severity::Error,
        sqlstate: *b"23505",
        message: b"duplicate key value violates unique constraint \"t_pkey\"",
        context:
            b"processing remote data for replication origin \"pg_1\" during message type \"INSERT\"",
        ..Record::default()
    };
    assert_eq!(name(&record), "apply-error");
}

#[test]
fn an_error_without_a_rule_gets_the_kind_of_its_code_or_class() {
    let error = |sqlstate: &[u8; 5], message: &'static str| Record {
        severity: Severity::Error,
        sqlstate: *sqlstate,
        message: message.as_bytes(),
        ..Record::default()
    };
    assert_eq!(name(&error(b"23505", "x")), "unique-violation");
    assert_eq!(name(&error(b"22999", "x")), "data-exception");
    assert_eq!(name(&error(b"99999", "x")), "unclassified");
    // The source of PostgreSQL gives this message 22023.
    assert_eq!(
        name(&error(&[0; 5], "step size cannot equal zero")),
        "invalid-argument"
    );
}

#[test]
fn the_position_of_the_stderr_format_does_not_change_the_kind() {
    let record = Record {
        severity: Severity::Error,
        message: b"column \"x\" does not exist at character 8",
        ..Record::default()
    };
    assert_eq!(name(&record), "undefined-column");
}

proptest! {
    #[test]
    fn any_bytes_have_a_kind(
        message in proptest::collection::vec(any::<u8>(), 0..200),
        context in proptest::collection::vec(any::<u8>(), 0..50),
        sqlstate in any::<[u8; 5]>(),
        severity in 0..Severity::ALL.len(),
        start in 0_usize..6,
        bouncer in any::<bool>(),
    ) {
        let starts: [&[u8]; 6] = [b"", b"duration: ", b"statement: ", b"C-0x", b"process ", b"could not open file "];
        let message = [starts[start], &message].concat();
        let record = Record {
            severity: Severity::ALL[severity],
            sqlstate,
            message: &message,
            context: &context,
            origin: if bouncer { Origin::PgBouncer } else { Origin::Server },
            ..Record::default()
        };
        prop_assert!(usize::from(classify(&record).0) < kinds().len());
        prop_assert!(usize::from(classify_raw(&message).0) < kinds().len());
    }
}
