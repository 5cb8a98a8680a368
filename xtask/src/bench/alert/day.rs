//! A day of a warehouse that is well: idle, hourly loads, a batch at night; nobody may be woken.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pawang_testbed::{Cluster, Setup};
use serde_json::Value;

use super::replay::{figure, replay};
use super::{Goal, Part};

const DATABASE: &str = "mart";
/// How often the server is looked at while it is recorded.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// What is recorded of each phase at least.
const PHASE_MIN: Duration = Duration::from_secs(60);
/// How often the batch runs while it is recorded.
const BATCHES: usize = 3;
/// As `docs/` and the checks themselves advise for a warehouse of this size.
const SETTINGS: [(&str, &str); 24] = [
    ("shared_preload_libraries", "pg_stat_statements"),
    ("track_io_timing", "on"),
    ("track_functions", "pl"),
    ("archive_mode", "on"),
    ("track_wal_io_timing", "on"),
    ("wal_buffers", "64MB"),
    ("shared_buffers", "512MB"),
    ("work_mem", "64MB"),
    ("maintenance_work_mem", "256MB"),
    ("effective_cache_size", "2GB"),
    ("max_wal_size", "8GB"),
    ("min_wal_size", "1GB"),
    ("checkpoint_timeout", "15min"),
    ("checkpoint_completion_target", "0.9"),
    ("random_page_cost", "1.1"),
    ("autovacuum_naptime", "10s"),
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("logging_collector", "on"),
    ("log_checkpoints", "on"),
    ("log_lock_waits", "on"),
    ("log_autovacuum_min_duration", "1min"),
    ("idle_in_transaction_session_timeout", "10min"),
];
const SCHEMA: &str = "
CREATE EXTENSION pg_stat_statements;
CREATE SCHEMA dwh;
CREATE TABLE dwh.staging (id bigint PRIMARY KEY, day date NOT NULL, unit integer NOT NULL, amount numeric NOT NULL);
CREATE TABLE dwh.fact (id bigint PRIMARY KEY, day date NOT NULL, unit integer NOT NULL, amount numeric NOT NULL);
CREATE INDEX fact_day ON dwh.fact (day);
CREATE TABLE dwh.daily (day date, unit integer, amount numeric NOT NULL, PRIMARY KEY (day, unit));
INSERT INTO dwh.fact
SELECT n, date '2026-01-01' + (n % 300)::integer, (n % 97)::integer, n % 1000 FROM generate_series(1, 1000000) AS n;
GRANT pg_read_all_data TO monitor;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_hba_file_rules() TO monitor;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_show_all_file_settings() TO monitor";
/// What people do all day.
const REPORT: &str = "
SELECT unit, sum(amount) FROM dwh.fact WHERE day BETWEEN date '2026-03-01' AND date '2026-03-07' GROUP BY unit";
const HOURLY: [&str; 4] = [
    "INSERT INTO dwh.staging
     SELECT n, date '2026-11-21', n % 97, n % 1000 FROM generate_series(900001, 930000) AS n",
    MERGE,
    AGGREGATE,
    "TRUNCATE dwh.staging",
];
const BATCH: [&str; 8] = [
    "INSERT INTO dwh.staging
     SELECT n, date '2026-01-01' + (n % 300), n % 97, n % 1000 FROM generate_series(700001, 1100000) AS n",
    "ANALYZE dwh.staging",
    MERGE,
    AGGREGATE,
    "CREATE INDEX CONCURRENTLY fact_unit ON dwh.fact (unit, day)",
    "VACUUM (ANALYZE) dwh.fact",
    "DROP INDEX dwh.fact_unit",
    "TRUNCATE dwh.staging",
];
const MERGE: &str = "
MERGE INTO dwh.fact AS f USING dwh.staging AS s ON f.id = s.id
WHEN MATCHED THEN UPDATE SET amount = s.amount
WHEN NOT MATCHED THEN INSERT (id, day, unit, amount) VALUES (s.id, s.day, s.unit, s.amount)";
const AGGREGATE: &str = "
INSERT INTO dwh.daily SELECT day, unit, sum(amount) FROM dwh.fact GROUP BY day, unit
ON CONFLICT (day, unit) DO UPDATE SET amount = excluded.amount";

/// Records the three phases of a server and replays them as a day.
pub(super) async fn measure(binary: &Path) -> Result<Part, String> {
    let cluster = start().await;
    let recorder = Recorder::new(&cluster, binary)?;
    // The first look has no rates.
    recorder.look().await?;
    println!("idle");
    recorder.record("idle", reports(&cluster)).await?;
    println!("an hourly load");
    recorder
        .record("hourly", loads(&cluster, &HOURLY, 1))
        .await?;
    println!("the batch of a night");
    recorder
        .record("batch", loads(&cluster, &BATCH, BATCHES))
        .await?;
    let table = replay("day", &recorder.folder)?;
    let alerts = figure(&table, "alerts")?;
    Ok(Part {
        title: "Alerts: a healthy day",
        text: format!(
            "A server that is set up as the checks advise, with a fact table of a million rows, is looked at every {} \
             seconds while it is idle but for a report, while it loads 30,000 rows, and while it loads and merges 400,000 \
             rows, aggregates, builds an index and vacuums. What was seen is played back at its own speed as 24 hours: \
             the batch from 01:00 to 05:00, ten minutes of every other hour loading, else idle. All checks but \
             `md5-passwords` (for superusers) and `hba-trust` (this server trusts its machine); built-in rules.\n\n{table}",
            LOOK_EVERY.as_secs()
        ),
        goals: vec![Goal {
            text: "no alert",
            reached: format!("{alerts:.0}"),
            met: alerts == 0.0,
        }],
    })
}

async fn start() -> Cluster {
    let cluster = Cluster::start(&Setup {
        settings: &SETTINGS,
        ..Setup::default()
    })
    .await;
    cluster.monitor().await;
    let create = format!("CREATE DATABASE {DATABASE}");
    cluster.sql("postgres", &create).await;
    cluster.sql(DATABASE, SCHEMA).await;
    let archive = cluster.folder("archive");
    let file = format!("{}/%f", archive.display());
    let archive_command = format!("test ! -f {file} && cp %p {file} && sync {file}");
    cluster.set("archive_command", Some(&archive_command)).await;
    for alone in ["VACUUM (ANALYZE)", "CHECKPOINT"] {
        cluster.sql(DATABASE, alone).await;
    }
    cluster
}

/// Asks for a report now and then.
async fn reports(cluster: &Cluster) {
    let begin = Instant::now();
    while begin.elapsed() < PHASE_MIN {
        cluster.sql(DATABASE, REPORT).await;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Loads, every statement in a transaction of its own.
async fn loads(cluster: &Cluster, statements: &[&str], times: usize) {
    let begin = Instant::now();
    let mut done = 0;
    while done < times || begin.elapsed() < PHASE_MIN {
        for statement in statements {
            cluster.sql(DATABASE, statement).await;
        }
        done += 1;
    }
}

/// Looks at the server with the program itself, and writes down what it says.
struct Recorder {
    binary: PathBuf,
    folder: PathBuf,
}

impl Recorder {
    fn new(cluster: &Cluster, binary: &Path) -> Result<Recorder, String> {
        let folder = cluster.folder("record");
        let url = cluster.url_as("monitor", DATABASE);
        // Only superusers see passwords: every look would be an error in the server's log. And throw-away servers let
        // in whoever is on their machine.
        let config = format!(
            "state_directory = \"state\"\n[[instance]]\nname = \"dwh-1\"\nurl = \"{url}\"\ndatabases = [\"{DATABASE}\"]\n\
             [check.md5-passwords]\nenabled = false\n[check.hba-trust]\nenabled = false\n"
        );
        std::fs::write(folder.join("pawang.toml"), config)
            .map_err(|error| format!("could not write below {folder:?}: {error}"))?;
        Ok(Recorder {
            binary: binary.to_owned(),
            folder,
        })
    }

    /// Looks until the load is over.
    async fn record(&self, phase: &str, load: impl Future<Output = ()>) -> Result<(), String> {
        let path = self.folder.join(format!("{phase}.jsonl"));
        let wrong = |error: std::io::Error| format!("could not write {path:?}: {error}");
        let mut file = File::create(&path).map_err(wrong)?;
        let looking = async {
            loop {
                let begin = Instant::now();
                let look = self.look().await?;
                writeln!(file, "{look}").map_err(wrong)?;
                tokio::time::sleep(LOOK_EVERY.saturating_sub(begin.elapsed())).await;
            }
        };
        tokio::select! {
            () = load => Ok(()),
            broken = looking => broken,
        }
    }

    /// Returns one evaluation.
    async fn look(&self) -> Result<Value, String> {
        let mut command = Command::new(&self.binary);
        command
            .args(["check", "-i", "dwh-1", "--json"])
            .current_dir(&self.folder)
            .stderr(Stdio::inherit());
        // The load must go on meanwhile.
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("could not start {:?}: {error}", self.binary))?;
        let mut answer: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("the answer is not JSON: {error}"))?;
        Ok(answer["data"][0].take())
    }
}
