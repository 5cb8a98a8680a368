//! Remote-write to Debian's Prometheus: what arrives is what was seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pawang_collect::Catalog;
use pawang_config::RemoteWriteConfig;
use pawang_core::Timestamp;
use pawang_metrics::remote_write::{Remote, Step};
use pawang_store::live::Present;
use pawang_testbed::{Cluster, Prometheus};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::scene::{now, present_of};

/// What most tests look at: small, and it moves.
const COLLECTORS: [&str; 5] = ["server", "database", "tables", "wal", "activity"];
const STEPS_MAX: usize = 1_000;

pub(crate) fn config(url: &str) -> RemoteWriteConfig {
    RemoteWriteConfig {
        name: "prometheus".to_owned(),
        url: pawang_core::Secret::new(url.to_owned()),
        labels: BTreeMap::from([("site".to_owned(), "jakarta".to_owned())]),
        queue_size: pawang_config::Size(pawang_core::ByteSize(64 << 20)),
        ..RemoteWriteConfig::default()
    }
}

pub(crate) async fn look(cluster: &Cluster, name: &str) -> Arc<Present> {
    present_of(cluster, name, &Catalog::built_in(), Some(&COLLECTORS)).await
}

/// Steps until nothing waits.
pub(crate) async fn drain(remote: &Remote) {
    for _ in 0..STEPS_MAX {
        match remote.step(now()).await {
            Step::Idle => return,
            Step::Sent { .. } => {}
            step => panic!("{step:?}"),
        }
    }
    panic!("the queue does not become empty");
}

/// Returns every series of a query and its value.
pub(crate) async fn query(
    prometheus: &Prometheus,
    query: &str,
    at: Timestamp,
) -> BTreeMap<String, f64> {
    let seconds = at.as_millisecond() as f64 / 1e3;
    let query: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let path = format!("/api/v1/query?time={seconds}&query={query}");
    let (status, body) = prometheus.get(&path).await;
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let rows = answer["data"]["result"].as_array().unwrap();
    rows.iter()
        .map(|row| {
            let labels = row["metric"].as_object().unwrap();
            let labels: Vec<String> = labels
                .iter()
                .map(|(name, value)| format!("{name}={}", value.as_str().unwrap()))
                .collect();
            (
                labels.join(","),
                row["value"][1].as_str().unwrap().parse().unwrap(),
            )
        })
        .collect()
}

#[tokio::test]
async fn what_arrives_is_what_was_seen() {
    if !Prometheus::installed() {
        return;
    }
    let prometheus = Prometheus::start().await;
    let cluster = crate::scene::cluster().await;
    let directory = TempDir::new().unwrap();
    let remote = Remote::open(&config(&prometheus.write_url()), directory.path()).unwrap();
    let present = look(&cluster, "dwh-1").await;
    remote.offer(&present);
    assert!(remote.status().waiting_bytes > 0);
    drain(&remote).await;
    let status = remote.status();
    assert_eq!(
        (status.waiting_bytes, status.samples_dropped, status.trouble),
        (0, 0, None)
    );
    let tables = present.facts.snapshot("tables", Some("postgres")).unwrap();
    let found = query(
        &prometheus,
        "pawang_tables_n_tup_ins_total{relname=\"orders\"}",
        tables.at,
    )
    .await;
    let labels = "__name__=pawang_tables_n_tup_ins_total,database=postgres,relname=orders,schemaname=public,server=dwh-1,site=jakarta";
    assert_eq!(found, BTreeMap::from([(labels.to_owned(), 20_000.0)]));
    // Each sample is at its snapshot's own time, so it is not there a millisecond earlier.
    let earlier = tables.at - Duration::from_millis(1);
    assert!(
        query(&prometheus, "pawang_tables_n_tup_ins_total", earlier)
            .await
            .is_empty()
    );
    let all = query(&prometheus, "count({server=\"dwh-1\"})", now()).await;
    assert_eq!(all.values().sum::<f64>(), status.samples_sent as f64);
    // The same again is nothing new.
    remote.offer(&present);
    drain(&remote).await;
    assert_eq!(remote.status().samples_sent, status.samples_sent);
}

#[tokio::test]
async fn what_ends_is_ended() {
    if !Prometheus::installed() {
        return;
    }
    let prometheus = Prometheus::start().await;
    let cluster = crate::scene::cluster().await;
    let directory = TempDir::new().unwrap();
    let remote = Remote::open(&config(&prometheus.write_url()), directory.path()).unwrap();
    remote.offer(&look(&cluster, "dwh-1").await);
    cluster.sql("postgres", "DROP TABLE orders").await;
    let present = look(&cluster, "dwh-1").await;
    remote.offer(&present);
    drain(&remote).await;
    let tables = query(
        &prometheus,
        "pawang_tables_n_live_tup{schemaname=\"public\"}",
        now(),
    )
    .await;
    assert_eq!(tables.len(), 1, "{tables:?}");
    assert!(tables.keys().all(|labels| labels.contains("odd")));
    remote.forget("dwh-1", now());
    drain(&remote).await;
    let left = query(&prometheus, "{server=\"dwh-1\"}", now()).await;
    assert_eq!(left, BTreeMap::new());
    assert_eq!(remote.status().samples_dropped, 0);
}

#[tokio::test]
async fn a_store_that_is_away_misses_nothing() {
    if !Prometheus::installed() {
        return;
    }
    let mut prometheus = Prometheus::start().await;
    let cluster = crate::scene::cluster().await;
    let directory = TempDir::new().unwrap();
    let config = config(&prometheus.write_url());
    let remote = Remote::open(&config, directory.path()).unwrap();
    prometheus.kill();
    let mut values = BTreeMap::new();
    let start = now();
    for round in 1..=5 {
        cluster.sql("postgres", "SELECT pg_switch_wal(); CREATE TABLE IF NOT EXISTS t (n int); INSERT INTO t VALUES (1)").await;
        let present = look(&cluster, "dwh-1").await;
        let wal = present.facts.snapshot("wal", None).unwrap();
        let lsn = wal.first().unwrap().float("current_lsn").unwrap();
        values.insert(wal.at.as_millisecond(), lsn);
        remote.offer(&present);
        let step = remote.step(start).await;
        let expected = if round == 1 { "Kept" } else { "Waiting" };
        assert!(format!("{step:?}").starts_with(expected), "{step:?}");
    }
    let waiting = remote.status().waiting_bytes;
    assert!(remote.status().trouble.unwrap().contains("127.0.0.1"));
    // Another process takes over: what waits is still there.
    drop(remote);
    let remote = Remote::open(&config, directory.path()).unwrap();
    assert_eq!(remote.status().waiting_bytes, waiting);
    prometheus.start_again().await;
    drain(&remote).await;
    let path = format!(
        "/api/v1/query?query=pawang_wal_current_lsn_bytes%5B1h%5D&time={}",
        now().as_second() + 1
    );
    let (_, body) = prometheus.get(&path).await;
    let answer: Value = serde_json::from_str(&body).unwrap();
    let found = answer["data"]["result"][0]["values"].as_array().unwrap();
    let found: BTreeMap<i64, f64> = found
        .iter()
        .map(|sample| {
            let at = (sample[0].as_f64().unwrap() * 1e3).round() as i64;
            (at, sample[1].as_str().unwrap().parse().unwrap())
        })
        .collect();
    assert_eq!(found, values);
}

/// Answers one request with this, and returns what was asked.
async fn answer_once(listener: &TcpListener, answer: &str) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut asked = Vec::new();
    let mut buffer = [0; 65_536];
    loop {
        let read = stream.read(&mut buffer).await.unwrap();
        asked.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&asked);
        let head = text.find("\r\n\r\n").map(|end| end + 4);
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: Option<usize> = length.and_then(|length| length.parse().ok());
        if let (Some(head), Some(length)) = (head, length)
            && asked.len() >= head + length
        {
            break;
        }
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    String::from_utf8_lossy(&asked).to_lowercase()
}

#[tokio::test]
async fn each_answer_has_its_meaning() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/push", listener.local_addr().unwrap());
    let directory = TempDir::new().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "s3cret\nignored\n").unwrap();
    let mut config = config(&url);
    config.token_file = Some(token.clone());
    let remote = Remote::open(&config, directory.path()).unwrap();
    let cluster = crate::scene::cluster().await;
    remote.offer(&look(&cluster, "dwh-1").await);
    let all = remote.status().waiting_bytes;
    let start = now();
    let seconds = |seconds| start + Duration::from_secs(seconds);

    let busy = "HTTP/1.1 429 Too Many\r\nRetry-After: 120\r\nContent-Length: 5\r\n\r\nlater";
    let (step, asked) = tokio::join!(remote.step(start), answer_once(&listener, busy));
    let until = seconds(120);
    assert!(
        matches!(step, Step::Kept { until: at, .. } if at == until),
        "{step:?}"
    );
    for header in [
        "post /push http/1.1",
        "content-encoding: snappy",
        "content-type: application/x-protobuf",
        "x-prometheus-remote-write-version: 0.1.0",
        "authorization: bearer s3cret",
    ] {
        assert!(asked.contains(header), "{header}");
    }
    assert_eq!(remote.step(seconds(119)).await, Step::Waiting { until });
    assert_eq!(remote.status().waiting_bytes, all);

    let broken = "HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n";
    let (step, _) = tokio::join!(remote.step(until), answer_once(&listener, broken));
    assert!(matches!(step, Step::Kept { .. }), "{step:?}");
    let (step, _) = tokio::join!(
        remote.step(seconds(200)),
        answer_once(&listener, "nonsense\r\n\r\n")
    );
    assert!(matches!(step, Step::Kept { .. }), "{step:?}");
    let denied = "HTTP/1.1 401 Who?\r\nContent-Length: 0\r\n\r\n";
    let (step, _) = tokio::join!(remote.step(seconds(300)), answer_once(&listener, denied));
    assert!(matches!(step, Step::Kept { .. }), "{step:?}");
    assert_eq!(remote.status().waiting_bytes, all);

    let wrong = "HTTP/1.1 400 No\r\nContent-Length: 19\r\n\r\nout of order sample\n";
    let (step, _) = tokio::join!(remote.step(seconds(400)), answer_once(&listener, wrong));
    let Step::Dropped { samples, why } = step else {
        panic!("{step:?}");
    };
    assert!(
        why.ends_with("answered with HTTP status 400: out of order sample"),
        "{why}"
    );
    assert_eq!(remote.status().samples_dropped, samples);
    let good = "HTTP/1.1 204 Thanks\r\nConnection: close\r\n\r\n";
    if remote.status().waiting_bytes > 0 {
        let (step, _) = tokio::join!(remote.step(seconds(401)), answer_once(&listener, good));
        assert!(matches!(step, Step::Sent { .. }), "{step:?}");
    }
    std::fs::remove_file(&token).unwrap();
    remote.forget("dwh-1", seconds(500));
    let step = remote.step(seconds(500)).await;
    assert!(matches!(step, Step::Kept { .. }), "{step:?}");
    let trouble = remote.status().trouble.unwrap();
    assert!(
        trouble.contains("token") && !trouble.contains("s3cret"),
        "{trouble}"
    );
}

#[test]
fn a_remote_is_shared_by_tasks() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>(_: T) {}
    shared::<Remote>();
    let directory = TempDir::new().unwrap();
    let remote = Remote::open(&config("https://mimir.example.org/push"), directory.path()).unwrap();
    sent(remote.step(now()));
    let wrong = config("mimir.example.org:s3cret@x");
    let error = Remote::open(&wrong, directory.path())
        .err()
        .unwrap()
        .to_string();
    assert!(!error.contains("s3cret"), "{error}");
}
