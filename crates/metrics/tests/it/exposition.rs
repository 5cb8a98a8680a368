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

#[tokio::test]
async fn names_of_postgres_exporter_have_its_values() {
    if !PostgresExporter::installed() {
        return;
    }
    let cluster = scene::cluster().await;
    let exporter = PostgresExporter::start(&cluster, "postgres").await;
    let theirs = exporter.metrics().await;
    let presents = [scene::present(&cluster, "dwh-1").await];
    let ours = samples(&scrape(&presents, Format::Prometheus, &both_names()));
    let our_names: BTreeSet<&str> = ours.keys().map(|series| name(series)).collect();
    let missing: BTreeSet<&str> = theirs
        .lines()
        .filter(|line| line.starts_with("pg_"))
        .map(|line| name(line).split(' ').next().unwrap())
        .filter(|name| !our_names.contains(name))
        .collect();
    println!("{missing:#?}");
    assert_eq!(missing, BTreeSet::new());
}
