//! What several tests need: a data directory, an instant, findings.

use pawang_core::{
    Evaluation, Finding, Instance, Level, Outcome, Role, Server, Timestamp, Unit, Verdict,
    fingerprint,
};
use pawang_store::Store;

/// Returns an instant, `seconds` after a fixed one.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + seconds).unwrap()
}

/// Returns a data directory that goes away with the test.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Opens a data directory that nothing is wrong with.
pub(crate) fn open(directory: &tempfile::TempDir) -> Store {
    let opened = Store::open(directory.path(), at(0)).unwrap();
    assert!(opened.notes.is_empty(), "{:?}", opened.notes);
    opened.store
}

/// Returns a server that answers.
pub(crate) fn server() -> Server {
    Server {
        version: 150_018,
        version_text: "15.18".to_owned(),
        role: Role::Primary,
        epoch: pawang_core::Epoch::default(),
        user: "monitor".to_owned(),
        superuser: false,
        monitor: true,
        database: "postgres".to_owned(),
        data_directory: None,
        local: true,
    }
}

/// Returns a finding of the check about an object.
pub(crate) fn finding(check: &str, object: &str, level: Level, value: f64) -> Finding {
    Finding {
        check: check.to_owned(),
        object: object.to_owned(),
        database: None,
        level,
        title: format!("{object} is at {value}"),
        value: Some(value),
        unit: Unit::Percent,
        threshold: Some(80.0),
        since: None,
        evidence: vec![("object".to_owned(), object.to_owned())],
        remedy: "SELECT 1".to_owned(),
        blind: None,
        fingerprint: fingerprint(check, "dwh-1", None, object),
    }
}

/// Returns the verdict of a check.
pub(crate) fn verdict(check: &str, outcome: Outcome, findings: Vec<Finding>) -> Verdict {
    Verdict {
        check: check.to_owned(),
        title: check.to_owned(),
        outcome,
        level: findings.first().map_or(Level::Ok, |finding| finding.level),
        unit: Unit::Percent,
        findings_total: findings.len(),
        findings,
        measures: Vec::new(),
        measures_total: 0,
        note: None,
    }
}

/// Returns an evaluation of a server that answers.
pub(crate) fn evaluation(seconds: i64, verdicts: Vec<Verdict>) -> Evaluation {
    Evaluation {
        instance: Instance {
            name: "dwh-1".to_owned(),
            ..Instance::default()
        },
        at: at(seconds),
        server: Some(server()),
        profile: None,
        verdicts,
        costs: std::collections::BTreeMap::new(),
        notes: Vec::new(),
    }
}
