//! Faults of PgBouncer: silent when healthy, found when injected, gone when cleared.

use pawang_core::{Blind, Level};
use pawang_postgres::{Environment, Target};
use pawang_testbed::{Cluster, Pooler, Setup, until};

use crate::watch::Watch;

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
