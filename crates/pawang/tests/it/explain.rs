//! `pawang explain`, `pawang check list`, `pawang reference`.

use crate::program::Desk;

#[test]
fn a_check_is_explained_with_its_texts_and_its_sql() {
    let desk = Desk::new();
    let screen = desk.pawang(&["explain", "connections"]);
    for word in [
        "What ",
        "Why ",
        "Limits ",
        "Fix ",
        "warning from 80 %, critical from 90 %",
    ] {
        assert!(screen.stdout.contains(word), "{word} {screen:?}");
    }
    let sql = desk.pawang(&["explain", "connections", "--sql"]);
    assert!(sql.stdout.contains("SELECT"), "{sql:?}");
    let json = desk.pawang(&["explain", "connections", "--json"]);
    assert_eq!(json.data("pawang.explain/1")["id"], "connections");
}

#[test]
fn every_check_is_listed_and_explained() {
    let desk = Desk::new();
    let list = desk.pawang(&["check", "list"]);
    let ids: Vec<&str> = list
        .stdout
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    assert!(ids.len() >= 120, "{}", ids.len());
    let reference = desk.pawang(&["reference", "checks"]);
    for id in ids {
        assert!(
            reference.stdout.contains(&format!("\n### {id}\n")),
            "{id} is not in the reference"
        );
    }
    desk.pawang(&["check", "list", "nothing"])
        .is_clear_error(2, &["availability"]);
}

#[test]
fn help_fits_a_screen_and_leads_with_examples() {
    let desk = Desk::new();
    let screen = desk.pawang(&["-h"]);
    assert!(screen.stdout.starts_with("Examples:"), "{screen:?}");
    assert!(
        screen.stdout.lines().count() <= 40,
        "{}",
        screen.stdout.lines().count()
    );
    for page in [
        "man",
        "bash",
        "zsh",
        "fish",
        "cli",
        "aliases",
        "profiles",
        "collectors",
        "config",
    ] {
        assert!(
            desk.pawang(&["reference", page]).stdout.len() > 200,
            "{page}"
        );
    }
}
