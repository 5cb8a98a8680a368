//! One evaluation with a finding of every level, hostile texts, and things that were not seen.

use std::collections::BTreeMap;
use std::time::Duration;

use pawang_core::{
    Blind, Cost, Epoch, Evaluation, Finding, Instance, Level, Measure, Outcome, Role, Server, Unit,
    Verdict, fingerprint,
};

pub(crate) fn evaluation() -> Evaluation {
    Evaluation {
        instance: Instance {
            name: "dwh-1".to_owned(),
            group: Some("prod".to_owned()),
            expected_standbys: Vec::new(),
        },
        at: "2026-11-21T03:12:00Z".parse().unwrap(),
        server: Some(server()),
        profile: Some("daily".to_owned()),
        verdicts: vec![
            found(
                "xid-wraparound",
                Level::Critical,
                "",
                1_930_000_000.0,
                Unit::Count,
            ),
            found(
                "table-bloat",
                Level::Warning,
                "public.\"Odd|<b>name\"\n",
                82.5,
                Unit::Percent,
            ),
            blind("statement-evictions", missing()),
            blind("statement-temp", missing()),
            blind("hba-trust", refused()),
            found("track-io-timing", Level::Info, "", 0.0, Unit::State),
            healthy("connections", 42.4),
            absent("standby-lag"),
        ],
        costs: BTreeMap::from([(
            "tables (sales)".to_owned(),
            Cost {
                elapsed: Duration::from_millis(41),
                rows: 500,
            },
        )]),
        notes: vec!["no earlier sample of this instance".to_owned()],
    }
}

fn server() -> Server {
    Server {
        version: 180_004,
        version_text: "18.4".to_owned(),
        role: Role::Primary,
        epoch: Epoch::default(),
        user: "monitor".to_owned(),
        superuser: false,
        monitor: true,
        database: "sales".to_owned(),
        data_directory: None,
        local: false,
    }
}

fn missing() -> Blind {
    Blind::MissingExtension {
        name: "pg_stat_statements".to_owned(),
        database: "sales".to_owned(),
    }
}

fn refused() -> Blind {
    Blind::NoPrivilege {
        what: "pg_hba_file_rules".to_owned(),
        grant: "GRANT EXECUTE ON FUNCTION pg_catalog.pg_hba_file_rules() TO \"monitor\";"
            .to_owned(),
    }
}

fn verdict(check: &str, level: Level, unit: Unit) -> Verdict {
    Verdict {
        check: check.to_owned(),
        title: check.replace('-', " "),
        outcome: Outcome::Judged,
        level,
        unit,
        findings: Vec::new(),
        findings_total: 0,
        measures: Vec::new(),
        measures_total: 0,
        note: None,
    }
}

fn finding(check: &str, level: Level, object: &str, unit: Unit) -> Finding {
    Finding {
        check: check.to_owned(),
        object: object.to_owned(),
        database: Some("sales".to_owned()),
        level,
        title: format!("something about {check}"),
        value: None,
        unit,
        threshold: None,
        since: None,
        evidence: Vec::new(),
        remedy: "VACUUM (FREEZE) public.orders;".to_owned(),
        blind: None,
        fingerprint: fingerprint(check, "dwh-1", Some("sales"), object),
    }
}

fn found(check: &str, level: Level, object: &str, value: f64, unit: Unit) -> Verdict {
    let finding = Finding {
        value: Some(value),
        threshold: Some(80.0),
        since: Some("2026-11-21T02:41:00Z".parse().unwrap()),
        evidence: vec![("age".to_owned(), "1930000000".to_owned())],
        ..finding(check, level, object, unit)
    };
    let measure = Measure {
        object: object.to_owned(),
        value,
        level,
        warning: Some(80.0),
        critical: Some(90.0),
    };
    Verdict {
        findings: vec![finding],
        findings_total: 1,
        measures: vec![measure],
        measures_total: 1,
        ..verdict(check, level, unit)
    }
}

fn blind(check: &str, blind: Blind) -> Verdict {
    let finding = Finding {
        title: blind.sentence(),
        remedy: blind.remedy(),
        blind: Some(blind),
        ..finding(check, Level::Unknown, "", Unit::Count)
    };
    Verdict {
        outcome: Outcome::Unknown,
        findings: vec![finding],
        findings_total: 1,
        ..verdict(check, Level::Unknown, Unit::Count)
    }
}

fn healthy(check: &str, value: f64) -> Verdict {
    let measure = Measure {
        object: String::new(),
        value,
        level: Level::Ok,
        warning: Some(80.0),
        critical: Some(90.0),
    };
    Verdict {
        measures: vec![measure],
        measures_total: 1,
        ..verdict(check, Level::Ok, Unit::Percent)
    }
}

fn absent(check: &str) -> Verdict {
    Verdict {
        outcome: Outcome::NotApplicable,
        note: Some("the server is a primary".to_owned()),
        ..verdict(check, Level::Ok, Unit::Seconds)
    }
}
