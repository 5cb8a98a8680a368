//! What is explained, by what, and that nothing goes round in circles.

use pawang_config::Config;
use pawang_core::alert::{Handling, Matcher, Operator, Priority};
use pawang_core::{Finding, Unit};
use proptest::prelude::*;

use super::*;

/// An alert that fires: `check instance object`, then labels.
fn alert(what: &str, level: Level, minute: i64, labels: &[(&str, &str)]) -> Arc<Alert> {
    let mut words = what.split(' ');
    let mut word = || words.next().unwrap_or("").to_owned();
    let (check, instance, object) = (word(), word(), word());
    let at = Timestamp::from_second(minute * 60).expect("a time");
    let own = [
        ("check", check.as_str()),
        ("instance", &instance),
        ("object", &object),
        ("level", level.as_str()),
    ];
    let labels = own
        .iter()
        .chain(labels)
        .filter(|(_, value)| !value.is_empty());
    Arc::new(Alert {
        fingerprint: what.to_owned(),
        labels: labels
            .map(|(label, value)| ((*label).to_owned(), (*value).to_owned()))
            .collect(),
        priority: Priority::P3,
        finding: Finding {
            check,
            object,
            database: None,
            level,
            title: what.to_owned(),
            value: None,
            unit: Unit::Count,
            threshold: None,
            since: None,
            evidence: Vec::new(),
            remedy: String::new(),
            blind: None,
            fingerprint: what.to_owned(),
        },
        instance,
        condition: Condition::Firing { since: at, level },
        handling: Handling::default(),
        opened_at: at,
        seen_at: at,
        changed_at: at,
        first_value: None,
        flaps: 0,
        incident: None,
        source: None,
    })
}

fn changed(alert: &Arc<Alert>, change: impl FnOnce(&mut Alert)) -> Arc<Alert> {
    let mut alert = Alert::clone(alert);
    change(&mut alert);
    Arc::new(alert)
}

/// Returns `target <- source: rule` for every alert that is explained.
fn told(setup: &Setup, alerts: &[Arc<Alert>]) -> Vec<String> {
    let mutes = inhibited(setup, alerts);
    let lines = mutes.iter().map(|(target, mute)| match mute {
        Mute::Inhibited { by, rule } => format!("{target} <- {by}: {rule}"),
        other => panic!("{other:?} is no work of this module"),
    });
    lines.collect()
}

fn setup(rules: &str) -> Setup {
    let config = pawang_config::parse(rules, "pawang.toml").expect("the file is right");
    Setup::compile(&config).expect("so is what it says")
}

const CRITICAL: Level = Level::Critical;
const WARNING: Level = Level::Warning;

#[test]
fn a_server_that_is_down_explains_all_of_its_instance_and_nothing_else() {
    let primary = [("role", "primary"), ("cluster", "7")];
    let standby = [("role", "standby"), ("cluster", "7")];
    let other = [("role", "standby"), ("cluster", "8")];
    let alerts = [
        alert("connection a", CRITICAL, 1, &primary),
        alert("server-down a", CRITICAL, 2, &primary),
        alert("disk-busy a", WARNING, 0, &primary),
        alert("wal-receiver b", CRITICAL, 3, &standby),
        alert("standby-lag b", WARNING, 4, &standby),
        alert("table-bloat b public.orders", WARNING, 0, &standby),
        alert("wal-receiver c", CRITICAL, 3, &other),
        alert("notification-failed  mail", WARNING, 0, &[]),
    ];
    let expected = [
        "connection a <- server-down a: topology: server",
        "disk-busy a <- server-down a: topology: server",
        "standby-lag b <- server-down a: topology: primary",
        "wal-receiver b <- server-down a: topology: primary",
    ];
    assert_eq!(told(&Setup::default(), &alerts), expected);
}

#[test]
fn what_is_not_seen_explains_all_that_was_seen_there() {
    let alerts = [
        alert("monitor-stale  a", CRITICAL, 9, &[]),
        alert("monitor-stale  b", CRITICAL, 9, &[]),
        alert("server-down a", CRITICAL, 1, &[]),
        alert("load-age a sales", WARNING, 1, &[]),
    ];
    let expected = [
        "load-age a sales <- monitor-stale  a: the instance is not seen",
        "server-down a <- monitor-stale  a: the instance is not seen",
    ];
    assert_eq!(told(&Setup::default(), &alerts), expected);
}

#[test]
fn a_full_disk_and_a_long_transaction_explain_what_follows_from_them() {
    let alerts = [
        alert("disk-space a /data", CRITICAL, 5, &[]),
        alert("archiver-failing a", CRITICAL, 1, &[]),
        alert("archive-queue a", WARNING, 1, &[]),
        alert("disk-space b /data", WARNING, 5, &[]),
        alert("archiver-failing b", CRITICAL, 1, &[]),
        alert("archive-queue b", WARNING, 1, &[]),
        alert("oldest-transaction c", WARNING, 5, &[]),
        alert("vacuum-held-back c public.orders", WARNING, 1, &[]),
        alert("xmin-horizon c", CRITICAL, 1, &[]),
        alert("cpu-usage d", WARNING, 1, &[("host", "h")]),
        alert("connection-time e", WARNING, 1, &[("host", "h")]),
        alert("connection-time f", WARNING, 1, &[]),
        alert("patroni-dcs g", CRITICAL, 1, &[]),
        alert("patroni-leader g", CRITICAL, 1, &[]),
        alert("connections h", WARNING, 1, &[]),
        alert("connections h sales", WARNING, 1, &[]),
        alert("connections h finance", CRITICAL, 1, &[]),
    ];
    let expected = [
        "archive-queue a <- disk-space a /data: full disk",
        "archive-queue b <- archiver-failing b: failing archiver",
        "archiver-failing a <- disk-space a /data: full disk",
        "connection-time e <- cpu-usage d: busy host",
        "connections h sales <- connections h: topology: instance",
        "patroni-leader g <- patroni-dcs g: Patroni has lost its consensus store",
        "vacuum-held-back c public.orders <- oldest-transaction c: long transaction",
    ];
    assert_eq!(told(&Setup::default(), &alerts), expected);
}

#[test]
fn only_what_fires_and_is_told_explains() {
    let source = alert("server-down a", CRITICAL, 1, &[]);
    let target = alert("load-age a", WARNING, 1, &[]);
    let check = |source: Arc<Alert>, target: Arc<Alert>, expected: bool| {
        let found = told(&Setup::default(), &[target.clone(), source.clone()]);
        assert_eq!(!found.is_empty(), expected, "{source:?} {target:?}");
    };
    check(source.clone(), target.clone(), true);
    let at = source.opened_at;
    let pending = Condition::Pending {
        since: at,
        level: CRITICAL,
    };
    let resolved = Condition::Resolved {
        since: at,
        level: CRITICAL,
        at,
    };
    let unknown = Condition::Unknown {
        since: at,
        was: Some(Box::new(source.condition.clone())),
    };
    let with = |alert: &Arc<Alert>, condition: &Condition| {
        changed(alert, |alert| alert.condition = condition.clone())
    };
    check(with(&source, &pending), target.clone(), false);
    check(with(&source, &resolved), target.clone(), false);
    check(with(&source, &unknown), target.clone(), true);
    check(source.clone(), with(&target, &pending), true);
    check(source.clone(), with(&target, &resolved), false);
    for mute in [
        Mute::Silenced { silence: 1 },
        Mute::Maintenance {
            window: "w".to_owned(),
        },
        Mute::Inhibited {
            by: "x".to_owned(),
            rule: "y".to_owned(),
        },
    ] {
        let muted = changed(&source, |alert| alert.handling.mutes.push(mute));
        check(muted, target.clone(), true);
    }
}

#[test]
fn rules_of_the_configuration_compare_labels_as_alertmanager_does() {
    let setup = setup(
        r#"
        [[alert.inhibit]]
        name = "site"
        source = ['check="site-down"']
        target = ['level="warning"']
        equal = ["site"]
        [[alert.inhibit]]
        name = "twins"
        source = ['check=~"x|y"']
        target = ['check=~"x|y|z"']
    "#,
    );
    let alerts = [
        alert("site-down", WARNING, 1, &[("site", "jakarta")]),
        alert("one a", WARNING, 1, &[("site", "jakarta")]),
        alert("one b", WARNING, 1, &[("site", "bandung")]),
        alert("one c", CRITICAL, 1, &[("site", "jakarta")]),
    ];
    assert_eq!(told(&setup, &alerts), ["one a <- site-down: site"]);
    // A label that both lack is the same on both.
    let bare = [
        alert("site-down", CRITICAL, 1, &[]),
        alert("one b", WARNING, 1, &[]),
    ];
    assert_eq!(told(&setup, &bare), ["one b <- site-down: site"]);
    // Source and target of one rule: neither explains the other, but both explain the third.
    let twins = [
        alert("y", WARNING, 1, &[]),
        alert("x", WARNING, 2, &[]),
        alert("z", CRITICAL, 1, &[]),
    ];
    assert_eq!(told(&setup, &twins), ["z <- y: twins"]);
}

#[test]
fn of_two_that_explain_each_other_the_broader_stays() {
    let setup = setup(
        r#"
        alert.inhibit = [
            { name = "one", source = ['check="x"'], target = ['check="y"'] },
            { name = "two", source = ['check="y"'], target = ['check="x"'] },
        ]
    "#,
    );
    let check = |x: i64, y: i64, expected: &str| {
        let alerts = [alert("x", WARNING, x, &[]), alert("y", WARNING, y, &[])];
        assert_eq!(told(&setup, &alerts), [expected]);
    };
    // The rule of x stands first: x is the broader one, whatever its age.
    check(1, 2, "y <- x: one");
    check(2, 1, "y <- x: one");
}

#[test]
fn twenty_thousand_alerts_are_no_matter_of_pairs() {
    let setup = setup(
        r#"
        alert.inhibit = [{ name = "all", source = ['check=~".+"'], target = ['level="warning"'], equal = ["instance"] }]
    "#,
    );
    let mut alerts: Vec<Arc<Alert>> = (0..20_000)
        .map(|index| {
            let instance = index % 100;
            alert(
                &format!("table-bloat i{instance} t{index}"),
                WARNING,
                index,
                &[],
            )
        })
        .collect();
    alerts.extend((0..100).map(|index| alert(&format!("server-down i{index}"), CRITICAL, 1, &[])));
    let mutes = inhibited(&setup, &alerts);
    assert_eq!(mutes.len(), 20_000);
    assert!(
        mutes
            .values()
            .all(|mute| matches!(mute, Mute::Inhibited { rule, .. } if rule == "topology: server"))
    );
}

/// Rules at random between a few checks, in any direction.
fn rules() -> impl Strategy<Value = Vec<Inhibit>> {
    let side =
        || prop::sample::select(vec!["a", "b", "c", "a|b", "b|c", "a|b|c|server-down", ".*"]);
    let rule = (side(), side(), prop::bool::ANY, prop::bool::ANY);
    let rule = rule.prop_map(|(source, target, equal, spares_worse)| {
        let matchers = |value: &str| {
            let matcher = Matcher {
                label: "check".to_owned(),
                operator: Operator::Matches,
                value: value.to_owned(),
            };
            Matchers::new(vec![matcher]).expect("it is right")
        };
        Inhibit {
            name: format!("{source} > {target}"),
            source: matchers(source),
            target: matchers(target),
            equal: if equal {
                vec!["instance".to_owned()]
            } else {
                Vec::new()
            },
            spares_worse,
        }
    });
    prop::collection::vec(rule, 0..6)
}

fn estate() -> impl Strategy<Value = Vec<Arc<Alert>>> {
    let check = prop::sample::select(vec![
        "a",
        "b",
        "c",
        "server-down",
        "connection",
        "monitor-stale",
    ]);
    let one = (check, 0..3_u8, 0..3_u8, prop::bool::ANY, 0..4_i64, 0..5_u8);
    let one = one.prop_map(|(check, instance, object, critical, minute, state)| {
        let object = ["", "i1", "t2"][usize::from(object)];
        let level = if critical { CRITICAL } else { WARNING };
        let alert = alert(&format!("{check} i{instance} {object}"), level, minute, &[]);
        changed(&alert, |alert| match state {
            0 => alert.handling.mutes.push(Mute::Silenced { silence: 1 }),
            1 => alert.condition = Condition::Ok,
            2 => {
                alert.condition = Condition::Pending {
                    since: alert.opened_at,
                    level,
                };
            }
            _ => {}
        })
    });
    prop::collection::vec(one, 0..24).prop_map(|mut alerts| {
        alerts.sort_by(|one, other| one.fingerprint.cmp(&other.fingerprint));
        alerts.dedup_by(|one, other| one.fingerprint == other.fingerprint);
        alerts
    })
}

proptest! {
    #[test]
    fn every_reason_ends_at_an_alert_that_fires(own in rules(), alerts in estate()) {
        let mut setup = Setup::compile(&Config::default()).expect("it is right");
        setup.inhibits.extend(own);
        let mutes = inhibited(&setup, &alerts);
        let find = |name: &str| alerts.iter().find(|alert| alert.fingerprint == name);
        for (target, mute) in &mutes {
            let mut at = target.clone();
            let mut steps = 0;
            let mut next = Some(mute);
            while let Some(Mute::Inhibited { by, .. }) = next {
                prop_assert!(*by != at, "{at} explains itself");
                let source = find(by).expect("a source is one of the alerts");
                prop_assert!(is_source(source), "{by} explains {at} and does not fire");
                steps += 1;
                prop_assert!(steps <= alerts.len(), "{target} goes round in circles");
                at.clone_from(by);
                next = mutes.get(by);
            }
        }
        // The order of the list is no reason.
        let mut turned = alerts.clone();
        turned.reverse();
        prop_assert_eq!(inhibited(&setup, &turned), mutes);
    }

    #[test]
    fn whatever_has_a_source_without_circles_is_explained(alerts in estate()) {
        let mut setup = Setup::compile(&Config::default()).expect("it is right");
        setup.inhibits.retain(|rule| rule.name == "topology: server");
        let mutes = inhibited(&setup, &alerts);
        for alert in &alerts {
            let explains = |other: &Arc<Alert>| {
                is_source(other) && other.label("check") == "server-down" && other.label("instance") == alert.label("instance")
                    && other.label("level") == "critical" && other.fingerprint != alert.fingerprint
            };
            let expected = level(alert).is_some() && alert.label("check") != "server-down" && alerts.iter().any(explains);
            if expected {
                prop_assert!(mutes.contains_key(&alert.fingerprint), "{} is told", alert.fingerprint);
            }
        }
    }
}
