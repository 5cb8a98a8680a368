//! `pawang incident`: by hand, from the first note to the review.

use crate::program::Desk;

fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("pawang.toml", "state_directory = \"state\"\n");
    desk
}

#[test]
fn an_incident_is_opened_noted_reported_and_closed() {
    let desk = desk();
    let opened = desk.pawang(&[
        "incident",
        "open",
        "the load is late",
        "--priority",
        "P2",
        "-i",
        "dwh-1",
    ]);
    assert_eq!(
        (opened.code, opened.stdout.as_str()),
        (0, "1\n"),
        "{opened:?}"
    );
    let list = desk.pawang(&["incident", "list"]);
    assert!(
        list.stdout.contains("1\tP2\t") && list.stdout.contains("responded"),
        "{list:?}"
    );
    assert_eq!(
        desk.pawang(&["incident", "note", "1", "the source was late"])
            .code,
        0
    );
    let shown = desk.pawang(&["incident", "show", "1", "--json"]);
    let shown = shown.data("pawang.incident.show/1");
    assert!(shown["incident"]["responded"].is_array(), "{shown}");
    assert!(
        shown["timeline"]
            .to_string()
            .contains("the source was late"),
        "{shown}"
    );
    for template in ["notice", "update", "resolved"] {
        let news = desk.pawang(&["incident", "report", "1", "--template", template]);
        assert!(
            news.code == 0 && news.stdout.contains("the load is late"),
            "{news:?}"
        );
    }
    let review = "the source sent its files at noon; the load now waits for them";
    let closed = desk.pawang(&["incident", "close", "1", "--review", review]);
    assert_eq!(closed.code, 0, "{closed:?}");
    let markdown = desk.pawang(&["incident", "report", "1"]);
    for word in ["the load is late", "the source was late", review] {
        assert!(markdown.stdout.contains(word), "{markdown:?}");
    }
    let html = desk.pawang(&["incident", "report", "1", "--format", "html"]);
    assert!(html.stdout.starts_with("<!DOCTYPE html>"), "{html:?}");
    let list = desk.pawang(&["incident", "list"]);
    assert_eq!(list.stdout.lines().count(), 1, "{list:?}");
    let all = desk.pawang(&["incident", "list", "--all"]);
    assert!(all.stdout.contains("1\tP2\tclosed\t"), "{all:?}");
    let text = desk.pawang(&["incident", "show", "1"]);
    assert!(
        text.stdout.starts_with("P2 incident 1: the load is late\n"),
        "{text:?}"
    );
    let journal = desk.pawang(&["journal", "list"]).stdout;
    for action in ["incident.open", "incident.note", "incident.close"] {
        assert!(journal.contains(action), "{journal}");
    }
}

#[test]
fn incidents_that_are_not_there_are_told() {
    let desk = desk();
    for words in [
        &["incident", "show", "7"][..],
        &["incident", "note", "7", "x"],
        &["incident", "close", "7", "--review", "x"],
        &["incident", "report", "7"],
    ] {
        desk.pawang(words).is_clear_error(2, &["incident 7"]);
    }
    assert_eq!(
        desk.pawang(&["incident", "open", "x"]).code,
        2,
        "a priority is needed"
    );
    assert_eq!(desk.pawang(&["incident", "list"]).stdout.lines().count(), 1);
}
