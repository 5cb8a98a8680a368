//! Wrong input: a clear error, the right exit code, never a panic.

use std::io::Write;
use std::net::TcpListener;

use pawang_testbed::{Cluster, Setup};

use crate::program::{Desk, instance};

#[test]
fn unknown_names_have_a_neighbour() {
    let desk = Desk::new();
    desk.pawang(&["check", "conections"]).is_clear_error(
        2,
        &[
            "there is no check \"conections\"",
            "pawang check connections",
        ],
    );
    desk.pawang(&["explain", "xid-wraparund"])
        .is_clear_error(2, &["pawang explain xid-wraparound"]);
    desk.pawang(&["check", "--profile", "dayly"])
        .is_clear_error(2, &["daily, full"]);
    desk.pawang(&["check", "-i", "dwh"])
        .is_clear_error(2, &["there is no instance \"dwh\"", "pawang init"]);
    desk.write("pawang.toml", &instance("dwh-1", ""));
    desk.pawang(&["check", "-i", "dwh1"])
        .is_clear_error(2, &["pawang check -i dwh-1"]);
    assert_eq!(desk.pawang(&["chek"]).code, 2);
    assert_eq!(desk.pawang(&["check", "--format", "xml"]).code, 2);
}

#[test]
fn limits_out_of_range_are_refused() {
    let desk = Desk::new();
    for (words, reason) in [
        (vec!["-w", "101"], "0 to 100 %"),
        (vec!["-w", "-5"], "cannot use \"-5\""),
        (vec!["-w", "many"], "cannot use \"many\""),
        (vec!["-w", "5min"], "connections"),
        (
            vec!["-w", "90", "-c", "80"],
            "good side of the warning limit",
        ),
    ] {
        let words = [vec!["check", "connections"], words].concat();
        desk.pawang(&words).is_clear_error(2, &[reason]);
    }
    desk.pawang(&["check", "-w", "80"])
        .is_clear_error(2, &["-w and -c need the names of checks"]);
}

#[test]
fn a_wrong_file_is_told_with_line_column_and_neighbour() {
    let desk = Desk::new();
    desk.write("pawang.toml", "[[instance]]\nname = \"a\"\nexpected_standby = [\"b\"]\n\n[check.conections]\nwarning = \"x\"\n");
    for words in [
        vec!["check"],
        vec!["config", "check"],
        vec!["estate", "list"],
    ] {
        let screen = desk.pawang(&words);
        screen.is_clear_error(2, &["pawang.toml:3:1", "expected_standbys"]);
    }
    for limit in ["0 s", "0.0004 s"] {
        let file = format!("[defaults]\nstatement_timeout = \"{limit}\"\n");
        desk.write("pawang.toml", &file);
        desk.pawang(&["config", "check"])
            .is_clear_error(2, &["pawang.toml:2:", "statement_timeout", "at least 1 ms"]);
    }
    desk.write("pawang.toml", "[check.conections]\nwarning = 5\n");
    desk.pawang(&["config", "check"])
        .is_clear_error(2, &["conections", "connections"]);
    desk.pawang(&["check", "--config", "absent.toml"])
        .is_clear_error(2, &["absent.toml"]);
}

#[test]
fn servers_that_cannot_be_reached_are_told_and_exit_with_3() {
    let desk = Desk::new();
    // A port that was free a moment ago may be somebody's by now; this one is nobody's.
    let screen = desk.pawang(&["check", "connection", "postgres://x@127.0.0.1:1/x"]);
    assert_eq!(screen.code, 3, "{screen:?}");
    assert!(screen.stdout.contains("refused"), "{screen:?}");

    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = web.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = web.accept().unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
    });
    let url = format!("postgres://x@127.0.0.1:{port}/x?sslmode=disable");
    let screen = desk.pawang(&["check", "connection", &url]);
    server.join().unwrap();
    assert_eq!(screen.code, 3, "{screen:?}");
    assert!(screen.stdout.contains("PostgreSQL"), "{screen:?}");

    let screen = desk.pawang(&["check", "connection", "postgres://x@host.invalid:5432/x"]);
    assert_eq!(screen.code, 3, "{screen:?}");
    desk.pawang(&["check", "postgres://x@[/"])
        .is_clear_error(2, &[]);
    desk.pawang(&["check", "connection", "host=a sslmode=never"])
        .is_clear_error(2, &["sslmode"]);
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_database_are_told() {
    let cluster = Cluster::start(&Setup {
        tcp: true,
        hba: Some("host all all 127.0.0.1/32 scram-sha-256"),
        ..Setup::default()
    })
    .await;
    cluster
        .sql("postgres", "CREATE ROLE locked LOGIN PASSWORD 'right'")
        .await;
    let desk = Desk::new();
    let url = format!(
        "postgres://locked:wrong@127.0.0.1:{}/postgres",
        cluster.port()
    );
    let screen = desk.pawang(&["check", "connection", &url]);
    assert_eq!(screen.code, 3, "{screen:?}");
    assert!(screen.stdout.contains("password"), "{screen:?}");
    assert!(
        !screen.stdout.contains("wrong") && !screen.stderr.contains("wrong"),
        "no secret is shown: {screen:?}"
    );
    let screen = desk.pawang(&["check", "connection", &cluster.url("absent")]);
    assert_eq!(screen.code, 3, "{screen:?}");
    assert!(screen.stdout.contains("absent"), "{screen:?}");
}

#[test]
fn nothing_is_written_where_it_cannot_be() {
    let desk = Desk::new();
    let screen = desk.pawang(&[
        "check",
        "connection",
        "host=/nowhere user=x",
        "--output",
        "/proc/none/report",
    ]);
    screen.is_clear_error(2, &["could not write file \"/proc/none/report\""]);
}
