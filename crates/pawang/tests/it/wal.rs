//! `pawang wal` as PostgreSQL runs it: `archive_command` and `restore_command` of real servers, with faults in between.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pawang_backup::Repository;
use pawang_backup::repository::RepositorySettings;
use pawang_testbed::{
    Cluster, Recovery, Setup, Stop, Version, pgbackrest_installed, until, versions,
};
use serde_json::Value;

use crate::program::{Desk, instance};

const PAWANG: &str = env!("CARGO_BIN_EXE_pawang");
/// Rows that each go into a segment of their own.
const ROWS: u32 = 6;

fn archive_command(archive: &Path) -> String {
    format!("{PAWANG} wal push %p --repository {}", archive.display())
}

fn restore_command(archive: &Path) -> String {
    let place = archive.display();
    format!("{PAWANG} wal get %f %p --retry 0 --repository {place}")
}

/// Starts a server that archives into a folder beside its data directory.
async fn archiving(version: Version, settings: &[(&str, &str)], segment_mb: u32) -> Cluster {
    let mut all = vec![("archive_mode", "on")];
    all.extend(settings);
    let cluster = Cluster::start(&Setup {
        version: Some(version),
        settings: &all,
        wal_segment_mb: Some(segment_mb),
        ..Setup::default()
    })
    .await;
    let archive = cluster.folder("archive");
    set_up(&archive).await;
    let command = archive_command(&archive);
    cluster.set("archive_command", Some(&command)).await;
    let table = "CREATE TABLE ledger (row int, filler text)";
    cluster.sql("postgres", table).await;
    cluster
}

/// Makes a folder a repository that the server's user may read.
async fn set_up(archive: &Path) {
    let settings = RepositorySettings::default();
    let now = "2026-11-22T08:00:00Z".parse().unwrap();
    let place = archive.to_str().unwrap();
    Repository::setup(place, &settings, now, [7; 10])
        .await
        .unwrap();
    for file in files(archive) {
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    }
}

/// Writes rows into segments of their own, and waits until all of these are archived.
async fn write(cluster: &Cluster, rows: std::ops::RangeInclusive<u32>) {
    for row in rows {
        let insert = format!("INSERT INTO ledger VALUES ({row}, repeat('x', 3000))");
        cluster.sql("postgres", &insert).await;
        let switched = "SELECT pg_walfile_name(pg_switch_wal())";
        let name = text(&cluster.sql("postgres", switched).await);
        archived(cluster, &name).await;
    }
}

async fn archived(cluster: &Cluster, name: &str) {
    let sql = "SELECT coalesce(max(last_archived_wal), '') FROM pg_stat_archiver";
    until("the segment is archived", async || {
        let last = text(&cluster.sql("postgres", sql).await);
        last.get(..24).is_some_and(|last| last >= name) && !last.ends_with(".history")
    })
    .await;
}

fn text(rows: &[Vec<Option<String>>]) -> String {
    rows[0][0].clone().unwrap()
}

async fn rows(recovery: &Recovery) -> u32 {
    let count = "SELECT count(*) FROM ledger";
    text(&recovery.cluster.sql("postgres", count).await)
        .parse()
        .unwrap()
}

/// Returns every file below a folder, sorted.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

pub(crate) fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, &target).unwrap();
        // The server's user is another one than that of the tests, when these run as root.
        fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
    }
}

/// Returns the segments of an archive, in order.
fn segments(archive: &Path) -> Vec<PathBuf> {
    let whole = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        let hexadecimal = |letter: u8| letter.is_ascii_hexdigit();
        let named = name
            .get(..24)
            .is_some_and(|name| name.bytes().all(hexadecimal));
        named && name.ends_with("z") | name.ends_with(".zst")
    };
    files(archive).into_iter().filter(whole).collect()
}

fn status(archive: &Path) -> (i32, Value) {
    let place = archive.to_str().unwrap();
    let screen = Desk::new().pawang(&["wal", "status", "--json", "--repository", place]);
    (screen.code, screen.data("pawang.wal.status/1")[0].clone())
}

const FAULTS: [Fault; 7] = [
    Fault::None,
    Fault::BitFlip,
    Fault::Truncation,
    Fault::Unreadable,
    Fault::MissingInTheMiddle,
    Fault::RepositoryGone,
    Fault::OtherSegment,
];

#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    BitFlip,
    Truncation,
    Unreadable,
    MissingInTheMiddle,
    RepositoryGone,
    OtherSegment,
}

impl Fault {
    /// Puts the fault into the segment of the third row, behind which three rows are.
    fn inject(self, archive: &Path) {
        let all = segments(archive);
        let victim = &all[all.len() - 4];
        match self {
            Fault::None => {}
            Fault::BitFlip => {
                let mut bytes = fs::read(victim).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x55;
                fs::write(victim, bytes).unwrap();
            }
            Fault::Truncation => {
                let bytes = fs::read(victim).unwrap();
                fs::write(victim, &bytes[..bytes.len() * 2 / 3]).unwrap();
            }
            Fault::Unreadable => {
                fs::set_permissions(victim, fs::Permissions::from_mode(0o000)).unwrap();
            }
            Fault::MissingInTheMiddle => fs::remove_file(victim).unwrap(),
            Fault::RepositoryGone => fs::remove_dir_all(archive).unwrap(),
            Fault::OtherSegment => {
                let _bytes = fs::copy(&all[all.len() - 5], victim).unwrap();
            }
        }
    }
}

impl Fault {
    /// Asserts that a faulty archive stopped the server, and that one without faults gave it every row.
    async fn judge(self, recovery: &Recovery) {
        match (self, &recovery.ended) {
            (Fault::None, None) => assert_eq!(rows(recovery).await, ROWS),
            (Fault::None, Some(log)) => panic!("it did not promote: {log}"),
            (_, Some(log)) => assert!(log.contains("FATAL"), "{self:?}: {log}"),
            (_, None) => {
                let rows = rows(recovery).await;
                panic!("it promoted with {rows} of {ROWS} rows: {self:?}");
            }
        }
    }
}

#[tokio::test]
async fn faults_in_the_archive_stop_a_recovery_and_its_end_promotes() {
    for version in versions() {
        let mut primary = archiving(version, &[], 1).await;
        let base = primary.backup().await;
        write(&primary, 1..=ROWS).await;
        let archive = primary.folder("archive");
        let (code, shown) = status(&archive);
        assert_eq!(code, 0, "{shown}");
        assert_eq!(shown["holes"], serde_json::json!([]));
        assert_ne!(shown["timelines"][0]["newest_commit_at"], Value::Null);
        primary.stop(Stop::Fast).await;
        for fault in FAULTS {
            let faulty = primary.folder(&format!("archive-{fault:?}"));
            copy(&archive, &faulty);
            fault.inject(&faulty);
            let recovery = base.recover(&restore_command(&faulty), &[]).await;
            fault.judge(&recovery).await;
        }
    }
}

/// Writes a configuration of pgBackRest, and returns the command line that begins with it.
pub(crate) fn pgbackrest(cluster: &Cluster, repository: &Path) -> String {
    let folder = repository.parent().unwrap();
    let text = format!(
        "[global]\nrepo1-path={repository}\nlog-path={folder}\nlock-path={folder}\nspool-path={folder}\n\
         log-level-file=off\nlog-level-console=warn\n\
         [main]\npg1-path={data}\npg1-port={port}\npg1-socket-path={socket}\npg1-user=postgres\n",
        repository = repository.display(),
        folder = folder.display(),
        data = cluster.data_directory().display(),
        port = cluster.port(),
        socket = cluster.socket_directory().display(),
    );
    let file = folder
        .join(repository.file_name().unwrap())
        .with_extension("conf");
    fs::write(&file, text).unwrap();
    format!("pgbackrest --config={} --stanza=main", file.display())
}

#[tokio::test]
async fn the_guard_stops_recoveries_that_pgbackrest_would_end_early() {
    let version = Version(15);
    if !pgbackrest_installed() || !versions().contains(&version) {
        eprintln!("skipped: pgBackRest or PostgreSQL 15 is not installed");
        return;
    }
    let mut primary = archiving(version, &[], 1).await;
    let repository = primary.folder("backrest/repository");
    let tool = pgbackrest(&primary, &repository);
    // The server's user owns the repository.
    let create = format!("COPY (SELECT 1) TO PROGRAM '{tool} stanza-create'");
    primary.sql("postgres", &create).await;
    let push = format!("{tool} archive-push %p");
    primary.set("archive_command", Some(&push)).await;
    let base = primary.backup().await;
    write(&primary, 1..=ROWS).await;
    primary.stop(Stop::Fast).await;
    for fault in FAULTS {
        let faulty = primary.folder(&format!("backrest/{fault:?}"));
        copy(&repository, &faulty);
        fault.inject(&faulty);
        let tool = pgbackrest(&primary, &faulty);
        let get = format!("{tool} --pg1-path=$PWD archive-get %f %p");
        let guarded = format!("{PAWANG} wal guard -- {get}");
        fault.judge(&base.recover(&guarded, &[]).await).await;
        if matches!(fault, Fault::BitFlip | Fault::MissingInTheMiddle) {
            // Without the guard the same fault costs rows: it is a fault.
            let bare = base.recover(&get, &[]).await;
            assert_eq!(bare.ended, None);
            assert!(rows(&bare).await < ROWS);
        }
    }
}

#[tokio::test]
async fn the_guard_stops_recoveries_from_a_folder() {
    let mut primary = archiving(versions()[0], &[], 1).await;
    let archive = primary.folder("folder");
    let push = format!("cp %p {}/%f.z && mv {0}/%f.z {0}/%f", archive.display());
    primary.set("archive_command", Some(&push)).await;
    let base = primary.backup().await;
    write(&primary, 1..=ROWS).await;
    primary.stop(Stop::Fast).await;
    let guarded = |archive: &Path| format!("{PAWANG} wal guard -- cp {}/%f %p", archive.display());
    let whole = base.recover(&guarded(&archive), &[]).await;
    Fault::None.judge(&whole).await;
    let plain = |path: &PathBuf| path.file_name().unwrap().len() == 24;
    let all: Vec<PathBuf> = files(&archive).into_iter().filter(plain).collect();
    let victim = &all[all.len() - 4];
    let bytes = fs::read(victim).unwrap();
    // The first records; most of it is empty behind the switch.
    let mut flipped = bytes.clone();
    flipped[100] ^= 0x55;
    for bad in [Some(flipped), Some(bytes[..9000].to_vec()), None] {
        match bad {
            Some(bad) => fs::write(victim, bad).unwrap(),
            None => fs::remove_file(victim).unwrap(),
        }
        let recovery = base.recover(&guarded(&archive), &[]).await;
        Fault::BitFlip.judge(&recovery).await;
    }
}

#[tokio::test]
async fn timelines_are_followed_beyond_the_ninth() {
    let version = *versions().last().unwrap();
    let mut primary = archiving(version, &[], 1).await;
    let base = primary.backup().await;
    write(&primary, 1..=2).await;
    let archive = primary.folder("archive");
    primary.stop(Stop::Fast).await;
    let archiving = [
        ("archive_mode", "on"),
        ("archive_command", &archive_command(&archive)),
    ];
    for row in 3..=12 {
        let mut promoted = base.recover(&restore_command(&archive), &archiving).await;
        assert_eq!(promoted.ended, None);
        assert_eq!(rows(&promoted).await, row - 1);
        write(&promoted.cluster, row..=row).await;
        promoted.cluster.stop(Stop::Fast).await;
    }
    let (code, shown) = status(&archive);
    assert_eq!(code, 0, "{shown}");
    let timelines = shown["timelines"].as_array().unwrap();
    assert_eq!(timelines.last().unwrap()["timeline"], 11);
    let last = base.recover(&restore_command(&archive), &[]).await;
    assert_eq!(last.ended, None);
    assert_eq!(rows(&last).await, 12);
    // Without a history in the middle nobody knows what was written where.
    let history = files(&archive)
        .into_iter()
        .find(|path| path.ends_with("0000000A.history"));
    fs::remove_file(history.unwrap()).unwrap();
    let lost = base.recover(&restore_command(&archive), &[]).await;
    assert!(lost.ended.unwrap().contains("FATAL"));
}

#[tokio::test]
async fn large_segments_go_in_and_come_back() {
    let sizes = [("min_wal_size", "128MB"), ("max_wal_size", "256MB")];
    let version = *versions().first().unwrap();
    let mut primary = archiving(version, &sizes, 64).await;
    let base = primary.backup().await;
    write(&primary, 1..=2).await;
    let archive = primary.folder("archive");
    primary.stop(Stop::Fast).await;
    let recovery = base.recover(&restore_command(&archive), &[]).await;
    assert_eq!(recovery.ended, None);
    assert_eq!(rows(&recovery).await, 2);
}

#[tokio::test]
async fn two_servers_of_one_identity_are_told_and_both_are_kept() {
    let mut primary = archiving(versions()[0], &[], 1).await;
    write(&primary, 1..=1).await;
    primary.stop(Stop::Fast).await;
    let twin = primary.duplicate().await;
    primary.start_again().await;
    write(&primary, 2..=2).await;
    let archive = primary.folder("archive");
    twin.sql("postgres", "INSERT INTO ledger VALUES (99, 'twin')")
        .await;
    twin.sql("postgres", "SELECT pg_switch_wal()").await;
    until("the twin is refused", async || {
        let failed = "SELECT failed_count FROM pg_stat_archiver";
        text(&twin.sql("postgres", failed).await) != "0"
    })
    .await;
    let (code, shown) = status(&archive);
    assert_eq!(code, 1);
    assert_eq!(shown["conflicts"].as_array().unwrap().len(), 1, "{shown}");
    let log = fs::read_to_string(twin.log_file()).unwrap();
    assert!(log.contains("exists in repository"), "{log}");
    // The first server goes on.
    write(&primary, 3..=3).await;
}

#[tokio::test]
async fn a_busy_server_is_pushed_ahead() {
    let primary = archiving(versions()[0], &[], 1).await;
    let archive = primary.folder("archive");
    let server = instance("dwh-1", &primary.url("postgres"));
    let place = archive.display();
    let config = format!("{server}[[repository]]\nname = \"local\"\nplace = \"{place}\"\n");
    let file = primary.folder("etc").join("pawang.toml");
    fs::write(&file, config).unwrap();
    let command = format!("{PAWANG} wal push %p --config {}", file.display());
    primary.set("archive_command", Some("false")).await;
    let many = "INSERT INTO ledger SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) i";
    primary.sql("postgres", many).await;
    let name = text(
        &primary
            .sql("postgres", "SELECT pg_walfile_name(pg_switch_wal())")
            .await,
    );
    primary.set("archive_command", Some(&command)).await;
    archived(&primary, &name).await;
    let memory = primary.data_directory().join("pg_wal/pawang.pushed");
    assert!(memory.exists(), "some were pushed ahead");
    let (code, shown) = status(&archive);
    assert_eq!(code, 0, "{shown}");
    assert!(shown["timelines"][0]["segments"].as_u64().unwrap() > 20);
    // What is in the archive is what the server had.
    let control = "SELECT system_identifier FROM pg_control_system()";
    let identifier = text(&primary.sql("postgres", control).await);
    assert!(shown["cluster"]["system_identifier"] == identifier.as_str());
}

#[test]
fn whatever_is_wrong_with_the_command_is_no_end_of_the_archive() {
    let desk = Desk::new();
    for words in [
        &["wal", "get"][..],
        &["wal", "-i", "dwh-1", "get", "000000010000000000000001", "x"],
        &["wal", "get", "000000010000000000000001", "x", "--nonsense"],
        &[
            "wal",
            "get",
            "000000010000000000000001",
            "x",
            "--repository",
            "none",
        ],
        &[
            "wal",
            "get",
            "../../etc/passwd",
            "x",
            "--repository",
            "none",
        ],
    ] {
        let screen = desk.pawang(words);
        assert_eq!(screen.code, 200, "{words:?}: {screen:?}");
    }
    let screen = desk.pawang(&["wal", "push", "x", "--repository", "none"]);
    screen.is_clear_error(2, &["global/pg_control"]);
}
