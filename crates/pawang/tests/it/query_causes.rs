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
use pawang_testbed::{Cluster, Setup, Stop, until};
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

/// A server, and a history of it in which all is well until this hour.
struct World {
    desk: Desk,
    cluster: Cluster,
    writer: Writer,
    statement: &'static str,
}

impl World {
    async fn new(statement: &'static str) -> World {
        let cluster = Cluster::start(&Setup {
            settings: &[
                ("shared_preload_libraries", "pg_stat_statements"),
                ("autovacuum", "off"),
                ("max_parallel_workers_per_gather", "0"),
            ],
            ..Setup::default()
        })
        .await;
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
        self.load().await;
        self.sample(Timestamp::now()).await;
        let screen = self
            .desk
            .pawang(&["query", "regressions", "--since", "2h", "--json"]);
        let data = screen.data("pawang.query.regressions/1");
        let all = data.as_array().unwrap();
        let own = |line: &&Value| {
            line["text"]
                .as_str()
                .is_some_and(|text| text.starts_with(&self.statement[..30]))
        };
        let found = all.iter().find(own).unwrap_or_else(|| panic!("{data}"));
        let shown = self.desk.pawang(&["query", "regressions", "--since", "2h"]);
        assert_eq!(shown.code, 1, "{shown:?}");
        let first = found["regression"]["causes"][0]["what"].as_str().unwrap();
        assert!(shown.stdout.contains(first), "{shown:?}");
        found["regression"]["causes"].clone()
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
