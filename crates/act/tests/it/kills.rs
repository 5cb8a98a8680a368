//! kill -9 at any moment: nothing is left unexplained, the journal holds, and the next run settles what there is.
#![expect(
    clippy::disallowed_methods,
    reason = "the one who is killed is this program once more, told by variables what to do"
)]

use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pawang_act::{Apply, Effects, Journal, JsonLines, Progress, Step, apply, settle};
use pawang_core::plan::{Task, VacuumOptions};
use pawang_testbed::{Cluster, Setup, until, versions};
use tokio::sync::watch;

use crate::world::{DATABASE, clock, limits, plan, relation, sessions, target};

const URL: &str = "PAWANG_ACT_KILLS_URL";
const JOURNAL: &str = "PAWANG_ACT_KILLS_JOURNAL";
const OIDS: &str = "PAWANG_ACT_KILLS_OIDS";
const COUNT: &str = "PAWANG_ACT_KILLS";

const KILLS: u64 = 20;
/// A kill comes so long after the first action has begun, at most.
const LATEST_MS: u64 = 500;

/// The program that is killed: works on one table until then.
#[tokio::test]
async fn child() {
    let Ok(url) = std::env::var(URL) else {
        return;
    };
    let target = target(&url);
    let journal = JsonLines::open(Path::new(&std::env::var(JOURNAL).unwrap())).unwrap();
    let tasks: Vec<Task> = serde_json::from_str(&std::env::var(OIDS).unwrap()).unwrap();
    let plan = plan(&target, tasks).await;
    let watch = |progress: &Progress| {
        if matches!(progress.step, Step::Begun { .. }) {
            let mut stdout = std::io::stdout().lock();
            // Whoever reads may be gone already.
            let _told = writeln!(stdout, "begun").and_then(|()| stdout.flush());
        }
    };
    let how = Apply {
        target: &target,
        limits: &limits(),
        journal: &journal,
        effects: Effects::Real,
        actor: "cli:test",
        why: "to be killed",
        lanes: 1,
        until: None,
        stop: watch::Sender::new(false).subscribe(),
        clock,
        allow_high_risk: true,
        sessions: &sessions(),
        watch: &watch,
    };
    apply(&plan, &how).await.unwrap();
}

/// Starts the program that works on tasks until it is killed.
pub(crate) fn start(url: &str, journal: &Path, tasks: &[Task]) -> Child {
    // Not its path: this very program is started also when a newer build has replaced it meanwhile.
    Command::new("/proc/self/exe")
        .args(["--exact", "kills::child", "--nocapture", "--test-threads=1"])
        .env(URL, url)
        .env(JOURNAL, journal)
        .env(OIDS, serde_json::to_string(tasks).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Returns what the program does that is killed next.
async fn tasks(cluster: &Cluster, kill: u64) -> Vec<Task> {
    let table = relation(cluster, "dw", "fakta").await;
    let index = relation(cluster, "dw", "fakta_v").await;
    let vacuum = Task::Vacuum {
        table: table.clone(),
        options: VacuumOptions::default(),
    };
    let reindex = Task::Reindex { index, table };
    let detach = Task::DetachPartition {
        parent: relation(cluster, "dw", "harian").await,
        partition: relation(cluster, "dw", "harian_1").await,
        concurrently: true,
    };
    match kill % 4 {
        0 => vec![vacuum, reindex],
        3 => vec![detach, reindex],
        _ => vec![reindex],
    }
}

async fn tables(cluster: &Cluster) {
    cluster
        .sql("postgres", &format!("CREATE DATABASE \"{DATABASE}\""))
        .await;
    cluster
        .sql(
            DATABASE,
            "CREATE SCHEMA dw; CREATE TABLE dw.fakta (n int, v text) WITH (autovacuum_enabled = off);
            INSERT INTO dw.fakta SELECT n, md5(n::text) FROM generate_series(1, 100000) n;
            CREATE INDEX fakta_v ON dw.fakta (v);
            CREATE TABLE dw.harian (n int) PARTITION BY RANGE (n);
            CREATE TABLE dw.harian_1 PARTITION OF dw.harian FOR VALUES FROM (1) TO (2)",
        )
        .await;
}

async fn number(cluster: &Cluster, sql: &str) -> u64 {
    let rows = cluster.sql(DATABASE, sql).await;
    rows[0][0].as_ref().unwrap().parse().unwrap()
}

/// Returns how many indexes are invalid, how many partitions are half detached, and how many indexes the table has.
async fn leftovers(cluster: &Cluster) -> [u64; 3] {
    let invalid =
        "SELECT count(*) FROM pg_index WHERE NOT (indisvalid AND indisready AND indislive)";
    let pending = "SELECT count(*) FROM pg_inherits WHERE inhdetachpending";
    let indexes = "SELECT count(*) FROM pg_index WHERE indrelid = 'dw.fakta'::regclass";
    [
        number(cluster, invalid).await,
        number(cluster, pending).await,
        number(cluster, indexes).await,
    ]
}

/// Runs the program and kills it somewhere in its work.
fn run_and_kill(url: &str, path: &Path, tasks: &[Task], after: Duration) {
    let mut child = start(url, path, tasks);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let begun = lines
        .by_ref()
        .map_while(Result::ok)
        .any(|line| line.ends_with("begun"));
    assert!(begun, "the program begins to work");
    let since = Instant::now();
    while since.elapsed() < after {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn a_killed_run_is_settled_by_the_next() {
    let cluster = Cluster::start(&Setup {
        version: versions().pop(),
        ..Setup::default()
    })
    .await;
    tables(&cluster).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let url = cluster.url(DATABASE);
    let kills = std::env::var(COUNT).map_or(KILLS, |count| count.parse().unwrap());
    let seed = RandomState::new().hash_one(0);
    let (mut open, mut cleaned) = (0, 0);
    for kill in 0..kills {
        let after = RandomState::new().hash_one(seed ^ kill) % LATEST_MS;
        let tasks = tasks(&cluster, kill).await;
        // Every other time somebody reads meanwhile: then concurrent work is killed while it waits in its middle.
        let read = "SELECT FROM dw.fakta; SELECT FROM dw.harian";
        let reader = match kill % 2 {
            1 => Some(cluster.hold(DATABASE, read).await),
            _ => None,
        };
        run_and_kill(&url, &path, &tasks, Duration::from_millis(after));
        until("the killed program's sessions are gone", async || {
            let sql =
                "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pawang:%'";
            number(&cluster, sql).await == 0
        })
        .await;
        drop(reader);
        let journal = JsonLines::open(&path).unwrap();
        assert_eq!(
            journal.verify().unwrap().1,
            None,
            "kill {kill} after {after} ms"
        );
        open += journal.open_intents().unwrap().len();
        // The server's processes of the killed program end by themselves; until then nothing is settled.
        let target = target(&url);
        until("everything is settled", async || {
            for settled in settle(&target, &journal, clock).await.unwrap() {
                cleaned += settled.sql.len();
                assert!(!settled.found.is_empty());
            }
            journal.open_intents().unwrap().is_empty()
        })
        .await;
        let left = leftovers(&cluster).await;
        assert_eq!(left, [0, 0, 1], "kill {kill} after {after} ms");
        cluster
            .sql(
                DATABASE,
                "DO $$ BEGIN IF NOT (SELECT relispartition FROM pg_class WHERE oid = 'dw.harian_1'::regclass)
                THEN ALTER TABLE dw.harian ATTACH PARTITION dw.harian_1 FOR VALUES FROM (1) TO (2); END IF; END $$",
            )
            .await;
    }
    assert!(
        open > 0,
        "some kills came in the middle of the work: {open} open, {cleaned} cleaned"
    );
    println!("{kills} kills: {open} intents were open, {cleaned} things were cleaned up");
}
