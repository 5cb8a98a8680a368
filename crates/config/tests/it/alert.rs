//! `[alert]`: what it accepts, and what it refuses with the place.

use std::path::Path;

use pawang_config::{Config, Direction, KnownCheck, Mistake, example, load, parse, schema};
use pawang_core::Unit;

const ALL: &str = include_str!("alert.toml");

fn read(text: &str) -> Config {
    parse(text, "pawang.toml").expect(text)
}

#[test]
fn every_key_is_accepted_and_survives_being_written() {
    let config = read(ALL);
    assert_eq!(config.warnings, [""; 0]);
    let alert = &config.alert;
    assert_eq!((alert.channels.len(), alert.routes.len()), (10, 2));
    assert_eq!(alert.routes[0].policy.as_deref(), Some("urgent"));
    assert_eq!(alert.rules[0].samples.as_deref(), Some("3 of 5"));
    let schema = schema();
    for (name, definition) in schema["$defs"].as_object().expect("there are definitions") {
        let Some(properties) = definition["properties"].as_object() else {
            continue;
        };
        let alerting = [
            "Rota",
            "Policy",
            "Step",
            "Contact",
            "Substitute",
            "Smtp",
            "Webhook",
            "Telegram",
            "Window",
            "Batch",
            "Rule",
            "Inhibit",
            "Service",
            "StatusPage",
            "Heartbeat",
            "Alert",
        ];
        if alerting.iter().any(|begin| name.starts_with(begin)) {
            for key in properties.keys() {
                let written = ALL.contains(key.as_str());
                assert!(written, "{key} of {name} is not in alert.toml");
            }
        }
    }
}

#[test]
fn the_example_shows_the_defaults_and_what_it_leaves_out_is_right() {
    let shown = read(example());
    assert_eq!(shown.alert, Config::default().alert);
    let whole: Vec<&str> = example().lines().collect();
    let begin = whole.iter().position(|line| line.starts_with("# [[alert."));
    let end = whole
        .iter()
        .position(|line| line.starts_with("# A check of your own"));
    let (begin, end) = begin.zip(end).expect("there are comments about alerts");
    let part = whole[begin..end]
        .iter()
        .filter_map(|line| line.strip_prefix("# "));
    let code = part.filter(|line| line.starts_with('[') || line.contains(" = "));
    let text = format!("{}\n{}\n", example(), code.collect::<Vec<_>>().join("\n"));
    let config = read(&text.replace("# fallback", "fallback"));
    assert_eq!(
        (config.alert.routes.len(), config.alert.windows.len()),
        (2, 3)
    );
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn files_are_looked_for_beside_the_configuration() {
    let folder = tempfile::tempdir().expect("there is room");
    let file = folder.path().join("pawang.toml");
    std::fs::write(&file, ALL).expect("there is room");
    let config = load(&file).expect("it is right");
    let channels = &config.alert.channels;
    let smtp = channels[0].smtp.as_ref().expect("the first is mail");
    let there = |name: &str| Some(folder.path().join(name));
    assert_eq!(
        (&smtp.ca_file, &smtp.password_file),
        (&there("ca.pem"), &there("mail.password"))
    );
    let slack = channels[2].slack.as_ref().expect("the third is Slack");
    assert_eq!(slack.url_file, there("slack.url"));
    let telegram = channels[4]
        .telegram
        .as_ref()
        .expect("the fifth is Telegram");
    assert_eq!(Some(&telegram.token_file), there("telegram.token").as_ref());
    let absolute = |path: &Path| path.starts_with(folder.path());
    let pagerduty = channels[5]
        .pagerduty
        .as_ref()
        .expect("the sixth is PagerDuty");
    assert!(absolute(&pagerduty.key_file));
    let tokens = [
        channels[1]
            .webhook
            .as_ref()
            .and_then(|hook| hook.token_file.as_deref()),
        channels[6]
            .ntfy
            .as_ref()
            .and_then(|ntfy| ntfy.token_file.as_deref()),
        channels[9]
            .alertmanager
            .as_ref()
            .and_then(|am| am.token_file.as_deref()),
    ];
    assert!(
        tokens.iter().all(|token| token.is_some_and(absolute)),
        "{tokens:?}"
    );
}

/// What `alert.toml` says, what a wrong file says instead, where that stands, and what is told.
const CONTRADICTIONS: &[(&str, &str, &str, &str)] = &[
    (
        "exec = { command = [\"/usr/local/bin/page\", \"--dba\"] }",
        "",
        "[[alert.channel]]",
        "channel \"program\" is of no kind",
    ),
    (
        "slack = { url_file = \"slack.url\" }",
        "slack = { url_file = 'f' }\nteams = { url_file = 'f' }",
        "teams = {",
        "is of two kinds",
    ),
    (
        "teams = { url_file = \"teams.url\" }",
        "teams = {}",
        "teams = {}",
        "no address in teams",
    ),
    (
        "teams = { url_file = \"teams.url\" }",
        "teams = { url = 'http://t', url_file = 'f' }",
        "teams = {",
        "two addresses",
    ),
    (
        "ntfy = { url = \"https://ntfy.example.org/databases\", ",
        "ntfy = { ",
        "ntfy = {",
        "no \"url\" in ntfy",
    ),
    (
        "password_file = \"mail.password\"\n",
        "",
        "username =",
        "no password for it",
    ),
    (
        "username = \"pawang\"\n",
        "",
        "password_file =",
        "no name for it",
    ),
    (
        "from = \"Pawang <pawang@example.org>\"",
        "from = \"Pawang\"",
        "from =",
        "\"Pawang\" is no mail address",
    ),
    (
        "to = [\"dba@example.org\"]",
        "to = [\"dba@\"]",
        "to =",
        "\"dba@\" is no mail address",
    ),
    (
        "tls = \"starttls\"",
        "tls = \"none\"",
        "ca_file =",
        "nothing is held against it",
    ),
    (
        "[\"/usr/local/bin/page\", \"--dba\"]",
        "[]",
        "exec =",
        "there is no program",
    ),
    (
        "udp://[::1]:514",
        "http://log",
        "syslog =",
        "is no system log",
    ),
    (
        "\"local3\"",
        "\"local9\"",
        "syslog =",
        "no facility \"local9\"",
    ),
    (
        "digest = \"10 min\"",
        "digest = \"2 d\"",
        "digest =",
        "given up before they are collected",
    ),
    (
        "timeout = \"10 s\"",
        "timeout = \"0 s\"",
        "timeout =",
        "no attempt could succeed",
    ),
    (
        "give_up_after = \"1 d\"",
        "give_up_after = \"5 s\"",
        "give_up_after =",
        "before one attempt is over",
    ),
    (
        "group_interval = \"5 min\"",
        "group_interval = \"0 s\"",
        "group_interval =",
        "too short",
    ),
    (
        "stale_after = \"3 min\"",
        "stale_after = \"1 s\"",
        "stale_after =",
        "too short",
    ),
    (
        "fallback = [\"log\"]",
        "fallback = [\"lgo\"]",
        "fallback =",
        "did you mean \"log\"?",
    ),
    (
        "channels = { mail = \"ayu@example.org\",",
        "channels = { mial = \"ayu@example.org\",",
        "channels = {",
        "did you mean \"mail\"?",
    ),
    (
        "mail = \"ayu@example.org\",",
        "mail = \"ayu\",",
        "channels = {",
        "\"ayu\" is no mail address",
    ),
    (
        "channels = { mail = \"Budi <budi@example.org>\" }",
        "channels = {}",
        "channels = {}",
        "cannot be told",
    ),
    (
        "name = \"budi\"",
        "name = \"mail\"",
        "name = \"mail\"\nchannels",
        "is the name of a channel already",
    ),
    (
        "members = [\"ayu\", \"budi\"]",
        "members = []",
        "members =",
        "nobody takes turns",
    ),
    (
        "members = [\"ayu\", \"budi\"]",
        "members = [\"dba\"]",
        "members =",
        "there is no contact \"dba\"",
    ),
    (
        "turn = \"7 d\"",
        "turn = \"36 h\"",
        "turn =",
        "is not whole days",
    ),
    (
        "contact = \"budi\"",
        "contact = \"citra\"",
        "contact = \"citra\"",
        "there is no contact \"citra\"",
    ),
    (
        "after = \"0 s\"",
        "after = \"1 h\"",
        "after = \"15 min\"",
        "comes before the one above it",
    ),
    (
        "notify = [\"dba\"]",
        "notify = []",
        "notify = []",
        "nobody is told",
    ),
    (
        "notify = [\"dba\"]",
        "notify = [\"urgent\"]",
        "notify = [\"urgent\"]",
        "there is no channel, contact or rota \"urgent\"",
    ),
    (
        "policy = \"urgent\"",
        "policy = \"urgnt\"",
        "policy = \"urgnt\"",
        "did you mean \"urgent\"?",
    ),
    (
        "policy = \"urgent\"",
        "",
        "[[alert.route]]",
        "route \"urgent\" tells nobody",
    ),
    (
        "policy = \"urgent\"",
        "policy = \"urgent\"\nnotify = [\"log\"]",
        "policy = \"urgent\"\nnotify",
        "tells somebody already",
    ),
    (
        "to = [\"dba@example.org\"]",
        "",
        "notify = [\"mail\"",
        "leads to nobody by itself",
    ),
    (
        "name = \"sunday\"",
        "name = \"window-7\"",
        "name = \"window-7\"",
        "is how pawang window add names windows",
    ),
];

#[test]
fn a_contradiction_is_refused_with_its_place() {
    for (right, wrong, at, words) in CONTRADICTIONS {
        let text = ALL.replacen(right, wrong, 1);
        assert_ne!(text, ALL, "{right}");
        let errors = parse(&text, "pawang.toml").expect_err(wrong);
        let line = text
            .find(at)
            .map(|place| text[..place].matches('\n').count() + 1);
        let told = errors.to_string();
        assert!(told.contains(words), "{wrong}: {told}");
        let lines: Vec<usize> = errors
            .problems
            .iter()
            .filter_map(|p| Some(p.position?.line))
            .collect();
        if at.starts_with("[[") {
            assert_eq!(lines.len(), 1, "{told}");
        } else {
            assert!(lines.contains(&line.expect(at)), "{wrong}: {told}");
        }
    }
}

#[test]
fn what_is_risky_is_a_warning() {
    for (right, wrong, words) in [
        (
            "slack = { url_file = \"slack.url\" }",
            "slack = { url = \"https://hooks.example.org/T/B/x\" }",
            "\"url\" of channel \"slack\" contains a secret",
        ),
        (
            "https://hook.example.org/pawang",
            "https://u:geheim@hook.example.org/pawang",
            "\"url\" of channel \"hook\" contains a secret",
        ),
        (
            "fallback = [\"log\"]",
            "",
            "nobody is told while nobody is on duty",
        ),
        (
            "tls = \"starttls\"\nca_file = \"ca.pem\"",
            "tls = \"none\"",
            "sends mail to \"mail.example.org\" without TLS",
        ),
        (
            "match = ['group=\"prod\"']\n",
            "",
            "window \"sunday\" keeps every alert quiet",
        ),
        (
            "match = ['priority=~\"P[12]\"']\npolicy = \"urgent\"\ncontinue = true",
            "policy = \"urgent\"",
            "route \"office\" is never reached",
        ),
        (
            "production = [\"prod*\"]",
            "production = [\"live\"]",
            "every alert is one less urgent",
        ),
    ] {
        let text = ALL.replacen(right, wrong, 1);
        assert_ne!(text, ALL, "{right}");
        let config = read(&text);
        assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
        assert!(config.warnings[0].contains(words), "{:?}", config.warnings);
        assert!(
            !config.warnings[0].contains("geheim"),
            "{:?}",
            config.warnings
        );
    }
    let local = ALL.replace("tls = \"starttls\"\nca_file = \"ca.pem\"", "tls = \"none\"");
    let local = read(&local.replace("mail.example.org", "127.0.0.1"));
    assert_eq!(local.warnings, [""; 0]);
}

#[test]
fn rules_are_held_against_the_checks_that_exist() {
    let bloat = KnownCheck {
        id: "table-bloat".to_owned(),
        unit: Unit::Percent,
        direction: Direction::Above,
        floors: std::collections::BTreeMap::new(),
    };
    let told = |rule: &str| {
        let config = read(&format!("alert.rule = [{{{rule}}}]"));
        let reports = config.verify(std::slice::from_ref(&bloat));
        reports
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    };
    for right in [
        "check = 'table-*', clear = '40 %'",
        "check = '*'",
        "check = 'monitor-stale', for = '1 min'",
    ] {
        assert_eq!(told(right), "");
    }
    assert!(told("check = 'table-blaot'").contains("did you mean \"table-bloat\"?"));
    assert!(
        told("check = 'table-bloat', clear = '5 min'")
            .contains("clear of check \"table-bloat\" is a duration")
    );
    assert!(told("check = '*', clear = '140 %'").contains("out of range"));
}

#[test]
fn mistakes_of_others_get_their_lines() {
    let config = read("[[alert.window]]\nname = 'a'\nschedule = 'sometimes'\nmatch = ['x=y']\n");
    let mistakes = vec![
        Mistake::new("alert.window[0].match[0]", "second", ""),
        Mistake::new("alert.window[0].schedule", "first", "expected another"),
    ];
    assert_eq!(
        config.errors(mistakes).to_string(),
        "error: pawang.toml:3:12: first\ndetail: expected another\n3 | schedule = 'sometimes'\n  |            ^^^^^^^^^^^\n\n\
         error: pawang.toml:4:10: second\ndetail: the line is\n4 | match = ['x=y']\n  |          ^^^^^"
    );
}
