//! Full disks for real: each place of a server on a small file system of its own, filled and emptied.

use std::fs;

use pawang_check::{Check, Policy, Resolved, find};
use pawang_core::{Level, Outcome, Verdict};
use pawang_testbed::{Cluster, Setup, Stop};

use crate::mount::Mount;
use crate::watch::{Watch, evaluate};

/// Asserts that a check measures a file system and finds nothing there.
async fn quiet(watch: &mut Watch, id: &str, mount: &Mount) {
    let verdict = watch.verdict(id).await;
    assert_eq!(verdict.outcome, Outcome::Judged, "{verdict:#?}");
    let point = mount.path().to_str().unwrap();
    assert!(
        verdict.measures.iter().any(|m| m.object == point),
        "{id} must measure {point}: {verdict:#?}"
    );
    assert!(
        verdict.findings.iter().all(|f| f.object != point),
        "{id} must be silent on {point}: {verdict:#?}"
    );
}

/// Fills a file system to two shares and empties it again.
async fn fills(watch: &mut Watch, id: &str, mount: &Mount, shares: [u64; 2]) {
    let point = mount.path().to_str().unwrap();
    quiet(watch, id, mount).await;
    for (share, level) in shares.into_iter().zip([Level::Warning, Level::Critical]) {
        mount.fill(share);
        let finding = watch.found(id, level, point).await;
        assert!(
            finding
                .title
                .starts_with(&format!("{share} % of \"{point}\"")),
            "{finding:?}"
        );
    }
    mount.clear();
    quiet(watch, id, mount).await;
}

#[tokio::test]
async fn a_tablespace_that_fills_up_is_found() {
    if !Mount::allowed() {
        return;
    }
    let cluster = Cluster::start(&Setup::default()).await;
    let path = cluster.socket_directory().join("small disk");
    let like = cluster.data_directory().join("PG_VERSION");
    let mut mount = Mount::new(path, 24, &like, ",nr_inodes=100");
    let point = mount.path().to_str().unwrap().to_owned();
    let create = format!("CREATE TABLESPACE \"Cold\" LOCATION '{point}'");
    cluster.sql("postgres", &create).await;
    let mut watch = Watch::start(&cluster).await;

    fills(&mut watch, "disk-space", &mount, [75, 95]).await;
    mount.fill(95);
    let finding = watch.found("disk-space", Level::Critical, &point).await;
    assert!(finding.title.contains("tablespace \"Cold\""), "{finding:?}");
    // A small file system is judged by its share only.
    quiet(&mut watch, "disk-free", &mount).await;
    assert_eq!(scaled(&watch, &point), Some(Level::Warning));
    mount.fill(97);
    watch.verdict("disk-free").await;
    assert_eq!(scaled(&watch, &point), Some(Level::Critical));
    mount.clear();
    watch.verdict("disk-free").await;
    assert_eq!(scaled(&watch, &point), None);

    quiet(&mut watch, "inodes", &mount).await;
    for (files, level) in [(85, Level::Warning), (96, Level::Critical)] {
        for number in 0..files {
            fs::write(mount.path().join(format!("file-{number}")), "").unwrap();
        }
        watch.found("inodes", level, &point).await;
    }
    for number in 0..96 {
        fs::remove_file(mount.path().join(format!("file-{number}"))).unwrap();
    }
    quiet(&mut watch, "inodes", &mount).await;

    quiet(&mut watch, "disk-read-only", &mount).await;
    mount.remount("ro");
    watch.found("disk-read-only", Level::Critical, &point).await;
    mount.remount("rw");
    quiet(&mut watch, "disk-read-only", &mount).await;
    cluster.sql("postgres", "DROP TABLESPACE \"Cold\"").await;
}

/// The shipped limits of bytes divided by a thousand, for a disk that is a thousand times smaller.
struct Scaled;

impl Policy for Scaled {
    fn resolve(&self, check: &Check<'_>, _: Option<&str>, _: Option<&str>) -> Resolved {
        let mut limits = check.defaults();
        let numbers = [&mut limits.warning, &mut limits.critical];
        let numbers = numbers.into_iter().flatten();
        for number in numbers.chain(limits.floors.values_mut()) {
            *number /= 1_000.0;
        }
        Resolved {
            enabled: true,
            limits,
        }
    }
}

/// Returns what disk-free says of a file system in the latest facts, a thousand times smaller.
fn scaled(watch: &Watch, point: &str) -> Option<Level> {
    let facts = watch.older.as_ref().unwrap();
    let verdict: Verdict = evaluate(find("disk-free").unwrap(), facts, None, &Scaled).unwrap();
    let mut findings = verdict.findings.into_iter();
    findings.find(|f| f.object == point).map(|f| f.level)
}

#[tokio::test]
async fn disks_of_wal_and_log_that_fill_up_are_found() {
    if !Mount::allowed() {
        return;
    }
    let mut cluster = Cluster::start(&Setup::default()).await;
    let directory = cluster.socket_directory().to_owned();
    let like = cluster.data_directory().join("PG_VERSION");
    let wal = Mount::new(directory.join("wal"), 80, &like, "");
    let log = Mount::new(directory.join("log disk"), 8, &like, "");
    let settings = [
        ("logging_collector", "on"),
        ("log_directory", log.path().to_str().unwrap()),
    ];
    cluster.stop(Stop::Fast).await;
    wal.replace(&cluster.data_directory().join("pg_wal"));
    let configuration = cluster.data_directory().join("postgresql.conf");
    let mut text = fs::read_to_string(&configuration).unwrap();
    for (name, value) in settings {
        text.push_str(&format!("{name} = '{value}'\n"));
    }
    fs::write(&configuration, text).unwrap();
    cluster.start_again().await;
    let mut watch = Watch::start(&cluster).await;

    fills(&mut watch, "wal-disk", &wal, [75, 95]).await;
    fills(&mut watch, "log-disk", &log, [85, 97]).await;
    // The data directory is elsewhere and as it was.
    for mount in [&wal, &log] {
        mount.fill(97);
        let verdict = watch.verdict("disk-space").await;
        let point = mount.path().to_str().unwrap();
        assert!(
            verdict.measures.iter().all(|m| m.object != point),
            "{verdict:#?}"
        );
        mount.clear();
    }
}
