//! `pawang window`: calendar, announcement, mistakes.

use crate::program::{Desk, instance};

fn desk() -> Desk {
    let desk = Desk::new();
    let one = instance("dwh-1", "postgres://127.0.0.1:1/postgres")
        .replace("\n\n", "\ngroup = \"prod\"\n\n");
    let two = instance("test-1", "postgres://127.0.0.1:1/postgres");
    let window = "[[alert.window]]\nname = \"quarterly\"\nschedule = \"last sat of quarter 22:00-02:00 Asia/Jakarta\"\n\
                  reason = \"disaster recovery test\"\n";
    let page = "[alert.status_page]\ntitle = \"Smart Dairy data warehouse\"\n";
    desk.write(
        "pawang.toml",
        &format!("state_directory = \"state\"\n{one}{two}{window}{page}"),
    );
    desk
}

#[test]
fn a_window_is_added_listed_announced_and_removed() {
    let desk = desk();
    let words = [
        "window",
        "add",
        "sun 02:00-06:00 Asia/Jakarta",
        "--group",
        "prod",
        "--reason",
        "weekly maintenance",
    ];
    let preview = desk.pawang(&[&words[..], &["--preview"]].concat());
    assert_eq!(preview.code, 0, "{preview:?}");
    assert_eq!(
        preview
            .stdout
            .lines()
            .filter(|line| line.contains("T19:00:00Z"))
            .count(),
        5,
        "{preview:?}"
    );
    assert!(!desk.path("state/data").exists(), "a preview makes nothing");
    let added = desk.pawang(&words);
    assert_eq!(
        (added.code, added.stdout.as_str()),
        (0, "window-1\n"),
        "{added:?}"
    );
    let calendar = desk.pawang(&["window", "list", "--next", "14d", "--json"]);
    let calendar = calendar.data("pawang.window.calendar/1");
    let times = calendar.as_array().unwrap().iter();
    let times: Vec<&serde_json::Value> =
        times.filter(|time| time["window"] == "window-1").collect();
    // Whoever runs this while it is open sees that time, too.
    assert!((2..=3).contains(&times.len()), "{calendar}");
    let to = |time: &&serde_json::Value| time["to"].as_str().unwrap().ends_with("T23:00:00Z");
    assert!(times.iter().all(to), "{calendar}");
    let list = desk.pawang(&["window", "list"]);
    assert!(
        list.stdout.contains("quarterly\tlast sat of quarter"),
        "{list:?}"
    );
    let shown = desk.pawang(&["window", "show", "window-1", "--json"]);
    assert_eq!(
        shown.data("pawang.window.show/1")["instances"],
        serde_json::json!(["dwh-1"])
    );
    let announced = desk.pawang(&["window", "show", "window-1", "--announcement"]);
    for word in ["Smart Dairy data warehouse", "dwh-1", "weekly maintenance"] {
        assert!(announced.stdout.contains(word), "{announced:?}");
    }
    let removed = desk.pawang(&["window", "remove", "window-1"]);
    assert_eq!(removed.code, 0, "{removed:?}");
    desk.pawang(&["window", "remove", "window-1"])
        .is_clear_error(2, &["window-1"]);
    let list = desk.pawang(&["window", "list"]);
    assert!(!list.stdout.contains("window-1"), "{list:?}");
    let journal = desk.pawang(&["journal", "list"]).stdout;
    assert!(
        journal.contains("window.add") && journal.contains("window.remove"),
        "{journal}"
    );
}

#[test]
fn a_window_from_now_on_is_open_now() {
    let desk = desk();
    let added = desk.pawang(&[
        "window",
        "add",
        "now for 2 h",
        "-i",
        "dwh-1",
        "--reason",
        "x",
        "--name",
        "release",
    ]);
    assert_eq!(
        (added.code, added.stdout.as_str()),
        (0, "release\n"),
        "{added:?}"
    );
    let list = desk.pawang(&["window", "list"]);
    let line = list
        .stdout
        .lines()
        .find(|line| line.starts_with("release\t"))
        .unwrap();
    assert!(
        line.contains("\topen now\t") && line.contains("instance=\"dwh-1\""),
        "{line}"
    );
}

#[test]
fn windows_that_cannot_be_are_refused() {
    let desk = desk();
    let add = |words: &[&str]| desk.pawang(&[&["window", "add"], words].concat());
    add(&["someday", "--reason", "x", "-i", "dwh-1"])
        .is_clear_error(2, &["cannot read schedule \"someday\"", "--help"]);
    let whole = add(&["sun 02:00-06:00", "--reason", "x"]);
    assert!(
        [2, 4].contains(&whole.code) && whole.stderr.contains("everything"),
        "{whole:?}"
    );
    assert_eq!(
        add(&["sun 02:00-06:00", "-i", "dwh-1"]).code,
        2,
        "a reason is needed"
    );
    add(&["now for 1 h", "-i", "dwh-9", "--reason", "x"])
        .is_clear_error(2, &["there is no instance \"dwh-9\""]);
    add(&["now for 1 h", "--group", "prud", "--reason", "x"])
        .is_clear_error(2, &["there is no group \"prud\"", "names prod"]);
    desk.pawang(&["window", "show", "nothing"])
        .is_clear_error(2, &["there is no window \"nothing\""]);
    let configured = desk.pawang(&["window", "remove", "quarterly"]);
    assert!(
        configured.code != 0 && configured.stderr.contains("pawang.toml"),
        "{configured:?}"
    );
}
