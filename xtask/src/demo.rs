//! `cargo xtask demo`: a demo warehouse with load and with faults, and the main job run on it.
//!
//! Everything it starts is in one temporary folder, which goes when the task ends or is killed.

use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use pawang_testbed::{Cluster, Setup, until};
use serde_json::Value;

use crate::run::{self, typed};
use crate::system::{Need, provide};
use crate::test::build_release;

const DATABASE: &str = "data_mart";
const SCHEMA: &str = include_str!("../demo/schema.sql");
const DATA: &str = include_str!("../demo/data.sql");
const FAULTS: &str = include_str!("../demo/faults.sql");
const CONFIG: &str = include_str!("../demo/pawang.toml");
/// Each session of the load ends by itself after so many rounds, about an hour.
const ROUNDS_MAX: u32 = 20_000;
/// Between two rounds of a session, so that the load leaves a processor to the rest.
const PAUSE: Duration = Duration::from_millis(150);
/// How much load there is between the two samples that rates are made of.
const TRANSACTIONS: u64 = 60;
/// The last backup of the demo is so old.
const BACKUP_AGE: Duration = Duration::from_secs(40 * 3_600);
const BACKUP_BYTES: u64 = 5_000_000;
/// How much of the operations log is shown.
const PAGE_LINES: usize = 30;
/// Sessions that wait: for a row, for a table that the first one has read, and behind that one.
const BLOCKED: [&str; 3] = [
    "UPDATE dim.dim_unit_kerja SET nama = nama WHERE unit_id = 7",
    "ALTER TABLE dim.gaji ADD COLUMN tunjangan numeric",
    "SELECT * FROM dim.gaji",
];
const WRITE: &str = "
INSERT INTO stg.surat (nomor, tanggal, kode_unit, nip, kode_jenis)
SELECT format('L%s/%s', txid_current(), n), current_date, 'U01', lpad((19700000 + n)::text, 18, '0'), 'J3'
  FROM generate_series(1, 20) AS n";
const READ: &str = "
SELECT w.tahun, w.bulan, count(*), avg(f.hari_proses)
  FROM fact.fact_surat AS f
  JOIN dim.dim_waktu AS w USING (waktu_id)
 WHERE f.waktu_id > 20260101
 GROUP BY w.tahun, w.bulan";
/// Sorts more than `work_mem` holds.
const SPILL: &str = "SELECT * FROM fact.fact_layanan ORDER BY nilai, jam_selesai OFFSET 99000";
const SETTINGS: [(&str, &str); 11] = [
    ("shared_preload_libraries", "pg_stat_statements"),
    ("track_io_timing", "on"),
    ("archive_mode", "on"),
    ("archive_command", "false"),
    ("wal_level", "replica"),
    ("max_prepared_transactions", "4"),
    ("autovacuum_naptime", "5s"),
    ("work_mem", "1MB"),
    ("fsync", "on"),
    ("logging_collector", "on"),
    ("log_directory", "log"),
];

/// What was broken on purpose, and the checks of which one must tell.
const FAULTS_TOLD: [(&str, &[&str]); 24] = [
    ("session idle in transaction", &["idle-in-transaction"]),
    ("sessions blocked, root blocker named", &["blocking"]),
    ("sessions queued behind DDL", &["lock-queue"]),
    ("forgotten prepared transaction", &["prepared-transactions"]),
    ("bloated table", &["table-bloat"]),
    ("bloated index", &["index-bloat"]),
    ("unused index", &["unused-index"]),
    ("invalid index", &["invalid-index"]),
    ("duplicate index", &["duplicate-index"]),
    ("big table never analysed", &["never-analyzed"]),
    (
        "autovacuum switched off for a table",
        &["autovacuum-disabled-tables"],
    ),
    (
        "sequence near its end",
        &["sequence-exhaustion", "integer-key-exhaustion"],
    ),
    ("table without a primary key", &["primary-key"]),
    ("constraint not validated", &["not-valid-constraints"]),
    ("trigger disabled", &["disabled-triggers"]),
    ("superuser named pgbouncer", &["superusers"]),
    ("PUBLIC may write a table", &["public-grants"]),
    ("PUBLIC may create in schema public", &["public-create"]),
    ("password expired", &["password-expiry"]),
    ("inactive slot holds WAL", &["slot-inactive"]),
    ("expected standby missing", &["expected-standbys"]),
    ("archiver fails", &["archiver-failing"]),
    ("load failed", &["load-failed"]),
    ("backup too old", &["backup-age"]),
];

/// Prepares everything, runs the main job, and with `keep` stays until Enter.
pub(crate) fn run(keep: bool) -> Result<(), String> {
    provide(&[Need::Server])?;
    let binary = build_release()?;
    let begin = Instant::now();
    println!("\n=== A warehouse with load and with faults to find");
    run::runtime()?.block_on(async {
        let setup = Setup {
            settings: &SETTINGS,
            ..Setup::default()
        };
        let cluster = Cluster::start(&setup).await;
        fill(&cluster).await;
        let folder = folder(&cluster)?;
        // An application that began to change something and then went to lunch.
        let change = "SET application_name = 'aplikasi-surat'; \
                      SELECT * FROM dim.gaji; \
                      UPDATE dim.dim_unit_kerja SET nama = nama WHERE unit_id = 7";
        let _blocker = cluster.hold(DATABASE, change).await;
        let story = async {
            tell(&cluster, &binary, &folder).await?;
            println!("\n({:.0} s since the build)", begin.elapsed().as_secs_f64());
            if keep {
                stay(&binary, &folder).await?;
            }
            Ok(())
        };
        tokio::select! {
            result = story => result,
            () = sessions(&cluster) => Err("the load ended before the story".to_owned()),
        }
    })
}

/// Creates the schema, the data and the faults.
async fn fill(cluster: &Cluster) {
    let place = cluster.socket_directory().display();
    println!("PostgreSQL {} in {place}", cluster.version());
    cluster.monitor().await;
    let create = format!("CREATE DATABASE {DATABASE}");
    cluster.sql("postgres", &create).await;
    for (what, sql) in [("schema", SCHEMA), ("data", DATA), ("faults", FAULTS)] {
        println!("filling in: {what}");
        cluster.sql(DATABASE, sql).await;
    }
    // Employees write more than one letter, so this fails and leaves an index that is not valid.
    let unique = "CREATE UNIQUE INDEX CONCURRENTLY fact_surat_satu ON fact.fact_surat (pegawai_id)";
    let refused = cluster.connect(DATABASE).await.batch_execute(unique).await;
    assert!(
        refused.is_err(),
        "the data has an employee with two letters"
    );
    for statement in [
        "VACUUM etl.antrean",
        "ANALYZE etl.antrean",
        "BEGIN; INSERT INTO stg.layanan VALUES ('x'); PREPARE TRANSACTION 'layanan-2026'",
        "SELECT pg_switch_wal()",
    ] {
        cluster.sql(DATABASE, statement).await;
    }
    until("the archiver has failed", async || {
        let failed = "SELECT 1 FROM pg_stat_archiver WHERE failed_count > 0";
        !cluster.sql("postgres", failed).await.is_empty()
    })
    .await;
}

/// Writes the configuration and an old backup into the cluster's own folder, and returns that.
fn folder(cluster: &Cluster) -> Result<PathBuf, String> {
    let folder = cluster.socket_directory().to_owned();
    let told =
        |error: io::Error| format!("could not write below \"{}\": {error}", folder.display());
    for name in ["state", "backups"] {
        cluster.folder(name);
    }
    let backup = File::create(folder.join("backups/data_mart_1.dump")).map_err(told)?;
    backup.set_len(BACKUP_BYTES).map_err(told)?;
    backup
        .set_modified(SystemTime::now() - BACKUP_AGE)
        .map_err(told)?;
    let url = cluster.url_as("monitor", DATABASE);
    let config = CONFIG
        .replace("@FOLDER@", &folder.to_string_lossy())
        .replace("@URL@", &url);
    fs::write(folder.join("pawang.toml"), config).map_err(told)?;
    Ok(folder)
}

/// Runs the main job as a person would, with its real output.
async fn tell(cluster: &Cluster, binary: &Path, folder: &Path) -> Result<(), String> {
    until("sessions are blocked", async || {
        let blocked = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        cluster.sql("postgres", blocked).await.len() >= BLOCKED.len()
    })
    .await;
    println!("\n=== The first look; rates need two of them");
    println!("$ cd {}", folder.display());
    pawang(
        binary,
        folder,
        &["check", "-i", "demo", "--quiet"],
        Stdio::null(),
    )
    .await?;
    load(cluster).await;
    println!("\n=== The main job");
    // On a terminal it is text anyway; elsewhere it would be tab-separated for programs.
    let text: &[&str] = if io::stdout().is_terminal() {
        &[]
    } else {
        &["--format", "text"]
    };
    let show = async |words: &[&str], how: &[&str]| {
        pawang(binary, folder, &[words, how].concat(), Stdio::inherit()).await
    };
    show(&["check", "-i", "demo"], text).await?;
    println!("\n=== The daily checklist, with its page for the operations log");
    let log = [
        "--append-log",
        "daily.log",
        "--operations-log",
        "operations-log.md",
    ];
    let daily = ["check", "-i", "demo", "--profile", "daily"];
    show(&[&daily[..], &log].concat(), text).await?;
    println!("\n$ head -n {PAGE_LINES} operations-log.md");
    let page = fs::read_to_string(folder.join("operations-log.md"))
        .map_err(|error| format!("the operations log was not written: {error}"))?;
    for line in page.lines().take(PAGE_LINES) {
        println!("{line}");
    }
    println!("\n=== For the monitoring system, and for the meeting");
    let check = ["check", "-i", "demo"];
    show(&check, &["connections", "--format", "nagios"]).await?;
    show(&check, &["--format", "html", "--output", "report.html"]).await?;
    show(&check, &["--json", "--output", "answer.json"]).await?;
    let answer = fs::read_to_string(folder.join("answer.json"))
        .map_err(|error| format!("the answer was not written: {error}"))?;
    count(&answer)?;
    println!("\n=== A backup, and what it is worth");
    let grant = "ALTER ROLE monitor REPLICATION";
    cluster.sql("postgres", grant).await;
    for words in [
        &["backup", "setup", "-i", "demo", "--repo", "repository"][..],
        &["backup", "list", "-i", "demo"],
        &["backup", "check", "-i", "demo"],
    ] {
        show(words, &[]).await?;
    }
    Ok(())
}

/// Tells which of the faults were found.
fn count(answer: &str) -> Result<(), String> {
    let answer: Value =
        serde_json::from_str(answer).map_err(|error| format!("the answer is not JSON: {error}"))?;
    let verdicts = answer["data"][0]["verdicts"].as_array();
    let told = |check: &str| {
        verdicts.into_iter().flatten().any(|verdict| {
            let findings = verdict["findings"].as_array();
            let seen = |finding: &Value| finding["level"] != "unknown";
            verdict["check"] == check && findings.into_iter().flatten().any(seen)
        })
    };
    println!("\n=== What was broken on purpose, and what the report says about it");
    let mut found = 0;
    for (fault, checks) in FAULTS_TOLD {
        let by: Vec<&str> = checks.iter().copied().filter(|check| told(check)).collect();
        found += usize::from(!by.is_empty());
        let by = if by.is_empty() {
            "not found".to_owned()
        } else {
            by.join(", ")
        };
        println!("{fault:<40} {by}");
    }
    println!("{found} of {} faults found", FAULTS_TOLD.len());
    Ok(())
}

/// Runs the program in the demo's folder; findings and things not seen are no failures.
async fn pawang(binary: &Path, folder: &Path, words: &[&str], output: Stdio) -> Result<(), String> {
    let mut command = Command::new(binary);
    command.args(words).current_dir(folder).stdout(output);
    let line = typed(&command);
    println!("$ {line}");
    // The load must go on meanwhile.
    let status = tokio::task::spawn_blocking(move || command.status()).await;
    let status = status
        .map_err(|error| error.to_string())?
        .map_err(|error| format!("could not start \"{line}\": {error}"))?;
    match status.code() {
        Some(0 | 1 | 3) => Ok(()),
        _ => Err(format!("\"{line}\" ended with {status}")),
    }
}

/// Waits until the load has done something.
async fn load(cluster: &Cluster) {
    let committed = async || -> u64 {
        let sql = format!("SELECT xact_commit FROM pg_stat_database WHERE datname = '{DATABASE}'");
        let rows = cluster.sql("postgres", &sql).await;
        rows[0][0]
            .as_deref()
            .and_then(|count| count.parse().ok())
            .unwrap_or(0)
    };
    let before = committed().await;
    until("the load has committed", async || {
        committed().await >= before + TRANSACTIONS
    })
    .await;
}

/// Stays until Enter, or until Ctrl-C takes everything with it.
async fn stay(binary: &Path, folder: &Path) -> Result<(), String> {
    println!("\nIn another terminal:");
    println!("  cd {}", folder.display());
    for words in [
        "check -i demo -v",
        "check -i demo blocking index-bloat",
        "explain blocking --sql",
        "check list",
    ] {
        println!("  {} {words}", binary.display());
    }
    println!("  report.html and operations-log.md are there too");
    println!("Enter or Ctrl-C ends the demo and removes all of it.");
    let enter = tokio::task::spawn_blocking(|| io::stdin().read_line(&mut String::new()));
    let read = enter.await.map_err(|error| error.to_string())?;
    read.map(|_| ())
        .map_err(|error| format!("could not wait for Enter: {error}"))
}

/// Keeps the load going, and the sessions that wait for the one that is idle.
async fn sessions(cluster: &Cluster) {
    let blocked = async |sql: &str| {
        let client = cluster.connect(DATABASE).await;
        // It ends with the demo only.
        let _ended = client.batch_execute(sql).await;
    };
    let [first, second, third] = BLOCKED;
    let writers = async { tokio::join!(session(cluster, WRITE), session(cluster, WRITE)) };
    let readers = async { tokio::join!(session(cluster, READ), session(cluster, SPILL)) };
    let loader = session(cluster, "CALL etl.master_etl()");
    let behind = async {
        until("the table is waited for", async || {
            let queue =
                "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'dim.gaji'::regclass";
            !cluster.sql(DATABASE, queue).await.is_empty()
        })
        .await;
        blocked(third).await;
    };
    let waiting = async { tokio::join!(blocked(first), blocked(second), behind) };
    tokio::join!(writers, readers, loader, waiting);
}

/// Repeats a statement until it has done its share.
async fn session(cluster: &Cluster, sql: &str) {
    let client = cluster.connect(DATABASE).await;
    for _ in 0..ROUNDS_MAX {
        if client.batch_execute(sql).await.is_err() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
