//! Every page in front of a real server: it loads, leads somewhere, and gives nothing away.

use std::collections::BTreeSet;

use pawang_store::state::Permission;
use pawang_testbed::{Cluster, Setup, until};
use pawang_web::routes;

use crate::auth::{add_account, add_token, closed, signed_in};
use crate::estate::Estate;
use crate::http::Client;

/// What must never be seen: passwords of URLs, of statements and of settings.
const SECRETS: [&str; 4] = [
    "planted-url",
    "planted-role",
    "planted-conninfo",
    "argon2id",
];
/// Compressed, as browsers ask for it.
const PAGE_BYTES_MAX: usize = 150 << 10;
const SCHEMA: &str = "\
CREATE TABLE orders (id bigserial PRIMARY KEY, note text);
CREATE TABLE \"Größe <b>&\"\"'?#%/\" (\"<script>alert(1)</script>\" int PRIMARY KEY);
INSERT INTO orders (note) SELECT repeat('x', 100) FROM generate_series(1, 20000);
ANALYZE;
CREATE ROLE somebody PASSWORD 'planted-role';
SELECT pg_create_physical_replication_slot('forgotten', true);";

/// Starts an estate with a server that has something to show, and one that is down.
pub(crate) async fn busy_estate() -> (Cluster, Estate) {
    let cluster = Cluster::start(&Setup {
        settings: &[
            ("shared_preload_libraries", "pg_stat_statements"),
            (
                "primary_conninfo",
                "host=gone user=u password=planted-conninfo",
            ),
        ],
        ..Setup::default()
    })
    .await;
    cluster
        .sql("postgres", "CREATE EXTENSION pg_stat_statements")
        .await;
    cluster.sql("postgres", SCHEMA).await;
    let mut estate = Estate::new();
    estate.alert(crate::alerts::ALERTING);
    // A superuser sees more that must not be shown.
    let url = cluster.url("postgres");
    let url = url.replace("user=postgres", "user=postgres&password=planted-url");
    estate.watch("dwh-1", "prod", &url);
    let gone = "postgresql://u:planted-url@127.0.0.1:1/postgres?connect_timeout=1";
    estate.watch("a b/c?<&\"", "test", gone);
    (cluster, estate)
}

/// Returns every address of GET of this kind, with all its varying parts filled in.
async fn addresses(client: &Client, kind: &str) -> Vec<String> {
    let findings = client.json("/api/v1/findings?limit=1").await;
    let fingerprint = findings[0]["fingerprint"].as_str().unwrap().to_owned();
    let statements = client
        .json("/api/v1/instances/dwh-1/growth?collector=statements&column=calls&limit=1")
        .await;
    let queryid = statements[0]["labels"][3]
        .as_str()
        .unwrap_or("1")
        .to_owned();
    let mut paths = Vec::new();
    for route in routes() {
        if route.kind != kind || route.method != "GET" {
            continue;
        }
        let path = route
            .path
            .replace("{fingerprint}", &fingerprint)
            .replace("{collector}", "settings")
            .replace("{id}", "1")
            .replace("{queryid}", &queryid);
        let path = match path.rsplit('/').next() {
            Some("series" | "growth") => format!("{path}?collector=database&column=xact_commit"),
            Some("changes") => format!("{path}?collector=settings"),
            Some("preview") => format!("{path}?matcher=check%3Dconnection"),
            _ => path,
        };
        for name in ["dwh-1", "a%20b%2Fc%3F%3C%26%22"] {
            // Nothing is known of statements of a server that never answered.
            if name == "dwh-1" || !(path.contains("/queries/") || path.contains("snapshots")) {
                paths.push(path.replace("{name}", name));
            }
        }
    }
    paths.sort();
    paths.dedup();
    paths
}

#[tokio::test]
async fn pages_load_lead_somewhere_and_keep_secrets() {
    let (cluster, mut estate) = busy_estate().await;
    let holder = cluster.hold("postgres", "LOCK TABLE orders").await;
    let waiter = cluster.connect("postgres").await;
    let secret = "ALTER ROLE somebody PASSWORD 'planted-role'; TABLE orders";
    let waiting = waiter.batch_execute(secret);
    let look = async {
        until("somebody waits", async || {
            let sql = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
            !cluster.sql("postgres", sql).await.is_empty()
        })
        .await;
        for _ in 0..3 {
            estate.sample().await;
            estate.look().await;
        }
        drop(holder);
    };
    let (waited, ()) = tokio::join!(waiting, look);
    waited.unwrap();
    let hash = add_account(&estate, "alice", Permission::Viewer);
    let token = add_token(&estate, "ci", Permission::Viewer);
    let served = estate.serve(closed()).await;
    let client = signed_in(&served, "alice").await;
    let mut secrets: Vec<&str> = SECRETS.to_vec();
    secrets.extend([hash.as_str(), token.as_str()]);
    let mut links = BTreeSet::new();
    for path in addresses(&client, "page").await {
        let answer = client.get(&path).await;
        if ["/sign-in", "/status"].contains(&path.as_str()) {
            continue;
        }
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(
            answer.title().contains("Pawang"),
            "{path}: {}",
            answer.title()
        );
        let text = answer.text();
        assert!(!text.contains("<script>alert"), "{path} does not escape");
        for secret in &secrets {
            assert!(!text.contains(secret), "{path} shows {secret}");
        }
        links.extend(internal_links(&text));
        let small = client.with("accept-encoding", "gzip").get(&path).await;
        assert!(
            small.body.len() < PAGE_BYTES_MAX,
            "{path}: {}",
            small.body.len()
        );
    }
    for path in addresses(&client, "api").await {
        let answer = client.get(&path).await;
        // Whoever may only look gets no plan that could be applied.
        let expected = if path.ends_with("/sessions/plan") {
            403
        } else {
            200
        };
        assert_eq!(answer.status, expected, "{path}: {}", answer.text());
        let text = answer.text();
        for secret in &secrets {
            assert!(!text.contains(secret), "{path} shows {secret}");
        }
    }
    let metrics = client.get("/metrics").await.text();
    assert!(metrics.contains("dwh-1"));
    assert!(!secrets.iter().any(|secret| metrics.contains(secret)));
    lead_somewhere(&client, links).await;
}

/// Asserts that links lead somewhere, one of each form.
async fn lead_somewhere(client: &Client, links: BTreeSet<String>) {
    let links = one_of_each_form(links);
    assert!(links.len() > 30, "{links:?}");
    for link in &links {
        let answer = client.get(link).await;
        assert!(
            answer.status < 400,
            "{link} leads to {}: {}",
            answer.status,
            answer.text()
        );
    }
}

/// Returns the addresses of ours that a page links to or loads.
fn internal_links(page: &str) -> BTreeSet<String> {
    let mut links = BTreeSet::new();
    for attribute in ["href=\"", "src=\""] {
        for rest in page.split(attribute).skip(1) {
            let link = rest.split('"').next().unwrap_or_default();
            let link = link.split('#').next().unwrap_or_default();
            let link = link.replace("&amp;", "&").replace("&quot;", "\"");
            if link.starts_with('/') {
                links.insert(link);
            }
        }
    }
    links
}

/// Returns one link of each path (numbers apart) with the same parameters: a hundred statements have one page.
fn one_of_each_form(links: BTreeSet<String>) -> Vec<String> {
    let form = |link: &str| {
        let (path, query) = link.split_once('?').unwrap_or((link, ""));
        let parts = path.split('/').map(|part| match part.parse::<i64>() {
            Ok(_) => "0",
            Err(_) => part,
        });
        let names = query
            .split('&')
            .map(|pair| pair.split('=').next().unwrap_or_default());
        let fingerprint = path.starts_with("/findings/");
        (
            parts
                .take(if fingerprint { 2 } else { usize::MAX })
                .collect::<Vec<_>>()
                .join("/"),
            names.collect::<Vec<_>>().join("&"),
        )
    };
    let mut seen = BTreeSet::new();
    links
        .into_iter()
        .filter(|link| seen.insert(form(link)))
        .collect()
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let estate = Estate::new();
    let served = estate.serve(crate::estate::settings()).await;
    let client = Client::new(served.address);
    for (path, status, said) in [
        ("/", 200, "pawang"),
        ("/instances/none", 404, "there is no instance \"none\""),
        ("/instances/none/tables", 404, "there is no instance"),
        ("/findings/none", 404, "there is no"),
        ("/incidents/none", 404, "there is no incident"),
        ("/incidents/7/report.md", 404, "there is no incident"),
        ("/windows?matcher=%3D", 200, "cannot read the matcher"),
        ("/status", 404, "there is no such page"),
        ("/?range=2h", 400, "cannot read parameter \"range\""),
        (
            "/?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
            400,
            "cannot read parameter \"from\"",
        ),
        ("/api/v1/instances/none", 404, "there is no instance"),
        ("/api/v1/nothing", 404, "there is no such page"),
    ] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        let text = answer.text().replace("&quot;", "\"").replace("\\\"", "\"");
        assert!(text.contains(said), "{path}: {text}");
    }
}
