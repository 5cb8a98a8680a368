//! The API for programs: what it says, how it says that it cannot, and that its description is true.

use std::path::Path;

use pawang_store::state::Entry;
use pawang_web::{openapi, routes};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::estate::{Estate, now, report, settings};
use crate::http::Client;
use crate::pages::busy_estate;

#[tokio::test]
async fn what_the_pages_show_is_there_as_json() {
    let (cluster, mut estate) = busy_estate().await;
    cluster
        .sql("postgres", "ALTER ROLE ALL SET app.jwt_secret = 'hunter2'")
        .await;
    estate.look().await;
    estate.sample().await;
    cluster
        .sql("postgres", "INSERT INTO orders (note) VALUES ('more')")
        .await;
    estate.look().await;
    let served = estate.serve(settings()).await;
    let client = Client::new(served.address);
    let instances = client.json("/api/v1/instances").await;
    assert_eq!(instances[0]["name"], "a b/c?<&\"");
    assert_eq!(instances[0]["server"], Value::Null);
    assert!(
        instances[0]["blind"]["reason"]
            .as_str()
            .unwrap()
            .contains("refused")
    );
    assert_eq!(instances[1]["server"]["role"], "primary");
    let name = "/api/v1/instances/dwh-1";
    let findings = client.json(&format!("{name}/findings?level=unknown")).await;
    let finding = &findings[0];
    assert!(
        finding["title"]
            .as_str()
            .is_some_and(|title| !title.is_empty())
    );
    let path = format!(
        "/api/v1/findings/{}",
        finding["fingerprint"].as_str().unwrap()
    );
    let records = client.json(&path).await;
    assert_eq!(records[0]["finding"]["check"], finding["check"]);
    let verdicts = client.json(&format!("{name}/verdicts")).await;
    assert!(verdicts.as_array().unwrap().len() > 100);
    let collectors = client.json(&format!("{name}/collectors")).await;
    assert!(
        collectors
            .as_array()
            .unwrap()
            .iter()
            .any(|c| c["name"] == "database")
    );
    let snapshot = &client.json(&format!("{name}/snapshots/database")).await[0];
    let columns = snapshot["columns"].as_array().unwrap();
    assert_eq!(snapshot["rows"][0].as_array().unwrap().len(), columns.len());
    let then = now().as_millisecond();
    let stored = client
        .json(&format!("{name}/snapshots/settings?at={then}"))
        .await;
    let live = client.json(&format!("{name}/snapshots/settings")).await;
    assert_eq!(
        stored[0]["rows"], live[0]["rows"],
        "the history says what was seen"
    );
    secrets_and_other_databases_stay_out(&client, name).await;
    the_history_is_there_too(&client, name).await;
}

async fn secrets_and_other_databases_stay_out(client: &Client, name: &str) {
    let roles = client
        .json(&format!("{name}/snapshots/role-settings"))
        .await;
    let roles = roles.to_string();
    assert!(
        roles.contains("[\"\",\"\",\"app.jwt_secret\",\"[redacted]\"]"),
        "{roles}"
    );
    let elsewhere = client
        .json(&format!("{name}/snapshots/tables?database=elsewhere"))
        .await;
    assert_eq!(elsewhere, json!([]));
}

async fn the_history_is_there_too(client: &Client, name: &str) {
    let growth = client
        .json(&format!(
            "{name}/growth?collector=tables&column=n_tup_ins&sort=n_tup_ins"
        ))
        .await;
    assert!(
        growth[0]["growth"][0].as_f64().unwrap() >= 1.0,
        "{}",
        growth[0]
    );
    let series = client
        .json(&format!(
            "{name}/series?collector=database&column=numbackends&fold=none"
        ))
        .await;
    assert_eq!(series.as_array().unwrap().len(), 1);
    let activity = client.json(&format!("{name}/activity?limit=1")).await;
    assert_eq!(activity[0]["collector"], "activity-samples");
}

#[tokio::test]
async fn wrong_questions_are_answered_with_what_is_wrong() {
    let mut estate = Estate::new();
    let gone = "postgresql://u@127.0.0.1:1/postgres?connect_timeout=1";
    estate.watch("dwh-1", "test", gone);
    estate.look().await;
    let served = estate.serve(settings()).await;
    let client = Client::new(served.address);
    let name = "/api/v1/instances/dwh-1";
    for (path, status, said) in [
        ("/api/v1/instances?limit=0", 400, "a number from 1 to 1000"),
        ("/api/v1/instances?after=none", 400, "the page before"),
        ("/api/v1/instances?colour=red", 400, "takes limit, after"),
        ("/api/v1/findings?level=worst", 400, "must be"),
        ("/api/v1/findings/none", 404, "there is no finding"),
        ("/api/v1/alerts/none", 404, "there is no alert"),
        ("/api/v1/alerts?matcher=%3D", 422, "cannot read the matcher"),
        ("/api/v1/silences/preview", 400, "is missing"),
        ("/api/v1/incidents/none", 404, "there is no incident"),
        ("/api/v1/journal?after=x", 400, "must be a number"),
        (
            &format!("{name}/snapshots/none"),
            404,
            "there is no snapshot of",
        ),
        (
            &format!("{name}/snapshots/settings?at=then"),
            400,
            "RFC 3339",
        ),
        (&format!("{name}/series"), 400, "is missing"),
        (
            &format!("{name}/series?collector=database"),
            400,
            "is missing",
        ),
        (
            &format!("{name}/series?collector=database&column=deadlocks&step=0"),
            400,
            "at least 1",
        ),
        (
            &format!("{name}/series?collector=database&column=deadlocks&rows=x"),
            400,
            "labels of a row",
        ),
        (
            &format!("{name}/growth?collector=database&column=deadlocks&sort=x"),
            400,
            "one of the columns",
        ),
    ] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let problem: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(problem["status"], status);
        assert!(problem.to_string().contains(said), "{path}: {problem}");
    }
}

#[tokio::test]
async fn long_answers_come_in_pages_and_known_ones_not_at_all() {
    let estate = Estate::new();
    for number in 0..25 {
        let entry = Entry {
            at: now(),
            actor: "cli:test".to_owned(),
            action: "test.write".to_owned(),
            object: number.to_string(),
            outcome: "done".to_owned(),
            detail: json!({}),
        };
        estate.store.state().journal(&entry).unwrap();
    }
    let served = estate.serve(settings()).await;
    let client = Client::new(served.address);
    let mut path = "/api/v1/journal?limit=10".to_owned();
    let mut objects = Vec::new();
    loop {
        let answer = client.get(&path).await;
        let page: Vec<Value> = serde_json::from_slice(&answer.body).unwrap();
        objects.extend(
            page.iter()
                .map(|entry| entry["object"].as_str().unwrap().to_owned()),
        );
        let link = answer.header("link").to_owned();
        let Some(next) = link
            .strip_prefix('<')
            .and_then(|rest| rest.split('>').next())
        else {
            break;
        };
        path = next.to_owned();
    }
    let expected: Vec<String> = (0..25).rev().map(|number| number.to_string()).collect();
    assert_eq!(objects, expected);
    let answer = client.get("/api/v1/checks").await;
    let tag = answer.header("etag").to_owned();
    let again = client
        .with("if-none-match", &tag)
        .get("/api/v1/checks")
        .await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    let other = client
        .with("if-none-match", "\"x\"")
        .get("/api/v1/checks")
        .await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn a_refused_configuration_is_told_to_who_asked_for_it() {
    let estate = Estate::new();
    let served = estate.serve(settings()).await;
    let client = Client::new(served.address);
    let session = client.json("/api/v1/session").await;
    let client = client.with("x-csrf-token", session["csrf"].as_str().unwrap());
    let answer = client.post("/api/v1/daemon/reload", &[]).await;
    assert_eq!(answer.text(), "{\"done\":true}");
    *served.refusal.lock().unwrap() = vec![report("there is no key \"a\""), report("b")];
    let answer = client.post("/api/v1/daemon/reload", &[]).await;
    assert_eq!(answer.status, 422);
    assert!(
        answer.text().contains("there is no key"),
        "{}",
        answer.text()
    );
    assert!(answer.text().contains("1 more"), "{}", answer.text());
    let entry = estate
        .store
        .state()
        .journal_page(None, 1)
        .unwrap()
        .remove(0)
        .entry;
    assert_eq!(
        (entry.action.as_str(), entry.outcome.as_str()),
        ("daemon.reload", "refused")
    );
}

#[tokio::test]
async fn open_pages_are_told_of_changes() {
    let estate = Estate::new();
    let served = estate.serve(settings()).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream
        .write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut heard = String::new();
    read_until(&mut stream, &mut heard, "retry: ").await;
    assert!(heard.contains("content-type: text/event-stream"));
    let daemon = (*estate.live.daemon()).clone();
    let begun = std::time::Instant::now();
    for _ in 0..50 {
        estate.live.put_daemon(daemon.clone());
    }
    read_until(&mut stream, &mut heard, "event: change").await;
    estate.live.put_daemon(daemon);
    read_until(&mut stream, &mut heard, "event: change").await;
    assert!(
        begun.elapsed().as_secs_f64() > 1.5,
        "two events take two seconds"
    );
}

async fn read_until(stream: &mut TcpStream, heard: &mut String, text: &str) {
    heard.clear();
    let mut piece = [0; 1_024];
    while !heard.contains(text) {
        let read = stream.read(&mut piece).await.unwrap();
        assert!(read > 0, "the stream ended: {heard}");
        heard.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
}

#[test]
fn the_description_is_complete_and_as_committed() {
    let description = openapi();
    for route in routes() {
        let operation = &description["paths"][route.path][route.method.to_lowercase()];
        assert_eq!(operation["summary"], route.summary, "{route:?}");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = folder.join("../../docs/reference/openapi.json");
    let committed: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(description, committed, "hint: cargo xtask docs");
}

#[test]
fn every_schema_that_the_description_names_is_in_it() {
    let description = openapi();
    let text = description.to_string();
    let named = text.split("\"#/components/schemas/").skip(1);
    for name in named.map(|rest| rest.split('"').next().unwrap()) {
        assert!(
            description["components"]["schemas"][name].is_object(),
            "{name}"
        );
    }
}
