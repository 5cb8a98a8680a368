//! What a real cluster looks like to whoever scrapes.

use std::collections::BTreeSet;

use pawang_config::MetricsConfig;
use pawang_metrics::Format;
use pawang_testbed::{PostgresExporter, Prometheus, promtool};

use crate::scene::{self, name, samples, scrape};

fn both_names() -> MetricsConfig {
    MetricsConfig {
        postgres_exporter_names: true,
        ..MetricsConfig::default()
    }
}

#[tokio::test]
async fn promtool_finds_nothing_to_complain_about() {
    if !Prometheus::installed() {
        return;
    }
    let cluster = scene::cluster().await;
    let _idle = cluster.hold("postgres", "SELECT 1").await;
    let presents = [
        scene::present(&cluster, "dwh-1").await,
        scene::present(&cluster, "dwh \"2\"\\").await,
    ];
    for config in [MetricsConfig::default(), both_names()] {
        let text = scrape(&presents, Format::Prometheus, &config);
        assert!(samples(&text).len() > 1_000);
        let said = promtool(&["check", "metrics"], &text);
        assert_eq!(said, Ok(String::new()));
    }
}

#[test]
fn a_channel_that_gets_nothing_through_is_seen() {
    let samples = samples(&scrape(&[], Format::Prometheus, &MetricsConfig::default()));
    let channel = r#"channel="email \"dba\"""#;
    for (series, value) in [
        (format!("pawang_notification_trouble{{{channel}}}"), 1.0),
        (format!("pawang_notifications_waiting{{{channel}}}"), 2.0),
        (
            format!("pawang_notifications_total{{{channel},outcome=\"sent\"}}"),
            7.0,
        ),
        (
            format!("pawang_notifications_total{{{channel},outcome=\"dead\"}}"),
            1.0,
        ),
        (
            "pawang_alerts{state=\"firing\",level=\"critical\"}".to_owned(),
            0.0,
        ),
    ] {
        assert_eq!(samples.get(&series), Some(&value), "{series}");
    }
}

#[tokio::test]
async fn values_are_those_of_the_server() {
    let cluster = scene::cluster().await;
    let presents = [scene::present(&cluster, "dwh-1").await];
    let text = scrape(&presents, Format::Prometheus, &MetricsConfig::default());
    let samples = samples(&text);
    let table = r#"{server="dwh-1",database="postgres",schemaname="public",relname="orders"}"#;
    assert_eq!(
        samples[&format!("pawang_tables_n_tup_ins_total{table}")],
        20_000.0
    );
    assert_eq!(
        samples[&format!("pawang_tables_n_tup_del_total{table}")],
        2_000.0
    );
    assert_eq!(samples[&format!("pawang_tables_n_dead_tup{table}")], 0.0);
    let odd = r#"{server="dwh-1",database="postgres",schemaname="public",relname="odd \"name\\"}"#;
    assert_eq!(samples[&format!("pawang_tables_n_live_tup{odd}")], 5_000.0);
    assert_eq!(samples[r#"pawang_up{server="dwh-1"}"#], 1.0);
    let setting = r#"pawang_settings_value{server="dwh-1",name="shared_buffers",unit="bytes"}"#;
    assert_eq!(samples[setting], 33_554_432.0);
    assert_eq!(
        samples[r#"pawang_sessions_max_connections{server="dwh-1"}"#],
        100.0
    );
    let info = samples
        .keys()
        .find(|series| name(series) == "pawang_instance_info")
        .unwrap();
    assert!(info.contains(r#"group="prod",role="primary""#), "{info}");
    assert!(info.contains(r#"site="jakarta \"1\"""#), "{info}");
    let checks = samples
        .keys()
        .filter(|series| name(series) == "pawang_check_state");
    assert!(checks.count() > 80);
}

#[tokio::test]
async fn only_what_is_asked_for_is_shown() {
    let cluster = scene::cluster().await;
    let presents = [scene::present(&cluster, "dwh-1").await];
    let names = |config: &MetricsConfig, collect: Option<&[&str]>| -> BTreeSet<String> {
        let text = scene::scrape_of(&presents, Format::Prometheus, config, collect);
        let series = samples(&text).into_keys();
        series.map(|series| name(&series).to_owned()).collect()
    };
    let all = MetricsConfig::default();
    let tables = names(&all, Some(&["tables", "host_*"]));
    let only =
        |name: &String| name.starts_with("pawang_tables_") || name.starts_with("pawang_host_");
    assert!(tables.len() > 50 && tables.iter().all(only), "{tables:?}");
    assert_eq!(names(&all, Some(&["no-such"])), BTreeSet::new());
    let checks = ["pawang_check_state", "pawang_finding", "pawang_findings"].map(str::to_owned);
    assert_eq!(names(&all, Some(&["checks"])), BTreeSet::from(checks));
    let few = MetricsConfig {
        collectors: Some(vec!["wal".to_owned()]),
        series_per_collector: 3,
        ..MetricsConfig::default()
    };
    let shown = names(&few, None);
    assert!(shown.contains("pawang_up") && shown.contains("pawang_series_dropped"));
    assert!(!shown.iter().any(|name| name.starts_with("pawang_tables_")));
    let text = scrape(&presents, Format::Prometheus, &few);
    let dropped = r#"pawang_series_dropped{server="dwh-1",collector="wal"}"#;
    assert!(samples(&text)[dropped] > 3.0);
}

#[tokio::test]
async fn openmetrics_has_units_and_an_end() {
    let cluster = scene::cluster().await;
    let presents = [scene::present(&cluster, "dwh-1").await];
    let text = scrape(&presents, Format::OpenMetrics, &both_names());
    assert!(text.ends_with("\n# EOF\n"));
    assert!(text.contains("# TYPE pawang_database_blk_read_time_seconds counter\n# UNIT pawang_database_blk_read_time_seconds seconds\npawang_database_blk_read_time_seconds_total{"));
    let plain = scrape(&presents, Format::Prometheus, &both_names());
    let names = |text: &str| -> BTreeSet<String> {
        samples(text.trim_end_matches("# EOF\n"))
            .into_keys()
            .collect()
    };
    assert_eq!(names(&text), names(&plain));
    for unit in text.lines().filter_map(|line| line.strip_prefix("# UNIT ")) {
        let (name, unit) = unit.split_once(' ').unwrap();
        assert!(name.ends_with(&format!("_{unit}")), "{name} {unit}");
    }
}

/// What postgres_exporter has and we have not; `docs/guide/prometheus.md` says why.
const LACKING: [&str; 6] = [
    "pg_database_size_bytes",
    "pg_locks_count",
    "pg_process_idle_seconds_bucket",
    "pg_process_idle_seconds_count",
    "pg_process_idle_seconds_sum",
    "pg_scrape_collector_success",
];

#[tokio::test]
async fn names_of_postgres_exporter_have_its_values() {
    if !PostgresExporter::installed() {
        return;
    }
    let cluster = scene::cluster().await;
    // What it says of idle sessions is only there when there is one.
    let _idle = cluster.connect("postgres").await;
    let exporter = PostgresExporter::start(&cluster, "postgres").await;
    let theirs = samples(&exporter.metrics().await);
    let presents = [scene::present(&cluster, "dwh-1").await];
    let ours = samples(&scrape(&presents, Format::Prometheus, &both_names()));
    let names: BTreeSet<&str> = ours.keys().map(|series| name(series)).collect();
    // What is NaN or "never" to them is absent with us; what is about the exporter itself is not ours to say.
    let lacking: BTreeSet<&str> = theirs
        .iter()
        .filter(|(series, value)| series.starts_with("pg_") && !value.is_nan())
        .filter(|(series, value)| **value != 0.0 || !name(series).contains("_last_auto"))
        .map(|(series, _)| name(series))
        .filter(|name| !name.starts_with("pg_exporter_") && !names.contains(name))
        .filter(|name| *name != "pg_scrape_collector_duration_seconds")
        .collect();
    assert_eq!(lacking, BTreeSet::from(LACKING));
    for (series, value) in theirs.iter().filter(|(series, _)| stands_still(series)) {
        let ours = ours.iter().find(|(ours, _)| same_labels(ours, series));
        let (_, ours) = ours.unwrap_or_else(|| panic!("{series} {value}"));
        assert_eq!(ours, value, "{series}");
    }
    let guide = include_str!("../../../../docs/guide/prometheus.md");
    for name in LACKING {
        let stem = name.trim_end_matches("_bucket").trim_end_matches("_count");
        let stem = stem.trim_end_matches("_sum").trim_end_matches("_success");
        assert!(guide.contains(stem), "{stem}");
    }
}

/// Whether nobody changes a series between the two looks.
fn stands_still(series: &str) -> bool {
    const STILL: [&str; 9] = [
        "pg_settings_shared_buffers_bytes",
        "pg_settings_checkpoint_timeout_seconds",
        "pg_settings_autovacuum_naptime_seconds",
        "pg_settings_deadlock_timeout_seconds",
        "pg_settings_log_autovacuum_min_duration_seconds",
        "pg_settings_max_connections",
        "pg_stat_user_tables_n_tup_ins",
        "pg_stat_user_tables_n_tup_del",
        "pg_stat_user_tables_vacuum_count",
    ];
    let settings = name(series).starts_with("pg_settings_");
    STILL.contains(&name(series)) || settings && series.contains("max_")
}

/// Whether two series have the same name and labels, but for their own idea of the server.
fn same_labels(one: &str, other: &str) -> bool {
    let labels = |series: &str| -> BTreeSet<String> {
        let labels = series
            .split_once('{')
            .map_or("", |(_, labels)| labels.trim_end_matches('}'));
        let labels = labels
            .split(',')
            .filter(|label| !label.starts_with("server="));
        labels.map(str::to_owned).collect()
    };
    name(one) == name(other) && labels(one) == labels(other)
}
