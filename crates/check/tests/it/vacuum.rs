//! Faults of the group `vacuum`: silent when healthy, found when injected, gone when cleared.

use std::time::Duration;

use pawang_check::{Check, Policy, Resolved, find};
use pawang_core::{Blind, Facts, Level, Limits, Outcome, Verdict};
use pawang_testbed::{Cluster, Setup, Version, until, versions};

use crate::watch::{Watch, evaluate};

/// Autovacuum is on, but comes only once a day: tests decide when vacuum runs.
const PATIENT: (&str, &str) = ("autovacuum_naptime", "86400");
/// Later than ten of those days.
const TWELVE_DAYS: Duration = Duration::from_secs(12 * 86_400);

struct Adjusted(fn(&mut Limits));

impl Policy for Adjusted {
    fn resolve(&self, check: &Check<'_>, _: Option<&str>, _: Option<&str>) -> Resolved {
        let mut limits = check.defaults();
        (self.0)(&mut limits);
        Resolved {
            enabled: true,
            limits,
        }
    }
}

/// Judges remembered facts again with other limits.
fn judge(facts: &Facts, id: &str, adjust: fn(&mut Limits)) -> Verdict {
    evaluate(find(id).unwrap(), facts, None, &Adjusted(adjust)).unwrap()
}

fn objects(verdict: &Verdict, level: Level) -> Vec<&str> {
    let found = verdict.findings.iter().filter(|f| f.level == level);
    found.map(|f| f.object.as_str()).collect()
}

/// Waits until a condition holds: statistics arrive a little after the transaction that caused them.
async fn holds(cluster: &Cluster, condition: &str) {
    until(condition, || async {
        let rows = cluster
            .sql("postgres", &format!("SELECT {condition}"))
            .await;
        rows[0][0].as_deref() == Some("t")
    })
    .await;
}

/// Vacuums and analyzes a table, and waits until the statistics say so.
async fn vacuum(cluster: &Cluster, table: &str) {
    let sql = format!("VACUUM (ANALYZE) {table}");
    cluster.sql("postgres", &sql).await;
    let done = format!(
        "(SELECT n_ins_since_vacuum = 0 AND n_mod_since_analyze = 0 FROM pg_stat_user_tables WHERE relname = '{table}')"
    );
    holds(cluster, &done).await;
}

async fn patient(version: Option<Version>, more: &[(&str, &str)]) -> Cluster {
    let mut settings = vec![PATIENT];
    settings.extend_from_slice(more);
    Cluster::start(&Setup {
        version,
        settings: &settings,
        ..Setup::default()
    })
    .await
}

async fn set(cluster: &Cluster, name: &str, value: &str) {
    cluster
        .sql("postgres", &format!("ALTER SYSTEM SET {name} = '{value}'"))
        .await;
    cluster.reload().await;
    let condition = format!("pg_catalog.current_setting('{name}') = '{value}'");
    holds(cluster, &condition).await;
}

#[tokio::test]
async fn autovacuum_that_is_switched_off_or_throttled_is_found() {
    let cluster = patient(None, &[]).await;
    let mut watch = Watch::start(&cluster).await;
    watch.silent("autovacuum-disabled").await;
    watch.silent("autovacuum-throttled").await;
    watch.silent("autovacuum-workers").await;
    for name in ["autovacuum", "track_counts"] {
        set(&cluster, name, "off").await;
        let finding = watch
            .found("autovacuum-disabled", Level::Critical, "")
            .await;
        assert!(finding.title.contains(name), "{finding:#?}");
        set(&cluster, name, "on").await;
        watch.silent("autovacuum-disabled").await;
    }
    set(&cluster, "autovacuum_vacuum_cost_delay", "50ms").await;
    watch
        .found("autovacuum-throttled", Level::Warning, "")
        .await;
    set(&cluster, "autovacuum_vacuum_cost_delay", "2ms").await;
    watch.silent("autovacuum-throttled").await;

    let table = "CREATE TABLE \"Sales\" AS SELECT g FROM generate_series(1, 20000) g";
    cluster.sql("postgres", table).await;
    holds(
        &cluster,
        "EXISTS (SELECT FROM pg_stat_user_tables WHERE n_live_tup = 20000)",
    )
    .await;
    watch.silent("autovacuum-disabled-tables").await;
    let off = "ALTER TABLE \"Sales\" SET (autovacuum_enabled = off)";
    cluster.sql("postgres", off).await;
    let finding = watch
        .found("autovacuum-disabled-tables", Level::Warning, "public.Sales")
        .await;
    assert_eq!(
        finding.remedy,
        "ALTER TABLE public.\"Sales\" RESET (autovacuum_enabled);"
    );
    cluster.sql("postgres", &finding.remedy).await;
    watch.silent("autovacuum-disabled-tables").await;
}

#[tokio::test]
async fn dead_rows_and_stale_statistics_are_found() {
    for version in versions() {
        let cluster = patient(Some(version), &[]).await;
        let mut watch = Watch::start(&cluster).await;
        let ids = [
            "dead-tuples",
            "vacuum-due",
            "vacuum-starved",
            "never-analyzed",
            "stale-statistics",
            "vacuum-stuck",
        ];
        let table = "CREATE TABLE sales AS SELECT g AS id FROM generate_series(1, 100000) g";
        cluster.sql("postgres", table).await;
        holds(
            &cluster,
            "(SELECT n_live_tup = 100000 FROM pg_stat_user_tables)",
        )
        .await;
        watch
            .found("never-analyzed", Level::Warning, "public.sales")
            .await;
        vacuum(&cluster, "sales").await;
        for id in ids {
            watch.silent(id).await;
        }
        cluster
            .sql("postgres", "DELETE FROM sales WHERE id <= 30000")
            .await;
        holds(
            &cluster,
            "(SELECT n_dead_tup = 30000 FROM pg_stat_user_tables)",
        )
        .await;
        watch
            .found("dead-tuples", Level::Warning, "public.sales")
            .await;
        let due = watch.found("vacuum-due", Level::Info, "public.sales").await;
        assert!(due.evidence[0].1.ends_with("rows = 20050"), "{due:#?}");
        cluster
            .sql("postgres", "DELETE FROM sales WHERE id <= 60000")
            .await;
        holds(
            &cluster,
            "(SELECT n_dead_tup = 60000 FROM pg_stat_user_tables)",
        )
        .await;
        watch
            .found("dead-tuples", Level::Critical, "public.sales")
            .await;
        watch
            .found("stale-statistics", Level::Warning, "public.sales")
            .await;
        // Left alone for twelve days by an autovacuum that comes every day.
        watch.silent("vacuum-starved").await;
        let mut facts = watch.older.clone().unwrap();
        facts.at += TWELVE_DAYS;
        let starved = judge(&facts, "vacuum-starved", |_| {});
        assert_eq!(objects(&starved, Level::Warning), ["public.sales"]);
        // The storage options of the table count.
        let options = "ALTER TABLE sales SET (autovacuum_vacuum_threshold = 70000)";
        cluster.sql("postgres", options).await;
        watch.silent("vacuum-due").await;
        vacuum(&cluster, "sales").await;
        for id in ids {
            watch.silent(id).await;
        }
    }
}

#[tokio::test]
async fn the_ceiling_of_the_vacuum_threshold_is_known() {
    for version in versions()
        .into_iter()
        .filter(|version| *version >= Version(18))
    {
        let cluster = patient(
            Some(version),
            &[("autovacuum_vacuum_max_threshold", "5000")],
        )
        .await;
        let mut watch = Watch::start(&cluster).await;
        let table = "CREATE TABLE sales AS SELECT g AS id FROM generate_series(1, 100000) g";
        cluster.sql("postgres", table).await;
        vacuum(&cluster, "sales").await;
        cluster
            .sql("postgres", "DELETE FROM sales WHERE id <= 15000")
            .await;
        holds(
            &cluster,
            "(SELECT n_dead_tup = 15000 FROM pg_stat_user_tables)",
        )
        .await;
        let due = watch.found("vacuum-due", Level::Info, "public.sales").await;
        assert!(due.evidence[0].1.starts_with("least("), "{due:#?}");
        assert_eq!(due.value, Some(300.0));
    }
}

#[tokio::test]
async fn an_old_snapshot_that_holds_dead_rows_is_found() {
    let cluster = patient(None, &[]).await;
    let mut watch = Watch::start(&cluster).await;
    let table = "CREATE TABLE big AS SELECT g AS id, repeat('x', 900) AS filler FROM generate_series(1, 40000) g;
                 CREATE INDEX ON big (id)";
    cluster.sql("postgres", table).await;
    cluster.sql("postgres", "ANALYZE big").await;
    holds(
        &cluster,
        "(SELECT last_analyze IS NOT NULL FROM pg_stat_user_tables)",
    )
    .await;
    watch
        .found("never-vacuumed", Level::Warning, "public.big")
        .await;
    vacuum(&cluster, "big").await;
    watch.silent("never-vacuumed").await;
    cluster
        .sql("postgres", "SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT filler FROM big WHERE id = 7")
        .await;
    holds(&cluster, "(SELECT idx_scan > 0 FROM pg_stat_user_tables)").await;
    watch.silent("visibility-map").await;
    watch.silent("vacuum-held-back").await;
    let holder = cluster.connect("postgres").await;
    holder
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class")
        .await
        .unwrap();
    cluster
        .sql("postgres", "UPDATE big SET id = - id WHERE id % 2 = 0")
        .await;
    cluster.sql("postgres", "VACUUM (ANALYZE) big").await;
    holds(
        &cluster,
        "(SELECT n_dead_tup = 20000 FROM pg_stat_user_tables)",
    )
    .await;
    let held = watch
        .found("vacuum-held-back", Level::Warning, "public.big")
        .await;
    let names: Vec<&str> = held
        .evidence
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert!(names.contains(&"oldest holder"), "{held:#?}");
    watch
        .found("visibility-map", Level::Warning, "public.big")
        .await;
    holder.batch_execute("COMMIT").await.unwrap();
    cluster.sql("postgres", "VACUUM (ANALYZE) big").await;
    holds(&cluster, "(SELECT n_dead_tup = 0 FROM pg_stat_user_tables)").await;
    watch.silent("vacuum-held-back").await;
    watch.silent("visibility-map").await;

    watch.silent("hot-updates").await;
    cluster
        .sql("postgres", "CREATE TABLE hot AS SELECT g AS id FROM generate_series(1, 60000) g; CREATE INDEX ON hot (id);
                          UPDATE hot SET id = id + 1; UPDATE hot SET id = id + 1")
        .await;
    holds(
        &cluster,
        "(SELECT n_tup_upd = 120000 FROM pg_stat_user_tables WHERE relname = 'hot')",
    )
    .await;
    watch.found("hot-updates", Level::Info, "public.hot").await;
}

#[tokio::test]
async fn a_vacuum_that_crawls_is_found() {
    let cluster = patient(None, &[]).await;
    let mut watch = Watch::start(&cluster).await;
    watch.silent("vacuum-stuck").await;
    let table = "CREATE TABLE big AS SELECT g AS id, repeat('x', 900) AS filler FROM generate_series(1, 20000) g";
    cluster.sql("postgres", table).await;
    let client = cluster.connect("postgres").await;
    client
        .batch_execute("SET vacuum_cost_delay = 100")
        .await
        .unwrap();
    client
        .batch_execute("SET vacuum_cost_limit = 1")
        .await
        .unwrap();
    let crawl = client.batch_execute("VACUUM big");
    let look = async {
        holds(&cluster, "EXISTS (SELECT FROM pg_stat_progress_vacuum)").await;
        watch.silent("vacuum-stuck").await;
        let facts = watch.older.clone().unwrap();
        let verdict = judge(&facts, "vacuum-stuck", |limits| limits.warning = Some(0.0));
        assert_eq!(verdict.findings.len(), 1, "{verdict:#?}");
        let end = "SELECT pg_cancel_backend(pid) FROM pg_stat_progress_vacuum";
        cluster.sql("postgres", end).await;
    };
    let (crawled, ()) = tokio::join!(crawl, look);
    assert!(crawled.is_err(), "it was cancelled");
    let verdict = watch.verdict("vacuum-stuck").await;
    assert_eq!(verdict.measures_total, 0, "{verdict:#?}");
}

#[tokio::test]
async fn saturated_autovacuum_workers_are_found() {
    let settings = [
        ("autovacuum_naptime", "1"),
        ("autovacuum_max_workers", "1"),
        ("autovacuum_vacuum_cost_delay", "100"),
        ("autovacuum_vacuum_cost_limit", "1"),
    ];
    let cluster = Cluster::start(&Setup {
        settings: &settings,
        ..Setup::default()
    })
    .await;
    let mut watch = Watch::start(&cluster).await;
    watch.silent("autovacuum-workers").await;
    for name in ["a", "b", "c"] {
        let table = format!(
            "CREATE TABLE {name} AS SELECT g AS id FROM generate_series(1, 50000) g; DELETE FROM {name}"
        );
        cluster.sql("postgres", &table).await;
    }
    let busy = "EXISTS (SELECT FROM pg_stat_progress_vacuum)
                AND (SELECT count(*) FROM pg_stat_user_tables WHERE n_dead_tup > 40000) = 3";
    holds(&cluster, busy).await;
    watch.found("autovacuum-workers", Level::Warning, "").await;
    set(&cluster, "autovacuum_vacuum_cost_delay", "0").await;
    // Before PostgreSQL 16 a worker reads its cost limits only between two tables.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'";
    cluster.sql("postgres", end).await;
    holds(
        &cluster,
        "(SELECT count(*) FROM pg_stat_user_tables WHERE n_dead_tup > 0) = 0",
    )
    .await;
    watch.silent("autovacuum-workers").await;
}

#[tokio::test]
async fn pages_still_to_be_frozen_are_found() {
    for version in versions() {
        let cluster = patient(Some(version), &[("autovacuum_freeze_max_age", "100000")]).await;
        let mut watch = Watch::start(&cluster).await;
        if version < Version(18) {
            let verdict = watch.verdict("freeze-debt").await;
            assert_eq!(verdict.outcome, Outcome::NotApplicable);
            continue;
        }
        let table = "CREATE TABLE big AS SELECT g AS id, repeat('x', 900) AS filler FROM generate_series(1, 40000) g";
        cluster.sql("postgres", table).await;
        cluster.sql("postgres", "ANALYZE big").await;
        watch.silent("freeze-debt").await;
        let burn = "DO $$ BEGIN FOR i IN 1..55000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$";
        cluster.sql("postgres", burn).await;
        watch
            .found("freeze-debt", Level::Warning, "public.big")
            .await;
        cluster.sql("postgres", "VACUUM (FREEZE) big").await;
        watch.silent("freeze-debt").await;
    }
}

#[tokio::test]
async fn bloat_is_found_and_never_guessed() {
    let cluster = patient(None, &[("autovacuum", "off")]).await;
    let mut watch = Watch::start(&cluster).await;
    let ids = ["table-bloat", "index-bloat", "toast-bloat"];
    for id in ids {
        watch.silent(id).await;
    }
    let tables = "CREATE TABLE wide AS SELECT g AS id, repeat(md5(g::text), 12) AS code FROM generate_series(1, 135000) g;
                  CREATE INDEX wide_code ON wide (code);
                  CREATE TABLE pages (id int, body text); ALTER TABLE pages ALTER body SET STORAGE EXTERNAL;
                  INSERT INTO pages SELECT g, repeat('x', 3900) FROM generate_series(1, 15000) g";
    cluster.sql("postgres", tables).await;
    cluster
        .sql("postgres", "VACUUM (ANALYZE) wide, pages")
        .await;
    watch.silent("toast-bloat").await;
    // A member of pg_monitor alone sees no column statistics.
    for id in ["table-bloat", "index-bloat"] {
        let verdict = watch.verdict(id).await;
        assert_eq!(verdict.level, Level::Unknown, "{verdict:#?}");
        let blind = verdict.findings[0].blind.as_ref();
        assert!(
            matches!(blind, Some(Blind::NoPrivilege { grant, .. }) if grant == "GRANT pg_read_all_data TO monitor;"),
            "{verdict:#?}"
        );
    }
    // Columns of fixed width that are never NULL need no statistics.
    let fixed = "CREATE TABLE fixed (id int NOT NULL, n bigint NOT NULL); INSERT INTO fixed SELECT g, g FROM generate_series(1, 60000) g";
    cluster.sql("postgres", fixed).await;
    cluster.sql("postgres", "VACUUM (ANALYZE) fixed").await;
    watch.verdict("table-bloat").await;
    let verdict = judge(&watch.older.clone().unwrap(), "table-bloat", |limits| {
        limits.floors.insert("size".to_owned(), 1e6);
    });
    let measures = verdict.measures.iter();
    let judged: Vec<_> = measures.filter(|m| m.level == Level::Ok).collect();
    assert_eq!(judged.len(), 1, "{verdict:#?}");
    assert_eq!(judged[0].object, "postgres/public.fixed");
    assert_eq!(verdict.level, Level::Unknown, "the others stay unknown");
    cluster
        .sql("postgres", "GRANT pg_read_all_data TO monitor")
        .await;
    for id in ids {
        watch.silent(id).await;
    }
    cluster
        .sql(
            "postgres",
            "DELETE FROM wide WHERE id % 10 < 7; DELETE FROM pages WHERE id % 10 < 7",
        )
        .await;
    cluster
        .sql("postgres", "VACUUM (ANALYZE) wide, pages")
        .await;
    watch
        .found("table-bloat", Level::Warning, "public.wide")
        .await;
    let index = watch
        .found("index-bloat", Level::Warning, "public.wide_code")
        .await;
    assert_eq!(index.remedy, "REINDEX INDEX CONCURRENTLY public.wide_code;");
    watch
        .found("toast-bloat", Level::Warning, "TOAST of public.pages")
        .await;
    cluster.sql("postgres", "VACUUM (FULL, ANALYZE) wide").await;
    cluster
        .sql("postgres", "VACUUM (FULL, ANALYZE) pages")
        .await;
    for id in ids {
        watch.silent(id).await;
    }
}

#[tokio::test]
async fn a_bloated_catalog_is_found() {
    let cluster = patient(None, &[("autovacuum", "off")]).await;
    let mut watch = Watch::start(&cluster).await;
    watch.silent("catalog-bloat").await;
    let churn = "DO $$ BEGIN FOR i IN 1..400 LOOP EXECUTE 'CREATE TEMP TABLE t AS SELECT ' ||
                 (SELECT string_agg('1 AS c' || g, ',') FROM generate_series(1, 60) g); DROP TABLE t; END LOOP; END $$";
    cluster.sql("postgres", churn).await;
    // The last row keeps the file from being cut off at its end.
    cluster.sql("postgres", "CREATE TABLE last (id int)").await;
    cluster
        .sql("postgres", "VACUUM (ANALYZE) pg_attribute")
        .await;
    watch.verdict("catalog-bloat").await;
    let small = |limits: &mut Limits| {
        limits.floors.insert("size".to_owned(), 0.0);
    };
    let verdict = judge(&watch.older.clone().unwrap(), "catalog-bloat", small);
    assert_eq!(
        objects(&verdict, Level::Warning),
        ["pg_catalog.pg_attribute"],
        "{verdict:#?}"
    );
    cluster
        .sql("postgres", "VACUUM (FULL, ANALYZE) pg_attribute")
        .await;
    watch.verdict("catalog-bloat").await;
    let verdict = judge(&watch.older.clone().unwrap(), "catalog-bloat", small);
    assert_eq!(verdict.level, Level::Ok, "{verdict:#?}");
}
