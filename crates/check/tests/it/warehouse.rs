//! Faults of the group `warehouse`: silent when healthy, found when injected, gone when cleared.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use pawang_check::{find, freshness_columns, load_columns};
use pawang_collect::Question;
use pawang_core::{Column, Level, Outcome, Value};
use pawang_testbed::{Cluster, Setup};

use crate::watch::{Watch, evaluate};

/// The data mart of document 000: dimensions, facts, staging and a log of its jobs.
const MART: &str = "CREATE SCHEMA dim; CREATE SCHEMA fact; CREATE SCHEMA staging; CREATE SCHEMA etl_log;
    CREATE TABLE etl_log.job_execution (job_name text, finished_at timestamptz, status text, rows_loaded bigint, rows_rejected bigint);
    CREATE TABLE fact.fact_surat (surat_id int, loaded_at timestamptz);
    CREATE TABLE staging.surat (id int, note text);
    GRANT USAGE ON SCHEMA etl_log, fact TO monitor;
    GRANT SELECT ON etl_log.job_execution, fact.fact_surat TO monitor;
    INSERT INTO fact.fact_surat VALUES (1, now() - interval '3 hours');
    INSERT INTO etl_log.job_execution
    SELECT j, now() - g * interval '1 day' + interval '20 hours', 'SUCCESS', 1000, 2
      FROM generate_series(1, 4) AS g, unnest(ARRAY['load_dim', 'load_fact']) AS j;";

const CHECKS: [&str; 6] = [
    "load-age",
    "load-failed",
    "load-error-rate",
    "quality-score",
    "load-rows",
    "load-running",
];

fn question(name: &str, sql: &str, columns: Arc<[Column]>, maximum_age: Value) -> Question {
    Question {
        name: name.to_owned(),
        database: None,
        sql: sql.to_owned(),
        columns,
        constants: vec![maximum_age],
        timeout: Duration::from_secs(5),
    }
}

fn loads(maximum_age: Value) -> Question {
    let sql = "SELECT job_name, finished_at, status, rows_loaded, rows_rejected FROM etl_log.job_execution";
    question("load:mart", sql, load_columns(), maximum_age)
}

#[tokio::test]
async fn loads_that_fail_come_late_or_lose_rows() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    assert_eq!(
        watch.verdict("load-age").await.outcome,
        Outcome::NotApplicable
    );
    assert_eq!(
        watch.verdict("freshness").await.outcome,
        Outcome::NotApplicable
    );
    cluster.sql("postgres", MART).await;
    watch.questions = vec![loads(Value::Null)];
    for id in CHECKS {
        watch.silent(id).await;
    }
    let newest = |set: &str| {
        format!("UPDATE etl_log.job_execution AS j SET {set} WHERE job_name = 'load_fact'
            AND finished_at = (SELECT max(finished_at) FROM etl_log.job_execution WHERE job_name = 'load_fact')")
    };
    let healthy = newest("status = 'SUCCESS', rows_loaded = 1000, rows_rejected = 2");
    for (fault, found) in [
        (
            "status = 'FAILED'",
            &[
                ("load-failed", Level::Critical, "load_fact"),
                ("load-age", Level::Warning, "load_fact"),
            ][..],
        ),
        (
            "status = 'hm'",
            &[("load-failed", Level::Unknown, "load_fact")],
        ),
        // 999 errors in 1,000 rows are a score near zero, not 100.
        (
            "rows_loaded = 1, rows_rejected = 999",
            &[
                ("load-error-rate", Level::Critical, "load_fact"),
                ("quality-score", Level::Critical, "mart"),
                ("load-rows", Level::Critical, "load_fact"),
            ],
        ),
        (
            "rows_rejected = 15",
            &[("load-error-rate", Level::Warning, "load_fact")],
        ),
        (
            "rows_loaded = 400",
            &[("load-rows", Level::Warning, "load_fact")],
        ),
    ] {
        cluster.sql("postgres", &newest(fault)).await;
        for (id, level, object) in found {
            watch.found(id, *level, object).await;
        }
        cluster.sql("postgres", &healthy).await;
        for id in CHECKS {
            watch.silent(id).await;
        }
    }
}

#[tokio::test]
async fn loads_that_hang_or_never_succeed() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    cluster.sql("postgres", MART).await;
    watch.questions = vec![loads(Value::Null)];
    watch.silent("load-age").await;
    cluster.sql("postgres", "UPDATE etl_log.job_execution SET finished_at = finished_at - interval '1 day' WHERE job_name = 'load_dim'").await;
    watch.found("load-age", Level::Warning, "load_dim").await;
    // The maximum age of the configuration wins over the check's own limits.
    watch.questions = vec![loads(Value::Float(200_000.0))];
    watch.silent("load-age").await;
    watch.questions = vec![loads(Value::Float(7_200.0))];
    watch.found("load-age", Level::Critical, "load_dim").await;
    watch.questions = vec![loads(Value::Null)];
    let hang = "INSERT INTO etl_log.job_execution VALUES ('load_dim', NULL, 'running', NULL, NULL)";
    cluster.sql("postgres", hang).await;
    watch
        .found("load-running", Level::Warning, "load_dim")
        .await;
    cluster
        .sql(
            "postgres",
            "DELETE FROM etl_log.job_execution WHERE status = 'running'",
        )
        .await;
    watch.silent("load-running").await;
    cluster
        .sql(
            "postgres",
            "UPDATE etl_log.job_execution SET status = 'FAILED' WHERE job_name = 'load_dim'",
        )
        .await;
    let finding = watch.found("load-age", Level::Critical, "load_dim").await;
    assert!(
        finding.title.contains("never succeeded"),
        "{}",
        finding.title
    );
    cluster
        .sql("postgres", "DELETE FROM etl_log.job_execution")
        .await;
    watch.found("load-failed", Level::Unknown, "mart").await;
}

#[tokio::test]
async fn tables_that_are_not_fed_or_not_emptied() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut watch = Watch::start(&cluster).await;
    cluster.sql("postgres", MART).await;
    let sql = "SELECT 'fact.fact_surat', max(loaded_at) FROM fact.fact_surat";
    watch.questions = vec![question(
        "freshness:facts",
        sql,
        freshness_columns(),
        Value::Float(14_400.0),
    )];
    watch.silent("freshness").await;
    for (age, level) in [
        ("5 hours", Level::Warning),
        ("9 hours", Level::Critical),
        ("-1 hour", Level::Unknown),
    ] {
        let update = format!("UPDATE fact.fact_surat SET loaded_at = now() - interval '{age}'");
        cluster.sql("postgres", &update).await;
        watch.found("freshness", level, "fact.fact_surat").await;
    }
    cluster.sql("postgres", "TRUNCATE fact.fact_surat").await;
    watch
        .found("freshness", Level::Critical, "fact.fact_surat")
        .await;
    cluster
        .sql("postgres", "INSERT INTO fact.fact_surat VALUES (1, now())")
        .await;
    watch.silent("freshness").await;

    watch.silent("staging-leftovers").await;
    let fill =
        "INSERT INTO staging.surat SELECT g, repeat('x', 1000) FROM generate_series(1, 12000) AS g";
    cluster.sql("postgres", fill).await;
    cluster.sql("postgres", "ANALYZE staging.surat").await;
    watch.silent("staging-leftovers").await;
    // Three days later, by the clock of the judge.
    let mut facts = watch.older.clone().unwrap();
    facts.at += SignedDuration::from_hours(72);
    let verdict = evaluate(find("staging-leftovers").unwrap(), &facts, None, &()).unwrap();
    assert_eq!(verdict.level, Level::Warning, "{verdict:#?}");
    assert_eq!(verdict.findings[0].object, "staging.surat");
    cluster.sql("postgres", "TRUNCATE staging.surat").await;
    watch.look(&["staging-leftovers"]).await;
    let mut facts = watch.older.clone().unwrap();
    facts.at += SignedDuration::from_hours(72);
    let verdict = evaluate(find("staging-leftovers").unwrap(), &facts, None, &()).unwrap();
    assert_eq!(verdict.level, Level::Ok, "{verdict:#?}");
}
