//! Faults of PgBouncer: silent when healthy, found when injected, gone when cleared.
#![expect(
    clippy::disallowed_methods,
    reason = "clients of a test wait in the background until it ends"
)]

use pawang_check::find;
use pawang_core::{Blind, Level};
use pawang_postgres::{Environment, Session, Target};
use pawang_testbed::{Cluster, Pooler, Setup, Stop, until};
use tokio::task::JoinHandle;

use crate::watch::{Watch, evaluate};

const ALL: [&str; 14] = [
    "pgbouncer-reachable",
    "pgbouncer-maxwait",
    "pgbouncer-waiting-clients",
    "pgbouncer-pool-saturation",
    "pgbouncer-database-connections",
    "pgbouncer-client-connections",
    "pgbouncer-wait-time",
    "pgbouncer-query-time",
    "pgbouncer-paused",
    "pgbouncer-server-login",
    "pgbouncer-auth-type",
    "pgbouncer-tls",
    "pgbouncer-pool-mode",
    "pgbouncer-version",
];

fn target(url: &str) -> Target {
    Target::parse(url, &Environment::default()).unwrap()
}

async fn pooled(extra: &str) -> (Cluster, Pooler, Watch) {
    let cluster = Cluster::start(&Setup::default()).await;
    let pooler = Pooler::start(&cluster, extra).await;
    let mut watch = Watch::start(&cluster).await;
    watch.pgbouncer = Some(target(&pooler.url_as("monitor", "pgbouncer")));
    (cluster, pooler, watch)
}

#[tokio::test]
async fn a_healthy_pooler_has_no_finding_above_info() {
    if !Pooler::installed() {
        return;
    }
    let (_cluster, _pooler, mut watch) = pooled("").await;
    watch.look(&ALL).await;
    let evaluation = watch.look(&ALL).await;
    for verdict in &evaluation.verdicts {
        assert!(verdict.level <= Level::Info, "{verdict:#?}");
    }
    for id in [
        "pgbouncer-reachable",
        "pgbouncer-maxwait",
        "pgbouncer-client-connections",
    ] {
        watch.silent(id).await;
    }
}

#[tokio::test]
async fn clients_that_wait_for_a_held_server_are_found() {
    if !Pooler::installed() {
        return;
    }
    let extra = "pool_mode = transaction\ndefault_pool_size = 1\nmax_db_connections = 1";
    let (cluster, pooler, mut watch) = pooled(extra).await;
    watch.silent("pgbouncer-maxwait").await;
    let holder = pooler.connect("postgres").await;
    holder.batch_execute("BEGIN; SELECT 1").await.unwrap();
    let waiter = pooler.connect("postgres").await;
    let wait = async { waiter.batch_execute("SELECT 1").await.unwrap() };
    let look = async {
        until("the wait is long enough", async || {
            let verdict = watch.verdict("pgbouncer-maxwait").await;
            verdict.level == Level::Warning
        })
        .await;
        let finding = watch
            .found("pgbouncer-maxwait", Level::Warning, "postgres/postgres")
            .await;
        assert!(finding.title.contains("1 waiting clients"), "{finding:?}");
        watch
            .found(
                "pgbouncer-database-connections",
                Level::Critical,
                "postgres",
            )
            .await;
        holder.batch_execute("COMMIT").await.unwrap();
    };
    tokio::join!(wait, look);
    watch.silent("pgbouncer-maxwait").await;
    drop(cluster);
}

#[tokio::test]
async fn a_paused_and_a_disabled_database_are_found() {
    if !Pooler::installed() {
        return;
    }
    let (_cluster, pooler, mut watch) = pooled("[databases]\ndwh = host=/tmp dbname=dwh").await;
    watch.silent("pgbouncer-paused").await;
    pooler.console("PAUSE dwh").await;
    let finding = watch
        .found("pgbouncer-paused", Level::Critical, "dwh")
        .await;
    assert!(finding.remedy.contains("RESUME"), "{finding:?}");
    pooler.console("RESUME dwh").await;
    pooler.console("DISABLE dwh").await;
    watch.found("pgbouncer-paused", Level::Warning, "dwh").await;
    pooler.console("ENABLE dwh").await;
    watch.silent("pgbouncer-paused").await;
}

#[tokio::test]
async fn a_pooler_that_is_gone_is_critical_and_its_numbers_are_unknown() {
    if !Pooler::installed() {
        return;
    }
    let (_cluster, pooler, mut watch) = pooled("").await;
    watch.silent("pgbouncer-reachable").await;
    drop(pooler);
    watch
        .found("pgbouncer-reachable", Level::Critical, "")
        .await;
    watch.found("pgbouncer-maxwait", Level::Unknown, "").await;
}

#[tokio::test]
async fn a_role_that_may_not_look_is_told_the_line_to_add() {
    if !Pooler::installed() {
        return;
    }
    let (_cluster, pooler, mut watch) = pooled("stats_users = someone").await;
    watch.pgbouncer = Some(target(&pooler.url_as("monitor", "pgbouncer")));
    let finding = watch.found("pgbouncer-maxwait", Level::Unknown, "").await;
    assert!(
        matches!(finding.blind, Some(Blind::NoPrivilege { .. })),
        "{finding:?}"
    );
    assert!(
        finding.remedy.contains("stats_users = monitor"),
        "{finding:?}"
    );
}

#[tokio::test]
async fn settings_that_put_logins_at_risk_are_found() {
    if !Pooler::installed() {
        return;
    }
    let (_cluster, _pooler, mut watch) = pooled("pool_mode = statement").await;
    watch.found("pgbouncer-auth-type", Level::Info, "").await;
    watch.found("pgbouncer-pool-mode", Level::Warning, "").await;
}

#[tokio::test]
async fn a_full_pool_its_queue_and_the_time_in_it_are_found() {
    if !Pooler::installed() {
        return;
    }
    let extra = "pool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 10";
    let (_cluster, pooler, mut watch) = pooled(extra).await;
    let pool = "postgres/postgres";
    let holders = [
        pooler.connect("postgres").await,
        pooler.connect("postgres").await,
    ];
    for holder in &holders {
        holder.batch_execute("SELECT 1").await.unwrap();
    }
    for id in QUEUE {
        watch.silent(id).await;
    }
    watch.look(&TIMES).await;
    for holder in &holders {
        holder.batch_execute("BEGIN; SELECT 1").await.unwrap();
    }
    watch
        .found("pgbouncer-pool-saturation", Level::Warning, pool)
        .await;
    watch.silent("pgbouncer-waiting-clients").await;

    let mut waiters = Vec::new();
    for _ in 0..5 {
        let client = pooler.connect("postgres").await;
        waiters.push(tokio::spawn(async move {
            client.batch_execute("SELECT 1").await.unwrap();
        }));
    }
    becomes(&mut watch, "pgbouncer-waiting-clients", Level::Warning).await;
    let finding = watch
        .found("pgbouncer-waiting-clients", Level::Warning, pool)
        .await;
    assert!(finding.title.starts_with("5 clients"), "{finding:?}");
    // They wait for each other, not for a log-in.
    watch.silent("pgbouncer-server-login").await;
    let one_more = pooler.connect("postgres").await;
    let verdict = watch.verdict("pgbouncer-client-connections").await;
    assert_eq!(verdict.level, Level::Critical, "{verdict:?}");
    drop(one_more);

    becomes(&mut watch, "pgbouncer-maxwait", Level::Warning).await;
    watch.look(&TIMES).await;
    for holder in &holders {
        holder.batch_execute("COMMIT").await.unwrap();
    }
    for waiter in waiters {
        waiter.await.unwrap();
    }
    let verdict = watch.verdict("pgbouncer-wait-time").await;
    assert!(verdict.level >= Level::Warning, "{verdict:#?}");
    let finding = &verdict.findings[0];
    assert_eq!(finding.object, "postgres", "{finding:?}");
    drop(holders);
    becomes(&mut watch, "pgbouncer-client-connections", Level::Ok).await;
    for id in QUEUE {
        watch.silent(id).await;
    }
    for id in TIMES {
        watch.look(&[id]).await;
        watch.silent(id).await;
    }
}

const QUEUE: [&str; 5] = [
    "pgbouncer-pool-saturation",
    "pgbouncer-waiting-clients",
    "pgbouncer-client-connections",
    "pgbouncer-server-login",
    "pgbouncer-maxwait",
];
const TIMES: [&str; 2] = ["pgbouncer-wait-time", "pgbouncer-query-time"];

/// Opens a session through the pooler in the background, however long that takes.
fn enters(pooler: &Pooler) -> JoinHandle<bool> {
    let url = format!("{}&connect_timeout=25", pooler.url("postgres"));
    tokio::spawn(async move { Session::connect(&target(&url), "test").await.is_ok() })
}

/// Waits until a check says a level.
async fn becomes(watch: &mut Watch, id: &str, level: Level) {
    until(&format!("{id} becomes {level}"), async || {
        watch.verdict(id).await.level == level
    })
    .await;
}

#[tokio::test]
async fn the_mean_time_of_queries_is_that_since_the_last_run() {
    if !Pooler::installed() {
        return;
    }
    let (_cluster, pooler, mut watch) = pooled("").await;
    let client = pooler.connect("postgres").await;
    client.batch_execute("SELECT 1").await.unwrap();
    watch.look(&["pgbouncer-query-time"]).await;
    client.batch_execute("SELECT pg_sleep(0.3)").await.unwrap();
    until("PgBouncer has counted the query", async || {
        let rows = pooler.console("SHOW STATS_TOTALS").await;
        rows.iter().any(|row| row[0].as_deref() == Some("postgres"))
    })
    .await;
    let verdict = watch.verdict("pgbouncer-query-time").await;
    let measure = verdict.measures.iter().find(|m| m.object == "postgres");
    let mean = measure.unwrap().value;
    assert!((300.0..2_000.0).contains(&mean), "{verdict:#?}");
    client.batch_execute("SELECT 1").await.unwrap();
    let verdict = watch.verdict("pgbouncer-query-time").await;
    assert!(verdict.measures[0].value < 300.0, "{verdict:#?}");
    let facts = watch.older.as_ref().unwrap();
    let strict = evaluate(find("pgbouncer-query-time").unwrap(), facts, None, &());
    assert_eq!(strict.unwrap().level, Level::Unknown, "no earlier run");
}

#[tokio::test]
async fn pools_that_cannot_log_in_are_found_and_paused_ones_are_not_blamed() {
    if !Pooler::installed() {
        return;
    }
    let mut cluster = Cluster::start(&Setup::default()).await;
    let extra = "server_login_retry = 1";
    let pooler = Pooler::start(&cluster, extra).await;
    let mut watch = Watch::start(&cluster).await;
    watch.pgbouncer = Some(target(&pooler.url_as("monitor", "pgbouncer")));
    let client = pooler.connect("postgres").await;
    client.batch_execute("SELECT 1").await.unwrap();
    watch.silent("pgbouncer-server-login").await;

    cluster.stop(Stop::Immediate).await;
    client.batch_execute("SELECT 1").await.unwrap_err();
    let waits = enters(&pooler);
    let pool = "postgres/postgres";
    becomes(&mut watch, "pgbouncer-server-login", Level::Critical).await;
    watch
        .found("pgbouncer-server-login", Level::Critical, pool)
        .await;
    watch.silent("pgbouncer-reachable").await;
    cluster.start_again().await;
    assert!(waits.await.unwrap());
    becomes(&mut watch, "pgbouncer-server-login", Level::Ok).await;

    pooler.console("PAUSE postgres").await;
    let waits = enters(&pooler);
    until("a client waits", async || {
        let rows = pooler.console("SHOW POOLS").await;
        rows.iter()
            .any(|row| row[0].as_deref() == Some("postgres") && row[3].as_deref() != Some("0"))
    })
    .await;
    watch.silent("pgbouncer-server-login").await;
    watch
        .found("pgbouncer-paused", Level::Critical, "postgres")
        .await;
    pooler.console("RESUME postgres").await;
    assert!(waits.await.unwrap());
}

#[tokio::test]
async fn a_console_that_refuses_the_role_is_not_a_pooler_that_is_down() {
    if !Pooler::installed() {
        return;
    }
    let (_cluster, pooler, mut watch) = pooled("").await;
    watch.pgbouncer = Some(target(&pooler.url_as("ghost", "pgbouncer")));
    for id in ["pgbouncer-reachable", "pgbouncer-maxwait"] {
        let finding = watch.found(id, Level::Unknown, "").await;
        assert!(
            finding.remedy.contains("stats_users = ghost"),
            "{finding:?}"
        );
        assert!(finding.remedy.contains("auth_file"), "{finding:?}");
    }
}
