//! A daemon that tells: from a fault on a real server to the message, and back to quiet.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pawang_testbed::{Cluster, Heard, MailServer, Receiver, Reply, Setup, Stop, until};
use serde_json::Value;

use crate::program::{Desk, Screen, instance};
use crate::serve_daemon::Daemon;

/// Nobody listens there: the instance is down from the beginning.
const NOBODY: &str = "postgres://127.0.0.1:1/postgres?connect_timeout=1";

/// Only this fault becomes an alert, at once, and is over after a second.
const RULES: &str = r#"
[check.idle-in-transaction]
warning = "1 ms"
critical = "2 ms"
[[alert.rule]]
check = "*"
enabled = false
[[alert.rule]]
check = "idle-in-transaction"
enabled = true
for = "0 s"
for_critical = "0 s"
samples = "1 of 1"
keep_firing = "1 s"
priority = "P1"
"#;

/// Like [`RULES`], for a server that is stopped.
const DOWN: &str = r#"
[[alert.rule]]
check = "*"
enabled = false
[[alert.rule]]
check = "server-down"
enabled = true
keep_firing = "1 s"
"#;

/// Writes a `pawang.toml` with one instance; what is about alerts is told at once.
pub(crate) fn estate(desk: &Desk, url: &str, alerts: &str) {
    let one = instance("one", url);
    let text = format!(
        "state_directory = \"state\"\n[alert]\nlink = \"https://pawang.example.org\"\ngroup_wait = \"0 s\"\n\
         group_interval = \"1 s\"\n{alerts}\n{one}"
    );
    desk.write("pawang.toml", &text);
}

/// Returns a channel of `pawang.toml` that posts to a receiver.
pub(crate) fn webhook(name: &str, receiver: &Receiver, more: &str) -> String {
    let url = receiver.url(&format!("/{name}"));
    format!(
        "[[alert.channel]]\nname = \"{name}\"\nrate_per_minute = 1000\n{more}webhook = {{ url = \"{url}\" }}\n"
    )
}

/// Returns the alert of a check that is told in messages.
fn told(heard: &Heard, check: &str) -> Option<Value> {
    let alerts = heard.json()["alerts"].as_array()?.clone();
    let mut alerts = alerts.into_iter();
    alerts.find(|alert| alert["labels"]["alertname"] == check)
}

fn told_as(heard: &Heard, check: &str, status: &str) -> bool {
    told(heard, check).is_some_and(|alert| alert["status"] == status)
}

/// Waits until a message tells that a check fires or is over.
async fn waits(receiver: &Receiver, daemon: &Daemon<'_>, check: &str, status: &str) -> Heard {
    let found = || {
        let mut heard = receiver.heard().into_iter();
        heard.find(|heard| told_as(heard, check, status))
    };
    until(
        &format!("{check} is told as {status}\n{}", daemon.log()),
        async || found().is_some(),
    )
    .await;
    found().unwrap()
}

/// Returns the one alert of a check.
fn alert(desk: &Desk, check: &str) -> Option<Value> {
    let screen = desk.pawang(&[
        "alert",
        "list",
        "--all",
        "--json",
        &format!("check={check}"),
    ]);
    let alerts = screen.data("pawang.alert.list/1");
    alerts.as_array().unwrap().first().cloned()
}

async fn in_condition(desk: &Desk, check: &str, condition: &str) -> Value {
    let holds =
        || alert(desk, check).filter(|alert| alert["condition"].to_string().contains(condition));
    until(&format!("{check} is {condition}"), async || {
        holds().is_some()
    })
    .await;
    holds().unwrap()
}

/// Waits until each channel has sent all it was given, and its receiver heard it.
async fn taken(daemon: &Daemon<'_>, receivers: &[&Receiver]) {
    until("all that was told is taken", async || {
        let channels = daemon.status()["channels"].clone();
        receivers.iter().enumerate().all(|(place, receiver)| {
            let channel = &channels[place];
            channel["waiting"] == 0 && channel["sent"] == receiver.heard().len()
        })
    })
    .await;
}

fn good(screen: &Screen) -> &Screen {
    assert_eq!(screen.code, 0, "{screen:?}");
    screen
}

fn key(heard: &Heard) -> String {
    heard.header("idempotency-key").unwrap().to_owned()
}

#[tokio::test]
async fn a_fault_is_told_with_everything_climbs_until_somebody_cares_and_is_over_once() {
    let cluster = Cluster::start(&Setup::default()).await;
    let idle = cluster.hold("postgres", "SELECT 'forgotten'").await;
    let (first, second) = (
        Receiver::start(Vec::new()).await,
        Receiver::start(Vec::new()).await,
    );
    let desk = Desk::new();
    let ladder = "[[alert.policy]]\nname = \"ladder\"\nrepeat = 20\n\
                  [[alert.policy.step]]\nafter = \"0 s\"\nnotify = [\"first\"]\n\
                  [[alert.policy.step]]\nafter = \"1 s\"\nnotify = [\"second\"]\n\
                  [[alert.route]]\nname = \"all\"\npolicy = \"ladder\"\n";
    let channels = webhook("first", &first, "") + &webhook("second", &second, "");
    estate(
        &desk,
        &cluster.url("postgres"),
        &format!("{RULES}{channels}{ladder}"),
    );
    let daemon = Daemon::start(&desk).await;
    let check = "idle-in-transaction";
    let message = waits(&first, &daemon, check, "firing").await;
    let fault = told(&message, check).unwrap();
    let annotations = &fault["annotations"];
    for (name, word) in [
        ("summary", "idle"),
        ("description", "limit"),
        ("description", "since"),
        ("remedy", ""),
        ("causes", "COMMIT"),
        ("dashboard_url", "https://pawang.example.org/"),
    ] {
        let text = annotations[name]
            .as_str()
            .unwrap_or_else(|| panic!("{name}: {fault:#}"));
        assert!(
            text.to_lowercase().contains(&word.to_lowercase()),
            "{name}: {fault:#}"
        );
    }
    assert_eq!(fault["labels"]["priority"], "P1");
    waits(&second, &daemon, check, "firing").await;
    let print = fault["fingerprint"].as_str().unwrap();
    good(&desk.pawang(&["alert", "ack", &print[..6], "--note", "on it"]));
    // What was on its way by then still comes.
    taken(&daemon, &[&first, &second]).await;
    let (before, after) = (first.heard().len(), second.heard().len());
    drop(idle);
    waits(&first, &daemon, check, "resolved").await;
    waits(&second, &daemon, check, "resolved").await;
    in_condition(&desk, check, "resolved").await;
    // The ladder would have gone on each second while the fault was getting good.
    assert_eq!(
        (first.heard().len(), second.heard().len()),
        (before + 1, after + 1)
    );
    let shown = good(&desk.pawang(&["alert", "show", print])).stdout.clone();
    for word in ["fired", "told", "acknowledged by", "on it", "resolved"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    let status = daemon.status();
    assert_eq!(status["channels"][0]["name"], "first");
    assert!(status["channels"][0]["trouble"].is_null(), "{status}");
    for word in ["ERROR", "panicked"] {
        assert!(!daemon.log().contains(word), "{}", daemon.log());
    }
}

#[tokio::test]
async fn a_message_survives_the_death_of_the_daemon_and_arrives_once() {
    let mut cluster = Cluster::start(&Setup::default()).await;
    // The second is not answered before the daemon is killed, however late that happens.
    let refusals = vec![Reply::Status(500, "broken".to_owned()), Reply::Hang];
    let receiver = Receiver::start(refusals).await;
    let desk = Desk::new();
    let channel = webhook("hook", &receiver, "timeout = \"60 s\"\n");
    estate(&desk, &cluster.url("postgres"), &format!("{DOWN}{channel}"));
    // A daemon that is killed so early may not remember it.
    let data = cluster.data_directory().display().to_string();
    let file = desk.read("pawang.toml") + &format!("data_directory = \"{data}\"\n");
    desk.write("pawang.toml", &file);
    let daemon = Daemon::start(&desk).await;
    daemon.judged("one").await;
    cluster.stop(Stop::Immediate).await;
    daemon.look("one");
    receiver.wait(2).await;
    daemon.signal("KILL");
    assert_eq!(daemon.ended().await, 137);

    let daemon = Daemon::start(&desk).await;
    until("the message is taken", async || {
        daemon.status()["channels"][0]["sent"] == 1
    })
    .await;
    cluster.start_again().await;
    daemon.look("one");
    waits(&receiver, &daemon, "server-down", "resolved").await;
    let heard = receiver.heard();
    let firing = heard
        .iter()
        .filter(|heard| told_as(heard, "server-down", "firing"));
    let keys: Vec<String> = firing.map(key).collect();
    // Two were not taken; whoever takes the third knows all of them by one key.
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    let over = heard
        .iter()
        .filter(|heard| told_as(heard, "server-down", "resolved"));
    assert_eq!(over.count(), 1);
}

#[tokio::test]
async fn a_channel_that_hangs_or_redirects_delays_no_other_and_is_seen() {
    let [silent, away, well] = [
        Receiver::start(vec![Reply::Hang, Reply::Hang]).await,
        Receiver::start(vec![Reply::Header(
            302,
            "Location: http://127.0.0.1:1/".to_owned(),
        )])
        .await,
        Receiver::start(Vec::new()).await,
    ];
    let desk = Desk::new();
    let channels = [
        webhook("silent", &silent, "timeout = \"1 s\"\n"),
        webhook("away", &away, ""),
        webhook("well", &well, ""),
    ];
    estate(&desk, NOBODY, &(DOWN.to_owned() + &channels.concat()));
    let daemon = Daemon::start(&desk).await;
    waits(&well, &daemon, "server-down", "firing").await;
    for word in ["no answer within 1 s", "channel=\"away\""] {
        until(word, async || daemon.log().contains(word)).await;
    }
    let screen = desk.pawang(&["serve", "status"]);
    for channel in ["silent", "away", "well"] {
        let line = format!("channel         {channel} (webhook): ");
        assert!(screen.stdout.contains(&line), "{screen:?}");
    }
    // Both get well, and take the same message.
    waits(&silent, &daemon, "server-down", "firing").await;
    until("all get through", async || {
        let status = daemon.status();
        let channels = status["channels"].as_array().unwrap().clone();
        channels
            .iter()
            .all(|channel| channel["trouble"].is_null() && channel["sent"] == 1)
    })
    .await;
    assert_eq!(well.heard().len(), 1);
    let keys: Vec<String> = silent.heard().iter().map(key).collect();
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[tokio::test]
async fn a_reload_gives_what_waits_to_the_fallback_when_its_channel_is_gone() {
    let broken = vec![Reply::Status(500, "broken".to_owned()); 1_000];
    let (old, new) = (
        Receiver::start(broken).await,
        Receiver::start(Vec::new()).await,
    );
    let desk = Desk::new();
    estate(
        &desk,
        NOBODY,
        &(DOWN.to_owned() + &webhook("old", &old, "")),
    );
    let daemon = Daemon::start(&desk).await;
    until("it is in trouble", async || {
        daemon.status()["channels"][0]["trouble"].is_array()
    })
    .await;
    let screen = desk.pawang(&["serve", "status"]);
    assert_eq!(screen.code, 1, "a channel is in trouble: {screen:?}");
    assert!(screen.stdout.contains("status 500"), "{screen:?}");
    let fallback = "[alert]\nfallback = [\"new\"]\n";
    let rest = DOWN.to_owned() + &webhook("new", &new, "");
    estate(&desk, NOBODY, &rest);
    let text = desk.read("pawang.toml").replacen("[alert]\n", fallback, 1);
    desk.write("pawang.toml", &text);
    good(&desk.pawang(&["serve", "reload"]));
    let message = waits(&new, &daemon, "server-down", "firing").await;
    assert!(!key(&message).is_empty());
    assert!(
        old.heard()
            .iter()
            .all(|heard| !told_as(heard, "server-down", "resolved"))
    );
}

#[tokio::test]
async fn a_rota_with_nobody_on_duty_tells_the_fallback_why() {
    let receiver = Receiver::start(Vec::new()).await;
    let desk = Desk::new();
    let people = r#"
[[alert.contact]]
name = "ayu"
channels = { pager = "ayu" }
[[alert.rota]]
name = "dba"
members = ["ayu"]
starts = "2026-01-05 09:00"
[[alert.rota.substitute]]
from = "2026-01-06"
to = "2126-01-06"
[[alert.route]]
name = "all"
notify = ["dba"]
"#;
    let script = desk.path("told.json").display().to_string();
    let exec = format!(
        "[[alert.channel]]\nname = \"last\"\nexec = {{ command = [\"/bin/sh\", \"-c\", \"cat >> {script}\"] }}\n"
    );
    let channels = webhook("pager", &receiver, "") + &exec;
    estate(&desk, NOBODY, &format!("{DOWN}{people}{channels}"));
    let text = desk.read("pawang.toml");
    desk.write(
        "pawang.toml",
        &text.replacen("[alert]\n", "[alert]\nfallback = [\"last\"]\n", 1),
    );
    let _daemon = Daemon::start(&desk).await;
    let path = desk.path("told.json");
    until("the fallback is told", async || holds(&path, "server-down")).await;
    assert!(
        holds(&path, "nobody is on duty"),
        "{}",
        desk.read("told.json")
    );
    assert!(receiver.heard().is_empty());
}

fn holds(path: &Path, word: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.contains(word))
}

#[tokio::test]
async fn what_fires_in_a_window_is_told_when_it_is_still_there_at_its_end() {
    let receiver = Receiver::start(Vec::new()).await;
    let desk = Desk::new();
    let channel = webhook("hook", &receiver, "");
    estate(&desk, NOBODY, &(DOWN.to_owned() + &channel));
    let words = [
        "window",
        "add",
        "now for 1 h",
        "-i",
        "one",
        "--reason",
        "release",
        "--name",
        "release",
    ];
    good(&desk.pawang(&words));
    let daemon = Daemon::start(&desk).await;
    in_condition(&desk, "server-down", "firing").await;
    let quiet = desk.pawang(&["alert", "list"]);
    assert!(quiet.stdout.contains("in-maintenance"), "{quiet:?}");
    assert!(receiver.heard().is_empty());
    good(&desk.pawang(&["window", "remove", "release"]));
    let message = waits(&receiver, &daemon, "server-down", "firing").await;
    assert!(
        message
            .body
            .contains("The maintenance window is over, and it still fires."),
        "{}",
        message.body
    );
    assert_eq!(receiver.heard().len(), 1);
}

#[tokio::test]
async fn a_disk_that_refuses_keeps_nobody_from_being_told() {
    let mut cluster = Cluster::start(&Setup::default()).await;
    let receiver = Receiver::start(Vec::new()).await;
    let desk = Desk::new();
    let channel = webhook("hook", &receiver, "");
    estate(
        &desk,
        &cluster.url("postgres"),
        &(DOWN.to_owned() + &channel),
    );
    let daemon = Daemon::start(&desk).await;
    daemon.judged("one").await;
    // No file may grow any more, as on a full disk.
    daemon.limit_files(1);
    cluster.stop(Stop::Immediate).await;
    waits(&receiver, &daemon, "server-down", "firing").await;
    until("it says so", async || {
        daemon.status()["notes"]
            .to_string()
            .contains("told all the same")
    })
    .await;
    daemon.limit_files(u64::MAX);
    in_condition(&desk, "server-down", "firing").await;
    cluster.start_again().await;
    daemon.look("one");
    waits(&receiver, &daemon, "server-down", "resolved").await;
    assert_eq!(receiver.heard().len(), 2);
}

#[tokio::test]
async fn a_wrong_password_is_seen_everywhere_and_the_message_goes_round() {
    if !MailServer::installed() {
        return;
    }
    let named = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = named.cert.pem();
    let mail =
        MailServer::start("starttls", &certificate, &named.signing_key.serialize_pem()).await;
    let receiver = Receiver::start(Vec::new()).await;
    let desk = Desk::new();
    desk.write("ca.pem", &certificate);
    let secret = desk.write("password", "not this one");
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    let post = format!(
        "[[alert.channel]]\nname = \"post\"\ntimeout = \"5 s\"\ngive_up_after = \"6 s\"\n[alert.channel.smtp]\nserver = \"localhost\"\n\
         port = {}\nca_file = \"ca.pem\"\nusername = \"{}\"\npassword_file = \"password\"\n\
         from = \"pawang@example.org\"\nto = [\"ayu@example.org\"]\n",
        mail.port(),
        MailServer::USER[0],
    );
    let route = "[[alert.route]]\nname = \"all\"\nnotify = [\"post\"]\n";
    let alerts = [DOWN, &post, &webhook("last", &receiver, ""), route].concat();
    estate(&desk, NOBODY, &alerts);
    let text = desk.read("pawang.toml");
    let fallback = "[alert]\nfallback = [\"last\"]\n";
    desk.write("pawang.toml", &text.replacen("[alert]\n", fallback, 1));
    let daemon = Daemon::start(&desk).await;
    let message = waits(&receiver, &daemon, "server-down", "firing").await;
    for word in ["channel \\\"post\\\" does not get this through", "535"] {
        assert!(message.body.contains(word), "{word}: {}", message.body);
    }
    let screen = desk.pawang(&["serve", "status"]);
    assert_eq!(screen.code, 1, "{screen:?}");
    for word in ["post (smtp): 0 sent", "1 given up", "535"] {
        assert!(screen.stdout.contains(word), "{word}: {screen:?}");
    }
    for page in ["/", "/findings"] {
        let body = ask(&daemon, "GET", page, "", "").await;
        assert!(body.contains("535"), "{page}: {body}");
    }
    let tested = desk.pawang(&["notify", "test", "post"]);
    assert_eq!(tested.code, 3, "{tested:?}");
    assert!(
        tested
            .stdout
            .contains("check username, and the password in"),
        "{tested:?}"
    );
    // Whoever puts the password right needs no restart: it is read for every message.
    std::fs::write(&secret, MailServer::USER[1]).unwrap();
    good(&desk.pawang(&["notify", "test", "post"]));
    assert_eq!(mail.mails().len(), 1);
    assert!(
        !daemon.log().contains(MailServer::USER[1]),
        "{}",
        daemon.log()
    );
}

#[tokio::test]
async fn alerts_of_an_alertmanager_are_taken_from_whoever_may() {
    let receiver = Receiver::start(Vec::new()).await;
    let desk = Desk::new();
    let mut alerts = webhook("hook", &receiver, "");
    alerts +=
        "[[alert.route]]\nname = \"theirs\"\nmatch = ['check=\"HostDown\"']\nnotify = [\"hook\"]\n";
    estate(&desk, NOBODY, &alerts);
    let daemon = Daemon::start(&desk).await;
    let bearer = |name: &str, permission: &str| {
        let made = desk.pawang(&["token", "create", name, "--permission", permission]);
        format!("Authorization: Bearer {}\r\n", good(&made).stdout.trim())
    };
    let payload = |status: &str| {
        format!(
            "{{\"version\":\"4\",\"externalURL\":\"http://am:9093\",\"alerts\":[{{\"status\":\"{status}\",\"labels\":\
             {{\"alertname\":\"HostDown\",\"instance\":\"db-9:9100\",\"severity\":\"critical\"}},\"annotations\":\
             {{\"summary\":\"db-9 is gone\"}},\"startsAt\":\"2026-01-05T10:00:00Z\",\"endsAt\":\"0001-01-01T00:00:00Z\"}}]}}"
        )
    };
    let path = "/api/v1/alertmanager";
    let reads = bearer("reader", "viewer");
    let refused = ask(&daemon, "POST", path, &reads, &payload("firing")).await;
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    let bearer = bearer("am", "operator");
    let wrong = ask(
        &daemon,
        "POST",
        path,
        &bearer,
        "{\"version\":\"5\",\"alerts\":[]}",
    )
    .await;
    assert!(
        wrong.starts_with("HTTP/1.1 422") && wrong.contains("version"),
        "{wrong}"
    );
    let taken = ask(&daemon, "POST", path, &bearer, &payload("firing")).await;
    assert!(taken.starts_with("HTTP/1.1 20"), "{taken}");
    let message = waits(&receiver, &daemon, "HostDown", "firing").await;
    assert!(message.body.contains("db-9 is gone"), "{}", message.body);
    ask(&daemon, "POST", path, &bearer, &payload("resolved")).await;
    let over = in_condition(&desk, "HostDown", "recovering").await;
    assert_eq!(over["labels"]["instance"], "db-9:9100", "{over}");
}

/// Asks the dashboard in JSON and returns its whole answer.
async fn ask(daemon: &Daemon<'_>, method: &str, path: &str, headers: &str, body: &str) -> String {
    let headers = format!("Content-Type: application/json\r\n{headers}");
    daemon.ask(method, path, &headers, body).await
}
