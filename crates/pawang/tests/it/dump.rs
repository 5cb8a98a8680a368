//! `pawang dump`: taken, listed, read again, restored into new databases only.
#![expect(
    clippy::disallowed_methods,
    reason = "a dump is read by stock tools, as a person would"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use jiff::Timestamp;
use pawang_backup::repository::Identity;
use pawang_testbed::{Cluster, Setup, Version, until, versions};

use crate::program::{Desk, Screen, instance};

/// Client programs come with this one here.
const VERSION: Version = Version(15);

async fn world() -> Option<(Cluster, Desk, PathBuf)> {
    if !versions().contains(&VERSION) {
        return None;
    }
    let cluster = Cluster::start(&Setup {
        version: Some(VERSION),
        ..Setup::default()
    })
    .await;
    for (database, sql) in [
        ("postgres", "CREATE ROLE \"Pemilik\" PASSWORD 'rahasia'"),
        (
            "postgres",
            "CREATE DATABASE \"Toko Susu\" TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
        ),
        (
            "Toko Susu",
            "CREATE TABLE susu AS SELECT n AS id, md5(n::text) AS isi FROM generate_series(1, 5000) AS n",
        ),
        ("Toko Susu", "ALTER TABLE susu OWNER TO \"Pemilik\""),
    ] {
        cluster.sql(database, sql).await;
    }
    let desk = Desk::new();
    let place = desk.path("repository");
    let text = place.display().to_string();
    let repository = format!(
        "[[repository]]\nname = \"here\"\nplace = \"{text}\"\n[backup]\nretention = {{ fulls = 1, window = \"1 s\", grace = \"0 s\" }}\n"
    );
    let file = repository + &instance("toko", &cluster.url("postgres"));
    desk.write("pawang.toml", &file);
    let settings = pawang_backup::repository::RepositorySettings::default();
    let at = "2026-11-22T08:00:00Z".parse().unwrap();
    let set_up = pawang_backup::Repository::setup(&text, &settings, at, [7; 10]);
    set_up.await.unwrap();
    Some((cluster, desk, place))
}

async fn pawang(desk: &Desk, words: &[&str]) -> Screen {
    let running = desk.start(words);
    let screen = tokio::task::spawn_blocking(move || running.screen());
    screen.await.unwrap()
}

fn objects(folder: &std::path::Path, holds: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(objects(&path, holds));
        } else if path.to_str().unwrap().contains(holds) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A role that lacks something is told what, and what it may do without that.
async fn rights(cluster: &Cluster, desk: &Desk) {
    cluster
        .sql("postgres", "CREATE ROLE sempit LOGIN IN ROLE pg_monitor")
        .await;
    let whole = desk.read("pawang.toml");
    let narrow = whole.replace(
        &cluster.url("postgres"),
        &cluster.url_as("sempit", "postgres"),
    );
    desk.write("narrow.toml", &narrow);
    let narrow = |words: &[&'static str]| [&["--config", "narrow.toml"][..], words].concat();
    let words = narrow(&["dump", "create", "-i", "toko"]);
    pawang(desk, &words).await.is_clear_error(
        3,
        &["pg_dump", "hint: GRANT pg_read_all_data TO \"sempit\";"],
    );
    let mut words = narrow(&restore_into("milik"));
    pawang(desk, &words).await.is_clear_error(
        3,
        &[
            "may not make a database",
            "hint: ALTER ROLE \"sempit\" CREATEDB;",
        ],
    );
    cluster.sql("postgres", "ALTER ROLE sempit CREATEDB").await;
    let owners = pawang(desk, &words).await;
    owners.is_clear_error(3, &["pg_restore", "hint: ", "--no-owner"]);
    words.push("--no-owner");
    let screen = pawang(desk, &words).await;
    assert_eq!(screen.code, 0, "{screen:?}");
    assert!(
        screen.stderr.contains("which is there and empty"),
        "{screen:?}"
    );
}

#[tokio::test]
async fn a_dump_comes_back_in_a_new_database_and_never_over_another() {
    let Some((cluster, desk, place)) = world().await else {
        eprintln!("not run: PostgreSQL 15 is not installed");
        return;
    };
    let screen = pawang(&desk, &["dump", "create", "-i", "toko"]).await;
    assert_eq!(screen.code, 0, "{screen:?}");
    assert!(screen.stdout.contains("2 databases"), "{screen:?}");
    let listed = pawang(&desk, &["dump", "list", "--json"]).await;
    let dump = listed.data("pawang.dump.list/1")[0].clone();
    assert_eq!(dump["passwords"], true);
    assert_eq!(dump["databases"][0]["database"], "Toko Susu");
    let verified = pawang(&desk, &["dump", "verify"]).await;
    assert_eq!(verified.code, 0, "{verified:?}");
    let restore = |into: &'static str| {
        [
            "dump",
            "restore",
            "latest",
            "--database",
            "Toko Susu",
            "--into",
            into,
            "--yes",
        ]
    };
    let screen = pawang(&desk, &restore("Toko Baru")).await;
    assert_eq!(screen.code, 0, "{screen:?}");
    let count = "SELECT count(*)::text || ' ' || tableowner FROM susu, pg_tables WHERE tablename = 'susu' GROUP BY tableowner";
    let found = cluster.sql("Toko Baru", count).await;
    assert_eq!(found[0][0].as_deref(), Some("5000 Pemilik"));
    let collate = "SELECT datcollate FROM pg_database WHERE datname = 'Toko Baru'";
    assert_eq!(
        cluster.sql("postgres", collate).await[0][0].as_deref(),
        Some("C")
    );
    // What has something in it is not touched; what is empty is filled.
    for into in ["Toko Baru", "Toko Susu"] {
        let screen = pawang(&desk, &restore_into(into)).await;
        screen.is_clear_error(4, &["is not empty"]);
        assert!(!screen.stderr.contains("which is made"), "{screen:?}");
    }
    rights(&cluster, &desk).await;
    cluster.sql("postgres", "CREATE DATABASE kosong").await;
    let screen = pawang(&desk, &restore("kosong")).await;
    assert_eq!(screen.code, 0, "{screen:?}");
    // Without us: the page of the format.
    let stored = objects(&place, "00000.dump.zst");
    let shown = stored[0].display();
    let bin = cluster.bin_directory().display();
    let by_hand = format!("zstd -dc '{shown}' | {bin}/pg_restore --list | grep -q susu");
    let read = std::process::Command::new("sh")
        .args(["-c", &by_hand])
        .status();
    assert!(read.unwrap().success());
    let journal = pawang(&desk, &["journal", "list"]).await;
    assert!(journal.stdout.contains("dump.restore"), "{journal:?}");
}

#[tokio::test]
async fn a_dump_in_an_encrypted_repository_is_read_with_the_key_only() {
    let Some((cluster, desk, _)) = world().await else {
        eprintln!("not run: PostgreSQL 15 is not installed");
        return;
    };
    desk.write("pawang.toml", &instance("toko", &cluster.url("postgres")));
    let place = desk.path("sealed");
    let shown = place.display().to_string();
    let set_up = [
        "backup",
        "setup",
        "--repo",
        &shown,
        "--encrypt",
        "--no-backup",
    ];
    let dump = ["dump", "create", "-i", "toko"];
    for words in [
        &set_up[..],
        &dump,
        &["dump", "verify"],
        &restore_into("Toko Baru"),
    ] {
        let screen = pawang(&desk, words).await;
        assert_eq!(screen.code, 0, "{words:?}: {screen:?}");
    }
    let found = cluster
        .sql("Toko Baru", "SELECT count(*)::text FROM susu")
        .await;
    assert_eq!(found[0][0].as_deref(), Some("5000"));
    let stored = objects(&place, "/dump/");
    let (commits, data): (Vec<_>, Vec<_>) = stored
        .iter()
        .partition(|path| path.ends_with("COMMIT.json"));
    assert_eq!((commits.len(), data.len()), (1, 3), "{stored:?}");
    for path in data {
        let bytes = std::fs::read(path).unwrap();
        assert!(bytes.starts_with(b"age-encryption.org/v1\n"), "{path:?}");
    }
    let key = desk.path("main.identity");
    std::fs::rename(&key, desk.path("away")).unwrap();
    let without_key = async || {
        for words in [&["dump", "verify"][..], &restore_into("Toko Lain")] {
            let screen = pawang(&desk, words).await;
            assert_ne!(screen.code, 0, "{screen:?}");
            let told = format!("{}{}", screen.stdout, screen.stderr);
            assert!(told.contains("main.identity"), "{screen:?}");
            assert!(!told.contains("too short"), "{screen:?}");
        }
    };
    without_key().await;
    let another = Identity::generate().unwrap();
    desk.write(
        "main.identity",
        another.file_text(Timestamp::UNIX_EPOCH).reveal(),
    );
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    without_key().await;
    let made = "SELECT count(*)::text FROM pg_database WHERE datname = 'Toko Lain'";
    let made = cluster.sql("postgres", made).await;
    assert_eq!(
        made[0][0].as_deref(),
        Some("0"),
        "nothing is begun without the key"
    );
}

fn restore_into(into: &str) -> [&str; 8] {
    [
        "dump",
        "restore",
        "latest",
        "--database",
        "Toko Susu",
        "--into",
        into,
        "--yes",
    ]
}

#[tokio::test]
async fn a_dump_that_is_damaged_or_unfinished_is_told_and_old_ones_go() {
    let Some((cluster, desk, place)) = world().await else {
        eprintln!("not run: PostgreSQL 15 is not installed");
        return;
    };
    // A table that the role may not read: there is no dump then.
    cluster.sql("Toko Susu", "CREATE ROLE kecil LOGIN").await;
    let url = cluster.url_as("kecil", "postgres");
    let file = desk.read("pawang.toml") + &instance("kecil", &url);
    desk.write("pawang.toml", &file);
    let screen = pawang(&desk, &["dump", "create", "-i", "kecil"]).await;
    assert_ne!(screen.code, 0, "{screen:?}");
    assert!(objects(&place, "COMMIT.json").is_empty());
    for words in [
        ["dump", "create", "-i", "toko", "--database", "nowhere"],
        ["dump", "create", "-i", "toko", "--repository", "nowhere"],
    ] {
        pawang(&desk, &words).await.is_clear_error(2, &["nowhere"]);
    }
    for _ in 0..2 {
        let words = ["dump", "create", "-i", "toko", "--database", "Toko Susu"];
        assert_eq!(pawang(&desk, &words).await.code, 0);
    }
    let commits = objects(&place, "COMMIT.json");
    assert_eq!(commits.len(), 2);
    // One run lays a tomb, a later one deletes what has lain long enough.
    let expire = ["dump", "expire", "-i", "toko", "--yes"];
    until("what no rule keeps is marked, then deleted", async || {
        let screen = pawang(&desk, &expire).await;
        assert_eq!(screen.code, 0, "{screen:?}");
        objects(&place, "COMMIT.json") == commits[1..]
    })
    .await;
    let stored = objects(&place, "00000.dump.zst");
    assert_eq!(stored.len(), 1);
    let mut bytes = std::fs::read(&stored[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    std::fs::write(&stored[0], bytes).unwrap();
    let screen = pawang(&desk, &["dump", "verify", "-i", "toko"]).await;
    assert_eq!(screen.code, 1, "{screen:?}");
    assert!(screen.stdout.contains("is damaged"), "{screen:?}");
    let screen = pawang(
        &desk,
        &["-i", "toko"]
            .iter()
            .copied()
            .chain(restore_into("rusak"))
            .collect::<Vec<_>>(),
    )
    .await;
    assert_ne!(screen.code, 0, "{screen:?}");
    assert!(!screen.stderr.contains("panicked"), "{screen:?}");
    let rows = cluster
        .sql("rusak", "SELECT FROM pg_class WHERE relname = 'susu'")
        .await;
    assert!(rows.is_empty(), "it is one transaction");
}
