//! Faults of the group `connections`: silent when healthy, found when injected, gone when cleared.

use std::future::Future;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Waker};

use pawang_check::{Check, Policy, Resolved, find};
use pawang_core::{Blind, Level, Outcome, Verdict};
use pawang_postgres::{Environment, Session, Target};
use pawang_testbed::{Client, Cluster, Setup, until, versions};

use crate::watch::{Watch, evaluate};

/// Limits as a user may set them: one warning limit, and floors of 0.
struct Strict(f64);

impl Policy for Strict {
    fn resolve(&self, check: &Check, _: Option<&str>, _: Option<&str>) -> Resolved {
        let mut limits = check.defaults();
        limits.warning = Some(self.0);
        limits.critical = None;
        limits.floors.values_mut().for_each(|floor| *floor = 0.0);
        Resolved {
            enabled: true,
            limits,
        }
    }
}

/// Looks with a lower warning limit and without floors, for what would take minutes to reach the shipped limits.
pub(crate) async fn strict(watch: &mut Watch, id: &str, warning: f64) -> Verdict {
    let older = watch.older.take();
    watch.look(&[id]).await;
    let check = find(id).unwrap();
    evaluate(
        check,
        watch.older.as_ref().unwrap(),
        older.as_ref(),
        &Strict(warning),
    )
    .unwrap()
}

/// Sends a statement without waiting for its end.
pub(crate) fn started<'a, T>(
    statement: impl Future<Output = T> + 'a,
) -> Pin<Box<dyn Future<Output = T> + 'a>> {
    let mut statement = Box::pin(statement);
    let mut context = Context::from_waker(Waker::noop());
    assert!(
        statement.as_mut().poll(&mut context).is_pending(),
        "no answer can be there before the question is sent"
    );
    statement
}

/// Returns the first value of a statement as text.
pub(crate) async fn value(cluster: &Cluster, sql: &str) -> String {
    cluster.sql("postgres", sql).await[0][0]
        .clone()
        .unwrap_or_default()
}

/// Waits until the server counts what happens in database "postgres"; PostgreSQL 14 begins with the first report.
pub(crate) async fn counting(cluster: &Cluster) {
    let sql = "SELECT xact_commit > 0 FROM pg_stat_database WHERE datname = 'postgres'";
    until("the database has statistics", async || {
        value(cluster, sql).await == "t"
    })
    .await;
}

/// Waits until as many client sessions of the tests are open as expected.
async fn sessions(cluster: &Cluster, count: usize) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' \
               AND pid <> pg_backend_pid()";
    until("the sessions are there", async || {
        value(cluster, sql).await == count.to_string()
    })
    .await;
}

/// Waits until only so many client sessions are left, and asks by one of them: somebody else would take a slot too.
async fn only_these(held: &[Client]) {
    until("all others have left", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'";
        let row = held[0].query_one(sql, &[]).await.unwrap();
        usize::try_from(row.get::<_, i64>(0)).unwrap() == held.len()
    })
    .await;
}

fn socket(cluster: &Cluster) -> PathBuf {
    let name = format!(".s.PGSQL.{}", cluster.port());
    cluster.socket_directory().join(name)
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A client that says only what it must.
pub(crate) struct Raw(Box<dyn Stream>);

impl Raw {
    pub(crate) fn connect(cluster: &Cluster) -> Raw {
        Raw::over(UnixStream::connect(socket(cluster)).unwrap())
    }

    /// Waits until the server has refused that user, whose name may hold anything.
    pub(crate) fn refused(cluster: &Cluster, user: &str) {
        let stream = UnixStream::connect(socket(cluster)).unwrap();
        Raw::hello(stream, user).read_to_end();
    }

    fn over(stream: impl Read + Write + 'static) -> Raw {
        let mut raw = Raw::hello(stream, "postgres");
        raw.read_until(b'Z');
        raw
    }

    fn hello(stream: impl Read + Write + 'static, user: &str) -> Raw {
        let mut raw = Raw(Box::new(stream));
        let body =
            format!("\x00\x03\x00\x00user\0{user}\0database\0postgres\0application_name\0raw\0\0");
        let length = u32::try_from(body.len() + 4).unwrap();
        raw.0.write_all(&length.to_be_bytes()).unwrap();
        raw.0.write_all(body.as_bytes()).unwrap();
        raw
    }

    pub(crate) fn query(&mut self, sql: &str) {
        let length = u32::try_from(sql.len() + 5).unwrap();
        self.0.write_all(b"Q").unwrap();
        self.0.write_all(&length.to_be_bytes()).unwrap();
        self.0.write_all(sql.as_bytes()).unwrap();
        self.0.write_all(b"\0").unwrap();
    }

    /// Waits until the server hangs up.
    pub(crate) fn read_to_end(&mut self) {
        let mut rest = Vec::new();
        // How the server hangs up does not matter.
        let _ended = self.0.read_to_end(&mut rest);
    }

    pub(crate) fn read_until(&mut self, wanted: u8) {
        loop {
            let mut head = [0; 5];
            self.0.read_exact(&mut head).unwrap();
            let length = u32::from_be_bytes(head[1..].try_into().unwrap());
            let mut body = vec![0; length as usize - 4];
            self.0.read_exact(&mut body).unwrap();
            assert_ne!(head[0], b'E', "{}", String::from_utf8_lossy(&body));
            if head[0] == wanted {
                return;
            }
        }
    }
}

#[tokio::test]
async fn taken_slots_are_counted_until_nobody_gets_in() {
    let settings = [
        ("max_connections", "12"),
        ("superuser_reserved_connections", "3"),
    ];
    let cluster = Cluster::start(&Setup {
        settings: &settings,
        ..Setup::default()
    })
    .await;
    let usable: usize = 9;
    let mut watch = Watch::start(&cluster).await;
    watch.silent("connections").await;
    watch.silent("reserved-connections").await;

    let mut held = Vec::new();
    for _ in 0..usable - 2 {
        held.push(cluster.connect("postgres").await);
    }
    only_these(&held).await;
    watch.found("connections", Level::Warning, "").await;
    held.push(cluster.connect("postgres").await);
    only_these(&held).await;
    let finding = watch.found("connections", Level::Critical, "").await;
    let holders = ("sessions of postgres (testbed)".to_owned(), "8".to_owned());
    assert!(finding.evidence.contains(&holders), "{finding:#?}");
    only_these(&held).await;
    watch
        .found("reserved-connections", Level::Warning, "")
        .await;

    only_these(&held).await;
    for _ in usable - 1..12 {
        held.push(cluster.connect("postgres").await);
    }
    let finding = watch.found("connection", Level::Critical, "").await;
    assert!(
        finding.title.contains("no free connection slot"),
        "{finding:#?}"
    );
    assert_eq!(watch.verdict("connections").await.level, Level::Unknown);

    held.clear();
    until("Pawang is let in again", async || {
        watch.verdict("connection").await.level == Level::Ok
    })
    .await;
    sessions(&cluster, 0).await;
    watch.silent("connections").await;
    watch.silent("reserved-connections").await;

    watch.look(&["connection-growth"]).await;
    for _ in 0..8 {
        held.push(cluster.connect("postgres").await);
    }
    let verdict = strict(&mut watch, "connection-growth", 80.0).await;
    assert_eq!(verdict.level, Level::Warning, "{verdict:#?}");
    watch.silent("connection-growth").await;
}

#[tokio::test]
async fn roles_and_databases_have_limits_of_their_own() {
    let cluster = Cluster::start(&Setup::default()).await;
    cluster
        .sql("postgres", "CREATE ROLE \"App\" LOGIN CONNECTION LIMIT 2")
        .await;
    cluster.sql("postgres", "CREATE DATABASE \"Small\"").await;
    cluster
        .sql("postgres", "ALTER DATABASE \"Small\" CONNECTION LIMIT 5")
        .await;
    let mut watch = Watch::start(&cluster).await;
    let target =
        Target::parse(&cluster.url_as("App", "postgres"), &Environment::default()).unwrap();
    let first = Session::connect(&target, "test").await.unwrap();
    watch.silent("role-connections").await;
    watch.silent("database-connections").await;

    let second = Session::connect(&target, "test").await.unwrap();
    let finding = watch
        .found("role-connections", Level::Critical, "App")
        .await;
    assert!(
        finding
            .remedy
            .contains("ALTER ROLE \"App\" CONNECTION LIMIT")
    );
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(cluster.connect("Small").await);
    }
    watch
        .found("database-connections", Level::Warning, "Small")
        .await;

    drop((first, second, held));
    sessions(&cluster, 0).await;
    watch.silent("role-connections").await;
    watch.silent("database-connections").await;
}

#[tokio::test]
async fn idle_transactions_are_named_and_hidden_ones_are_never_ok() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&cluster).await;
        watch.silent("idle-in-transaction").await;
        let client = cluster.hold("postgres", "SELECT 'secret', 4711").await;
        let pid = client
            .query_one("SELECT pg_backend_pid()", &[])
            .await
            .unwrap();
        let pid = format!("pid {}", pid.get::<_, i32>(0));
        watch.silent("idle-in-transaction").await;
        let verdict = strict(&mut watch, "idle-in-transaction", 0.0).await;
        assert_eq!(verdict.level, Level::Warning);
        let finding = &verdict.findings[0];
        assert_eq!(finding.object, pid);
        assert!(finding.remedy.contains("pg_terminate_backend"));
        assert!(!format!("{finding:?}").contains("secret"), "{finding:#?}");
        let count = strict(&mut watch, "idle-in-transaction-count", 1.0).await;
        assert_eq!(count.level, Level::Warning);
        assert_eq!(
            strict(&mut watch, "session-age", 0.0).await.level,
            Level::Warning
        );

        cluster.sql("postgres", "CREATE ROLE plain LOGIN").await;
        let mut plain = Watch::over(&cluster.url_as("plain", "postgres"));
        for id in [
            "idle-in-transaction",
            "connections",
            "oldest-query",
            "role-connections",
        ] {
            let verdict = plain.verdict(id).await;
            assert_eq!(verdict.outcome, Outcome::Unknown, "{verdict:#?}");
            let Some(Blind::NoPrivilege { grant, .. }) = &verdict.findings[0].blind else {
                panic!("{verdict:#?}");
            };
            assert_eq!(grant, "GRANT pg_monitor TO \"plain\";");
        }
        client.batch_execute("COMMIT").await.unwrap();
        let verdict = strict(&mut watch, "idle-in-transaction", 0.0).await;
        assert_eq!(verdict.level, Level::Ok, "{verdict:#?}");

        client
            .batch_execute("SET track_activities = off")
            .await
            .unwrap();
        let verdict = watch.verdict("idle-in-transaction").await;
        assert_eq!(verdict.level, Level::Unknown, "{verdict:#?}");
    }
}

#[tokio::test]
async fn idle_sessions_and_slow_clients_hold_what_others_need() {
    let cluster = Cluster::start(&Setup {
        settings: &[("max_connections", "13")],
        ..Setup::default()
    })
    .await;
    let mut watch = Watch::start(&cluster).await;
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(cluster.connect("postgres").await);
    }
    watch.silent("idle-connections").await;
    let verdict = strict(&mut watch, "idle-connections", 50.0).await;
    assert_eq!(verdict.level, Level::Warning, "{verdict:#?}");

    cluster.sql("postgres", "CREATE TABLE t (a int)").await;
    let mut raw = Raw::connect(&cluster);
    let verdict = strict(&mut watch, "slow-clients", 0.0).await;
    assert_eq!(verdict.level, Level::Ok, "{verdict:#?}");
    raw.query("COPY t FROM STDIN");
    raw.read_until(b'G');
    watch.silent("slow-clients").await;
    let verdict = strict(&mut watch, "slow-clients", 0.0).await;
    assert_eq!(verdict.level, Level::Warning, "{verdict:#?}");

    drop((raw, held));
    sessions(&cluster, 0).await;
    for id in ["idle-connections", "slow-clients"] {
        let verdict = strict(&mut watch, id, 1.0).await;
        assert_eq!(verdict.level, Level::Ok, "{verdict:#?}");
    }
}

#[tokio::test]
async fn sessions_that_end_in_other_ways_are_told_apart() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        let mut watch = Watch::start(&cluster).await;
        let ids = ["sessions-abandoned", "sessions-fatal", "sessions-killed"];
        counting(&cluster).await;
        watch.look(&ids).await;
        for id in ids {
            let older = watch.older.clone();
            watch.silent(id).await;
            watch.older = older;
        }
        let before = watch.older.clone();
        // One session asks each time: each of its own would be counted too, and make the share smaller the longer it takes.
        let total = async |asker: &Client, column: &str| -> i64 {
            let sql = format!("SELECT {column} FROM pg_stat_database WHERE datname = 'postgres'");
            asker.query_one(&sql, &[]).await.unwrap().get(0)
        };

        let asker = cluster.connect("postgres").await;
        (0..12).for_each(|_| drop(Raw::connect(&cluster)));
        until("the lost clients are counted", async || {
            total(&asker, "sessions_abandoned").await >= 12
        })
        .await;
        let verdict = watch.verdict("sessions-abandoned").await;
        assert!(verdict.level >= Level::Warning, "{verdict:#?}");
        assert_eq!(verdict.findings[0].object, "postgres");
        watch.silent("sessions-abandoned").await;

        watch.older.clone_from(&before);
        for _ in 0..12 {
            let mut raw = Raw::connect(&cluster);
            raw.query("SET idle_session_timeout = 1");
            raw.read_to_end();
        }
        until("the timed-out sessions are counted", async || {
            total(&asker, "sessions_fatal").await >= 10
        })
        .await;
        let verdict = watch.verdict("sessions-fatal").await;
        assert!(verdict.level >= Level::Warning, "{verdict:#?}");
        assert_eq!(verdict.findings[0].object, "postgres");

        drop(asker);
        watch.older.clone_from(&before);
        let victim = cluster.connect("postgres").await;
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'testbed' \
                   AND pid <> pg_backend_pid()";
        cluster.sql("postgres", end).await;
        let asker = cluster.connect("postgres").await;
        until("the killed session is counted", async || {
            total(&asker, "sessions_killed").await >= 1
        })
        .await;
        watch
            .found("sessions-killed", Level::Warning, "postgres")
            .await;
        watch.silent("sessions-killed").await;
        drop(victim);

        let verdict = strict(&mut watch, "connection-rate", 0.0).await;
        assert_eq!(verdict.level, Level::Warning, "{verdict:#?}");
    }
}

#[tokio::test]
async fn clear_text_from_other_machines_is_found() {
    // The address that this machine would send from; nothing is sent.
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let address = probe
        .connect("192.0.2.1:9")
        .and_then(|()| probe.local_addr());
    let settings = [("listen_addresses", "*")];
    let cluster = Cluster::start(&Setup {
        settings: &settings,
        hba: Some("host all all all trust\nlocal all all trust"),
        tcp: true,
        ..Setup::default()
    })
    .await;
    let mut watch = Watch::start(&cluster).await;
    let near = TcpStream::connect(("127.0.0.1", cluster.port())).unwrap();
    let near = Raw::over(near);
    watch.silent("unencrypted-clients").await;
    // A machine without a network has nobody to be found.
    if let Some(address) = address.ok().filter(|address| !address.ip().is_loopback()) {
        let far = TcpStream::connect((address.ip(), cluster.port())).unwrap();
        let far = Raw::over(far);
        watch
            .found("unencrypted-clients", Level::Warning, "postgres@")
            .await;
        drop(far);
        until("the remote session has left", async || {
            watch.verdict("unencrypted-clients").await.level == Level::Ok
        })
        .await;
    }
    drop(near);
}
