//! Why statements became slower: faults of a real server, seen through a history that ends now.
#![expect(
    clippy::disallowed_methods,
    reason = "the history of this test ends now"
)]

use pawang_collect::{Catalog, HostRequest, Request, observe};
use pawang_core::{Instance, Timestamp};
use pawang_postgres::{Environment, Target};
use pawang_store::Store;
use pawang_store::history::Writer;
use pawang_testbed::{Cluster, Setup, Stop, Version, until, versions};
use serde_json::Value;

use crate::program::{Desk, instance};
use crate::serve::file;

const HALF_HOUR: i64 = 1_800;
/// Samples of the time when all was well.
const BEFORE: i64 = 10;
/// Calls of each of them, and of the time after the fault.
const CALLS: usize = 60;
const COLLECTORS: [&str; 6] = [
    "statements",
    "statements-info",
    "settings",
    "server",
    "schema-objects",
    "tables",
];
const SCHEMA: &str = "\
CREATE EXTENSION pg_stat_statements;
CREATE TABLE orders (id int PRIMARY KEY, customer int, note text);
INSERT INTO orders SELECT n, n % 50000, repeat('x', 50) FROM generate_series(1, 300000) AS n;
CREATE INDEX orders_customer ON orders (customer);
CREATE TABLE returns (id int, note text);
INSERT INTO returns SELECT n, '' FROM generate_series(1, 20000) AS n;
CREATE TABLE elsewhere (id int);
CREATE INDEX elsewhere_id ON elsewhere (id);";

/// Starts a server that logs plans and changes of the schema.
async fn server(version: Version, prefix: &str) -> Cluster {
    Cluster::start(&Setup {
        version: Some(version),
        settings: &[
            (
                "shared_preload_libraries",
                "pg_stat_statements,auto_explain",
            ),
            ("auto_explain.log_min_duration", "0"),
            ("log_statement", "ddl"),
            ("log_line_prefix", prefix),
            ("autovacuum", "off"),
            ("max_parallel_workers_per_gather", "0"),
        ],
        ..Setup::default()
    })
    .await
}

/// A server, and a history of it in which all is well until this hour.
struct World {
    desk: Desk,
    cluster: Cluster,
    writer: Writer,
    statement: &'static str,
}

impl World {
    async fn new(statement: &'static str) -> World {
        World::of(statement, versions()[0], "%m [%p] %q%u@%d ").await
    }

    /// A server of a version, whose log has plans and changes of the schema.
    async fn of(statement: &'static str, version: Version, prefix: &str) -> World {
        let cluster = server(version, prefix).await;
        cluster.sql("postgres", SCHEMA).await;
        cluster.sql("postgres", "VACUUM ANALYZE").await;
        let desk = Desk::new();
        file(&desk, &instance("dwh-1", &cluster.url("postgres")));
        // What is grown after the hour began is counted in it.
        until("the hour has begun", async || {
            Timestamp::now().as_second() % 3_600 >= 5
        })
        .await;
        let now = Timestamp::now().as_second();
        let hour = now - now % 3_600;
        let store = Store::open(&desk.path("state/data"), Timestamp::now())
            .unwrap()
            .store;
        let mut world = World {
            writer: store.writer().unwrap(),
            desk,
            cluster,
            statement,
        };
        for back in (0..BEFORE).rev() {
            world.load().await;
            let at = hour - 5 - back * HALF_HOUR;
            world.sample(Timestamp::from_second(at).unwrap()).await;
        }
        world.load().await;
        world.sample(Timestamp::now()).await;
        world
    }

    async fn load(&self) {
        let client = self.cluster.connect("postgres").await;
        for number in 0..CALLS {
            let sql = self.statement.replace("$1", &number.to_string());
            client.batch_execute(&sql).await.unwrap();
        }
    }

    async fn sample(&mut self, now: Timestamp) {
        let target = Target::parse(&self.cluster.url("postgres"), &Environment::default()).unwrap();
        let instance = Instance {
            name: "dwh-1".to_owned(),
            ..Instance::default()
        };
        let facts = observe(&Request {
            instance: &instance,
            target: &target,
            purpose: "test",
            catalog: &Catalog::built_in(),
            collectors: &COLLECTORS.map(str::to_owned).into(),
            questions: &[],
            databases: &[],
            pgbouncer: None,
            patroni: None,
            host: HostRequest::default(),
            backups: &[],
            now,
        })
        .await;
        self.writer.append(&facts).unwrap();
        let texts =
            "SELECT queryid::text, query FROM pg_stat_statements WHERE query LIKE '%orders%'";
        for row in self.cluster.sql("postgres", texts).await {
            let (id, text) = (row[0].as_deref().unwrap(), row[1].as_deref().unwrap());
            self.writer.text(id.parse().unwrap(), text, now).unwrap();
        }
        self.writer.commit().unwrap();
    }

    /// Lets the statement be slow, and returns its regression.
    async fn regression(mut self) -> Value {
        self.slow().await;
        self.told(&[])["causes"].clone()
    }

    async fn slow(&mut self) {
        self.load().await;
        self.sample(Timestamp::now()).await;
    }

    /// Returns the regression as the program tells it, with or without a log.
    fn told(&self, log: &[&str]) -> Value {
        let words = [&["query", "regressions", "--since", "2h"], log].concat();
        let screen = self.desk.pawang(&[&words[..], &["--json"]].concat());
        let data = screen.data("pawang.query.regressions/1");
        let all = data.as_array().unwrap();
        let own = |line: &&Value| {
            line["text"]
                .as_str()
                .is_some_and(|text| text.starts_with(&self.statement[..30]))
        };
        let found = all.iter().find(own).unwrap_or_else(|| panic!("{data}"));
        let shown = self.desk.pawang(&words);
        assert_eq!(shown.code, 1, "{shown:?}");
        let first = found["regression"]["causes"][0]["what"].as_str().unwrap();
        assert!(shown.stdout.contains(first), "{shown:?}");
        found["regression"].clone()
    }

    /// Keeps the hours of the log, as the daemon does.
    fn keep_log(&self, prefix: &str) {
        let state = self.desk.path("state/data/logs/dwh-1");
        let (state, log) = (state.to_str().unwrap(), self.log());
        std::fs::create_dir_all(state).unwrap();
        let kept = self
            .desk
            .pawang(&["logs", "report", "--state", state, "--prefix", prefix, log]);
        assert_eq!(kept.code, 0, "{kept:?}");
    }

    fn log(&self) -> &str {
        self.cluster.log_file().to_str().unwrap()
    }

    /// Returns what `pawang query show` says of the statement.
    async fn shown(&self) -> String {
        let ids = "SELECT queryid::text, query FROM pg_stat_statements";
        let rows = self.cluster.sql("postgres", ids).await;
        let own = |row: &&Vec<Option<String>>| {
            let text = row[1].as_deref().unwrap();
            text.starts_with(&self.statement[..30])
        };
        let id = rows.iter().find(own).unwrap()[0].clone().unwrap();
        let screen = self.desk.pawang(&["query", "show", &id, "--since", "2h"]);
        assert_eq!(screen.code, 0, "{screen:?}");
        screen.stdout
    }
}

/// Returns kinds and texts of causes.
fn told(causes: &Value) -> Vec<(String, String)> {
    let text = |cause: &Value, name: &str| cause[name].as_str().unwrap().to_owned();
    let causes = causes.as_array().unwrap().iter();
    causes
        .map(|cause| (text(cause, "kind"), text(cause, "what")))
        .collect()
}

#[tokio::test]
async fn a_dropped_index_is_named() {
    let world = World::new("SELECT count(note) FROM orders WHERE customer = $1").await;
    world
        .cluster
        .sql("postgres", "DROP INDEX orders_customer, elsewhere_id")
        .await;
    let causes = world.regression().await;
    let found = told(&causes);
    assert_eq!(
        found[0],
        (
            "schema".to_owned(),
            "index public.orders_customer is gone".to_owned()
        ),
        "{causes}"
    );
    assert!(causes[0]["at"].is_string(), "{causes}");
    let evidence = causes[0]["evidence"].as_str().unwrap();
    assert!(
        evidence.contains("ON orders USING btree (customer)"),
        "{evidence}"
    );
    assert!(
        !causes.to_string().contains("elsewhere_id"),
        "it has nothing to do with it: {causes}"
    );
    let work = causes.as_array().unwrap().last().unwrap();
    assert_eq!(
        (&work["kind"], &work["guess"]),
        (&"work".into(), &true.into()),
        "{causes}"
    );
    assert!(
        work["what"]
            .as_str()
            .unwrap()
            .contains("plan may have changed"),
        "{causes}"
    );
}

#[tokio::test]
async fn a_changed_setting_is_named() {
    let world = World::new("SELECT count(*) FROM orders WHERE id BETWEEN 100000 AND 100030 AND id <> $1 AND id NOT IN (SELECT id FROM returns)").await;
    world.cluster.set("work_mem", Some("64kB")).await;
    let causes = world.regression().await;
    let found = told(&causes);
    assert_eq!(
        found[0],
        (
            "setting".to_owned(),
            "setting work_mem changed from 4096 to 64".to_owned()
        ),
        "{causes}"
    );
}

#[tokio::test]
async fn a_restart_is_named_and_so_are_old_statistics() {
    let mut world = World::new("SELECT count(note) FROM orders WHERE customer = $1").await;
    world.cluster.set("enable_indexscan", Some("off")).await;
    world.cluster.set("enable_bitmapscan", Some("off")).await;
    world.cluster.stop(Stop::Fast).await;
    world.cluster.start_again().await;
    world
        .cluster
        .sql(
            "postgres",
            "UPDATE orders SET note = 'y' WHERE id <= 100000",
        )
        .await;
    world.sample(Timestamp::now()).await;
    let causes = world.regression().await;
    let found = told(&causes);
    let of = |kind: &str| {
        found
            .iter()
            .filter(|(own, _)| own == kind)
            .map(|(_, what)| what.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of("restart"),
        ["the server was started: its memory was empty"],
        "{causes}"
    );
    assert!(
        of("setting").contains(&"setting enable_indexscan changed from on to off"),
        "{causes}"
    );
    assert!(
        of("statistics")[0].starts_with("statistics of public.orders are from 20"),
        "{causes}"
    );
}

const BY_CUSTOMER: &str = "SELECT count(note) FROM orders WHERE customer = $1";
const FLIP: &str = "the plan changed: ";

/// Asserts that a cause of this kind says this, and returns its evidence.
fn evidence<'a>(regression: &'a Value, kind: &str, what: &str) -> &'a str {
    let causes = regression["causes"].as_array().unwrap();
    let found = causes
        .iter()
        .find(|cause| cause["kind"] == kind && cause["what"].as_str().unwrap().starts_with(what));
    let found = found.unwrap_or_else(|| panic!("{kind} {what}: {regression}"));
    assert_eq!(found["guess"], false, "{found}");
    assert!(found["at"].is_string(), "{found}");
    if kind == "plan" {
        // A bitmap of the index, or the index itself.
        let (old, new) = found["what"].as_str().unwrap().split_once(" -> ").unwrap();
        assert!(old.contains("orders_customer"), "{found}");
        assert_eq!(new, "Seq Scan on orders");
    }
    found["evidence"].as_str().unwrap()
}

#[tokio::test]
async fn the_log_proves_who_dropped_the_index_and_which_plan_came_of_it() {
    for (version, prefix, joined) in [
        (versions()[0], "%m [%p] %q%u@%d ", "joined by text"),
        (
            *versions().last().unwrap(),
            "%m [%p] %Q %q%u@%d ",
            "joined by query id",
        ),
    ] {
        let mut world = World::of(BY_CUSTOMER, version, prefix).await;
        let owner =
            "CREATE ROLE budi SUPERUSER LOGIN PASSWORD 'geheim'; ALTER TABLE returns ADD b int";
        world.cluster.sql("postgres", owner).await;
        let client = world.cluster.connect_as("budi", "postgres").await;
        client
            .batch_execute("DROP INDEX elsewhere_id, no_index")
            .await
            .unwrap_err();
        client
            .batch_execute("DROP INDEX /* geheim */ orders_customer")
            .await
            .unwrap();
        world.slow().await;
        let unread = world.told(&[]);
        assert!(
            unread["log"]
                .as_str()
                .unwrap()
                .starts_with("the server log was not read"),
            "{unread}"
        );
        let given = world.told(&["--log", world.log()]);
        let by = "DDL by role budi: drop index orders_customer";
        assert!(
            evidence(&given, "schema", by).contains("database postgres"),
            "{given}"
        );
        let proof = evidence(&given, "plan", FLIP);
        assert!(
            proof.contains(joined) && proof.contains("60 times since"),
            "{given}"
        );
        for never in ["geheim", "elsewhere_id", "no_index", "alter table"] {
            assert!(!given.to_string().contains(never), "{never}: {given}");
        }
        world.keep_log(prefix);
        assert_eq!(world.told(&[])["causes"], given["causes"], "kept as read");
        let shown = world.shown().await;
        assert!(shown.contains(by) && shown.contains(FLIP), "{shown}");
    }
}

#[tokio::test]
async fn other_statistics_flip_the_plan() {
    let mut world = World::new(BY_CUSTOMER).await;
    let change = "ALTER TABLE orders ALTER customer SET STATISTICS 1, ALTER customer SET (n_distinct = 1); ANALYZE orders";
    world.cluster.sql("postgres", change).await;
    world.slow().await;
    let told = world.told(&["--log", world.log()]);
    evidence(&told, "plan", FLIP);
    evidence(
        &told,
        "statistics",
        "statistics of public.orders were gathered anew",
    );
    evidence(
        &told,
        "schema",
        "DDL by role postgres: alter table orders alter customer set statistics",
    );
}

#[tokio::test]
async fn without_evidence_the_cause_is_not_known() {
    let mut world = World::new(BY_CUSTOMER).await;
    let client = world.cluster.connect("postgres").await;
    client
        .batch_execute("SET enable_indexscan = off; SET enable_bitmapscan = off")
        .await
        .unwrap();
    for number in 0..CALLS {
        let sql = world.statement.replace("$1", &number.to_string());
        client.batch_execute(&sql).await.unwrap();
    }
    world.sample(Timestamp::now()).await;
    let screen = world
        .desk
        .pawang(&["query", "regressions", "--since", "2h"]);
    let unknown = "the cause is not known: the server log was not read";
    assert!(screen.stdout.contains(unknown), "{screen:?}");
    assert!(world.shown().await.contains(unknown));
    evidence(&world.told(&["--log", world.log()]), "plan", FLIP);
    let missing = world.desk.pawang(&[
        "query",
        "regressions",
        "--since",
        "2h",
        "--log",
        "no-such.log",
    ]);
    assert!(
        missing.code != 0 && missing.stderr.contains("no-such.log"),
        "{missing:?}"
    );
}

#[tokio::test]
async fn an_upgrade_is_named() {
    let (old, new) = (versions()[0], *versions().last().unwrap());
    let mut world = World::of(BY_CUSTOMER, old, "%m [%p] ").await;
    // The same database under another version, as a dump and its restore make it; its index was forgotten.
    let cluster = server(new, "%m [%p] ").await;
    cluster.sql("postgres", SCHEMA).await;
    cluster.sql("postgres", "DROP INDEX orders_customer").await;
    cluster.sql("postgres", "VACUUM ANALYZE").await;
    world.cluster = cluster;
    world.load().await;
    world.sample(Timestamp::now()).await;
    world.slow().await;
    let told = world.told(&[]);
    assert_ne!(old, new, "two versions are installed");
    evidence(&told, "upgrade", &format!("PostgreSQL {}.", old.0));
    evidence(&told, "restart", "the server was started");
    let renamed = told["causes"].as_array().unwrap().iter().any(|cause| {
        cause["what"]
            .as_str()
            .unwrap()
            .starts_with("its query id was")
    });
    assert!(renamed, "{told}");
}
