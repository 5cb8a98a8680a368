//! `pawang rule`, `pawang route test` and `pawang notify test`: what would happen, and whether messages get through.

use pawang_testbed::{Cluster, Setup, until};

use crate::program::{Desk, instance};
use crate::serve::file;
use crate::serve_daemon::Daemon;

const ALERTS: &str = r#"
[[alert.channel]]
name = "good"
exec = { command = ["/bin/sh", "-c", "cat > message.json"] }
[[alert.channel]]
name = "broken"
exec = { command = ["/bin/sh", "-c", "echo no paper >&2; exit 7"] }
[[alert.contact]]
name = "ayu"
channels = { good = "ayu@example.org" }
[[alert.policy]]
name = "ladder"
[[alert.policy.step]]
after = "0 s"
notify = ["ayu"]
[[alert.policy.step]]
after = "15 min"
notify = ["broken"]
[[alert.route]]
name = "urgent"
match = ['priority=~"P[12]"']
policy = "ladder"
[[alert.route]]
name = "rest"
notify = ["good"]
[[alert.rule]]
check = "connections"
for = "2 min"
for_critical = "1 min"
samples = "1 of 1"
"#;

fn desk() -> Desk {
    let desk = Desk::new();
    let message = desk.path("message.json").display().to_string();
    let one = instance("dwh-1", "postgres://127.0.0.1:1/postgres")
        .replace("\n\n", "\ngroup = \"prod\"\n\n");
    let alerts = ALERTS.replace("message.json", &message);
    desk.write(
        "pawang.toml",
        &format!("state_directory = \"state\"\n{one}{alerts}"),
    );
    desk
}

const TEST: &str = r#"
[[test]]
name = "a few minutes without free slots fire, and are over when they are"
instance = "dwh-1"
[[test.sample]]
check = "connections"
values = "50x6 99x30 50x60"
every = "10 s"
[[test.expect]]
at = "1 min"
check = "connections"
state = "pending"
[[test.expect]]
at = "3 min"
check = "connections"
state = "firing"
level = "LEVEL"
told = ["good/ayu"]
[[test.expect]]
at = "20 min"
check = "connections"
state = "ok"
told = []
"#;

#[test]
fn a_test_file_passes_or_says_what_is_different() {
    let desk = desk();
    desk.write("good.toml", &TEST.replace("LEVEL", "critical"));
    let screen = desk.pawang(&["rule", "test", "good.toml"]);
    assert_eq!(screen.code, 0, "{screen:?}");
    assert!(screen.stdout.ends_with("1 tests, 0 failed\n"), "{screen:?}");
    desk.write("wrong.toml", &TEST.replace("LEVEL", "warning"));
    let screen = desk.pawang(&["rule", "test", "good.toml", "wrong.toml"]);
    assert_eq!(screen.code, 1, "{screen:?}");
    let line = "at 3 min: connections: level: expected warning, found critical";
    assert!(screen.stdout.contains(line), "{screen:?}");
    let json = desk.pawang(&["rule", "test", "wrong.toml", "--json"]);
    let results = json.data("pawang.rule.test/1");
    assert_eq!(results[0]["passed"], false);
    assert_eq!(results[0]["fired"][0]["check"], "connections");
    assert!(!desk.path("state").exists(), "a test leaves nothing");
    assert!(!desk.path("message.json").exists(), "nobody is told");
}

#[test]
fn files_that_are_no_tests_are_told() {
    let desk = desk();
    desk.pawang(&["rule", "test", "missing.toml"])
        .is_clear_error(2, &["missing.toml"]);
    desk.write(
        "odd.toml",
        "[[test]]\nname = \"x\"\ninstance = \"y\"\ncolour = \"red\"\n",
    );
    desk.pawang(&["rule", "test", "odd.toml"])
        .is_clear_error(2, &["odd.toml", "colour", "line 4"]);
    desk.write("unknown.toml", "[[test]]\nname = \"x\"\ninstance = \"y\"\n[[test.sample]]\ncheck = \"conections\"\nvalue = 1\n");
    let screen = desk.pawang(&["rule", "test", "unknown.toml"]);
    assert!(
        screen.code == 1 && screen.stdout.contains("there is no check \"conections\""),
        "{screen:?}"
    );
    let nothing = desk.pawang(&["rule", "test", "--history"]);
    assert!(
        nothing.code != 0 && nothing.stderr.contains("error: "),
        "{nothing:?}"
    );
    // Without files the history is meant, too.
    assert_eq!(desk.pawang(&["rule", "test"]).stderr, nothing.stderr);
}

#[tokio::test]
async fn what_the_daemon_remembers_is_replayed_with_the_rules_of_today() {
    let cluster = Cluster::start(&Setup::default()).await;
    let desk = Desk::new();
    let own = "[[user_check]]\nid = \"own\"\ntitle = \"own\"\nsql = \"SELECT 'a', 42\"\ncritical = 5\nhint = \"x\"\n";
    let off = "[alert]\nenabled = false\n";
    file(
        &desk,
        &(instance("one", &cluster.url("postgres")) + own + off),
    );
    let daemon = Daemon::start(&desk).await;
    daemon.judged("one").await;
    until("the own check is remembered", async || {
        let screen = desk.pawang(&["at", "now", "--json"]);
        screen.stdout.contains("user:own")
    })
    .await;
    let rule = "[[alert.rule]]\ncheck = \"own\"\nfor_critical = \"0 s\"\nsamples = \"1 of 1\"\n";
    let channel = "[[alert.channel]]\nname = \"paper\"\nexec = { command = [\"/bin/false\"] }\n";
    file(
        &desk,
        &(instance("one", &cluster.url("postgres")) + own + rule + channel),
    );
    let words = [
        "rule",
        "test",
        "--history",
        "--from",
        "5min",
        "--every",
        "1s",
        "--json",
    ];
    until("it would have fired", async || {
        let screen = desk.pawang(&words);
        assert!(screen.code < 2, "{screen:?}");
        let fired =
            |fired: &serde_json::Value| fired["check"] == "own" && fired["told"][0] == "paper";
        let data = (screen.code == 0).then(|| screen.data("pawang.rule.history/1"));
        data.is_some_and(|data| data["fired"].as_array().unwrap().iter().any(fired))
    })
    .await;
    let alerts = desk.pawang(&["alert", "list"]);
    assert_eq!(
        alerts.stdout.lines().count(),
        1,
        "a replay leaves nothing: {alerts:?}"
    );
}

#[test]
fn rules_are_listed_and_shown() {
    let desk = desk();
    let list = desk.pawang(&["rule", "list", "--json"]);
    let rules = list.data("pawang.rule.list/1");
    let rule = rules
        .as_array()
        .unwrap()
        .iter()
        .find(|rule| rule["check"] == "connections");
    assert_eq!(rule.unwrap()["warning_for"], "2 min");
    let shown = desk.pawang(&["rule", "show", "connections", "-i", "dwh-1"]);
    assert!(
        shown.stdout.contains("a critical finding after 1 min"),
        "{shown:?}"
    );
    desk.pawang(&["rule", "show", "conections"])
        .is_clear_error(2, &["there is no check", "connections"]);
}

#[test]
fn a_route_test_says_who_would_be_told_when() {
    let desk = desk();
    let words = [
        "route",
        "test",
        "--finding",
        "connections",
        "-i",
        "dwh-1",
        "--json",
    ];
    let screen = desk.pawang(&words);
    assert_eq!(screen.code, 0, "{screen:?}");
    let found = screen.data("pawang.route.test/1");
    assert_eq!(found["ways"][0]["route"], "urgent", "{found}");
    assert_eq!(
        found["ways"][0]["steps"][0]["recipients"][0]["contact"],
        "ayu"
    );
    assert_eq!(
        found["ways"][0]["steps"][1]["recipients"][0]["channel"],
        "broken"
    );
    let warning = desk.pawang(&[
        "route",
        "test",
        "--finding",
        "connections",
        "-i",
        "dwh-1",
        "--level",
        "warning",
    ]);
    assert!(
        warning.stdout.contains("route \"rest\"") && warning.stdout.contains("good"),
        "{warning:?}"
    );
    let silence = [
        "silence",
        "add",
        "check=connections",
        "--for",
        "1h",
        "--reason",
        "load test",
    ];
    assert_eq!(desk.pawang(&silence).code, 0);
    let muted = desk.pawang(&["route", "test", "--finding", "connections", "-i", "dwh-1"]);
    assert!(muted.stdout.contains("Muted     silence 1"), "{muted:?}");
    let nobody = desk.pawang(&["route", "test", "--finding", "nothing", "-i", "dwh-1"]);
    nobody.is_clear_error(2, &["there is no check \"nothing\""]);
    let everyday = desk.pawang(&["route", "test", "--finding", "disk-full", "-i", "dwh-1"]);
    assert_eq!(everyday.code, 0, "{everyday:?}");
    assert!(everyday.stdout.contains("disk-space"), "{everyday:?}");
}

#[test]
fn a_test_message_is_really_sent() {
    let desk = desk();
    let screen = desk.pawang(&["notify", "test", "good"]);
    assert_eq!(screen.code, 0, "{screen:?}");
    assert!(screen.stdout.contains("good\t\ttaken"), "{screen:?}");
    assert!(desk.read("message.json").contains("[TEST]"));
    let person = desk.pawang(&["notify", "test", "ayu"]);
    assert!(
        person.stdout.contains("good/ayu\tayu@example.org\ttaken"),
        "{person:?}"
    );
    let broken = desk.pawang(&["notify", "test", "broken"]);
    assert_eq!(broken.code, 3, "{broken:?}");
    assert!(
        broken.stdout.contains("not taken") && broken.stdout.contains('7'),
        "{broken:?}"
    );
    desk.pawang(&["notify", "test", "god"])
        .is_clear_error(2, &["\"god\"", "pawang notify test good"]);
}
