//! Everything from and to a bucket: set up, archived, streamed, backed up, verified, drilled, restored, expired; with faults.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pawang_backup::Owner;
use pawang_backup::repository::Identity;
use pawang_testbed::{Bucket, Cluster, Fault, Rule, Setup, until, versions};
use serde_json::json;

use crate::backup_world::now;
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
        Away::with(|_| String::new()).await
    }

    /// With further keys of the repository, which may name files of a folder that the server's user reads.
    async fn with(keys: impl FnOnce(&Path) -> String) -> Away {
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
             access_key = \"{}\"\nsecret_key_file = \"secret\"\nallow_http = true\n{}",
            desk.path("state").display(),
            instance("dwh-1", &cluster.url("postgres")),
            bucket.endpoint(),
            Bucket::ACCESS_KEY,
            keys(&folder)
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
            self.bucket.objects().iter().any(|key| key.contains(&name))
        })
        .await;
    }

    /// Returns the name of a segment that is whole in the bucket.
    fn newest_segment(&self) -> String {
        let mut names: Vec<String> = self
            .bucket
            .objects()
            .iter()
            .filter_map(|key| {
                key.rsplit('/')
                    .next()?
                    .strip_suffix(".zst.age")
                    .map(str::to_owned)
            })
            .filter(|name| name.len() == 24)
            .collect();
        names.sort();
        names.pop().unwrap()
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

    /// Runs a receiver until what a statement wrote is confirmed.
    async fn streams(&self, sql: &str) {
        let words = [
            "wal",
            "stream",
            "-i",
            "dwh-1",
            "--every",
            "1",
            "--config",
            &self.config,
        ];
        let mut stream = self.desk.start_into(&words, "out", "talk");
        until("it streams", async || {
            self.desk.read("talk").contains("streaming from")
        })
        .await;
        self.write(sql).await;
        let confirmed = "SELECT coalesce(bool_or(flush_lsn >= pg_current_wal_flush_lsn()), false)::text FROM pg_stat_replication";
        until("all is confirmed", async || {
            self.cluster.sql("postgres", confirmed).await[0][0].as_deref() == Some("true")
        })
        .await;
        stream.signal("TERM");
        let stream = tokio::task::spawn_blocking(move || stream.screen()).await;
        assert_eq!(stream.unwrap().code, 0, "{}", self.desk.read("talk"));
    }

    /// Restores all that there is, and returns how many rows the server has that comes of it.
    async fn restored(&self, name: &str) -> String {
        let into = self.cluster.socket_directory().join(name);
        let directory = into.display().to_string();
        let words = [
            "restore", "-i", "dwh-1", "--into", &directory, "--action", "promote",
        ];
        good(&self.pawang(&words).await);
        self.bucket.heal();
        let restored = self.cluster.start_from(&into, &[]).await;
        let open = "SELECT (NOT pg_is_in_recovery())::text";
        until("it is promoted", async || {
            restored.sql("postgres", open).await[0][0].as_deref() == Some("true")
        })
        .await;
        let count = restored.sql("postgres", "SELECT count(*) FROM fact").await;
        count[0][0].clone().unwrap()
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
    away.streams("INSERT INTO fact VALUES (4, 'live')").await;
    away.trouble();
    assert_eq!(away.restored("restored").await, "4");
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

/// What nobody may read in the bucket.
const SECRET_TEXT: &str = "nomor rekening 4711-0815";
const ONLY_IN_WAL: &str = "saldo akhir 99.999.999";

/// Writes a new secret key that the server's user alone may read, and returns its recipient.
fn identity(folder: &Path, name: &str) -> String {
    let identity = Identity::generate().unwrap();
    let path = folder.join(name);
    std::fs::write(&path, identity.file_text(now()).reveal()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    if let Some(owner) = Owner::of(folder) {
        owner.give(&path).unwrap();
    }
    identity.recipient().to_string()
}

/// Asserts that no object shows rows, as it is or unpacked; what is not sealed says only where things are.
fn nothing_is_readable(bucket: &Bucket) {
    let mut sealed = 0;
    for key in bucket.objects() {
        let bytes = bucket.bytes(&key);
        let unpacked = zstd::decode_all(bytes.as_slice()).unwrap_or_default();
        for text in [SECRET_TEXT, ONLY_IN_WAL] {
            let found = |bytes: &[u8]| bytes.windows(text.len()).any(|it| it == text.as_bytes());
            assert!(
                !found(&bytes) && !found(&unpacked),
                "\"{text}\" is in {key}"
            );
        }
        if key.ends_with(".age") {
            assert!(bytes.starts_with(b"age-encryption.org/v1\n"), "{key}");
            sealed += 1;
        } else {
            let clear = [".json", "README.md", ".history"];
            assert!(clear.iter().any(|end| key.ends_with(end)), "{key} is clear");
        }
    }
    assert!(
        sealed > 5,
        "parts, a manifest and WAL: {:?}",
        bucket.objects()
    );
}

#[tokio::test]
async fn an_encrypted_cluster_goes_to_a_bucket_and_only_its_key_brings_it_back() {
    let away = Away::with(|folder| {
        let recipient = identity(folder, "main.identity");
        identity(folder, "other.identity");
        format!(
            "encryption = \"age\"\nrecipients = [\"{recipient}\"]\nidentity_file = \"main.identity\"\n"
        )
    })
    .await;
    let row = |number: u32, text: &str| format!("INSERT INTO fact VALUES ({number}, '{text}')");
    away.write(&row(1, SECRET_TEXT)).await;
    away.write("CHECKPOINT").await;
    away.trouble();
    good(&away.pawang(&["backup", "create", "-i", "dwh-1"]).await);
    away.write(&row(2, ONLY_IN_WAL)).await;
    away.archived_row(3).await;
    away.streams(&row(4, ONLY_IN_WAL)).await;
    nothing_is_readable(&away.bucket);
    away.bucket.heal();
    good(&away.pawang(&["backup", "verify", "latest"]).await);
    let probe = format!(
        "SELECT count(*) = 4 AND bool_or(pad = '{SECRET_TEXT}') AND bool_or(pad = '{ONLY_IN_WAL}') FROM public.fact"
    );
    let drill = ["--to", "latest", "--probe", &probe];
    good(&away.drill(&drill).await);
    assert_eq!(away.restored("restored").await, "4");

    // Another key, and none: backups go on, and nothing comes back, least of all a shorter database.
    let with_key = std::fs::read_to_string(&away.config).unwrap();
    let line = "identity_file = \"main.identity\"\n";
    for (there, told) in [
        ("identity_file = \"other.identity\"\n", "sealed for age1"),
        ("", "identity_file"),
    ] {
        put(Path::new(&away.config), &with_key.replace(line, there));
        good(
            &away
                .pawang(&["backup", "create", "-i", "dwh-1", "--type", "full"])
                .await,
        );
        good(
            &away
                .pawang(&["backup", "verify", "latest", "--bytes-only"])
                .await,
        );
        away.drill(&drill)
            .await
            .is_clear_error(3, &["sealed", told]);
        let into = away.cluster.socket_directory().join("not");
        let directory = into.display().to_string();
        let words = ["restore", "-i", "dwh-1", "--into", &directory];
        away.pawang(&words)
            .await
            .is_clear_error(3, &["sealed", told]);
        assert!(!into.exists(), "nothing was touched");
        let segment = away.newest_segment();
        let data = away.cluster.data_directory().display().to_string();
        let got = away.desk.path("got").display().to_string();
        let get = ["wal", "get", &segment, &got, "--data-directory", &data];
        let words = [&get[..], &["--repository", "away", "--retry", "0"]].concat();
        let screen = away.pawang(&words).await;
        assert_eq!(screen.code, 200, "{screen:?}");
        assert!(!Path::new(&got).exists());
    }
    nothing_is_readable(&away.bucket);
    put(Path::new(&away.config), &with_key);
    good(&away.drill(&drill).await);
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
