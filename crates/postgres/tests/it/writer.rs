//! The session that can change a server: where it is refused, what it sets, how it ends.

use std::time::Duration;

use pawang_postgres::{Error, Limits, Writer};
use pawang_testbed::{Cluster, Pooler, Setup, until, versions};

use crate::target;

const LIMITS: Limits = Limits {
    statement: None,
    lock: Duration::from_millis(100),
};

async fn value(writer: &Writer, sql: &str) -> String {
    let rows = writer.run(sql, LIMITS).await.unwrap();
    rows.rows[0][0].as_text().unwrap().to_owned()
}

#[tokio::test]
async fn each_statement_stands_alone_and_roles_cannot_bend_the_session() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        let bend = "ALTER ROLE postgres SET default_transaction_read_only = on;
            ALTER ROLE postgres SET standard_conforming_strings = off;
            ALTER ROLE postgres SET search_path = public;
            ALTER ROLE postgres SET statement_timeout = '5s'";
        cluster
            .sql(
                "postgres",
                "CREATE TABLE t AS SELECT generate_series(1, 10) AS n",
            )
            .await;
        cluster.sql("postgres", bend).await;
        let writer = Writer::connect(
            &target(&cluster.url("postgres")),
            "vacuum:postgres:public.t",
        )
        .await;
        let writer = writer.unwrap_or_else(|error| panic!("{}", error.report()));
        writer.run("VACUUM public.t", LIMITS).await.unwrap();
        writer
            .run("CREATE INDEX CONCURRENTLY i ON public.t (n)", LIMITS)
            .await
            .unwrap();
        for (setting, expected) in [
            ("application_name", "pawang:vacuum:postgres:public.t"),
            ("search_path", ""),
            ("statement_timeout", "0"),
            ("lock_timeout", "100ms"),
            ("TimeZone", "UTC"),
        ] {
            let shown = value(&writer, &format!("SHOW {setting}")).await;
            assert_eq!(shown.trim_matches('"'), expected, "{version}: {setting}");
        }
        assert_eq!(value(&writer, r"SELECT 'a\b'").await, r"a\b");
        let pid = value(&writer, "SELECT pg_catalog.pg_backend_pid()").await;
        assert_eq!(pid, writer.backend.to_string());
        // A transaction that an error has broken is over afterwards, and the limits are still those that were asked for.
        writer.run("BEGIN", LIMITS).await.unwrap();
        assert!(writer.run("SELECT 1 / 0", LIMITS).await.is_err());
        writer.roll_back().await.unwrap();
        assert_eq!(value(&writer, "SHOW lock_timeout").await, "100ms");
        writer.set("vacuum_cost_delay", "1.5").await.unwrap();
        assert_eq!(value(&writer, "SHOW vacuum_cost_delay").await, "1500us");
        writer.set("vacuum_cost_delay", "DEFAULT").await.unwrap();
        assert_eq!(value(&writer, "SHOW vacuum_cost_delay").await, "0");
    }
}

#[tokio::test]
async fn locks_and_cancels_are_told_apart() {
    let cluster = Cluster::start(&Setup::default()).await;
    cluster.sql("postgres", "CREATE TABLE t (n int)").await;
    let writer = Writer::connect(&target(&cluster.url("postgres")), "test")
        .await
        .unwrap();
    let holder = cluster.hold("postgres", "LOCK TABLE t").await;
    let locked = writer.run("VACUUM public.t", LIMITS).await.unwrap_err();
    assert!(
        matches!(locked, Error::LockTimeout { limit, .. } if limit == LIMITS.lock),
        "{locked}"
    );
    drop(holder);
    let cancel = async {
        until("it runs", async || {
            let sql = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
            !cluster.sql("postgres", sql).await.is_empty()
        })
        .await;
        writer.cancel().await;
    };
    let (ran, ()) =
        futures_util::future::join(writer.run("SELECT pg_catalog.pg_sleep(60)", LIMITS), cancel)
            .await;
    assert!(matches!(ran, Err(Error::Cancelled { .. })), "{ran:?}");
}

#[tokio::test]
async fn standbys_and_poolers_are_refused() {
    let cluster = Cluster::start(&Setup::default()).await;
    let standby = cluster.standby("s1").await;
    let refusal = Writer::connect(&target(&standby.url("postgres")), "test").await;
    let refusal = refusal.err().unwrap();
    assert!(
        matches!(&refusal, Error::WrongRole { found, .. } if *found == "a standby"),
        "{refusal}"
    );
    if Pooler::installed() {
        let pooler = Pooler::start(&cluster, "pool_mode = session").await;
        let refusal = Writer::connect(&target(&pooler.url("postgres")), "test").await;
        let refusal = refusal.err().unwrap();
        assert!(matches!(refusal, Error::Pooled { .. }), "{refusal}");
    }
}
