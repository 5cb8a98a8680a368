//! Faults of the group `statements`: silent when healthy, found when injected, gone when cleared.

use pawang_check::{Check, Policy, Resolved, find};
use pawang_core::{Blind, Level, Outcome, Value, Verdict};
use pawang_testbed::{Cluster, Setup, Version, versions};

use crate::watch::{Watch, evaluate};

const LOADED: (&str, &str) = ("shared_preload_libraries", "pg_stat_statements");

/// Limits small enough for a fault that lasts a second.
struct Small {
    warning: Option<f64>,
    floor: f64,
}

impl Policy for Small {
    fn resolve(&self, check: &Check<'_>, _: Option<&str>, _: Option<&str>) -> Resolved {
        let mut limits = check.defaults();
        limits.warning = self.warning.or(limits.warning);
        limits
            .floors
            .values_mut()
            .for_each(|floor| *floor = self.floor);
        Resolved {
            enabled: true,
            limits,
        }
    }
}

/// Looks with one check under small limits.
async fn small(watch: &mut Watch, id: &str, warning: Option<f64>, floor: f64) -> Verdict {
    let older = watch.older.clone();
    watch.look(&[id]).await;
    let facts = watch.older.as_ref().unwrap();
    let policy = Small { warning, floor };
    evaluate(find(id).unwrap(), facts, older.as_ref(), &policy).unwrap()
}

async fn counting(version: Option<Version>, settings: &[(&str, &str)]) -> (Cluster, Watch) {
    let settings: Vec<_> = [LOADED].iter().chain(settings).copied().collect();
    let cluster = Cluster::start(&Setup {
        version,
        settings: &settings,
        ..Setup::default()
    })
    .await;
    cluster
        .sql("postgres", "CREATE EXTENSION pg_stat_statements")
        .await;
    let watch = Watch::start(&cluster).await;
    (cluster, watch)
}

/// Asserts the level and that a finding names role and database; returns nothing to clear.
fn assert_found(verdict: &Verdict, level: Level) {
    assert_eq!(verdict.level, level, "{verdict:#?}");
    let finding = &verdict.findings[0];
    assert!(
        finding.object.contains(" of postgres in postgres"),
        "{finding:#?}"
    );
    assert!(
        finding
            .remedy
            .starts_with("SELECT query FROM pg_stat_statements"),
        "{finding:#?}"
    );
}

fn assert_ok(verdict: &Verdict) {
    assert_eq!(
        (verdict.level, verdict.outcome),
        (Level::Ok, Outcome::Judged),
        "{verdict:#?}"
    );
}

#[tokio::test]
async fn counting_of_statements() {
    let plain = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&plain).await;
    let finding = watch.found("statements-tracked", Level::Info, "").await;
    assert!(
        finding.title.contains("shared_preload_libraries"),
        "{finding:#?}"
    );
    let verdict = watch.verdict("top-statement").await;
    let missing = |verdict: &Verdict| {
        matches!(
            verdict.findings[0].blind,
            Some(Blind::MissingExtension { .. })
        )
    };
    assert!(missing(&verdict), "{verdict:#?}");

    for version in versions() {
        let (cluster, mut watch) = counting(Some(version), &[]).await;
        watch.silent("statements-tracked").await;
        cluster.set("pg_stat_statements.track", Some("none")).await;
        watch.found("statements-tracked", Level::Warning, "").await;
        cluster.set("pg_stat_statements.track", None).await;
        cluster.set("compute_query_id", Some("off")).await;
        watch.found("statements-tracked", Level::Warning, "").await;
        cluster.set("compute_query_id", None).await;
        watch.silent("statements-tracked").await;
        cluster.sql("postgres", "CREATE ROLE plain LOGIN").await;
        let mut blind = Watch::over(&cluster.url_as("plain", "postgres"));
        for id in ["slow-statements", "statements-tracked"] {
            let verdict = blind.verdict(id).await;
            assert!(
                matches!(verdict.findings[0].blind, Some(Blind::NoPrivilege { .. })),
                "{verdict:#?}"
            );
        }
        cluster
            .sql("postgres", "DROP EXTENSION pg_stat_statements")
            .await;
        let finding = watch.found("statements-tracked", Level::Info, "").await;
        assert_eq!(finding.remedy, "CREATE EXTENSION pg_stat_statements;");
        // The extension may live in any database and any schema.
        cluster.sql("postgres", "CREATE DATABASE tools").await;
        cluster.sql("tools", "CREATE SCHEMA \"My Tools\"; CREATE EXTENSION pg_stat_statements SCHEMA \"My Tools\"").await;
        let verdict = watch.verdict("statements-tracked").await;
        assert!(
            verdict.findings[0].remedy.contains("GRANT USAGE ON SCHEMA"),
            "{verdict:#?}"
        );
        cluster
            .sql("tools", "GRANT USAGE ON SCHEMA \"My Tools\" TO monitor")
            .await;
        watch.silent("statements-tracked").await;
    }
}

#[tokio::test]
async fn every_column_of_pg_stat_statements_is_read() {
    for version in versions() {
        let (cluster, mut watch) = counting(Some(version), &[]).await;
        let ask = "SELECT a.attname, e.extversion FROM pg_attribute AS a, pg_extension AS e WHERE a.attnum > 0
            AND a.attrelid = 'pg_stat_statements'::regclass AND a.attname <> 'query' AND e.extname = 'pg_stat_statements'";
        let columns = cluster.sql("postgres", ask).await;
        watch.look(&["slow-statements"]).await;
        let facts = watch.older.as_ref().unwrap();
        let snapshot = facts.snapshot("statements", None).unwrap();
        assert!(columns.len() > 25 && snapshot.rows().len() > 2);
        for column in columns {
            let (name, extension) = (column[0].as_deref().unwrap(), column[1].as_deref().unwrap());
            let filled = snapshot.rows().any(|row| *row.value(name) != Value::Null);
            assert!(
                filled,
                "\"{name}\" of pg_stat_statements {extension} is not read"
            );
        }
    }
}

#[tokio::test]
async fn a_flood_of_statements() {
    let (cluster, mut watch) = counting(None, &[("pg_stat_statements.max", "100")]).await;
    let verdict = watch.verdict("statements-evictions").await;
    assert_eq!(verdict.findings[0].blind, Some(Blind::FirstSample));
    watch.silent("statements-evictions").await;
    let flood: String = (0..1_000).map(|n| format!("SET flood.n{n} = 1;")).collect();
    cluster.sql("postgres", &flood).await;
    let finding = watch
        .found("statements-evictions", Level::Warning, "")
        .await;
    assert!(
        finding.title.contains("to stay below 100"),
        "{}",
        finding.title
    );
    watch.silent("statements-evictions").await;
    cluster
        .sql("postgres", "SELECT pg_stat_statements_reset()")
        .await;
    let verdict = watch.verdict("statements-evictions").await;
    assert!(
        matches!(verdict.findings[0].blind, Some(Blind::Reset { .. })),
        "{verdict:#?}"
    );
}

#[tokio::test]
async fn statements_that_cost() {
    for version in versions() {
        let (cluster, mut watch) = counting(Some(version), &[]).await;
        let costs = [
            "top-statement",
            "statement-wal",
            "statement-reads",
            "statement-temp",
            "statement-calls",
        ];
        watch.look(&costs).await;
        for id in costs {
            watch.look(&costs).await;
            watch.silent(id).await;
        }
        watch.look(&["top-statement"]).await;
        cluster.sql("postgres", "SELECT pg_sleep(0.4)").await;
        assert_found(&watch.verdict("top-statement").await, Level::Info);
        watch.silent("top-statement").await;

        watch.look(&["statement-wal"]).await;
        cluster.sql("postgres", "CREATE TABLE big AS SELECT g AS id, repeat('x', 1000) AS note FROM generate_series(1, 40000) AS g").await;
        assert_found(&watch.verdict("statement-wal").await, Level::Info);
        watch.silent("statement-wal").await;

        watch.look(&["statement-reads"]).await;
        cluster.sql("postgres", "SELECT count(*) FROM big").await;
        assert_found(&watch.verdict("statement-reads").await, Level::Info);
        watch.silent("statement-reads").await;

        watch.look(&["statement-temp"]).await;
        cluster.sql("postgres", "SET work_mem = '64kB'; SELECT count(*) FROM (SELECT note FROM big ORDER BY id DESC OFFSET 1) AS s").await;
        let verdict = small(&mut watch, "statement-temp", Some(1_048_576.0), 0.0).await;
        assert_found(&verdict, Level::Warning);
        assert_ok(&small(&mut watch, "statement-temp", Some(1_048_576.0), 0.0).await);

        watch.look(&["statement-calls"]).await;
        let asked = "SELECT 1 FROM pg_class WHERE oid = 1;".repeat(1_500);
        cluster
            .sql("postgres", &format!("BEGIN; {asked} COMMIT;"))
            .await;
        assert_found(&watch.verdict("statement-calls").await, Level::Warning);
        watch.silent("statement-calls").await;

        cluster
            .sql("postgres", &"SELECT pg_sleep(0.06);".repeat(11))
            .await;
        assert_found(
            &small(&mut watch, "slow-statements", Some(50.0), 10.0).await,
            Level::Warning,
        );
        watch.silent("slow-statements").await;
    }
}

#[tokio::test]
async fn statements_that_changed() {
    let (cluster, mut watch) = counting(None, &[]).await;
    cluster
        .sql(
            "postgres",
            "CREATE TABLE pace (seconds float); INSERT INTO pace VALUES (0)",
        )
        .await;
    let ask = |times| "SELECT pg_sleep(seconds) FROM pace;".repeat(times);
    cluster.sql("postgres", &ask(300)).await;
    watch.look(&["statement-regression"]).await;
    cluster.sql("postgres", &ask(30)).await;
    watch.silent("statement-regression").await;
    cluster
        .sql("postgres", "UPDATE pace SET seconds = 0.06")
        .await;
    cluster.sql("postgres", &ask(25)).await;
    assert_found(&watch.verdict("statement-regression").await, Level::Warning);
    cluster.sql("postgres", "UPDATE pace SET seconds = 0").await;
    cluster.sql("postgres", &ask(30)).await;
    watch.silent("statement-regression").await;
}

#[tokio::test]
async fn statements_planned_compiled_and_alone() {
    let newest = versions().last().copied();
    let settings = [
        ("pg_stat_statements.track_planning", "on"),
        ("jit_above_cost", "-1"),
        ("max_parallel_workers", "0"),
    ];
    for version in [None, newest] {
        let (cluster, mut watch) = counting(version, &settings).await;
        cluster
            .sql(
                "postgres",
                "CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 1000) AS g; ANALYZE t",
            )
            .await;
        let joined: Vec<String> = (0..9).map(|n| format!("t AS t{n}")).collect();
        let equal: Vec<String> = (1..9).map(|n| format!("t0.id = t{n}.id")).collect();
        let planned = format!(
            "SELECT 1 FROM {} WHERE {} AND false;",
            joined.join(", "),
            equal.join(" AND ")
        );
        // Planned for most of the time between two looks, as no statement of our own ever is.
        let planned = planned.replace(" AND false", " AND t0.id = -1").repeat(100);
        watch.look(&["statement-planning"]).await;
        assert_ok(&small(&mut watch, "statement-planning", None, 50.0).await);
        cluster.sql("postgres", &planned).await;
        assert_found(
            &small(&mut watch, "statement-planning", None, 50.0).await,
            Level::Warning,
        );
        assert_ok(&small(&mut watch, "statement-planning", None, 50.0).await);

        if cluster.sql("postgres", "SELECT pg_jit_available()").await[0][0].as_deref() == Some("t")
        {
            watch.look(&["statement-jit"]).await;
            assert_ok(&small(&mut watch, "statement-jit", None, 10.0).await);
            let compiled = "SET jit_above_cost = 0; SET jit_optimize_above_cost = 0; SELECT sum(id + 1) FROM t WHERE id > 5;";
            cluster.sql("postgres", compiled).await;
            assert_found(
                &small(&mut watch, "statement-jit", None, 10.0).await,
                Level::Warning,
            );
            assert_ok(&small(&mut watch, "statement-jit", None, 10.0).await);
        }

        watch.look(&["statement-workers"]).await;
        let verdict = watch.verdict("statement-workers").await;
        if cluster.version().0 < 18 {
            assert_eq!(verdict.outcome, Outcome::NotApplicable);
            continue;
        }
        assert_ok(&verdict);
        let parallel = format!(
            "SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; {}",
            "SELECT count(*) FROM t;".repeat(30)
        );
        cluster.sql("postgres", &parallel).await;
        assert_found(&watch.verdict("statement-workers").await, Level::Warning);
        watch.silent("statement-workers").await;
    }
    let (_cluster, mut watch) = counting(None, &[]).await;
    let verdict = watch.verdict("statement-planning").await;
    assert_eq!(verdict.outcome, Outcome::NotApplicable, "{verdict:#?}");
}
