//! `pawang init`.

use crate::program::Desk;

#[test]
fn a_file_is_written_once_and_never_over_another() {
    let desk = Desk::new();
    let first = desk.pawang(&["init"]);
    assert_eq!(first.code, 0, "{first:?}");
    assert!(desk.read("pawang.toml").contains("[[instance]]"));
    desk.write("pawang.toml", "# mine\n");
    desk.pawang(&["init"])
        .is_clear_error(4, &["exists already", "--print"]);
    assert_eq!(desk.read("pawang.toml"), "# mine\n");
    assert!(
        desk.pawang(&["init", "--print"])
            .stdout
            .contains("[[instance]]")
    );
}
