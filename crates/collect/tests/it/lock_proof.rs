//! Observation never waits for anybody's relation lock, and leaves no backend behind when it is killed.

#![expect(
    clippy::disallowed_methods,
    reason = "the child is this program itself, told by the environment what to observe"
)]

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use pawang_collect::{Catalog, HostRequest, Question, Request, Scope, observe};
use pawang_core::{Blind, Facts, Instance, Missing, Timestamp};
use pawang_postgres::{Environment, Target};
use pawang_testbed::{Cluster, Setup, until, versions};

/// Each has an identity column, three indexes and a TOAST table.
const TABLES: u32 = 200;
/// Tables that are only queued for, each by a session of its own behind a reader.
const QUEUED: u32 = 3;
/// One of each kind of object whose definition names a locked table.
const FURTHER: &str = "CREATE VIEW locked.v AS SELECT id, a + 1 AS more FROM locked.t1; \
    CREATE MATERIALIZED VIEW locked.m AS SELECT * FROM locked.t2; \
    CREATE TABLE locked.p (at date, c int DEFAULT 1 + 1, d int GENERATED ALWAYS AS (c * 2) STORED) \
        PARTITION BY RANGE (at); \
    CREATE TABLE locked.p1 PARTITION OF locked.p FOR VALUES FROM ('2026-01-01') TO ('2027-01-01'); \
    CREATE INDEX ON locked.p (lower(c::text)) WHERE c > 0; \
    CREATE TRIGGER t BEFORE INSERT ON locked.t3 FOR EACH ROW WHEN (NEW.a > 1) EXECUTE FUNCTION touch(); \
    ALTER TABLE locked.t4 ENABLE ROW LEVEL SECURITY; \
    CREATE POLICY p ON locked.t4 USING (a > (SELECT min(a) FROM locked.t5)); \
    CREATE FUNCTION locked.f(n int DEFAULT 3) RETURNS bigint LANGUAGE sql \
        BEGIN ATOMIC SELECT count(*) FROM locked.t6 WHERE a > n; END; \
    CREATE DOMAIN locked.age AS int CHECK (VALUE > 0); CREATE TYPE locked.mood AS ENUM ('calm', 'not');";
const CHILD_URL: &str = "PAWANG_TEST_CHILD_URL";

async fn look(url: &str, collectors: &BTreeSet<String>, questions: &[Question]) -> Facts {
    let catalog = Catalog::built_in();
    let target = Target::parse(url, &Environment::default()).unwrap();
    observe(&Request {
        instance: &Instance::default(),
        target: &target,
        purpose: "lock-proof",
        catalog: &catalog,
        collectors,
        questions,
        databases: &[],
        pgbouncer: None,
        patroni: None,
        backups: &[],
        host: HostRequest::default(),
        now: Timestamp::now(),
    })
    .await
}

/// Returns what could not be seen, by collector.
fn blind(facts: &Facts) -> Vec<(String, Blind)> {
    let seen = facts.sightings.iter();
    seen.filter_map(|sighting| match &sighting.seen {
        Err(Missing::Blind(blind)) => Some((sighting.collector.clone(), blind.clone())),
        _ => None,
    })
    .collect()
}

#[tokio::test]
async fn no_collector_ever_waits_for_a_relation_lock() {
    let catalog = Catalog::built_in();
    let wanted = |scope: Scope| {
        catalog
            .of_scope(scope)
            .map(|collector| collector.name.clone())
    };
    let collectors: BTreeSet<String> = wanted(Scope::Server)
        .chain(wanted(Scope::Database))
        .collect();
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            settings: &[("max_locks_per_transaction", "256")],
            ..Setup::default()
        })
        .await;
        let user = cluster.monitor().await;
        cluster.sql("postgres", &grants(&catalog, &user)).await;
        let url = cluster.url_as(&user, "postgres");
        cluster.sql("postgres", &create_tables()).await;
        let facts = look(&url, &collectors, &[]).await;

        let all: Vec<String> = (1..=TABLES).map(|i| format!("locked.t{i}")).collect();
        let held = cluster
            .hold(
                "postgres",
                &format!("DROP TABLE {}, locked.p CASCADE", all.join(", ")),
            )
            .await;
        let read = cluster
            .hold("postgres", "SELECT FROM queued.t1, queued.t2, queued.t3")
            .await;
        let queue = Queue::join(&cluster).await;
        // The locks are held throughout, so that a wait would last until our own lock_timeout and end as a time-out;
        // how long a run takes under locks is measured by the benchmark.
        let seen = sampled(&cluster, look(&url, &collectors, &[])).await;
        assert_eq!(
            blind(&seen),
            blind(&facts),
            "every collector delivers what it delivers without locks"
        );
        assert!(
            waits(&url).await,
            "a statement that takes a lock would wait"
        );
        drop((held, read));
        queue.leave().await;
    }
}

/// Whether a statement that opens a locked table is cancelled by our own limit: otherwise the test would prove nothing.
async fn waits(url: &str) -> bool {
    let mut question = question(
        "SELECT pg_catalog.pg_relation_size(c.oid)::text FROM pg_catalog.pg_class AS c WHERE c.relname = 't1'",
    );
    question.timeout = Duration::from_secs(5);
    let facts = look(url, &BTreeSet::new(), &[question]).await;
    let answer = facts.snapshot("user:question", None);
    matches!(answer, Err(Missing::Blind(Blind::Timeout { .. })))
}

fn question(sql: &str) -> Question {
    Question {
        name: "user:question".to_owned(),
        database: None,
        sql: sql.to_owned(),
        columns: [].into(),
        constants: Vec::new(),
        timeout: Duration::from_secs(120),
    }
}

/// Everything that the collectors' headers say to grant, so that as many as possible see.
fn grants(catalog: &Catalog, user: &str) -> String {
    let headers = catalog
        .collectors
        .values()
        .map(|collector| &collector.header);
    let grants = headers.filter(|header| matches!(header.scope, Scope::Server | Scope::Database));
    let grants: BTreeSet<String> = grants
        .map(|header| header.grant.replace("{role}", user))
        .collect();
    grants.into_iter().collect::<Vec<_>>().join("\n")
}

fn create_tables() -> String {
    let table = |schema: &str, i: u32| {
        format!(
            "CREATE TABLE {schema}.t{i} (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int, b text UNIQUE, \
             parent int REFERENCES {schema}.t1, CHECK (a > 0)); \
             CREATE INDEX ON {schema}.t{i} (a); INSERT INTO {schema}.t{i} (a, b) VALUES ({i}, 'x'); ANALYZE {schema}.t{i};"
        )
    };
    let mut sql = "CREATE SCHEMA locked; CREATE SCHEMA queued; \
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        .to_owned();
    sql.extend((1..=TABLES).map(|i| table("locked", i)));
    sql.extend((1..=QUEUED).map(|i| table("queued", i)));
    sql.push_str(FURTHER);
    sql
}

/// Sessions that wait for ACCESS EXCLUSIVE, so that whoever comes after them waits too.
struct Queue(Vec<std::pin::Pin<Box<dyn Future<Output = ()>>>>);

impl Queue {
    async fn join(cluster: &Cluster) -> Queue {
        let mut waiting: Vec<std::pin::Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
        for i in 1..=QUEUED {
            let client = cluster.connect("postgres").await;
            waiting.push(Box::pin(async move {
                let lock = format!("BEGIN; LOCK TABLE queued.t{i}; ROLLBACK");
                client.batch_execute(&lock).await.unwrap();
            }));
        }
        let mut queue = Queue(waiting);
        let counted =
            format!("SELECT count(*) FROM pg_locks WHERE NOT granted HAVING count(*) = {QUEUED}");
        let formed = until("the queue has formed", async || {
            !cluster.sql("postgres", &counted).await.is_empty()
        });
        tokio::select! {
            () = formed => {}
            () = queue.wait() => unreachable!("the reader holds them off"),
        }
        queue
    }

    async fn wait(&mut self) {
        join_all(&mut self.0).await;
    }

    async fn leave(mut self) {
        self.wait().await;
    }
}

/// Polls for Pawang's backends that wait for a lock while `work` is done, and panics when it sees one.
async fn sampled<T>(cluster: &Cluster, work: impl Future<Output = T>) -> T {
    let client = cluster.connect("postgres").await;
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let sampler = async {
        loop {
            ticks.tick().await;
            let waiting = client
                .query(
                    "SELECT query FROM pg_stat_activity \
                     WHERE application_name LIKE 'pawang:%' AND wait_event_type = 'Lock'",
                    &[],
                )
                .await
                .unwrap();
            let waiting: Vec<String> = waiting.iter().map(|row| row.get(0)).collect();
            assert!(
                waiting.is_empty(),
                "a backend of ours waits for a lock: {waiting:?}"
            );
        }
    };
    tokio::select! {
        result = work => result,
        () = sampler => unreachable!("it never ends"),
    }
}

#[tokio::test]
async fn a_killed_observer_leaves_no_backend_behind() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        let url = cluster.url_as(&cluster.monitor().await, "postgres");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "lock_proof::child_that_observes_slowly",
                "--nocapture",
            ])
            .env(CHILD_URL, url)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let count = async |condition: &str| {
            let sql = format!(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pawang:%' AND {condition}"
            );
            cluster.sql("postgres", &sql).await[0][0].clone().unwrap()
        };
        until("the child's statement runs", async || {
            count("wait_event = 'PgSleep'").await == "1"
        })
        .await;
        child.kill().unwrap();
        child.wait().unwrap();
        until("its backend is gone", async || count("true").await == "0").await;
        // Its statement would run for a minute: it has looked for its client, as it is asked to do each second, and says so.
        let log = std::fs::read_to_string(cluster.log_file()).unwrap();
        assert!(log.contains("connection to client lost"), "{log}");
    }
}

/// What [`a_killed_observer_leaves_no_backend_behind`] starts; nothing by itself.
#[tokio::test]
async fn child_that_observes_slowly() {
    let Ok(url) = std::env::var(CHILD_URL) else {
        return;
    };
    let question = question("SELECT pg_catalog.pg_sleep(60)::text");
    look(&url, &BTreeSet::new(), &[question]).await;
}
