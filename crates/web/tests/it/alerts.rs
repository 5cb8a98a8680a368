//! Alerts on pages and in the API: what they say, the orders that people and programs give, the page for everybody.

use pawang_alert::book::{Event, External};
use pawang_core::{Finding, Level, Timestamp, Unit, fingerprint};
use pawang_store::state::Permission;
use pawang_testbed::{Browser, ENTER, until};
use serde_json::{Value, json};

use crate::auth::{add_token, closed};
use crate::estate::{Estate, Served, settings};
use crate::http::Client;

/// Findings become alerts at once.
pub(crate) const ALERTING: &str = r#"
[alert]
production = ["prod"]

[[alert.contact]]
name = "ayu"
role = "Primary DBA"
phone = "+62 21 555 0100"
channels = { log = "ayu" }

[[alert.channel]]
name = "log"
syslog = {}

[[alert.rule]]
check = "*"
for = "0 s"
for_critical = "0 s"
samples = "1 of 1"

[[alert.window]]
name = "weekly"
schedule = "sun 02:00-06:00 Asia/Jakarta"
match = ['group="nowhere"']
reason = "secret-reason"

[alert.status_page]
title = "Data warehouse"
contact = "dba@example.org"

[[alert.status_page.service]]
name = "Sales reports"
match = ['check="scheduler-stuck"']

[[alert.status_page.service]]
name = "Milk collection"
match = ['check="monitor-blind"']
"#;

const HOSTILE: &str = "<script>alert(1)</script>";

/// Returns something that is wrong with Pawang itself.
fn wrong(check: &str, object: &str, title: &str) -> Finding {
    Finding {
        check: check.to_owned(),
        object: object.to_owned(),
        database: None,
        level: Level::Critical,
        title: title.to_owned(),
        value: None,
        unit: Unit::State,
        threshold: None,
        since: None,
        evidence: Vec::new(),
        remedy: "pawang serve status".to_owned(),
        blind: None,
        fingerprint: fingerprint(check, "", None, object),
    }
}

/// Returns an estate where something of Pawang itself is wrong, and its fingerprint.
fn estate() -> (Estate, String) {
    let mut estate = Estate::new();
    estate.alert(ALERTING);
    let title = format!("nothing moves {HOSTILE} password=hunter2");
    let own = wrong("scheduler-stuck", HOSTILE, &title);
    let fingerprint = own.fingerprint.clone();
    estate.happen(Event::Own(vec![own]));
    estate.happen(Event::Tick);
    (estate, fingerprint)
}

/// Returns a client that may change things where nobody signs in.
async fn operator(served: &Served) -> Client {
    let client = Client::new(served.address);
    let session = client.json("/api/v1/session").await;
    client.with("x-csrf-token", session["csrf"].as_str().unwrap())
}

async fn page(client: &Client, path: &str) -> String {
    let answer = client.get(path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    let text = answer.text();
    assert!(!text.contains(HOSTILE), "{path} does not escape");
    assert!(!text.contains("hunter2"), "{path} shows a password");
    text
}

#[tokio::test]
async fn an_alert_is_acknowledged_muted_and_told_of_on_its_page() {
    let (estate, own) = estate();
    let served = estate.serve(settings()).await;
    let client = operator(&served).await;
    let path = format!("/findings/{own}");
    let before = page(&client, &path).await;
    assert!(before.contains("nobody takes care yet"), "{before}");
    let list = page(&client, "/findings").await;
    assert!(list.contains(&format!("data-alert=\"{own}\"")));
    assert!(list.contains("<title>(1) Findings"));
    assert!(list.contains("/assets/icon-critical-1-"));
    let fields = [
        ("for", "1 h"),
        ("note", "looking at it"),
        ("by", "ayu"),
        ("back", path.as_str()),
    ];
    let answer = client.post(&format!("{path}/acknowledge"), &fields).await;
    assert_eq!((answer.status, answer.header("location")), (303, &*path));
    let after = page(&client, &path).await;
    assert!(after.contains("acknowledged by ayu"), "{after}");
    let without_end = client
        .post(&format!("{path}/mute"), &[("reason", "x")])
        .await;
    assert_eq!(without_end.status, 422, "a mute always ends");
    let without_reason = client
        .post(&format!("{path}/mute"), &[("for", "1 h")])
        .await;
    assert_eq!(without_reason.status, 422);
    let fields = [
        ("for", "2 h"),
        ("reason", "known"),
        ("back", "//evil.example"),
    ];
    let answer = client.post(&format!("{path}/mute"), &fields).await;
    assert_eq!(answer.header("location"), "/findings", "stays here");
    let muted = client.json("/api/v1/alerts?handling=silenced").await;
    assert_eq!(muted[0]["fingerprint"], own.as_str());
    assert_eq!(muted[0]["muted-by"][0]["kind"], "silence");
    let list = page(&client, "/findings?handling=silenced").await;
    assert!(list.contains("silence 1"), "{list}");
    assert!(!list.contains("<title>("), "what is quiet is not counted");
    let answer = client.post(&format!("{path}/unmute"), &[]).await;
    assert_eq!(answer.status, 303);
    let detail = client.json(&format!("/api/v1/alerts/{own}")).await;
    assert_eq!(detail["alert"]["handling"], "acknowledged");
    let kinds: Vec<&str> = detail["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["kind"].as_str().unwrap())
        .collect();
    for kind in ["fired", "acknowledged", "muted", "unmuted"] {
        assert!(kinds.contains(&kind), "{kind} in {kinds:?}");
    }
    let record = estate
        .store
        .state()
        .journal_page(None, 1)
        .unwrap()
        .remove(0);
    assert_eq!(record.entry.action, "alert.unmute");
    assert_eq!(record.entry.object, own);
}

#[tokio::test]
async fn one_key_acknowledges_and_one_mutes_the_chosen_finding() {
    if !Browser::installed() {
        return;
    }
    let (estate, _) = estate();
    let served = estate.serve(settings()).await;
    let browser = Browser::start().await;
    let main = async || browser.text("#main").await;
    browser
        .open(&format!("http://{}/findings", served.address))
        .await;
    browser.press(&["j", "a"]).await;
    browser.write("dialog input[name=by]", "ayu").await;
    browser.write("dialog input[name=note]", "on my way").await;
    browser.press(&[ENTER]).await;
    until("it is acknowledged", async || {
        main().await.contains("acknowledged by ayu")
    })
    .await;
    browser.press(&["j", "m"]).await;
    browser.write("dialog input[name=reason]", "known").await;
    browser.press(&[ENTER]).await;
    until("it is quiet", async || main().await.contains("silence 1")).await;
    let silences = Client::new(served.address).json("/api/v1/silences").await;
    assert_eq!(silences[0]["by"], "ayu", "the name is kept");
    // An incident is taken care of by the same key.
    browser
        .open(&format!("http://{}/incidents/1", served.address))
        .await;
    browser.press(&["a"]).await;
    browser.write("dialog input[name=note]", "all of it").await;
    browser.press(&[ENTER]).await;
    until("the timeline tells of it", async || {
        let text = "return document.querySelector('#main')?.textContent ?? ''";
        let text = browser.script(text).await;
        text.as_str().is_some_and(|text| text.contains("all of it"))
    })
    .await;
    browser.press(&["g", "w"]).await;
    until("the windows are open", async || {
        browser.url().await.ends_with("/windows")
    })
    .await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

/// Returns an alert as an Alertmanager sends it.
fn external(name: &str, severity: &str) -> External {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    External {
        source: "am.example".to_owned(),
        labels: [
            label("alertname", name),
            label("severity", severity),
            label("instance", "web-1"),
        ]
        .into(),
        annotations: [label("summary", "web-1 is down")].into(),
        firing: true,
        starts_at: crate::estate::now(),
    }
}

#[tokio::test]
async fn what_wants_somebody_stands_above_what_somebody_takes_care_of() {
    let (estate, own) = estate();
    let warnings = (0..400).map(|n| external(&format!("Slow{n}"), "warning"));
    let all = warnings.chain([external("NodeDown", "critical")]).collect();
    estate.happen(Event::External(all));
    estate.happen(Event::Tick);
    let served = estate.serve(settings()).await;
    let client = operator(&served).await;
    let before = page(&client, "/findings").await;
    let place = |text: &str, what: &str| {
        let list = text.find("<ul class=\"findings").unwrap();
        let found = text[list..].find(what);
        found.unwrap_or_else(|| panic!("{what} is not on the page"))
    };
    let first_warning = place(&before, "Slow");
    assert!(place(&before, "NodeDown") < first_warning);
    assert!(place(&before, "scheduler-stuck") < first_warning);
    assert!(before.contains("<b>2</b> act now") && before.contains("<b>400</b> today"));
    assert!(
        before.contains("<span class=\"where\">web-1</span>"),
        "it is where its sender says"
    );
    assert!(before.contains("102 more: choose"), "lists are bounded");
    let fields = [("for", "1 h"), ("by", "ayu")];
    let answer = client
        .post(&format!("/findings/{own}/acknowledge"), &fields)
        .await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    let after = page(&client, "/findings").await;
    assert!(place(&after, "NodeDown") < place(&after, "scheduler-stuck"));
    assert!(place(&after, "scheduler-stuck") < place(&after, "Slow"));
    let record = estate.store.state().journal_page(None, 1).unwrap();
    let entry = &record[0].entry;
    assert_eq!(entry.actor, "address:127.0.0.1");
    assert_eq!(entry.detail["by"], "ayu", "the journal has the name too");
}

#[tokio::test]
async fn silences_are_seen_before_they_are_made_and_end() {
    let (estate, _) = estate();
    let served = estate.serve(settings()).await;
    let client = operator(&served).await;
    let seen = page(&client, "/windows?matcher=check%3Dscheduler-stuck").await;
    assert!(
        seen.contains("<b>1</b> of 1 alerts would be quiet now"),
        "{seen}"
    );
    let none = page(&client, "/windows?matcher=check%3Dother").await;
    assert!(none.contains("<b>0</b> of 1"), "{none}");
    let everything = page(&client, "/windows?matcher=check%3D~.*").await;
    assert!(
        everything.contains("It matches every alert"),
        "{everything}"
    );
    let preview = client
        .json("/api/v1/silences/preview?matcher=check%3Dscheduler-stuck")
        .await;
    assert_eq!(preview.as_array().unwrap().len(), 1);
    let all = [("matcher", "check=~.*"), ("for", "1 h"), ("reason", "x")];
    let refused = client.post("/api/v1/silences", &all).await;
    assert!((400..500).contains(&refused.status), "{}", refused.text());
    // Programs may send JSON, with lists for what may be repeated.
    let body = json!({"matcher": ["check=scheduler-stuck"], "for": "1 h", "reason": "known"});
    let json = client.with("content-type", "application/json");
    let answer = json
        .send(hyper::Method::POST, "/api/v1/silences", body.to_string())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let silences = client.json("/api/v1/silences").await;
    assert_eq!(
        (&silences[0]["alerts"], &silences[0]["active"]),
        (&json!(1), &json!(true))
    );
    let answer = client
        .post("/silences/1/expire", &[("back", "/windows")])
        .await;
    assert_eq!(answer.header("location"), "/windows");
    assert_eq!(client.json("/api/v1/silences").await, json!([]));
    let broken = json
        .send(hyper::Method::POST, "/api/v1/silences", "{".to_owned())
        .await;
    assert_eq!(broken.status, 400, "{}", broken.text());
}

#[tokio::test]
async fn windows_come_and_go_and_stand_in_the_calendar() {
    let (estate, _) = estate();
    let served = estate.serve(settings()).await;
    let client = operator(&served).await;
    let shown = page(&client, "/windows").await;
    assert!(
        shown.contains("class=\"calendar\"") && shown.contains("weekly"),
        "{shown}"
    );
    let fields = [
        ("schedule", "daily 01:00-05:00"),
        ("matcher", "instance=dwh-1\r\ncheck=replication-lag"),
        ("reason", "load"),
        ("name", "night"),
        ("back", "/windows"),
    ];
    let answer = client.post("/windows", &fields).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    let windows = client.json("/api/v1/windows").await;
    let times = windows["times"].as_array().unwrap();
    assert!(
        times
            .iter()
            .filter(|time| time["window"] == "night")
            .count()
            >= 29
    );
    let added = windows["windows"].as_array().unwrap();
    let night = added
        .iter()
        .find(|window| window["name"] == "night")
        .unwrap();
    assert_eq!(night["matchers"].as_array().unwrap().len(), 2);
    let wrong = [
        ("schedule", "sunday-ish"),
        ("reason", "x"),
        ("everything", "true"),
    ];
    let refused = client.post("/api/v1/windows", &wrong).await;
    assert!((400..500).contains(&refused.status), "{}", refused.text());
    let answer = client.post("/windows/night/remove", &[]).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    let left = client.json("/api/v1/windows").await.to_string();
    assert!(!left.contains("night"), "{left}");
}

#[tokio::test]
async fn an_incident_has_a_clock_notes_a_review_and_a_report() {
    let (estate, own) = estate();
    let served = estate.serve(settings()).await;
    let client = operator(&served).await;
    let fields = [
        ("title", "reports are slow <script>alert(1)</script>"),
        ("priority", "P1"),
        ("alert", own.as_str()),
        ("by", "ayu"),
        ("back", "/incidents"),
    ];
    let answer = client.post("/incidents", &fields).await;
    let path = answer.header("location").to_owned();
    assert!(path.starts_with("/incidents/"), "{path}: {}", answer.text());
    let shown = page(&client, &path).await;
    assert!(shown.contains("reports are slow"), "{shown}");
    assert!(shown.contains("+62 21 555 0100"), "contacts are at hand");
    let care = [("for", "1 h"), ("by", "ayu"), ("back", path.as_str())];
    let answer = client.post(&format!("{path}/acknowledge"), &care).await;
    assert_eq!(answer.header("location"), path, "{}", answer.text());
    let alert = client.json(&format!("/api/v1/alerts/{own}")).await;
    assert_eq!(alert["alert"]["handling"], "acknowledged");
    let nowhere = client
        .post("/api/v1/incidents/999/acknowledge", &care)
        .await;
    assert_eq!(nowhere.status, 404);
    let note = [("text", "restarted the collector"), ("by", "budi")];
    let answer = client.post(&format!("{path}/notes"), &note).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    let detail = client.json(&format!("/api/v1{path}")).await;
    assert_eq!(
        detail["incident"]["responded-by"], "ayu",
        "whoever opens it responds"
    );
    let timeline = detail["timeline"].to_string();
    assert!(timeline.contains("restarted the collector"), "{timeline}");
    let close = [("review", "a wrong setting"), ("by", "ayu")];
    let answer = client.post(&format!("{path}/close"), &close).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    let list = page(&client, "/incidents").await;
    assert!(list.contains("closed by ayu"), "{list}");
    for (file, kind) in [("md", "text/markdown"), ("html", "text/html")] {
        let report = client.get(&format!("{path}/report.{file}")).await;
        assert_eq!(report.status, 200);
        assert!(report.header("content-type").starts_with(kind));
        assert!(report.header("content-disposition").contains("attachment"));
        let text = report.text();
        assert!(text.contains("a wrong setting") && text.contains("restarted the collector"));
        assert!(
            !text.contains(HOSTILE) && !text.contains("hunter2"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn everybody_sees_how_the_warehouse_is_and_nothing_else() {
    let (estate, own) = estate();
    let served = estate.serve(closed()).await;
    let stranger = Client::new(served.address);
    let answer = stranger.get("/status?anything=1").await;
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .header("cache-control")
            .starts_with("public, max-age=")
    );
    let text = answer.text();
    assert!(
        text.contains("Sales reports") && text.contains("Milk collection"),
        "{text}"
    );
    // While the scheduler stands still nobody knows how the others are.
    assert!(
        text.contains("disrupted") && text.contains("not known"),
        "{text}"
    );
    assert!(
        text.contains("Maintenance"),
        "the weekly window is announced: {text}"
    );
    for inside in [
        "scheduler",
        "weekly",
        "secret-reason",
        "hunter2",
        own.as_str(),
        "csrf",
        "pawang serve",
    ] {
        assert!(!text.contains(inside), "{inside}: {text}");
    }
}

#[tokio::test]
async fn a_service_works_only_as_long_as_somebody_sees_it() {
    let mut estate = Estate::new();
    estate.alert(ALERTING);
    let status = async |estate: &Estate| {
        let served = estate.serve(closed()).await;
        Client::new(served.address).get("/status").await.text()
    };
    assert!(status(&estate).await.contains("Everything works."));
    let stale = wrong("monitor-stale", "secret-instance", "not seen for 3 min");
    estate.happen(Event::Own(vec![stale]));
    estate.happen(Event::Tick);
    let text = status(&estate).await;
    assert!(
        text.contains("not known") && !text.contains("works"),
        "{text}"
    );
    assert!(!text.contains("secret-instance"), "{text}");
}

#[tokio::test]
async fn an_alertmanager_may_send_its_alerts() {
    let (estate, _) = estate();
    let served = estate.serve(closed()).await;
    let client = |permission: Permission| {
        let secret = add_token(&estate, &format!("{permission:?}"), permission);
        Client::new(served.address)
            .with("authorization", &format!("Bearer {secret}"))
            .with("content-type", "application/json")
    };
    let started: Timestamp = crate::estate::now();
    let payload = json!({
        "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": "firing", "receiver": "pawang",
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://am.example",
        "alerts": [{
            "status": "firing",
            "labels": {"alertname": "NodeDown", "severity": "critical", "instance": "web-1"},
            "annotations": {"summary": "web-1 is down"},
            "startsAt": started.to_string(), "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus.example", "fingerprint": "0123456789abcdef",
        }],
    });
    let send = async |client: &Client, body: String| {
        let path = "/api/v1/alertmanager";
        client.send(hyper::Method::POST, path, body).await
    };
    let viewer = client(Permission::Viewer);
    assert_eq!(send(&viewer, payload.to_string()).await.status, 403);
    let operator = client(Permission::Operator);
    let answer = send(&operator, payload.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    estate.happen(Event::Tick);
    let alerts: Value = operator.json("/api/v1/alerts?check=NodeDown").await;
    assert_eq!(alerts.as_array().unwrap().len(), 1, "{alerts}");
    let fingerprint = alerts[0]["fingerprint"].as_str().unwrap();
    let page = operator.get(&format!("/findings/{fingerprint}")).await;
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(page.text().contains("web-1 is down"));
    let wrong = send(&operator, "{\"version\": \"3\"}".to_owned()).await;
    assert_eq!(wrong.status, 422, "{}", wrong.text());
    let large = send(&operator, " ".repeat(5 << 20)).await;
    assert_eq!(large.status, 413);
    let alert = &payload["alerts"][0];
    let mut many = payload.clone();
    many["alerts"] = vec![alert.clone(); 1_001].into();
    let many = send(&operator, many.to_string()).await;
    assert_eq!(many.status, 422, "{}", many.text());
    // Where nobody signs in, programs of this machine need no token; pages of other sites get nowhere.
    let open = estate.serve(settings()).await;
    let program = Client::new(open.address).with("content-type", "application/json");
    assert_eq!(send(&program, payload.to_string()).await.status, 200);
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
        ("content-type", "text/plain"),
    ] {
        let page = Client::new(open.address).with("content-type", "application/json");
        let answer = send(&page.with(name, value), payload.to_string()).await;
        assert_eq!(answer.status, 403, "{name}: {}", answer.text());
    }
}
