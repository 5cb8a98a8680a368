//! Channels by HTTP.

use std::time::Duration;

use jiff::SignedDuration;
use pawang_alert::channel::accept;
use pawang_core::Timestamp;
use pawang_testbed::{Alertmanager, Receiver, Reply, until};
use serde_json::json;
use tempfile::TempDir;

use super::{channel, hasty, message, secret};

#[tokio::test]
async fn what_did_not_get_through_gets_through_later_with_the_same_key() {
    let later = Reply::Header(429, "Retry-After: 7".to_owned());
    let broken = Reply::Status(500, "out of order".to_owned());
    let receiver = Receiver::start(vec![broken, later, Reply::Close]).await;
    let mut channel = channel("webhook", json!({ "url": receiver.url("/hook") }));
    let message = message(1, true);
    let trouble = channel.send(&message).await.unwrap_err();
    assert!(
        trouble.what.contains("HTTP status 500: out of order"),
        "{trouble}"
    );
    assert!(!trouble.content);
    let trouble = channel.send(&message).await.unwrap_err();
    assert_eq!(trouble.retry_after, Some(Duration::from_secs(7)));
    // The connection that the receiver closes is not the end: the same attempt goes over another one.
    channel.send(&message).await.unwrap();
    let heard = receiver.heard();
    assert_eq!(heard.len(), 4);
    for request in &heard {
        assert_eq!(request.line, "POST /hook");
        assert_eq!(request.header("idempotency-key"), Some("group-1"));
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(accept(request.body.as_bytes()).unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_cannot_get_through_says_why() {
    let redirect = Reply::Header(
        301,
        "Location: https://elsewhere.example.org/x?token=y".to_owned(),
    );
    let receiver = Receiver::start(vec![
        redirect,
        Reply::Status(400, "no such field".to_owned()),
        Reply::Status(401, String::new()),
    ])
    .await;
    let channel_of = |url: String| channel("webhook", json!({ "url": url }));
    let mut hook = channel_of(receiver.url("/secret-path"));
    for (expected, content) in [
        (
            "answered 301 to https://elsewhere.example.org/... (hint: redirects are not followed; write that address into url)",
            false,
        ),
        ("HTTP status 400: no such field", true),
        ("check the token", false),
    ] {
        let trouble = hook.send(&message(1, true)).await.unwrap_err();
        assert!(trouble.to_string().contains(expected), "{trouble}");
        assert!(!trouble.to_string().contains("secret-path"), "{trouble}");
        assert_eq!(trouble.content, content);
    }
    assert_eq!(receiver.heard().len(), 3, "no redirect is followed");
    let silent = Receiver::start(vec![Reply::Hang]).await;
    let mut hook = hasty("webhook", json!({ "url": silent.url("/") }));
    let trouble = hook.send(&message(1, true)).await.unwrap_err();
    assert!(trouble.what.contains("no answer within 1 s"), "{trouble}");
    for (url, expected) in [
        (
            "http://pawang.invalid/x",
            "could not find the address of \"pawang.invalid\"",
        ),
        ("http://127.0.0.1:1/x", "onnection refused"),
    ] {
        let trouble = channel_of(url.to_owned())
            .send(&message(1, true))
            .await
            .unwrap_err();
        assert!(trouble.what.contains(expected), "{trouble}");
    }
}

#[tokio::test]
async fn a_secret_that_was_changed_counts_at_once() {
    let directory = TempDir::new().unwrap();
    let receiver = Receiver::start(Vec::new()).await;
    let url_file = secret(&directory, &receiver.url("/one"));
    let other = TempDir::new().unwrap();
    let token_file = secret(&other, "first\n");
    let mut channel = channel(
        "webhook",
        json!({ "url_file": url_file, "token_file": token_file }),
    );
    channel.send(&message(1, true)).await.unwrap();
    secret(&directory, &receiver.url("/two"));
    secret(&other, "second");
    channel.send(&message(1, true)).await.unwrap();
    let heard = receiver.heard();
    for (request, line, token) in [
        (&heard[0], "POST /one", "Bearer first"),
        (&heard[1], "POST /two", "Bearer second"),
    ] {
        assert_eq!(request.line, line);
        assert_eq!(request.header("authorization"), Some(token));
    }
}

#[tokio::test]
async fn every_kind_speaks_its_own_language() {
    let directory = TempDir::new().unwrap();
    let key = secret(&directory, "k-1");
    let receiver = Receiver::start(Vec::new()).await;
    let url = receiver.url("");
    for (kind, table, line) in [
        (
            "slack",
            json!({ "url": receiver.url("/slack") }),
            "POST /slack",
        ),
        (
            "teams",
            json!({ "url": receiver.url("/teams") }),
            "POST /teams",
        ),
        (
            "telegram",
            json!({ "token_file": key, "chat_id": "42", "api": url }),
            "POST /botk-1/sendMessage",
        ),
        (
            "pagerduty",
            json!({ "key_file": key, "api": url }),
            "POST /v2/enqueue",
        ),
        (
            "ntfy",
            json!({ "url": receiver.url("/topic"), "token_file": key }),
            "POST /topic",
        ),
    ] {
        channel(kind, table).send(&message(1, true)).await.unwrap();
        let heard = receiver.heard();
        let request = heard.last().unwrap();
        assert_eq!(request.line, line);
        match kind {
            "telegram" => assert_eq!(request.json()["chat_id"], "42"),
            "pagerduty" => assert_eq!(request.json()["routing_key"], "k-1"),
            "ntfy" => {
                assert_eq!(request.header("priority"), Some("5"));
                assert_eq!(request.header("authorization"), Some("Bearer k-1"));
                assert!(request.header("title").unwrap().starts_with("=?UTF-8?B?"));
                assert!(request.body.contains("größer <als> erlaubt"));
            }
            _ => assert!(request.body.contains("größer")),
        }
    }
}

#[tokio::test]
async fn telegram_says_itself_when_it_wants_to_be_asked_again() {
    let directory = TempDir::new().unwrap();
    let busy = r#"{"ok":false,"description":"Too Many Requests","parameters":{"retry_after":9}}"#;
    let receiver = Receiver::start(vec![Reply::Status(429, busy.to_owned())]).await;
    let table =
        json!({ "token_file": secret(&directory, "t"), "chat_id": "1", "api": receiver.url("") });
    let trouble = channel("telegram", table)
        .send(&message(1, true))
        .await
        .unwrap_err();
    assert_eq!(trouble.retry_after, Some(Duration::from_secs(9)));
    assert!(trouble.what.contains("Too Many Requests"), "{trouble}");
}

#[tokio::test]
async fn alertmanager_shows_an_alert_until_it_is_over_and_its_webhook_is_understood() {
    if !Alertmanager::installed() {
        return;
    }
    let receiver = Receiver::start(Vec::new()).await;
    let alertmanager = Alertmanager::start(&receiver.url("/back")).await;
    let mut channel = channel("alertmanager", json!({ "url": alertmanager.url() }));
    // It refuses nothing, but an end that is over is an end: the alert must be of today.
    let now = today();
    let mut firing = message(1, true);
    firing.created_at = now;
    firing.notices[0].since = now - SignedDuration::from_secs(60);
    channel.send(&firing).await.unwrap();
    until("the alert is shown", async || {
        alertmanager.alerts().await.as_array().unwrap().len() == 1
    })
    .await;
    let shown = &alertmanager.alerts().await[0];
    assert_eq!(shown["labels"]["alertname"], "disk-space");
    assert_eq!(shown["labels"]["severity"], "critical");
    assert_eq!(shown["status"]["state"], "active");
    let heard = receiver.wait(1).await;
    let taken = accept(heard[0].body.as_bytes()).unwrap();
    assert!(taken[0].firing);
    assert_eq!(taken[0].labels["instance"], "dwh-1");
    let mut over = message(2, false);
    over.created_at = now;
    over.notices[0].since = firing.notices[0].since;
    over.notices[0].ended_at = Some(now - SignedDuration::from_secs(1));
    channel.send(&over).await.unwrap();
    until("nothing fires", async || {
        alertmanager.alerts().await.as_array().unwrap().is_empty()
    })
    .await;
    until("its end is told", async || {
        let heard = receiver.heard();
        let last = accept(heard.last().unwrap().body.as_bytes()).unwrap();
        last.iter().all(|alert| !alert.firing)
    })
    .await;
}

#[expect(
    clippy::disallowed_methods,
    reason = "Alertmanager has a clock of its own"
)]
fn today() -> Timestamp {
    Timestamp::now()
}
