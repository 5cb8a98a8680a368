//! Faults of the group `backup`: silent when healthy, found when injected, gone when cleared.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use jiff::SignedDuration;
use pawang_check::{Check, Policy, Resolved, backup_columns, find};
use pawang_collect::{BackupKind, BackupPlace, Question};
use pawang_core::{Blind, Level, Outcome};
use pawang_testbed::{Cluster, Setup, until};

use crate::watch::{Watch, evaluate, now};

const SOURCES: [&str; 4] = ["backup-age", "backup-failed", "backup-size", "backup-count"];
const WHOLE: u64 = 5 << 20;

/// Writes a backup of that size as if it had been finished so many hours ago.
fn write(folder: &Path, name: &str, size: u64, hours_ago: i64) {
    let file = File::create(folder.join(name)).unwrap();
    file.set_len(size).unwrap();
    let at = now() - SignedDuration::from_hours(hours_ago);
    file.set_modified(at.into()).unwrap();
}

fn place(folder: &Path) -> BackupPlace {
    BackupPlace {
        name: "backup:nightly".to_owned(),
        kind: BackupKind::Directory {
            path: folder.to_owned(),
            pattern: Some("dw_*.sql.gz".to_owned()),
            minimum_bytes: 1_000,
        },
    }
}

#[tokio::test]
async fn backups_in_a_directory() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    let verdict = watch.verdict("backup-age").await;
    assert!(
        matches!(verdict.findings[0].blind, Some(Blind::NotConfigured { .. })),
        "{verdict:#?}"
    );
    assert_eq!(
        watch.verdict("backup-size").await.outcome,
        Outcome::NotApplicable
    );

    let folder = cluster.socket_directory().join("backups");
    watch.backups = vec![place(&folder)];
    for id in SOURCES {
        let finding = watch.found(id, Level::Unknown, "nightly").await;
        assert!(
            finding.title.starts_with("could not read"),
            "{}",
            finding.title
        );
    }
    cluster.folder("backups");
    watch.found("backup-age", Level::Critical, "nightly").await;
    watch
        .found("backup-count", Level::Critical, "nightly")
        .await;
    write(&folder, "dw_1.sql.gz", WHOLE, 73);
    watch.found("backup-count", Level::Warning, "nightly").await;
    watch.found("backup-age", Level::Critical, "nightly").await;
    write(&folder, "dw_2.sql.gz", WHOLE + 100_000, 49);
    watch.found("backup-age", Level::Warning, "nightly").await;
    write(&folder, "dw_3.sql.gz", WHOLE + 200_000, 25);
    for id in SOURCES {
        watch.silent(id).await;
    }
    // Document 004's script: pg_dump fails, gzip writes 20 bytes, and the job says that all is well.
    write(&folder, "dw_4.sql.gz", 20, 1);
    let finding = watch
        .found("backup-failed", Level::Critical, "nightly")
        .await;
    assert!(
        finding.title.contains("dw_4.sql.gz") && finding.title.contains("20 B"),
        "{}",
        finding.title
    );
    watch.found("backup-size", Level::Critical, "nightly").await;
    watch.silent("backup-age").await;
    // A dump that lost most of its tables is whole by its size alone.
    write(&folder, "dw_4.sql.gz", WHOLE / 2, 1);
    watch.silent("backup-failed").await;
    watch.found("backup-size", Level::Warning, "nightly").await;
    write(&folder, "dw_4.sql.gz", WHOLE, 1);
    // One that is still being written is not judged yet.
    write(&folder, "dw_5.sql.gz", 30, 0);
    for id in SOURCES {
        watch.silent(id).await;
    }
}

#[tokio::test]
async fn backups_that_a_query_tells() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    let setup = "CREATE TABLE backups (label text, finished_at timestamptz, size_bytes bigint, ok bool); GRANT SELECT ON backups TO monitor;
        INSERT INTO backups SELECT 'b' || g, now() - g * interval '1 day' + interval '2 hours', 100000000, true FROM generate_series(1, 5) AS g";
    cluster.sql("postgres", setup).await;
    watch.questions = vec![Question {
        name: "backup:sql-1".to_owned(),
        database: None,
        sql: "SELECT label, finished_at, size_bytes, ok FROM public.backups".to_owned(),
        columns: backup_columns(),
        constants: Vec::new(),
        timeout: Duration::from_secs(5),
    }];
    for id in SOURCES {
        watch.silent(id).await;
    }
    cluster
        .sql(
            "postgres",
            "INSERT INTO backups VALUES ('b0', now(), 100000000, false)",
        )
        .await;
    watch.found("backup-failed", Level::Critical, "sql-1").await;
    cluster
        .sql("postgres", "DELETE FROM backups WHERE NOT ok")
        .await;
    cluster
        .sql(
            "postgres",
            "UPDATE backups SET finished_at = finished_at + interval '2 days'",
        )
        .await;
    let finding = watch.found("backup-age", Level::Unknown, "sql-1").await;
    assert!(finding.title.contains("in the future"), "{}", finding.title);
    cluster
        .sql("postgres", "REVOKE SELECT ON backups FROM monitor")
        .await;
    let finding = watch.found("backup-age", Level::Unknown, "sql-1").await;
    assert!(
        finding.title.starts_with("no privilege"),
        "{}",
        finding.title
    );
}

#[tokio::test]
async fn changes_that_a_quiet_server_keeps() {
    let cluster = Cluster::start(&Setup {
        settings: &[
            ("archive_mode", "on"),
            ("archive_command", "test -f %p"),
            ("archive_timeout", "5min"),
        ],
        ..Setup::default()
    })
    .await;
    let mut watch = Watch::start(&cluster).await;
    watch.silent("recovery-point").await;
    for (timeout, level) in [("0", Level::Info), ("1h", Level::Warning)] {
        cluster.set("archive_timeout", Some(timeout)).await;
        watch.found("recovery-point", level, "").await;
    }
    cluster.set("archive_timeout", None).await;
    watch.silent("recovery-point").await;
}

/// Any duration is too long.
struct Impatient;

impl Policy for Impatient {
    fn resolve(&self, check: &Check<'_>, _: Option<&str>, _: Option<&str>) -> Resolved {
        let mut limits = check.defaults();
        limits.warning = Some(0.0);
        Resolved {
            enabled: true,
            limits,
        }
    }
}

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "a base backup needs the client program of the server"
)]
async fn a_base_backup_that_takes_long() {
    let program = Path::new("/usr/lib/postgresql/15/bin/pg_basebackup");
    if !program.exists() {
        return;
    }
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    watch.silent("backup-stuck").await;
    let mut child = Command::new(program)
        .args([
            "-c",
            "fast",
            "-U",
            "postgres",
            "--max-rate=32k",
            "-X",
            "none",
            "-D",
        ])
        .arg(cluster.socket_directory().join("base"))
        .arg("-h")
        .arg(cluster.socket_directory())
        .args(["-p", &cluster.port().to_string()])
        .spawn()
        .unwrap();
    let ask = "SELECT count(*) FROM pg_stat_progress_basebackup WHERE phase LIKE 'streaming%'";
    until("the base backup to run", async || {
        cluster.sql("postgres", ask).await[0][0].as_deref() == Some("1")
    })
    .await;
    watch.look(&["backup-stuck"]).await;
    let facts = watch.older.as_ref().unwrap();
    let verdict = evaluate(find("backup-stuck").unwrap(), facts, None, &Impatient).unwrap();
    assert_eq!(verdict.level, Level::Warning, "{verdict:#?}");
    assert!(
        verdict.findings[0].object.starts_with("pg_basebackup"),
        "{verdict:#?}"
    );
    watch.silent("backup-stuck").await;
    cluster.sql("postgres", &verdict.findings[0].remedy).await;
    child.wait().unwrap();
    until("the base backup to end", async || {
        cluster
            .sql(
                "postgres",
                "SELECT count(*) FROM pg_stat_progress_basebackup",
            )
            .await[0][0]
            .as_deref()
            == Some("0")
    })
    .await;
    watch.silent("backup-stuck").await;
}
