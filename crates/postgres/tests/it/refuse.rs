//! Everything that keeps us out, each as an error of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pawang_core::{Blind, Kind};
use pawang_postgres::{Error, Session};
use pawang_testbed::{Cluster, Setup, Stop, Version, installations, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::{refusal, session, target};

#[tokio::test]
async fn passwords() {
    let cluster = Cluster::start(&Setup {
        hba: Some("local all ann scram-sha-256\nlocal all bob reject\nlocal all md md5"),
        settings: &[("password_encryption", "scram-sha-256")],
        ..Setup::default()
    })
    .await;
    cluster
        .sql(
            "postgres",
            "CREATE ROLE ann LOGIN PASSWORD 'right'; CREATE ROLE bob LOGIN; SET password_encryption = md5;
            CREATE ROLE md LOGIN PASSWORD 'right'",
        )
        .await;
    let text = |user: &str, password: &str| format!("{} password={password}", line(&cluster, user));
    session(&text("ann", "right")).await;
    session(&text("md", "right")).await;
    for user in ["ann", "md"] {
        let error = refusal(&text(user, "hunter2")).await;
        assert!(
            matches!(&error, Error::Refused { sqlstate, .. } if sqlstate == "28P01"),
            "{error}"
        );
        assert!(!format!("{error:?} {}", error.report()).contains("hunter2"));
        let error = refusal(&line(&cluster, user)).await;
        assert!(matches!(error, Error::PasswordMissing { .. }), "{error}");
        assert_eq!(error.report().kind, Kind::Target);
    }
    let error = refusal(&line(&cluster, "bob")).await;
    assert!(
        matches!(&error, Error::Refused { sqlstate, .. } if sqlstate == "28000"),
        "{error}"
    );
    assert!(error.report().hint.unwrap().contains("pg_hba"), "{error}");
    assert!(matches!(error.blind(), Blind::Unreachable { .. }));
    let error = refusal(&line(&cluster, "nobody")).await;
    assert!(matches!(error, Error::Refused { .. }), "{error}");
}

fn line(cluster: &Cluster, user: &str) -> String {
    format!(
        "host={} user={user} dbname=postgres",
        cluster.socket_directory().display()
    )
}

#[tokio::test]
async fn a_full_server() {
    let cluster = Cluster::start(&Setup {
        settings: &[
            ("max_connections", "4"),
            ("superuser_reserved_connections", "1"),
        ],
        ..Setup::default()
    })
    .await;
    let monitor = cluster.monitor().await;
    let text = line(&cluster, &monitor);
    let mut held = Vec::new();
    let error = loop {
        match Session::connect(&target(&text), "test").await {
            Ok(session) => held.push(session),
            Err(error) => break error,
        }
        assert!(held.len() < 5, "the server must become full");
    };
    assert!(matches!(error, Error::TooManyConnections { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_is_down() {
    let mut cluster = Cluster::start(&Setup {
        tcp: true,
        ..Setup::default()
    })
    .await;
    let tcp = format!(
        "postgresql://postgres@127.0.0.1:{}/postgres",
        cluster.port()
    );
    let socket = cluster.url("postgres");
    let held = session(&socket).await;
    cluster.stop(Stop::Fast).await;
    for text in [&tcp, &socket] {
        let error = refusal(text).await;
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    }
    let error = held.read("SELECT 1").await.unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    let again = held.read("SELECT 1").await.unwrap_err();
    assert!(matches!(again, Error::Lost { .. }), "{again}");
}

#[tokio::test]
async fn a_server_that_shuts_down() {
    let cluster = Cluster::start(&Setup::default()).await;
    let held = cluster.connect("postgres").await;
    let postmaster = rustix::process::Pid::from_raw(cluster.postmaster().cast_signed()).unwrap();
    rustix::process::kill_process(postmaster, rustix::process::Signal::TERM).unwrap();
    let text = cluster.url("postgres");
    until(
        "the server refuses new connections",
        async || match Session::connect(&target(&text), "test").await {
            Ok(_) => false,
            Err(error) => {
                assert!(matches!(error, Error::StartingUp { .. }), "{error}");
                true
            }
        },
    )
    .await;
    drop(held);
}

#[tokio::test]
async fn a_host_that_does_not_exist() {
    let error = refusal("postgresql://u@no-such-host.invalid/d").await;
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

/// Answers each connection with `greeting` after it received something, or at once, and keeps it or closes it; counts them.
async fn impostor<'a>(
    greeting: &'static [u8],
    at_once: bool,
    keep: bool,
    count: &'a AtomicUsize,
) -> (u16, impl Future + use<'a>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = async move {
        let mut kept = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            if !at_once {
                let mut bytes = [0; 512];
                let _ = stream.read(&mut bytes).await;
            }
            let _ = stream.write_all(greeting).await;
            if keep {
                kept.push(stream);
            }
        }
    };
    (port, serve)
}

/// Returns the error, and how many connections there were.
async fn meet(greeting: &'static [u8], at_once: bool, keep: bool, mode: &str) -> (Error, usize) {
    let count = AtomicUsize::new(0);
    let (port, serve) = impostor(greeting, at_once, keep, &count).await;
    let text = format!("postgresql://u:hunter2@127.0.0.1:{port}/d?sslmode={mode}");
    let mut target = target(&text);
    // Whoever keeps us waiting is given up by the clock; all others are told by what they do.
    if keep {
        target.connect_timeout = Duration::from_secs(1);
    }
    let connect = async { Session::connect(&target, "test").await };
    let error = tokio::select! {
        result = connect => result.err().unwrap(),
        _ = serve => unreachable!("the impostor serves for ever"),
    };
    (error, count.into_inner())
}

#[tokio::test]
async fn ports_that_speak_something_else() {
    const HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    const SSH: &[u8] = b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n";
    const MYSQL: &[u8] = b"J\0\0\0\x0a8.0.36\0";
    for mode in ["disable", "prefer", "require"] {
        for (greeting, at_once) in [(HTTP, false), (SSH, true), (MYSQL, true)] {
            let (error, _) = meet(greeting, at_once, false, mode).await;
            assert!(
                matches!(&error, Error::NotPostgres { .. }),
                "{mode} {greeting:?}: {error}"
            );
            let report = error.report();
            assert!(report.detail.is_some() && report.hint.is_some());
        }
        let (error, _) = meet(b"", false, false, mode).await;
        assert!(matches!(&error, Error::Closed { .. }), "{mode}: {error}");
        let (error, count) = meet(b"", false, true, mode).await;
        assert!(
            matches!(&error, Error::ConnectTimeout { .. }),
            "{mode}: {error}"
        );
        assert!(count <= 1, "{mode}: nobody waits twice for who is silent");
    }
}

#[tokio::test]
async fn a_server_that_is_too_old() {
    let old = Version(13);
    // No version that old is needed for anything else, so that machines without one test the decision alone.
    if !installations().iter().any(|found| found.version == old) {
        return;
    }
    let cluster = Cluster::start(&Setup {
        version: Some(old),
        ..Setup::default()
    })
    .await;
    let error = refusal(&cluster.url("postgres")).await;
    assert!(
        matches!(&error, Error::TooOld { version, .. } if version.starts_with("13.")),
        "{error}"
    );
    let error = pawang_postgres::control_file::read(cluster.data_directory()).unwrap_err();
    assert!(
        error.to_string().contains("not of PostgreSQL 14 to 18"),
        "{error}"
    );
}
