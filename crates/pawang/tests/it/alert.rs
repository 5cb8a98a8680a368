//! `pawang alert` and `pawang silence`, beside a daemon and without one.

use pawang_testbed::until;
use serde_json::Value;

use crate::program::{Desk, Screen, instance};
use crate::serve_daemon::Daemon;

/// Nobody listens there: the instance is down from the beginning.
const NOBODY: &str = "postgres://127.0.0.1:1/postgres?connect_timeout=1";

/// Alerts fire at once; whoever is told writes it into a file.
const ALERTS: &str = r#"
[alert]
group_wait = "0 s"
[[alert.channel]]
name = "paper"
exec = { command = ["/bin/sh", "-c", "cat >> told.json; echo >> told.json"] }
[[alert.rule]]
check = "*"
for = "0 s"
for_critical = "0 s"
samples = "1 of 1"
"#;

/// Returns a desk whose only instance is down.
fn desk() -> Desk {
    let desk = Desk::new();
    let script = desk.path("told.json").display().to_string();
    let alerts = ALERTS.replace("told.json", &script);
    let text = format!(
        "state_directory = \"state\"\n{}{alerts}",
        instance("one", NOBODY)
    );
    desk.write("pawang.toml", &text);
    desk
}

/// Returns the alerts that fire.
fn firing(desk: &Desk) -> Vec<Value> {
    let screen = desk.pawang(&["alert", "list", "--state", "firing", "--json"]);
    assert_eq!(screen.code, 0, "{screen:?}");
    screen
        .data("pawang.alert.list/1")
        .as_array()
        .unwrap()
        .clone()
}

fn good(screen: &Screen) -> &Screen {
    assert_eq!(screen.code, 0, "{screen:?}");
    screen
}

/// Returns what was done, the newest first.
fn actions(desk: &Desk) -> Vec<String> {
    let journal = desk.pawang(&["journal", "list", "--json"]);
    let records = journal.data("pawang.journal.list/1");
    let records = records.as_array().unwrap().iter();
    let done = records.filter(|record| record["entry"]["outcome"] == "done");
    let action = |record: &Value| record["entry"]["action"].as_str().unwrap().to_owned();
    done.map(action).collect()
}

#[test]
fn without_any_daemon_ever_nothing_fires_and_silences_can_be_made() {
    let desk = desk();
    assert_eq!(firing(&desk), Vec::<Value>::new());
    assert!(!desk.path("state/data").exists(), "reading makes nothing");
    desk.pawang(&["alert", "ack", "3f2a"])
        .is_clear_error(2, &["3f2a"]);
    let made = desk.pawang(&[
        "silence", "add", "check=x", "--for", "2h", "--reason", "test",
    ]);
    assert_eq!(good(&made).stdout, "1\n");
    assert!(
        made.stderr.contains("undo: pawang silence expire 1"),
        "{made:?}"
    );
    let list = desk.pawang(&["silence", "list", "--json"]);
    let silences = list.data("pawang.silence.list/1");
    assert_eq!(silences[0]["state"], "active");
    assert_eq!(silences[0]["silence"]["reason"], "test");
    good(&desk.pawang(&["silence", "expire", "1"]));
    let list = desk.pawang(&["silence", "list"]);
    assert_eq!(list.stdout.lines().count(), 1, "{list:?}");
    let all = desk.pawang(&["silence", "list", "--all"]);
    assert!(all.stdout.contains("1\tover\t"), "{all:?}");
    assert_eq!(actions(&desk), ["silence.expire", "silence.add"]);
}

#[test]
fn silences_that_cannot_be_are_refused() {
    let desk = desk();
    let add = |words: &[&str]| desk.pawang(&[&["silence", "add"], words].concat());
    for (words, code, told) in [
        (&["--for", "2h", "--reason", "x"][..], 4, "everything"),
        (&["check=~(", "--for", "2h", "--reason", "x"], 2, "check=~("),
        (
            &["check", "--for", "2h", "--reason", "x"],
            2,
            "cannot read matcher",
        ),
        (
            &["check=x", "--for", "soon", "--reason", "x"],
            2,
            "length of time",
        ),
        (&["check=x", "--for", "9999d", "--reason", "x"], 2, "year"),
    ] {
        let screen = add(words);
        assert!([2, 4].contains(&screen.code), "{screen:?}");
        assert!(screen.code == code || told == "everything", "{screen:?}");
        assert!(screen.stderr.contains(told), "{screen:?}");
    }
    assert_eq!(add(&["check=x", "--reason", "x"]).code, 2, "it has an end");
    desk.pawang(&["silence", "expire", "7"])
        .is_clear_error(2, &["silence 7"]);
    let list = desk.pawang(&["silence", "list", "--all"]);
    assert_eq!(list.stdout.lines().count(), 1, "{list:?}");
}

#[tokio::test]
async fn an_alert_is_acknowledged_beside_the_daemon_and_given_back_without_it() {
    let desk = desk();
    let daemon = Daemon::start(&desk).await;
    until("something fires", async || !firing(&desk).is_empty()).await;
    let alert = firing(&desk).remove(0);
    let print = alert["fingerprint"].as_str().unwrap().to_owned();
    until("somebody is told", async || {
        std::fs::read_to_string(desk.path("told.json")).is_ok_and(|told| told.contains(&print))
    })
    .await;
    let preview = desk.pawang(&["silence", "add", "-i", "one", "--preview", "--json"]);
    let preview = preview.data("pawang.silence.preview/1");
    assert_eq!(preview["alerts"][0]["fingerprint"], print.as_str());
    let words = [
        "alert",
        "ack",
        &print[..6],
        "--for",
        "4h",
        "--note",
        "on it",
    ];
    let acknowledged = desk.pawang(&words);
    assert_eq!(good(&acknowledged).stdout.trim(), print);
    let shown = desk.pawang(&["alert", "show", &print[..6], "--json"]);
    let shown = shown.data("pawang.alert.show/1");
    assert_eq!(shown["alert"]["handling"]["acknowledged"]["note"], "on it");
    assert!(
        shown["events"].to_string().contains("acknowledged"),
        "{shown}"
    );
    good(&desk.pawang(&["alert", "mute", &print, "--for", "1d", "--reason", "known"]));
    let list = desk.pawang(&["alert", "list", "instance=one"]);
    assert!(list.stdout.contains("\tsilenced\t"), "{list:?}");
    desk.pawang(&["alert", "ack", "zz"])
        .is_clear_error(2, &["zz"]);
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await, 0);
    good(&desk.pawang(&["alert", "unmute", &print]));
    good(&desk.pawang(&["alert", "unack", &print]));
    let shown = desk.pawang(&["alert", "show", &print]);
    assert!(shown.stdout.contains("nobody takes care yet"), "{shown:?}");
    let actions = actions(&desk);
    for action in [
        "alert.acknowledge",
        "alert.mute",
        "alert.unmute",
        "alert.unacknowledge",
    ] {
        assert_eq!(
            actions.iter().filter(|found| *found == action).count(),
            1,
            "{actions:?}"
        );
    }
}
