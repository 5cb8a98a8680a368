//! What several tests need: a data directory, an instant, findings.

use pawang_core::{
    Column, ColumnKind, Cost, Epoch, Evaluation, Facts, Finding, Instance, Level, Outcome, Role,
    Server, Sighting, Snapshot, Timestamp, Unit, Value, Verdict, fingerprint,
};
use pawang_store::Store;
use pawang_store::history::Reader;

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
        epoch: Epoch::default(),
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

/// Returns facts of one collector with `rows` rows that all hold the number; `noise` texts do not compress.
pub(crate) fn facts(number: i64, seconds: i64, rows: usize, noise: usize) -> Facts {
    let column = |name: &str, kind| Column {
        name: name.to_owned(),
        kind,
        unit: None,
    };
    let mut random = Random(number.unsigned_abs() + 1);
    let row = |index: usize| {
        vec![
            Value::Text(format!("table-{index}").into()),
            Value::Int(number),
            Value::Int(number),
            Value::Text(random.text(noise).into()),
        ]
    };
    let snapshot = Snapshot {
        collector: "tables".to_owned(),
        database: Some("sales".to_owned()),
        at: at(seconds),
        epoch: Some(Epoch::default()),
        cost: Cost::default(),
        columns: [
            column("relname", ColumnKind::Label),
            column("n_tup_ins", ColumnKind::Counter),
            column("n_live_tup", ColumnKind::Gauge),
            column("note", ColumnKind::Info),
        ]
        .into(),
        rows: (0..rows).map(row).collect(),
    };
    Facts {
        instance: evaluation(0, Vec::new()).instance,
        at: at(seconds),
        server: Ok(server()),
        down: None,
        databases: vec!["sales".to_owned()],
        sightings: vec![Sighting {
            collector: "tables".to_owned(),
            database: Some("sales".to_owned()),
            seen: Ok(snapshot.into()),
        }],
        notes: Vec::new(),
    }
}

/// Returns the number that the history has for an instant, if it has a snapshot of exactly then.
pub(crate) fn number_at(reader: &Reader, seconds: i64) -> Option<i64> {
    let mut snapshots = reader.snapshots_at("dwh-1", "tables", at(seconds)).unwrap();
    let snapshot = snapshots
        .pop()
        .filter(|snapshot| snapshot.at == at(seconds))?;
    let numbers: Vec<Option<i64>> = snapshot.rows().map(|row| row.int("n_tup_ins")).collect();
    assert!(
        numbers.windows(2).all(|pair| pair[0] == pair[1]),
        "{numbers:?}"
    );
    numbers[0]
}

/// Numbers that look random, the same for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Returns a number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // splitmix64, whose every seed is as good as any other.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    fn text(&mut self, length: usize) -> String {
        (0..length)
            .map(|_| char::from(b'!' + self.below(90) as u8))
            .collect()
    }
}
