//! `pawang explain`, `pawang check list`, `pawang reference`.

use crate::program::{Desk, instance};

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
    // What other people call it.
    let named = desk.pawang(&["explain", "archive-failing"]);
    assert!(named.stdout.starts_with("archiver-failing:"), "{named:?}");
    desk.pawang(&["explain", "bloat"])
        .is_clear_error(2, &["several checks", "table-bloat, index-bloat"]);
    let json = desk.pawang(&["explain", "connections", "--json"]);
    assert_eq!(json.data("pawang.explain/1")["id"], "connections");
}

#[test]
fn checks_of_the_users_own_and_limits_of_an_instance_are_explained() {
    let desk = Desk::new();
    let file = instance("dwh-1", "host=/nowhere")
        + "[check.connections]\nwarning = 55\n\n"
        + "[[user_check]]\nid = \"own\"\ntitle = \"own title\"\nsql = \"SELECT 'a', 42\"\nwarning = 5\nhint = \"look\"\n";
    desk.write("pawang.toml", &file);
    let own = desk.pawang(&["explain", "own"]);
    assert_eq!(own.code, 0, "{own:?}");
    for word in ["own title", "SELECT 'a', 42", "look"] {
        assert!(own.stdout.contains(word), "{own:?}");
    }
    assert!(desk.pawang(&["check", "list"]).stdout.contains("own title"));
    let limits = desk.pawang(&["explain", "connections", "-i", "dwh-1"]);
    assert!(
        limits
            .stdout
            .contains("on dwh-1: warning from 55 %, critical from 90 %"),
        "{limits:?}"
    );
    desk.pawang(&["explain", "connections", "-i", "dwh-2"])
        .is_clear_error(2, &["there is no instance \"dwh-2\""]);
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
