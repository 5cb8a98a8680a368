//! The page about the repository is followed to the letter: `tar`, `zstd` and a shell, and no program of ours.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pawang_backup::Commit;
use pawang_backup::drill::Scratch;
use pawang_backup::repository::Keys;
use pawang_backup::take::{Reading, Wanted, take};
use pawang_testbed::{Stop, Version, age_installed};

use crate::seal::Desk;
use crate::take::Bed;
use crate::world::{World, all, asked};

const PAGE: &str = include_str!("../../../../docs/reference/repository.md");
pub(crate) const SECTION: &str = "## To restore by hand\n";
const SEALED_SECTION: &str = "## To restore an encrypted backup by hand\n";

const TABLES: [&str; 2] = [
    "CREATE TABLE old TABLESPACE cold AS SELECT generate_series(1, 500) AS number",
    "CREATE TABLE fact AS SELECT generate_series(1, 1000) AS number",
];

/// The blocks of commands in a section.
pub(crate) fn blocks(section: &str) -> Vec<&'static str> {
    blocks_of(section, "sh")
}

fn blocks_of(section: &str, language: &str) -> Vec<&'static str> {
    let (_, section) = PAGE.split_once(section).expect("the page has this section");
    let section = section.split("\n## ").next().unwrap();
    section
        .split(&format!("```{language}\n"))
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

/// Runs a script of the page.
pub(crate) fn shell(script: &str) {
    let output = Command::new("/bin/sh")
        .args(["-euc", script])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{words}");
}

/// Writes a program.
pub(crate) fn write(path: &Path, text: &str) {
    let mut file = std::fs::File::create(path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Who has only the repository has no page of ours.
#[test]
fn a_repository_brings_the_scripts_that_a_restore_needs() {
    const BROUGHT: &str = include_str!("../../src/repository/README.md");
    let get_wal = blocks(SECTION)
        .into_iter()
        .find(|block| block.starts_with("#!/bin/sh"));
    for script in [get_wal.unwrap(), blocks_of(SECTION, "python")[0]] {
        assert!(BROUGHT.contains(script), "{script}");
    }
    assert!(!BROUGHT.contains("docs/"), "{BROUGHT}");
}

#[tokio::test]
async fn a_full_backup_is_restored_by_hand() {
    let blocks = blocks(SECTION);
    let [unpack, space, _increments, get_wal, start] = blocks[..] else {
        panic!("the section has other blocks now: {blocks:?}");
    };
    by_hand(&[unpack, space], get_wal, start, None).await;
}

#[tokio::test]
async fn an_encrypted_backup_is_restored_by_hand() {
    if !age_installed() {
        return;
    }
    let rest = blocks(SECTION);
    let blocks = blocks(SEALED_SECTION);
    let [unpack, space, manifest] = blocks[..] else {
        panic!("the section has other blocks now: {blocks:?}");
    };
    let desk = Desk::new();
    by_hand(&[unpack, space, manifest], rest[3], rest[4], Some(&desk)).await;
}

/// A backup of a cluster with a tablespace, and WAL behind it; where that is wanted and the page can be followed, its
/// configuration is elsewhere, as Debian has it, whose packages have the program that the page needs then.
async fn source(version: Version, keys: &Keys, moved: bool) -> (World, Commit, bool) {
    let mut world = World::sealed(version, keys).await;
    let controldata = world.cluster.bin_directory().join("pg_controldata");
    let elsewhere = moved && controldata.exists();
    if elsewhere {
        world.cluster.stop(Stop::Fast).await;
        world.cluster.move_configuration();
        world.cluster.start_again().await;
    }
    let folder = world.cluster.folder("space");
    let cold = format!("CREATE TABLESPACE cold LOCATION '{}'", folder.display());
    world.many("postgres", &[&cold]).await;
    world.many("postgres", &TABLES).await;
    let commit = world.backup().await;
    world
        .many("postgres", &["INSERT INTO fact VALUES (1001)"])
        .await;
    world.archive().await;
    // The page's pieces of a segment that is not whole yet.
    world
        .many("postgres", &["INSERT INTO fact VALUES (1002)"])
        .await;
    world.store_live_tail().await;
    (world, commit, elsewhere)
}

/// Asserts that the page wrote each limit of the source.
fn has_limits(configuration: &Path) {
    let written = std::fs::read_to_string(configuration).unwrap();
    let names = written.lines().filter_map(|line| line.split(" = ").next());
    let expected = [
        "max_connections",
        "max_worker_processes",
        "max_wal_senders",
        "max_prepared_transactions",
        "max_locks_per_transaction",
    ];
    assert_eq!(names.collect::<Vec<_>>(), expected);
}

/// Follows the page: blocks that unpack, the script that gets WAL, and the block that starts the server.
async fn by_hand(unpack: &[&str], get_wal: &str, start: &str, desk: Option<&Desk>) {
    assert!(get_wal.starts_with("#!/bin/sh"));
    let keys = desk.map_or_else(Keys::default, |desk| desk.keys.clone());
    for version in all() {
        let (world, commit, elsewhere) = source(version, &keys, desk.is_none()).await;
        let controldata = world.cluster.bin_directory().join("pg_controldata");
        let settings = world.scratch("by-hand");
        let owner = settings.owner;
        let mut scratch = Scratch::new(settings).await.unwrap();
        let script = world.cluster.socket_directory().join("get-wal");
        let key = world.cluster.socket_directory().join("key");
        let oid = commit.tablespaces[0].oid;
        let (data, cold) = (scratch.data(), scratch.tablespace(oid));
        let shown = |path: &Path| path.display().to_string();
        let here = |text: &str| {
            text.replace(
                "/srv/backup/cluster/7300000000000000001-17",
                &shown(&world.folder.join(world.id.folder())),
            )
            .replace("01JD9Z6Y1N8M3Q4R5S6T7V8W9X", commit.backup.as_str())
            .replace("/srv/restored", &shown(&data))
            .replace("/srv/space", &shown(&cold))
            .replace("/srv/get-wal", &shown(&script))
            .replace("pg_controldata", &shown(&controldata))
            .replace("16385", &oid.to_string())
            .replace("/srv/key/main.identity", &shown(&key))
            .replace("%f %p", &format!("%f %p {}", commit.server.segment_bytes))
        };
        write(&script, &here(get_wal));
        if let Some(desk) = desk {
            std::fs::copy(&desk.file, &key).unwrap();
        }
        let (start, last) = start.trim_end().rsplit_once('\n').unwrap();
        assert!(
            last.starts_with("pg_ctl"),
            "a scratch server is started otherwise: {last}"
        );
        shell(&here(&format!("{}{start}", unpack.concat())));
        if elsewhere {
            has_limits(&data.join("postgresql.conf"));
        }
        if let Some(owner) = owner {
            let (user, group) = (owner.user, owner.group);
            let (data, cold) = (shown(&data), shown(&cold));
            shell(&format!("chown -R {user}:{group} {data} {cold}"));
            if desk.is_some() {
                shell(&format!("chown {user}:{group} {}", shown(&key)));
            }
        }
        scratch.start(Duration::from_secs(60)).await.unwrap();
        assert_eq!(
            asked(&scratch, "SELECT count(*) FROM public.fact").await,
            1002
        );
        assert_eq!(
            asked(&scratch, "SELECT count(*) FROM public.old").await,
            500
        );
        scratch.remove().await;
    }
}

#[tokio::test]
async fn increments_before_17_are_combined_by_hand() {
    let scripts = blocks_of(SECTION, "python");
    let [script] = scripts[..] else {
        panic!("the section has other blocks now: {scripts:?}");
    };
    for version in all().into_iter().filter(|version| version.0 < 17) {
        let bed = Bed::read_by(version, Reading::Local).await;
        let fill = "CREATE TABLE fact AS SELECT generate_series(1, 100000) AS number";
        bed.cluster.sql("postgres", fill).await;
        let full = bed.take().await;
        let change = "DELETE FROM fact WHERE number % 1000 = 0; INSERT INTO fact VALUES (0)";
        bed.cluster.sql("postgres", change).await;
        let mut wanted = bed.request();
        wanted.wanted = Wanted::Incremental;
        let increment = take(wanted, &mut |_| {}).await.unwrap();
        let into = tempfile::tempdir().unwrap();
        let older = bed.unpack(&full, &into.path().join("older")).await;
        let newer = bed.unpack(&increment, &into.path().join("newer")).await;
        let program = into.path().join("combine.py");
        write(&program, script);
        let [program, older, shown] =
            [&program, &older, &newer].map(|path| path.display().to_string());
        shell(&format!("python3 {program} {older} {shown}"));
        let restored = bed.cluster.start_from(&newer, &[]).await;
        let sql = "SELECT count(*), min(number) FROM fact";
        let found = restored.sql("postgres", sql).await;
        let found: Vec<_> = found[0].iter().map(Option::as_deref).collect();
        assert_eq!(found, [Some("99901"), Some("0")], "{version}");
    }
}
