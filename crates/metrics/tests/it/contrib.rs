//! The dashboard and the alerts that people get: valid, and about metrics that are there.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use pawang_collect::{Catalog, Scope};
use pawang_config::MetricsConfig;
use pawang_metrics::{Format, reference};
use pawang_testbed::{Prometheus, promtool};
use serde_json::Value;
use tempfile::TempDir;

use crate::scene::{self, name, samples, scrape};

fn contrib(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../contrib")
        .join(file)
}

fn read(file: &str) -> String {
    std::fs::read_to_string(contrib(file)).unwrap()
}

/// Returns a folder that whoever owns the testbed's processes can read; the work tree need not be so.
fn folder() -> TempDir {
    let mode = Permissions::from_mode(0o755);
    tempfile::Builder::new()
        .permissions(mode)
        .tempdir()
        .unwrap()
}

/// Returns every word that looks like one of our metrics.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words
        .filter(|word| word.starts_with("pawang_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

/// Returns every query of the dashboard, its variables and annotations.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match value {
                    Value::String(text) if key == "expr" || key == "definition" => {
                        found.push(text.clone())
                    }
                    value => queries(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
        _ => {}
    }
}

#[test]
fn alerts_are_valid_and_say_what_they_should() {
    if !Prometheus::installed() {
        return;
    }
    let folder = folder();
    for file in ["pawang.rules.yml", "tests.yml"] {
        std::fs::copy(contrib("prometheus").join(file), folder.path().join(file)).unwrap();
    }
    let path = |file: &str| folder.path().join(file).to_string_lossy().into_owned();
    promtool(&["check", "rules", &path("pawang.rules.yml")], "").unwrap();
    promtool(&["test", "rules", &path("tests.yml")], "").unwrap();
    let rules = read("prometheus/pawang.rules.yml");
    let alerts = rules.matches("- alert: ").count();
    for key in ["summary: ", "description: ", "runbook: pawang "] {
        assert_eq!(rules.matches(key).count(), alerts, "{key}");
    }
    for command in rules.split("pawang explain ").skip(1) {
        let check = command.split_whitespace().next().unwrap();
        let known = check.starts_with("{{") || pawang_check::find(check).is_some();
        assert!(known, "pawang explain {check}");
    }
}

#[tokio::test]
async fn every_metric_of_dashboard_and_alerts_is_there() {
    let cluster = scene::cluster().await;
    cluster
        .sql(
            "postgres",
            "SELECT pg_create_physical_replication_slot('s', true)",
        )
        .await;
    let _open = cluster.hold("postgres", "SELECT 1").await;
    let presents = [scene::present(&cluster, "dwh-1").await];
    let text = scrape(&presents, Format::Prometheus, &MetricsConfig::default());
    let series = samples(&text);
    let there: BTreeSet<&str> = series.keys().map(|series| name(series)).collect();
    let catalog = Catalog::built_in();
    let collectors = catalog.collectors.iter().map(|(name, collector)| {
        let header = &collector.header;
        (
            name.as_str(),
            header.summary.as_str(),
            &header.columns[..],
            header.scope == Scope::Database,
        )
    });
    let documented = metrics(&reference(collectors));
    let dashboard: Value = serde_json::from_str(&read("grafana/pawang-overview.json")).unwrap();
    let mut texts = vec![];
    queries(&dashboard, &mut texts);
    assert!(texts.len() > 30);
    let rules = read("prometheus/pawang.rules.yml");
    texts.extend(
        rules
            .lines()
            .filter(|line| !line.contains("runbook"))
            .map(str::to_owned),
    );
    for metric in metrics(&texts.join("\n")) {
        assert!(documented.contains(&metric), "{metric} is not documented");
        // A lag is NULL while there is no standby, and while nothing is written.
        let there = there.contains(metric.as_str()) || metric.starts_with("pawang_replication_");
        assert!(there, "{metric} is not there");
    }
    let undocumented: Vec<&str> = there
        .into_iter()
        .filter(|name| !documented.contains(*name))
        .collect();
    assert_eq!(undocumented, Vec::<&str>::new());
}

#[test]
fn queries_of_the_dashboard_are_valid() {
    if !Prometheus::installed() {
        return;
    }
    let dashboard: Value = serde_json::from_str(&read("grafana/pawang-overview.json")).unwrap();
    let mut texts = vec![];
    queries(&dashboard, &mut texts);
    let rules: Vec<String> = texts
        .iter()
        .filter(|query| !query.starts_with("label_values("))
        .enumerate()
        .map(|(number, query)| {
            let query = query.replace("$__rate_interval", "5m");
            format!(
                "  - record: query_{number}\n    expr: {}\n",
                Value::from(query)
            )
        })
        .collect();
    let rules = format!("groups:\n- name: dashboard\n  rules:\n{}", rules.concat());
    let folder = folder();
    let file = folder.path().join("dashboard.yml");
    std::fs::write(&file, rules).unwrap();
    promtool(&["check", "rules", &file.to_string_lossy()], "").unwrap();
}
