//! `pawang drill run --repository pgbackrest` and `barman`: what those tools keep, restored by themselves, with faults.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pawang_testbed::{Cluster, Setup, Stop, Version, barman_installed, until, versions};

use crate::program::{Desk, Screen, instance};
use crate::wal::{copy, files, pgbackrest};

/// The version that these tools of Debian know.
const VERSION: Version = Version(15);

/// A server with a tool that archives its WAL; the tool runs as the user of the server.
struct World {
    cluster: Cluster,
    desk: Desk,
}

impl World {
    async fn new() -> World {
        let cluster = Cluster::start(&Setup {
            version: Some(VERSION),
            settings: &[("archive_mode", "on"), ("wal_level", "replica")],
            wal_segment_mb: Some(1),
            ..Setup::default()
        })
        .await;
        let table = "CREATE TABLE ledger AS SELECT generate_series(1, 1000) AS row";
        cluster.sql("postgres", table).await;
        World {
            cluster,
            desk: Desk::new(),
        }
    }

    /// Runs a command of the tool as the server's user.
    async fn tool(&self, command: &str) {
        let sql = format!("COPY (SELECT 1) TO PROGRAM '{command}'");
        self.cluster.sql("postgres", &sql).await;
    }

    /// Writes a row and archives it.
    async fn archived_row(&self, row: u32) {
        let insert = format!("INSERT INTO ledger VALUES ({row})");
        self.cluster.sql("postgres", &insert).await;
        let switch = "SELECT pg_walfile_name(pg_switch_wal())";
        let name = self.cluster.sql("postgres", switch).await[0][0].clone();
        let name = name.unwrap();
        let last = "SELECT coalesce(max(last_archived_wal), '') FROM pg_stat_archiver";
        until("the segment is archived", async || {
            let last = self.cluster.sql("postgres", last).await[0][0].clone();
            last.unwrap()
                .get(..24)
                .is_some_and(|last| last >= name.as_str())
        })
        .await;
    }

    async fn drill(&self, tool: &str, config: &Path, more: &[&str]) -> Screen {
        let scratch = self.cluster.socket_directory().display().to_string();
        let config = config.display().to_string();
        let words = [
            "drill",
            "run",
            "--repository",
            tool,
            "--scratch",
            &scratch,
            "--tool-config",
            &config,
        ];
        let words: Vec<&str> = words.iter().chain(more).copied().collect();
        let running = self.desk.start(&words);
        let screen = tokio::task::spawn_blocking(move || running.screen());
        screen.await.unwrap()
    }

    /// Takes a backup by a script of one's own; returns the folder of WAL, and that of the backup.
    async fn own_backup(&self) -> (PathBuf, PathBuf) {
        let folder = self.cluster.folder("own");
        let (archive, base) = (self.cluster.folder("own/archive"), folder.join("base"));
        let push = format!("cp %p {}/%f", archive.display());
        self.cluster.set("archive_command", Some(&push)).await;
        self.tool(&format!(
            "{}/pg_basebackup -h {} -p {} -U postgres -X none -c fast -D {} >/dev/null 2>&1",
            self.cluster.bin_directory().display(),
            self.cluster.socket_directory().display(),
            self.cluster.port(),
            base.display()
        ))
        .await;
        (archive, base)
    }

    /// What the check says of the server by the drills that are known.
    fn judged(&self) -> Screen {
        let url = self.cluster.url("postgres");
        self.desk.write("pawang.toml", &instance("one", &url));
        self.desk.pawang(&["check", "drill-age", "-i", "one"])
    }

    async fn history(&self, tool: &str) -> Vec<bool> {
        let words = ["drill", "history", "--repository", tool, "--json"];
        let data = self
            .desk
            .pawang(&words)
            .data("pawang.drill.other-history/1");
        let drills = data["drills"].as_array().unwrap().clone();
        let good = |drill: &serde_json::Value| drill["problems"].as_array().unwrap().is_empty();
        drills.iter().map(good).collect()
    }

    fn is_clean(&self) -> bool {
        let entries = fs::read_dir(self.cluster.socket_directory()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        !names
            .into_iter()
            .any(|name| name.to_string_lossy().starts_with("pawang-"))
    }
}

fn counts(rows: u32) -> String {
    format!("SELECT count(*) = {rows} FROM public.ledger")
}

/// Flips a bit in the middle of a file.
fn flip(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    fs::write(file, bytes).unwrap();
}

fn larger(all: Vec<PathBuf>, holds: &str) -> PathBuf {
    // A link to the newest backup, which nobody restores from.
    let linked = |path: &str| path.contains("/latest/");
    let named = |path: &PathBuf| {
        let path = path.to_str().unwrap();
        path.contains(holds) && !linked(path)
    };
    let size = |path: &PathBuf| fs::metadata(path).unwrap().len();
    all.into_iter().filter(named).max_by_key(size).unwrap()
}

#[tokio::test]
async fn a_repository_of_pgbackrest_is_proven_or_says_in_which_phase_it_failed() {
    if !pawang_testbed::pgbackrest_installed() || !versions().contains(&VERSION) {
        eprintln!("not run: pgBackRest or PostgreSQL 15 is not installed");
        return;
    }
    let mut world = World::new().await;
    let repository = world.cluster.folder("backrest/repository");
    let tool = pgbackrest(&world.cluster, &repository);
    world.tool(&format!("{tool} stanza-create")).await;
    let push = format!("{tool} archive-push %p");
    world.cluster.set("archive_command", Some(&push)).await;
    world
        .tool(&format!("{tool} --start-fast backup >/dev/null"))
        .await;
    world.archived_row(1001).await;
    let at = world.cluster.sql("postgres", "SELECT now()::text").await[0][0].clone();
    world.archived_row(1002).await;
    world.archived_row(1003).await;
    let config = |repository: &Path| repository.with_extension("conf");
    let good = config(&repository);
    let screen = world
        .drill("pgbackrest", &good, &["--probe", &counts(1003), "--json"])
        .await;
    assert_eq!(screen.code, 0, "{screen:?}");
    let data = screen.data("pawang.drill.other/1");
    assert_eq!(data["proof"]["set"], "main");
    assert_eq!(data["findings"]["amcheck"], true);
    assert!(data["proof"]["rto_milliseconds"].as_u64().unwrap() > 0);
    assert!(data["proof"]["rpo_milliseconds"].as_u64().is_some());
    let time = format!("{}:00", at.unwrap()).replace(' ', "T");
    let screen = world
        .drill(
            "pgbackrest",
            &good,
            &["--to", &time, "--probe", &counts(1001)],
        )
        .await;
    assert_eq!(screen.code, 0, "{screen:?}");
    assert!(screen.stdout.starts_with("proven     backup"), "{screen:?}");
    // What is wrong is a problem with its phase, and what cannot be tried at all is an error.
    world.cluster.stop(Stop::Fast).await;
    for (fault, phase) in [("bundle", "unpack: "), ("segment", "replay: ")] {
        let faulty = world.cluster.folder(&format!("backrest/{fault}"));
        copy(&repository, &faulty);
        pgbackrest(&world.cluster, &faulty);
        if fault == "bundle" {
            flip(&larger(files(&faulty), "/base/"));
        } else {
            let mut segments = files(&faulty.join("archive/main"));
            segments.retain(|path| path.extension().is_some_and(|it| it == "gz"));
            flip(&segments[segments.len() - 2]);
        }
        let screen = world.drill("pgbackrest", &config(&faulty), &[]).await;
        assert_eq!(screen.code, 1, "{fault}: {screen:?}");
        assert!(screen.stdout.contains("NOT PROVEN"), "{screen:?}");
        assert!(screen.stdout.contains(phase), "{phase}: {screen:?}");
        assert!(world.is_clean());
    }
    assert_eq!(
        world.history("pgbackrest").await,
        [true, true, false, false]
    );
    told_and_refused(&mut world, &good).await;
}

/// What the check says of drills, and what cannot be drilled.
async fn told_and_refused(world: &mut World, good: &Path) {
    world.cluster.start_again().await;
    let judged = world.judged();
    assert_eq!(judged.code, 1, "{judged:?}");
    assert!(judged.stdout.contains("replay: "), "{judged:?}");
    let proven = world.drill("pgbackrest", good, &[]).await;
    assert_eq!(proven.code, 0, "{proven:?}");
    let judged = world.judged();
    assert_eq!(judged.code, 0, "{judged:?}");
    let screen = world
        .drill("pgbackrest", good, &["--stanza", "other"])
        .await;
    screen.is_clear_error(3, &["has no stanza \"other\""]);
    let screen = world
        .drill("pgbackrest", good, &["--to", "2020-01-01T00:00:00Z"])
        .await;
    screen.is_clear_error(4, &["has no backup for"]);
    let screen = world.drill("wal-g", good, &[]).await;
    screen.is_clear_error(2, &["cannot drill backups of WAL-G by itself", "wal-fetch"]);
}

#[tokio::test]
async fn a_backup_of_barman_is_proven_and_its_wal_is_not_believed_blindly() {
    if !barman_installed() || !versions().contains(&VERSION) {
        eprintln!("not run: Barman or PostgreSQL 15 is not installed");
        return;
    }
    let world = World::new().await;
    let home = world.cluster.folder("barman");
    let config = barman(&world.cluster, &home);
    let tool = format!("barman -c {}", config.display());
    world
        .tool(&format!("{tool} show-servers main >/dev/null"))
        .await;
    let incoming = home.join("main/incoming");
    let push = format!("cp %p {0}/.%f && mv {0}/.%f {0}/%f", incoming.display());
    world
        .tool(&format!("mkdir -p {}", incoming.display()))
        .await;
    world.cluster.set("archive_command", Some(&push)).await;
    world.archived_row(1001).await;
    world
        .tool(&format!("{tool} archive-wal main >/dev/null"))
        .await;
    world
        .tool(&format!("{tool} backup main >/dev/null 2>&1"))
        .await;
    world.archived_row(1002).await;
    let position = world
        .cluster
        .sql("postgres", "SELECT pg_current_wal_lsn()")
        .await[0][0]
        .clone();
    world.archived_row(1003).await;
    world.archived_row(1004).await;
    world
        .tool(&format!("{tool} archive-wal main >/dev/null"))
        .await;
    let screen = world
        .drill("barman", &config, &["--probe", &counts(1004)])
        .await;
    assert_eq!(screen.code, 0, "{screen:?}");
    let position = position.unwrap();
    let screen = world
        .drill(
            "barman",
            &config,
            &["--to-lsn", &position, "--probe", &counts(1002)],
        )
        .await;
    assert_eq!(screen.code, 0, "{screen:?}");
    // A segment in the middle that is not what it was: the server must not come up with fewer rows.
    let mut segments = files(&home.join("main/wals"));
    segments.retain(|path| path.file_name().is_some_and(|name| name.len() == 24));
    let victim = &segments[segments.len() - 2];
    let mode = fs::metadata(victim).unwrap().permissions().mode();
    let mut bytes = fs::read(victim).unwrap();
    // In the first record; further behind is what fills it up, which means nothing.
    bytes[70] ^= 0x55;
    fs::write(victim, bytes).unwrap();
    fs::set_permissions(victim, fs::Permissions::from_mode(mode)).unwrap();
    let screen = world.drill("barman", &config, &[]).await;
    assert_eq!(screen.code, 1, "{screen:?}");
    assert!(screen.stdout.contains("replay: "), "{screen:?}");
    assert_eq!(world.history("barman").await, [true, true, false]);
    assert!(world.is_clean());
    let screen = world.drill("barman", &config, &["--stanza", "other"]).await;
    screen.is_clear_error(3, &["has no server \"other\""]);
}

#[tokio::test]
async fn a_backup_of_any_tool_is_drilled_by_its_commands() {
    let world = World::new().await;
    let (archive, base) = world.own_backup().await;
    world.archived_row(1001).await;
    let position = "SELECT pg_current_wal_lsn()";
    let position = world.cluster.sql("postgres", position).await[0][0].clone();
    let position = position.unwrap();
    world.archived_row(1002).await;
    world.archived_row(1003).await;
    let copy = format!("{}/.", base.display());
    let plain = format!("cp {}/%f %p", archive.display());
    let guarded = format!("{} wal guard -- {plain}", env!("CARGO_BIN_EXE_pawang"));
    let drill = async |get: &str, more: &[&str], restore: &[&str]| {
        let words = ["--restore-command", get, "--major", "15", "--stanza", "own"];
        let words = [&words[..], more, &["--"], restore].concat();
        world.drill("nightly", Path::new("/none"), &words).await
    };
    let cp = ["cp", "-a", &copy, "%d"];
    let all = counts(1003);
    let proven = drill(&guarded, &["--probe", &all, "--json"], &cp).await;
    assert_eq!(proven.code, 0, "{proven:?}");
    let proof = proven.data("pawang.drill.other/1")["proof"].clone();
    assert_eq!(
        (&proof["tool"], &proof["set"]),
        (&"nightly".into(), &"own".into())
    );
    assert!(
        proof["backup"].as_str().unwrap().starts_with("of 20"),
        "{proof}"
    );
    let to = ["--to-lsn", &position, "--probe", &counts(1001)];
    let proven = drill(&plain, &to, &cp).await;
    assert_eq!(proven.code, 0, "{proven:?}");
    // The end of such an archive is nobody's word.
    let refused = drill(&plain, &[], &cp).await;
    refused.is_clear_error(4, &["the end of this archive from a hole", "--to TIME"]);
    drill(&plain, &to, &["cp", "-a", &copy, "/nowhere"])
        .await
        .is_clear_error(2, &["says where to restore to"]);
    let failed = drill(&plain, &to, &["cp", "-a", "/no/such", "%d"]).await;
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(
        failed
            .stdout
            .contains("unpack: the restore by nightly ended"),
        "{failed:?}"
    );
    // A hole before the target: with or without the guard no shorter database is taken for a proof.
    let mut segments = files(&archive);
    segments.retain(|path| path.file_name().is_some_and(|name| name.len() == 24));
    let hole = segments.len() - 2;
    fs::remove_file(&segments[hole]).unwrap();
    let late = ["--to-lsn", "0/FFFFFFF"];
    for (get, more) in [(&guarded, &[][..]), (&plain, &late)] {
        let screen = drill(get, more, &cp).await;
        assert_eq!(screen.code, 1, "{screen:?}");
        assert!(screen.stdout.contains("replay: "), "{screen:?}");
    }
    assert_eq!(
        world.history("nightly").await,
        [true, true, false, false, false]
    );
    assert!(world.is_clean());
    let judged = world.judged();
    assert_eq!(judged.code, 1, "{judged:?}");
    assert!(judged.stdout.contains("nightly own"), "{judged:?}");
}

/// Writes a configuration of Barman, whose files belong to the server's user.
fn barman(cluster: &Cluster, home: &Path) -> PathBuf {
    let bin = cluster.bin_directory().display();
    let connection = format!(
        "host={} port={} user=postgres dbname=postgres",
        cluster.socket_directory().display(),
        cluster.port()
    );
    let text = format!(
        "[barman]\nbarman_user = postgres\nconfiguration_files_directory = {home}/none\nbarman_home = {home}\n\
         log_file = {home}/barman.log\npath_prefix = {bin}\n\
         [main]\ndescription = test\nconninfo = {connection}\nstreaming_conninfo = {connection}\n\
         backup_method = postgres\narchiver = on\n",
        home = home.display(),
    );
    let file = home.with_extension("conf");
    fs::write(&file, text).unwrap();
    file
}
