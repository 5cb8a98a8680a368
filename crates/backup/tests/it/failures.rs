//! What went wrong in the past of such programs: servers that die in the middle, processes that are killed, objects that rot.

use std::path::Path;
use std::process::{Child, Command};

use pawang_backup::Repository;
use pawang_backup::repository::{BackupKind, MANIFEST};
use pawang_backup::restore::Target;
use pawang_backup::take::{Progress, Reading, THREADS, take};
use pawang_backup::verify::{Depth, VerifySettings, verify};
use pawang_backup::wal::Catalogue;
use pawang_core::{ByteSize, Kind, Lsn};
use pawang_testbed::{Cluster, Setup};

use crate::take::{Bed, halted, request};
use crate::world::{World, all, now};

/// Names server and repository of the process that is killed.
const VICTIM: &str = "PAWANG_TEST_BACKUP";
const ROWS: &str =
    "CREATE TABLE t AS SELECT g, repeat('x', 500) AS pad FROM generate_series(1, 20000) AS g";

/// The process that is killed: a backup until then; nothing when tests run.
#[tokio::test]
async fn victim() {
    let Ok(told) = std::env::var(VICTIM) else {
        return;
    };
    let (url, folder) = told.split_once('\n').unwrap();
    let repository = Repository::directory(Path::new(folder)).unwrap();
    let mut request = crate::take::request_to(url, &repository);
    request.rate_max = Some(ByteSize(32 << 20));
    take(request, &mut |_| {}).await.unwrap();
}

fn start(cluster: &Cluster, folder: &Path) -> Child {
    let told = format!("{}\n{}", cluster.url("postgres"), folder.display());
    Command::new(std::env::current_exe().unwrap())
        .args(["failures::victim", "--exact", "--nocapture"])
        .env(VICTIM, told)
        .spawn()
        .unwrap()
}

/// Returns the bytes of all files below a folder, whole or not.
fn written(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => written(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

#[tokio::test]
async fn a_backup_is_killed_while_it_is_taken() {
    let bed = Bed::new(&Setup::default()).await;
    bed.cluster.sql("postgres", ROWS).await;
    let whole = bed.take().await;
    let stored: u64 = whole.parts.iter().map(|part| part.bytes).sum();
    let folder = bed.folder.path();
    let mut known = 1;
    for eighths in [0, 3, 6, 8] {
        let before = written(folder);
        let mut victim = start(&bed.cluster, folder);
        let enough = before + stored / 8 * eighths + 1;
        while written(folder) < enough && victim.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let _over = victim.kill();
        victim.wait().unwrap();
        // Whatever has a commit is whole; and the next one goes on by itself.
        let commit = bed.take().await;
        let backups = bed.repository.backups(&commit.cluster).await.unwrap();
        assert!(backups.len() <= known + 2 && backups.contains(&commit));
        known = backups.len();
    }
    let settings = VerifySettings {
        depth: Depth::Pages,
        parts: None,
        pace: None,
        threads: THREADS,
        owner: "test".to_owned(),
        tool: "test".to_owned(),
        clock: now,
    };
    for commit in bed.repository.backups(&whole.cluster).await.unwrap() {
        let proof = verify(&bed.repository, &commit.cluster, &commit.backup, &settings).await;
        assert_eq!(proof.unwrap().unwrap().problems, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_server_dies_while_it_is_backed_up() {
    let mut bed = Bed::new(&Setup::default()).await;
    bed.cluster.sql("postgres", ROWS).await;
    for kill in [true, false] {
        let mut slow = request(&bed.cluster, &bed.repository);
        slow.rate_max = Some(ByteSize(8 << 20));
        let cluster = &mut bed.cluster;
        let taken = halted(slow, async |_| match kill {
            true => cluster.kill(),
            false => cluster.stop(pawang_testbed::Stop::Immediate).await,
        })
        .await;
        let report = taken.unwrap_err().report();
        assert_eq!(report.kind, Kind::Target, "{report}");
        bed.cluster.start_again().await;
        let id = bed.repository.clusters().await.unwrap()[0];
        let before = bed.repository.backups(&id).await.unwrap();
        let commit = bed.take().await;
        assert_eq!(commit.pages.wrong, 0);
        let after = bed.repository.backups(&id).await.unwrap();
        assert_eq!(after.len(), before.len() + 1, "only the whole one counts");
    }
}

#[tokio::test]
async fn what_went_away_meanwhile_is_not_committed() {
    let mut bed = Bed::new(&Setup::default()).await;
    for (reading, object) in [
        (Reading::Protocol, "part-00000.tar.zst"),
        (Reading::Protocol, MANIFEST),
        (Reading::Local, "relation_files.zst"),
    ] {
        bed.reading = reading;
        let request = bed.request();
        let name = request.backup.to_string();
        let folder = bed.folder.path().to_owned();
        let mut observe = |progress| {
            if let Progress::Wal { fetching: true, .. } = progress {
                let cluster = std::fs::read_dir(folder.join("cluster")).unwrap();
                let cluster = cluster.flatten().next().unwrap().path();
                std::fs::remove_file(cluster.join("backup").join(&name).join(object)).unwrap();
            }
        };
        let report = take(request, &mut observe).await.unwrap_err().report();
        assert_eq!(report.kind, Kind::Refused, "{report}");
        let told = format!("{object}\" is not there");
        assert!(report.to_string().contains(&told), "{report}");
        let id = bed.repository.clusters().await.unwrap()[0];
        assert_eq!(bed.repository.backups(&id).await.unwrap(), []);
    }
    bed.take().await;
}

#[tokio::test]
async fn a_commit_that_rots_hides_its_own_backup_only() {
    let world = World::new(all()[0]).await;
    world.many("postgres", &[ROWS]).await;
    let first = world.taken(BackupKind::Full).await;
    world.archive().await;
    let second = world.taken(BackupKind::Full).await;
    world.archive().await;
    let folder = world.folder.join(world.id.backup(&second.backup));
    let path = folder.join("COMMIT.json");
    let good = std::fs::read(&path).unwrap();
    let put = |path: &Path, bytes: &[u8]| {
        std::fs::remove_file(path).unwrap();
        std::io::Write::write_all(&mut std::fs::File::create(path).unwrap(), bytes).unwrap();
    };
    let newer = String::from_utf8(good.clone()).unwrap();
    let newer = newer.replace("\"format\": 1", "\"format\": 2");
    for damaged in [&good[..good.len() / 2], b"", newer.as_bytes()] {
        put(&path, damaged);
        let plan = world.plan(Target::Latest).await;
        assert_eq!(*plan.backup(), first.backup);
        let passed: Vec<_> = plan.passed_over.iter().map(|it| &it.backup).collect();
        assert_eq!(passed, [&second.backup]);
        // Who deletes must know all of it.
        let error = world.repository.backups(&world.id).await.unwrap_err();
        assert!(
            error.report().to_string().contains("COMMIT.json"),
            "{error}"
        );
        // It needed WAL all the same, which the end of the archive is judged by.
        let bytes = second.server.segment_bytes;
        let known = Catalogue::read(&world.repository, &world.id, bytes).await;
        let why = known
            .unwrap()
            .beyond(second.stop.timeline, Lsn(second.stop.lsn.0 - 1));
        assert!(why.is_some());
        let third = world.taken(BackupKind::Full).await;
        world.archive().await;
        let plan = world.plan(Target::Latest).await;
        assert_eq!(*plan.backup(), third.backup);
        std::fs::remove_dir_all(world.folder.join(world.id.backup(&third.backup))).unwrap();
    }
    // When nobody knows how much it needed, no end is proven.
    put(&folder.join(MANIFEST), b"{");
    let bytes = second.server.segment_bytes;
    let known = Catalogue::read(&world.repository, &world.id, bytes).await;
    assert!(known.is_err());
    put(&path, &good);
    assert!(
        Catalogue::read(&world.repository, &world.id, bytes)
            .await
            .is_ok()
    );
}

/// Runs a program of the server on its data directory, as its owner.
pub(crate) fn as_owner(cluster: &Cluster, program: &str, words: &[&str]) {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::process::CommandExt;
    let data = cluster.data_directory();
    let owner = std::fs::metadata(data).unwrap();
    let output = Command::new(cluster.bin_directory().join(program))
        .args(words)
        .arg("-D")
        .arg(data)
        .uid(owner.uid())
        .gid(owner.gid())
        .current_dir("/")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn a_server_without_checksums_is_backed_up_and_says_so() {
    // Not every package of a server has the program that switches them.
    let version = all()[0];
    let mut bed = Bed::new(&Setup {
        version: Some(version),
        ..Setup::default()
    })
    .await;
    bed.cluster.sql("postgres", ROWS).await;
    let first = bed.take().await;
    assert!(first.server.data_checksums);
    bed.cluster.stop(pawang_testbed::Stop::Fast).await;
    as_owner(&bed.cluster, "pg_checksums", &["--disable"]);
    bed.cluster.start_again().await;
    let second = bed.take().await;
    assert_eq!(second.kind, BackupKind::Full);
    assert!(!second.server.data_checksums && second.pages.wrong == 0);
}
