//! Everything from and to a bucket: set up, archived, streamed, backed up, verified, drilled, restored, expired; with faults.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pawang_testbed::{Bucket, Cluster, Fault, Rule, Setup, until, versions};
use serde_json::json;

use crate::program::{Desk, Screen, instance};
use crate::serve_daemon::Daemon;

const PAWANG: &str = env!("CARGO_BIN_EXE_pawang");
const PLACE: &str = "s3://backups/dwh/pawang";

/// A server that archives into a bucket, and what tells how that is reached.
struct Away {
    bucket: Bucket,
    cluster: Cluster,
    desk: Desk,
    config: String,
}

impl Away {
    async fn new() -> Away {
        let bucket = Bucket::start().await;
        let cluster = Cluster::start(&Setup {
            version: Some(versions()[0]),
            settings: &[("archive_mode", "on")],
            ..Setup::default()
        })
        .await;
        let desk = Desk::new();
        // The server's user reads it too, for WAL.
        let folder = cluster.folder("etc");
        put(&folder.join("secret"), Bucket::SECRET_KEY);
        let text = format!(
            "state_directory = \"{}\"\n{}[[repository]]\nname = \"away\"\nplace = \"{PLACE}\"\nendpoint = \"{}\"\n\
             access_key = \"{}\"\nsecret_key_file = \"secret\"\nallow_http = true\n",
            desk.path("state").display(),
            instance("dwh-1", &cluster.url("postgres")),
            bucket.endpoint(),
            Bucket::ACCESS_KEY
        );
        let file = folder.join("pawang.toml");
        put(&file, &text);
        let config = file.display().to_string();
        let push = format!("{PAWANG} wal push %p --config {config} --repository away");
        let away = Away {
            bucket,
            cluster,
            desk,
            config,
        };
        let words = [
            "backup",
            "setup",
            "--repo",
            PLACE,
            "--name",
            "away",
            "--no-backup",
        ];
        good(&away.pawang(&words).await);
        away.cluster.set("archive_command", Some(&push)).await;
        away.write("CREATE TABLE fact (number int, pad text)").await;
        away
    }

    /// Runs `pawang` while the store and the server go on.
    async fn pawang(&self, words: &[&str]) -> Screen {
        let words = [words, &["--config", &self.config]].concat();
        let running = self.desk.start(&words);
        tokio::task::spawn_blocking(move || running.screen())
            .await
            .unwrap()
    }

    async fn write(&self, sql: &str) {
        self.cluster.sql("postgres", sql).await;
    }

    /// Commits a row and waits until its segment is in the bucket.
    async fn archived_row(&self, number: i32) {
        let insert = format!("INSERT INTO fact VALUES ({number}, repeat('x', 1000))");
        self.write(&insert).await;
        let switched = "SELECT pg_walfile_name(pg_switch_wal())";
        let name = self.cluster.sql("postgres", switched).await[0][0].clone();
        let name = format!("{}.zst", name.unwrap());
        until("the segment is in the bucket", async || {
            self.bucket.objects().iter().any(|key| key.ends_with(&name))
        })
        .await;
    }

    fn fail(&self, method: &'static str, contains: &'static str, times: usize, fault: Fault) {
        self.bucket.fail(Rule {
            method,
            contains,
            after: 0,
            times,
            fault,
        });
    }

    /// Things go wrong that pass.
    fn trouble(&self) {
        for fault in [
            Fault::Refuse(503, "SlowDown"),
            Fault::Refuse(500, "InternalError"),
            Fault::Close,
        ] {
            for method in ["GET", "PUT", "HEAD"] {
                self.fail(method, "", 1, fault);
            }
        }
        self.fail("GET", "part-", 2, Fault::Cut(100_000));
        self.fail("GET", "/wal/", 2, Fault::Cut(1000));
    }

    async fn drill(&self, more: &[&str]) -> Screen {
        let scratch = self.cluster.socket_directory().display().to_string();
        let bin = self.cluster.bin_directory().display().to_string();
        let words = ["drill", "run", "--scratch", &scratch, "--bindir", &bin];
        self.pawang(&[&words, more].concat()).await
    }
}

/// Writes a file that everybody may read.
fn put(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
}

fn good(screen: &Screen) {
    assert_eq!(screen.code, 0, "{screen:?}");
    assert!(!screen.stderr.contains("panicked"), "{screen:?}");
}

#[tokio::test]
async fn a_cluster_goes_to_a_bucket_and_comes_back() {
    let away = Away::new().await;
    away.archived_row(1).await;
    away.trouble();
    good(&away.pawang(&["backup", "create", "-i", "dwh-1"]).await);
    away.archived_row(2).await;
    away.archived_row(3).await;
    good(&away.pawang(&["backup", "verify", "latest"]).await);
    good(
        &away
            .pawang(&["wal", "status", "--repository", "away"])
            .await,
    );

    away.trouble();
    let probe = "SELECT count(*) = 3 FROM public.fact";
    let drilled = away
        .drill(&["--to", "latest", "--probe", probe, "--json"])
        .await;
    good(&drilled);
    assert_eq!(
        drilled.data("pawang.drill.run/1")["proof"]["problems"],
        json!([])
    );
    let listed = away.pawang(&["backup", "list", "--json"]).await;
    assert!(listed.stdout.contains("\"proven\""), "{listed:?}");
    // By its place, too: the entry says how it is reached.
    let by_place = away
        .drill(&["--repository", PLACE, "--to", "latest", "--probe", probe])
        .await;
    good(&by_place);

    // What a receiver has of the growing segment is restored as well.
    let words = [
        "wal",
        "stream",
        "-i",
        "dwh-1",
        "--every",
        "1",
        "--config",
        &away.config,
    ];
    let mut stream = away.desk.start_into(&words, "out", "talk");
    until("it streams", async || {
        away.desk.read("talk").contains("streaming from")
    })
    .await;
    away.write("INSERT INTO fact VALUES (4, 'live')").await;
    let confirmed = "SELECT coalesce(bool_or(flush_lsn >= pg_current_wal_flush_lsn()), false)::text FROM pg_stat_replication";
    until("all is confirmed", async || {
        away.cluster.sql("postgres", confirmed).await[0][0].as_deref() == Some("true")
    })
    .await;
    stream.signal("TERM");
    let stream = tokio::task::spawn_blocking(move || stream.screen()).await;
    assert_eq!(stream.unwrap().code, 0, "{}", away.desk.read("talk"));
    let into = away.cluster.socket_directory().join("restored");
    let directory = into.display().to_string();
    let words = [
        "restore", "-i", "dwh-1", "--into", &directory, "--action", "promote",
    ];
    away.trouble();
    good(&away.pawang(&words).await);
    away.bucket.heal();
    let restored = away.cluster.start_from(&into, &[]).await;
    let open = "SELECT count(*) FROM fact WHERE NOT pg_is_in_recovery()";
    until("it is promoted with all rows", async || {
        restored.sql("postgres", open).await[0][0].as_deref() == Some("4")
    })
    .await;
}

#[tokio::test]
async fn an_outage_in_the_middle_of_replay_opens_no_shorter_database() {
    let away = Away::new().await;
    good(&away.pawang(&["backup", "create", "-i", "dwh-1"]).await);
    for number in 1..=6 {
        away.archived_row(number).await;
    }
    // Parts come; WAL behind the backup does not, for longer than anybody is patient.
    away.bucket.fail(Rule {
        method: "GET",
        contains: "/wal/0",
        after: 8,
        times: usize::MAX,
        fault: Fault::Refuse(403, "AccessDenied"),
    });
    let words = [
        "--to",
        "latest",
        "--probe",
        "SELECT count(*) = 6 FROM public.fact",
    ];
    let screen = away.drill(&words).await;
    assert_ne!(screen.code, 0, "{screen:?}");
    assert!(!screen.stdout.contains("open after"), "{screen:?}");
    away.bucket.heal();
    good(&away.drill(&words).await);
    // Without its secret nothing is there, and that is said.
    put(&Path::new(&away.config).with_file_name("secret"), "guessed");
    let denied = away.drill(&words).await;
    denied.is_clear_error(3, &["does not belong to the access key"]);
}

#[tokio::test]
async fn the_daemon_looks_into_a_bucket() {
    let away = Away::new().await;
    good(&away.pawang(&["backup", "create", "-i", "dwh-1"]).await);
    let daemon = Daemon::start_with(&away.desk, &["--config", &away.config], &[]).await;
    until("the backup is counted", async || {
        assert!(daemon.lives(), "{}", daemon.log());
        let metrics = daemon.ask("GET", "/metrics", "", "").await;
        metrics.contains("pawang_backups{server=\"dwh-1\",repository=\"away\"} 1")
    })
    .await;
    let page = daemon.ask("GET", "/instances/dwh-1/backups", "", "").await;
    for part in ["Repository away", PLACE, "What could be restored"] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await, 0);
    let checked = away.pawang(&["check", "backup-age", "wal-gap"]).await;
    good(&checked);
}
