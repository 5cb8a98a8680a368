//! `pawang serve` that must not start: each refusal says why, what to do, and has its exit code.

use crate::program::Desk;
use crate::serve::file;
use crate::serve_daemon::Daemon;

const NOWHERE: &str = "[[instance]]\nname = \"one\"\nurl = \"host=/nowhere user=x\"\n\n";

#[tokio::test]
async fn a_second_daemon_is_refused_by_the_data_directory_and_by_the_address() {
    let desk = Desk::new();
    file(&desk, NOWHERE);
    let daemon = Daemon::start(&desk).await;
    let taken = daemon.address();
    let locked = desk.pawang(&["serve", "--listen", "127.0.0.1:0"]);
    locked.is_clear_error(4, &["is in use", daemon.pid(), "serve.data_directory"]);
    let words = ["serve", "--data-directory", "other", "--listen", &taken];
    desk.pawang(&words)
        .is_clear_error(4, &["could not listen on", &taken, "pawang serve --listen"]);
}

#[test]
fn an_address_that_is_not_safe_is_refused() {
    let desk = Desk::new();
    file(&desk, NOWHERE);
    let public = ["serve", "--listen", "0.0.0.0:0"];
    desk.pawang(&public)
        .is_clear_error(4, &["without TLS", "pawang serve --listen 127.0.0.1:0"]);
    file(&desk, &format!("serve.behind_tls_proxy = true\n{NOWHERE}"));
    desk.pawang(&public)
        .is_clear_error(4, &["without an account", "pawang account create"]);
    file(&desk, &format!("serve.sign_in = true\n{NOWHERE}"));
    desk.pawang(&["serve", "--listen", "127.0.0.1:0"])
        .is_clear_error(4, &["without an account"]);
    file(&desk, &format!("serve.sign_in = false\n{NOWHERE}"));
    desk.pawang(&public).is_clear_error(4, &["without TLS"]);
}

#[test]
fn certificates_that_cannot_be_used_are_named() {
    let desk = Desk::new();
    let tls = "serve.tls = { certificate = \"no.crt\", key = \"no.key\" }\n";
    file(&desk, &format!("{tls}{NOWHERE}"));
    let words = ["serve", "--listen", "127.0.0.1:0"];
    desk.pawang(&words).is_clear_error(2, &["no.crt"]);
    desk.write("no.crt", "this is no certificate");
    desk.write("no.key", "this is no key");
    desk.pawang(&words).is_clear_error(2, &["no.crt"]);
}

#[test]
fn a_store_of_a_newer_version_and_a_directory_that_is_none_are_refused() {
    let desk = Desk::new();
    file(&desk, NOWHERE);
    let words = ["serve", "--listen", "127.0.0.1:0"];
    desk.pawang(&["account", "list"]);
    std::fs::create_dir_all(desk.path("state/data")).unwrap();
    let newer = pawang_store::Store::open(&desk.path("state/data"), pawang_core::Timestamp::MIN);
    drop(newer.unwrap());
    let history = desk.path("state/data/history.db");
    let mut bytes = std::fs::read(&history).unwrap();
    // Bytes 60 to 63 of an SQLite file are its user_version.
    bytes[60..64].copy_from_slice(&9_999_u32.to_be_bytes());
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(desk.path(&format!("state/data/history.db{suffix}")));
    }
    std::fs::write(&history, bytes).unwrap();
    desk.pawang(&words)
        .is_clear_error(4, &["history.db", "9999", "newer Pawang"]);
    desk.write("plain", "a file");
    let elsewhere = [words.as_slice(), &["--data-directory", "plain"]].concat();
    desk.pawang(&elsewhere).is_clear_error(4, &["plain"]);
}

#[test]
fn wrong_usage_and_a_wrong_file_are_refused_before_anything_is_touched() {
    let desk = Desk::new();
    let screen = desk.pawang(&["serve", "--listen", "8432"]);
    assert_eq!(screen.code, 2, "{screen:?}");
    file(&desk, "[serve]\nlisten = \"8432\"\nbudget_percnt = 1\n");
    desk.pawang(&["serve"]).is_clear_error(
        2,
        &["pawang.toml:3:10", "pawang.toml:4:1", "127.0.0.1:8432"],
    );
    assert!(!desk.path("state").exists());
    desk.pawang(&["serve", "reload"])
        .is_clear_error(2, &["pawang.toml:3:10"]);
    file(&desk, NOWHERE);
    desk.pawang(&["serve", "reload"])
        .is_clear_error(3, &["no pawang serve answers", "pawang serve"]);
    desk.pawang(&["serve", "-i", "two"])
        .is_clear_error(2, &["no instance \"two\""]);
}
