//! Limits against the checks that exist.

use std::collections::BTreeMap;

use pawang_config::{CheckConfig, Config, Direction, KnownCheck, Quantity, parse};
use pawang_core::Unit;

fn known() -> Vec<KnownCheck> {
    let check = |id: &str, unit, direction, floors: &[(&str, Unit)]| KnownCheck {
        id: id.to_owned(),
        unit,
        direction,
        floors: floors
            .iter()
            .map(|(name, unit)| ((*name).to_owned(), *unit))
            .collect(),
    };
    let size = [("size", Unit::Bytes), ("rows", Unit::Count)];
    vec![
        check("connections", Unit::Percent, Direction::Above, &[]),
        check("cache-hits", Unit::Percent, Direction::Below, &[]),
        check("replication-lag", Unit::Seconds, Direction::Above, &[]),
        check("certificate-expiry", Unit::Days, Direction::Below, &[]),
        check("table-bloat", Unit::Percent, Direction::Above, &size),
        check("index-bloat", Unit::Percent, Direction::Above, &size),
        check("unused-index", Unit::Count, Direction::Above, &size),
    ]
}

/// Every report of a well-formed file, as people see it.
fn reports(text: &str) -> String {
    let config = parse(text, "pawang.toml").expect(text);
    let reports: Vec<String> = config
        .verify(&known())
        .iter()
        .map(ToString::to_string)
        .collect();
    reports.join("\n\n")
}

#[test]
fn limits_that_fit_are_silent() {
    for text in [
        "",
        "check.connections = {warning = 80, critical = '90 %'}",
        "check.cache-hits = {warning = 95, critical = 90}",
        "check.replication-lag = {warning = '5 s', critical = 'never'}",
        "check.certificate-expiry = {warning = '2 weeks', critical = -1}",
        "override = [{check = '*-bloat', warning = 30, floors = {size = '1 GB', rows = 10}}]",
        "override = [{check = '*', enabled = false}]",
        "user_check = [{id = 'own', title = 't', sql = 'x'}]\ncheck.own.warning = 3",
    ] {
        assert_eq!(reports(text), "", "{text}");
    }
}

/// A file with one mistake of each kind.
const WRONG: &str = r#"[check.conections]
warning = 80

[check.connections]
warning = "120 %"
critical = "5 min"

[check.table-bloat]
warning = 50
critical = 40
floors = { sise = "1 GB", rows = "3 s" }

[check.cache-hits]
warning = 90
critical = 95

[[override]]
check = "*-blaot"
enabled = false

[[override]]
check = "backup-age"
enabled = false

[[override]]
check = "*-lag"
instance = "*"
critical = "80 %"

[[user_check]]
id = "connections"
title = "mine"
sql = "SELECT 'x', 1"
"#;

#[test]
fn everything_wrong_is_named_with_its_line() {
    assert_eq!(
        reports(WRONG),
        r#"error: pawang.toml:1:8: check "conections" does not exist
detail: expected the id of a check or of a [[user_check]]
1 | [check.conections]
  |        ^^^^^^^^^^
hint: did you mean "connections"?

error: pawang.toml:5:11: warning 120 % of check "connections" is out of range
detail: expected 0 to 100
5 | warning = "120 %"
  |           ^^^^^^^

error: pawang.toml:6:12: critical of check "connections" is a duration
detail: expected a percentage such as 80 or "80 %"
6 | critical = "5 min"
  |            ^^^^^^^

error: pawang.toml:9:11: warning 50 of check "table-bloat" is above critical 40
detail: values above the limit are wrong for this check, so warning must be at most critical
9 | warning = 50
  |           ^^

error: pawang.toml:11:19: check "table-bloat" has no floor "sise"
detail: expected one of "rows", "size"
11 | floors = { sise = "1 GB", rows = "3 s" }
   |                   ^^^^^^
hint: did you mean "size"?

error: pawang.toml:11:34: floor "rows" of check "table-bloat" is a duration
detail: expected a number
11 | floors = { sise = "1 GB", rows = "3 s" }
   |                                  ^^^^^

error: pawang.toml:14:11: warning 90 of check "cache-hits" is below critical 95
detail: values below the limit are wrong for this check, so warning must be at least critical
14 | warning = 90
   |           ^^

error: pawang.toml:18:9: no check matches "*-blaot"
detail: expected the id of a check or of a [[user_check]]
18 | check = "*-blaot"
   |         ^^^^^^^^^
hint: pawang check list shows every id

error: pawang.toml:22:9: check "backup-age" does not exist
detail: expected the id of a check or of a [[user_check]]
22 | check = "backup-age"
   |         ^^^^^^^^^^^^
hint: pawang check list shows every id

error: pawang.toml:28:12: critical of check "replication-lag" is a percentage
detail: expected a duration such as "5 min", or a number of seconds
28 | critical = "80 %"
   |            ^^^^^^

error: pawang.toml:31:6: a check "connections" exists already
detail: expected an id of its own
31 | id = "connections"
   |      ^^^^^^^^^^^^^"#
    );
}

#[test]
fn a_configuration_without_a_file_is_verified_too() {
    let entry = CheckConfig {
        warning: Some(Quantity::Plain(-1.0)),
        ..CheckConfig::default()
    };
    let config = Config {
        checks: BTreeMap::from([("connections".to_owned(), entry)]),
        ..Config::default()
    };
    let reports = config.verify(&known());
    assert_eq!(
        reports[0].to_string(),
        "error: configuration: warning -1 of check \"connections\" is out of range\ndetail: expected 0 to 100"
    );
}
