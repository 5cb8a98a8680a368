//! Who gets in, what they may, and what is written down about it.

use argon2::{Argon2, Params, PasswordHasher};
use pawang_core::Timestamp;
use pawang_store::state::{Account, ApiToken, JournalRecord, Permission, SignIn};
use pawang_web::{RouteFacts, Settings, routes};
use sha2::{Digest, Sha256};

use crate::estate::{Estate, Served, now, settings};
use crate::http::{Answer, Client};

/// What strangers may see.
const OPEN: [&str; 5] = [
    "/sign-in",
    "/assets/{file}",
    "/status",
    "/healthz",
    "/readyz",
];
const PASSWORD: &str = "correct horse battery";

/// Settings of a dashboard where everybody signs in.
pub(crate) fn closed() -> Settings {
    Settings {
        sign_in: true,
        ..settings()
    }
}

/// Adds an account whose password costs little to verify.
pub(crate) fn add_account(estate: &Estate, name: &str, permission: Permission) -> String {
    let cheap = Argon2::new(
        argon2::Algorithm::Argon2id,
        argon2::Version::V0x13,
        Params::new(8, 1, 1, None).unwrap(),
    );
    let hash = cheap
        .hash_password(PASSWORD.as_bytes())
        .unwrap()
        .to_string();
    let account = Account {
        name: name.to_owned(),
        permission,
        password_hash: hash.clone(),
        created_at: now(),
    };
    estate.store.state().put_account(&account).unwrap();
    hash
}

/// Adds a token and returns its secret.
pub(crate) fn add_token(estate: &Estate, name: &str, permission: Permission) -> String {
    let secret = format!("secret-of-{name}");
    let token = ApiToken {
        name: name.to_owned(),
        permission,
        token_hash: Sha256::digest(secret.as_bytes()).into(),
        created_at: now(),
        expires_at: None,
    };
    estate.store.state().put_token(&token).unwrap();
    secret
}

/// Returns somebody who has signed in by the form.
pub(crate) async fn signed_in(served: &Served, name: &str) -> Client {
    let answer = attempt(served, name, PASSWORD).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    let cookie = answer.cookie("pawang").unwrap();
    Client::new(served.address).with("cookie", &cookie)
}

async fn attempt(served: &Served, name: &str, password: &str) -> Answer {
    let client = Client::new(served.address);
    let form = client.get("/sign-in").await;
    let cookie = form.cookie("pawang-form").unwrap();
    let csrf = cookie.split_once('=').unwrap().1.to_owned();
    assert!(form.text().contains(&csrf));
    let client = client.with("cookie", &cookie);
    let fields = [
        ("csrf", csrf.as_str()),
        ("name", name),
        ("password", password),
        ("next", "/findings?level=warning"),
    ];
    client.post("/sign-in", &fields).await
}

/// Returns the path of a route with something in its varying parts.
fn example(route: &RouteFacts) -> String {
    route
        .path
        .replace("{name}", "dwh-1")
        .replace("{collector}", "database")
        .replace("{fingerprint}", "0123456789abcdef")
        .replace("{queryid}", "1")
        .replace("{id}", "1")
        .replace("{file}", "none.css")
}

async fn ask(client: &Client, route: &RouteFacts) -> Answer {
    match route.method {
        "GET" => client.get(&example(route)).await,
        _ => client.post(&example(route), &[]).await,
    }
}

fn newest(estate: &Estate) -> Option<JournalRecord> {
    let mut page = estate.store.state().journal_page(None, 1).unwrap();
    page.pop()
}

#[tokio::test]
async fn no_route_lets_strangers_in() {
    let estate = Estate::new();
    let served = estate.serve(closed()).await;
    let client = Client::new(served.address);
    let wrong = client
        .with("cookie", "pawang=0123456789abcdef")
        .with("authorization", "Bearer nonsense");
    for route in routes() {
        let open = OPEN.contains(&route.path);
        assert_eq!(route.needs.is_none(), open, "{route:?}");
        if open {
            continue;
        }
        for client in [&client, &wrong, &client.with("cookie", "pawang=")] {
            let answer = ask(client, &route).await;
            match (route.kind, route.method) {
                ("page", "GET") => {
                    assert_eq!(answer.status, 303, "{route:?}");
                    assert!(answer.header("location").starts_with("/sign-in"));
                }
                _ => assert_eq!(answer.status, 401, "{route:?}"),
            }
            assert!(answer.body.len() < 2_000, "{route:?}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn every_changing_route_wants_the_secret_of_the_session_and_writes_the_journal() {
    let estate = Estate::new();
    add_account(&estate, "root", Permission::Admin);
    for settings in [settings(), closed()] {
        let sign_in = settings.sign_in;
        let changing = routes().into_iter().filter(|route| route.action.is_some());
        for route in changing.filter(|route| route.path != "/sign-in") {
            assert_eq!(route.method, "POST");
            // Refusals have room for some a minute, and there are many routes.
            let served = estate.serve(settings.clone()).await;
            let client = match sign_in {
                true => signed_in(&served, "root").await,
                false => Client::new(served.address),
            };
            let csrf = client.json("/api/v1/session").await["csrf"].clone();
            let client_with = client.with("x-csrf-token", csrf.as_str().unwrap());
            let strangers = [
                client.clone(),
                client.with("x-csrf-token", "0".repeat(64).as_str()),
                client_with.with("origin", "https://evil.example"),
                client_with.with("sec-fetch-site", "cross-site"),
            ];
            for forged in &strangers {
                let answer = ask(forged, &route).await;
                assert_eq!(answer.status, 403, "{route:?}: {}", answer.text());
                let entry = newest(&estate).unwrap().entry;
                assert_eq!(Some(entry.action.as_str()), route.action);
                assert_eq!(entry.outcome, "refused");
            }
            let before = newest(&estate).unwrap().id;
            let same_origin = client_with.with("sec-fetch-site", "same-origin");
            ask(&same_origin, &route).await;
            let record = newest(&estate).unwrap();
            assert_eq!(Some(record.entry.action.as_str()), route.action);
            assert!(record.id > before, "{route:?} is in the journal");
            let actor = if sign_in {
                "account:root"
            } else {
                "address:127.0.0.1"
            };
            if record.entry.action != "sign-in.remove" {
                assert_eq!(record.entry.actor, actor);
            }
            served.stop().await;
        }
    }
}

#[tokio::test]
async fn permissions_are_kept_apart() {
    let estate = Estate::new();
    let served = estate.serve(closed()).await;
    for (permission, reload, ask) in [
        (Permission::Viewer, 403, 403),
        (Permission::Operator, 403, 404),
        (Permission::Admin, 200, 404),
    ] {
        let name = format!("{permission:?}");
        let secret = add_token(&estate, &name, permission);
        let client = Client::new(served.address).with("authorization", &format!("Bearer {secret}"));
        assert_eq!(client.get("/api/v1/instances").await.status, 200);
        assert_eq!(client.get("/metrics").await.status, 200);
        let answer = client.post("/api/v1/daemon/reload", &[]).await;
        assert_eq!(answer.status, reload, "{name}: {}", answer.text());
        let answer = client.post("/api/v1/instances/none/ask", &[]).await;
        assert_eq!(answer.status, ask, "{name}: {}", answer.text());
        let entry = newest(&estate).unwrap().entry;
        assert_eq!(entry.actor, format!("token:{name}"));
        assert_eq!(
            (entry.object.as_str(), entry.outcome.as_str()),
            ("none", "refused")
        );
        estate.store.state().remove_token(&name).unwrap();
        assert_eq!(client.get("/api/v1/instances").await.status, 401);
    }
}

#[tokio::test]
async fn signing_in_and_out() {
    let estate = Estate::new();
    add_account(&estate, "alice", Permission::Viewer);
    let served = estate.serve(closed()).await;
    let answer = attempt(&served, "alice", PASSWORD).await;
    assert_eq!(answer.header("location"), "/findings?level=warning");
    let set = answer.headers.get_all("set-cookie").iter();
    let set: Vec<&str> = set.map(|value| value.to_str().unwrap()).collect();
    let session = set
        .iter()
        .find(|cookie| cookie.starts_with("pawang="))
        .unwrap();
    assert!(session.contains("; HttpOnly; SameSite=Lax;"), "{session}");
    let cookie = answer.cookie("pawang").unwrap();
    let client = Client::new(served.address).with("cookie", &cookie);
    let session = client.json("/api/v1/session").await;
    assert_eq!(session["actor"], "account:alice");
    assert_eq!(session["permission"], "viewer");
    let entry = newest(&estate).unwrap().entry;
    assert_eq!(
        (
            entry.actor.as_str(),
            entry.action.as_str(),
            entry.outcome.as_str()
        ),
        ("account:alice", "sign-in.create", "done")
    );
    let secret = cookie.split_once('=').unwrap().1;
    assert!(!format!("{entry:?}").contains(secret));
    let csrf = session["csrf"].as_str().unwrap();
    let out = client.post("/sign-out", &[("csrf", csrf)]).await;
    assert_eq!((out.status, out.header("location")), (303, "/sign-in"));
    assert_eq!(out.cookie("pawang").unwrap(), "pawang=");
    assert_eq!(client.get("/api/v1/session").await.status, 401);
    assert_eq!(newest(&estate).unwrap().entry.action, "sign-in.remove");
}

#[tokio::test]
async fn wrong_names_and_wrong_passwords_are_answered_alike_and_slowed_down() {
    let estate = Estate::new();
    add_account(&estate, "alice", Permission::Viewer);
    let served = estate.serve(closed()).await;
    let wrong = attempt(&served, "alice", "wrong").await;
    assert_eq!(newest(&estate).unwrap().entry.object, "alice");
    let nobody = attempt(&served, "hunter2", "wrong").await;
    assert_eq!((wrong.status, nobody.status), (401, 401));
    // A password that was typed as a name stays out of the journal.
    let entry = newest(&estate).unwrap().entry;
    assert_eq!(
        (entry.object.as_str(), entry.outcome.as_str()),
        ("", "refused")
    );
    let text = |answer: &Answer| {
        let cookie = answer.cookie("pawang-form").unwrap();
        answer.text().replace(cookie.split_once('=').unwrap().1, "")
    };
    assert_eq!(text(&wrong), text(&nobody));
    for _ in 0..4 {
        assert_eq!(attempt(&served, "alice", "wrong").await.status, 401);
    }
    let slowed = attempt(&served, "alice", PASSWORD).await;
    assert_eq!(slowed.status, 429);
    assert_eq!(
        newest(&estate).unwrap().entry.detail["why"],
        "too many attempts"
    );
    assert!(slowed.header("retry-after").parse::<u64>().unwrap() >= 1);
    let other = attempt(&served, "bob", "wrong").await;
    assert_eq!(other.status, 401, "others are not slowed down");
}

#[tokio::test]
async fn a_form_of_somebody_else_does_not_sign_in() {
    let estate = Estate::new();
    add_account(&estate, "alice", Permission::Viewer);
    let served = estate.serve(closed()).await;
    let client = Client::new(served.address);
    let fields = [
        ("csrf", "made-up"),
        ("name", "alice"),
        ("password", PASSWORD),
    ];
    let cookie = client.with("cookie", "pawang-form=another");
    let elsewhere = client
        .with("cookie", "pawang-form=made-up")
        .with("origin", "https://evil.example");
    for client in [client, cookie, elsewhere] {
        let answer = client.post("/sign-in", &fields).await;
        assert_eq!(answer.status, 403);
        assert_eq!(answer.cookie("pawang"), None);
        assert_eq!(newest(&estate).unwrap().entry.outcome, "refused");
    }
}

#[tokio::test]
async fn sessions_end() {
    let estate = Estate::new();
    add_account(&estate, "alice", Permission::Viewer);
    let served = estate.serve(closed()).await;
    let at = |hours: i64| -> Timestamp { now() + jiff::SignedDuration::from_hours(hours) };
    for (name, created, expires, status) in [
        ("used", -3, 9, 200),
        ("idle", -13, -1, 401),
        ("old", -24 * 7, 0, 401),
    ] {
        let sign_in = SignIn {
            token_hash: Sha256::digest(name.as_bytes()).into(),
            account: "alice".to_owned(),
            csrf: "csrf".to_owned(),
            created_at: at(created),
            expires_at: at(expires),
        };
        let state = estate.store.state();
        state.put_sign_in(&sign_in).unwrap();
        let client = Client::new(served.address).with("cookie", &format!("pawang={name}"));
        let answer = client.get("/api/v1/session").await;
        assert_eq!(answer.status, status, "{name}");
        let kept = state.sign_in(&sign_in.token_hash, now()).unwrap();
        if let Some((kept, _)) = kept {
            assert!(
                kept.expires_at > at(11),
                "use moves the end: {}",
                kept.expires_at
            );
        }
    }
    estate.store.state().remove_account("alice").unwrap();
    let client = Client::new(served.address).with("cookie", "pawang=used");
    assert_eq!(client.get("/api/v1/session").await.status, 401);
}

#[tokio::test]
async fn cookies_are_bound_to_tls_where_there_is_some() {
    let estate = Estate::new();
    add_account(&estate, "alice", Permission::Viewer);
    let secure = Settings {
        secure: true,
        ..closed()
    };
    let served = estate.serve(secure).await;
    let answer = Client::new(served.address).get("/sign-in").await;
    assert!(answer.cookie("__Host-pawang-form").is_some());
    assert!(answer.header("set-cookie").ends_with("; Secure"));
    assert!(
        answer
            .header("strict-transport-security")
            .starts_with("max-age=")
    );
}

#[tokio::test]
async fn neither_strangers_nor_others_can_fill_the_journal() {
    for settings in [closed(), settings()] {
        let estate = Estate::new();
        let served = estate.serve(settings).await;
        let client = Client::new(served.address).with("origin", "https://evil.example");
        for _ in 0..100 {
            client.post("/api/v1/daemon/reload", &[]).await;
        }
        let records = estate.store.state().journal_page(None, 200).unwrap();
        assert!((30..=60).contains(&records.len()), "{}", records.len());
    }
}

#[tokio::test]
async fn the_first_account_shuts_an_open_dashboard() {
    let estate = Estate::new();
    let unsaid = Settings {
        sign_in_configured: None,
        ..settings()
    };
    let (shuts, stays) = (estate.serve(unsaid).await, estate.serve(settings()).await);
    let status = async |served: &Served| {
        let client = Client::new(served.address);
        client.get("/api/v1/instances").await.status
    };
    assert_eq!((status(&shuts).await, status(&stays).await), (200, 200));
    add_account(&estate, "alice", Permission::Viewer);
    assert_eq!((status(&shuts).await, status(&stays).await), (401, 200));
    let client = signed_in(&shuts, "alice").await;
    assert_eq!(client.get("/api/v1/instances").await.status, 200);
}

#[tokio::test]
async fn a_dashboard_that_has_lost_its_accounts_stays_shut() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("state.db"), [0x5a; 8_192]).unwrap();
    let estate = Estate::within(directory);
    let served = estate.serve(settings()).await;
    let client = Client::new(served.address);
    assert_eq!(client.get("/").await.header("location"), "/sign-in");
    assert_eq!(client.get("/api/v1/instances").await.status, 401);
    assert_eq!(client.get("/sign-in").await.status, 200);
    // Making an account again is what opens it: for its owner only.
    add_account(&estate, "alice", Permission::Viewer);
    let signed = Client::new(served.address);
    assert_eq!(signed.get("/healthz").await.status, 200);
}
