//! A dashboard to look at: real servers with load, a standby, blocked sessions and one server that is down, until it
//! is ended by a signal.
//!
//! `cargo run -p pawang-web --example preview -- 8500` serves on port 8500; `--sign-in` as a second argument makes
//! everybody sign in, with name and password "preview".
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a tool of developers, which stands at the edge"
)]

#[expect(dead_code, reason = "tests use the rest of it")]
#[path = "../tests/it/estate.rs"]
mod estate;

use std::time::Duration;

use argon2::{Argon2, PasswordHasher};
use estate::Estate;
use pawang_store::state::{Account, Permission};
use pawang_testbed::{Cluster, Setup};
use tokio::time::{Instant, interval, sleep_until};

/// How often all collectors are asked; the daemon asks most of them less often.
const LOOK_EVERY: u32 = 5;

const SCHEMA: &str = "\
CREATE EXTENSION pg_stat_statements;
CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, city text);
CREATE TABLE orders (id bigserial PRIMARY KEY, customer bigint REFERENCES customers, amount numeric, note text, at timestamptz DEFAULT now());
CREATE TABLE \"Größe <b>&\" (\"id\" int PRIMARY KEY, \"<script>\" text);
CREATE INDEX orders_at ON orders (at);
CREATE INDEX orders_at_again ON orders (at);
CREATE INDEX customers_city ON customers (city);
INSERT INTO customers SELECT i, 'customer ' || i, 'city ' || i % 100 FROM generate_series(1, 20000) AS i;
INSERT INTO orders (customer, amount, note) SELECT i % 20000 + 1, i, repeat('x', 100) FROM generate_series(1, 100000) AS i;
UPDATE orders SET amount = amount + 1 WHERE id % 3 = 0;
DELETE FROM orders WHERE id % 11 = 0;
SELECT pg_create_physical_replication_slot('forgotten', true);";

/// Findings become alerts at once, so that there is something to look at.
const ALERTING: &str = r#"
[alert]
production = ["prod"]
group_by = ["instance"]

[[alert.contact]]
name = "ayu"
role = "Primary DBA"
phone = "+62 21 555 0100"
channels = { log = "ayu" }

[[alert.channel]]
name = "log"
syslog = {}

[[alert.rule]]
check = "*"
for = "0 s"
for_critical = "0 s"
samples = "1 of 1"

[[alert.window]]
name = "weekly"
schedule = "sun 02:00-06:00 Asia/Jakarta"
match = ['group="prod"']
reason = "index rebuild, statistics"

[[alert.window]]
name = "deep-vacuum"
schedule = "first sun 00:00-04:00 Asia/Jakarta"
match = ['group="prod"']
reason = "deep vacuum, configuration changes"

[alert.status_page]
title = "Smart Dairy data warehouse"
contact = "dba@smartdairy.example"

[[alert.status_page.service]]
name = "Sales reports"
match = ['instance="dwh-1"', 'priority=~"P[12]"']

[[alert.status_page.service]]
name = "Milk collection"
match = ['instance="gone"']

[[alert.status_page.service]]
name = "Finance mart"
match = ['instance="mart-1"', 'priority="P1"']
"#;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let port: u16 = arguments.get(1).map_or(8500, |port| port.parse().unwrap());
    let sign_in = arguments.iter().any(|argument| argument == "--sign-in");
    let primary = Cluster::start(&Setup {
        settings: &[
            ("shared_preload_libraries", "pg_stat_statements"),
            ("track_io_timing", "on"),
            ("compute_query_id", "on"),
            ("log_min_duration_statement", "1s"),
        ],
        ..Setup::default()
    })
    .await;
    primary.sql("postgres", "CREATE DATABASE shop").await;
    primary.sql("shop", SCHEMA).await;
    let standby = primary.standby("dwh-2").await;
    let mut test = Cluster::start(&Setup::default()).await;
    let mut estate = Estate::new();
    estate.alert(ALERTING);
    let monitor = primary.monitor().await;
    estate.watch("dwh-1", "prod", &primary.url_as(&monitor, "postgres"));
    estate.watch("dwh-2", "prod", &standby.url("postgres"));
    estate.watch("mart-1", "test", &test.url("postgres"));
    estate.watch(
        "gone",
        "test",
        "postgresql://pawang:planted@127.0.0.1:1/postgres?connect_timeout=1",
    );
    test.sql("postgres", "CREATE TABLE t (id int)").await;
    let settings = pawang_web::Settings {
        listen: ([127, 0, 0, 1], port).into(),
        sign_in,
        ..estate::settings()
    };
    let password_hash = Argon2::default().hash_password(b"preview").unwrap();
    let account = Account {
        name: "preview".to_owned(),
        permission: Permission::Admin,
        password_hash: password_hash.to_string(),
        created_at: estate::now(),
    };
    estate.store.state().put_account(&account).unwrap();
    let served = estate.serve(settings).await;
    println!("http://{}/", served.address);
    tokio::join!(observe(&mut estate), load(&primary), block(&primary));
    test.kill();
}

async fn observe(estate: &mut Estate) {
    let mut seconds = interval(Duration::from_secs(1));
    for second in 0_u32.. {
        seconds.tick().await;
        estate.sample().await;
        if second % LOOK_EVERY == 0 {
            estate.look().await;
        }
    }
}

/// Reads and writes, now more and now less.
async fn load(cluster: &Cluster) {
    let client = cluster.connect("shop").await;
    for round in 0_u64.. {
        let pause = 20 + 60 * (round / 600 % 3);
        let customer = round % 20_000 + 1;
        let sql = format!(
            "SELECT count(*), sum(amount) FROM orders WHERE customer = {customer};
             UPDATE customers SET city = 'city {}' WHERE id = {customer};",
            round % 7
        );
        client.batch_execute(&sql).await.unwrap();
        if round % 20 == 0 {
            let sql = "SELECT o.customer, sum(o.amount) FROM orders AS o JOIN customers AS c ON c.id = o.customer
                        GROUP BY 1 ORDER BY 2 DESC LIMIT 10";
            client.batch_execute(sql).await.unwrap();
        }
        sleep_until(Instant::now() + Duration::from_millis(pause)).await;
    }
}

/// Keeps a transaction open for a while that others wait for.
async fn block(cluster: &Cluster) {
    loop {
        let holder = cluster
            .hold("shop", "UPDATE orders SET note = 'held' WHERE id = 1")
            .await;
        let second = cluster.connect("shop").await;
        let third = cluster.connect("shop").await;
        let waits = "UPDATE orders SET note = 'waits' WHERE id = 1";
        let waiting = async {
            tokio::join!(
                second.batch_execute(waits),
                third.batch_execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
            )
        };
        let release = async {
            sleep_until(Instant::now() + Duration::from_secs(50)).await;
            drop(holder);
        };
        let (_waited, ()) = tokio::join!(waiting, release);
        sleep_until(Instant::now() + Duration::from_secs(10)).await;
    }
}
