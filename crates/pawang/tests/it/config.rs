//! `pawang config`.

use crate::program::{Desk, instance};

#[test]
fn the_schema_is_json_and_names_every_table() {
    let desk = Desk::new();
    let screen = desk.pawang(&["config", "schema"]);
    let schema: serde_json::Value = serde_json::from_str(&screen.stdout).unwrap();
    for table in ["instance", "check", "override", "user_check"] {
        assert!(schema["properties"][table].is_object(), "{table}");
    }
    assert_eq!(screen.code, 0);
}

#[test]
fn a_good_file_is_counted_and_no_file_is_an_error() {
    let desk = Desk::new();
    desk.pawang(&["config", "check"])
        .is_clear_error(2, &["pawang init"]);
    desk.write(
        "pawang.toml",
        &(instance("a", "") + &instance("b", "postgres://b.example/x")),
    );
    let screen = desk.pawang(&["config", "check"]);
    assert_eq!(screen.code, 0, "{screen:?}");
    insta::assert_snapshot!(screen.shown(&desk));
}

#[test]
fn the_example_is_good() {
    let desk = Desk::new();
    desk.pawang(&["init"]);
    desk.write(
        ".pg_service.conf",
        "[dwh-2]\nhost=db-2.example.com\nuser=monitor\n",
    );
    let screen = desk.pawang(&["config", "check"]);
    assert_eq!(screen.code, 0, "{screen:?}");
}
