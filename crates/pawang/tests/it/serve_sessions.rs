//! Sessions are ended through the dashboard of the running daemon: signing in, the plan, agreement, the journal, the effect.

use std::fmt::Write;

use pawang_testbed::{Client, Cluster, Setup, until};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::program::{Desk, instance};
use crate::serve_daemon::Daemon;

const PASSWORD: &str = "correct horse battery staple";
const PAGE: &str = "/instances/dwh-1/activity";
const API: &str = "/api/v1/instances/dwh-1/sessions";

/// Somebody at the dashboard.
struct Person<'a> {
    daemon: &'a Daemon<'a>,
    /// Header lines that say who it is.
    headers: String,
}

impl<'a> Person<'a> {
    /// Signs in as a browser does.
    async fn signs_in(daemon: &'a Daemon<'a>, name: &str) -> Person<'a> {
        let form = daemon.ask("GET", "/sign-in", "", "").await;
        let cookie = cookie(&form, "pawang-form");
        let csrf = cookie.split_once('=').unwrap().1.to_owned();
        let fields = [
            ("csrf", csrf.as_str()),
            ("name", name),
            ("password", PASSWORD),
        ];
        let stranger = Person {
            daemon,
            headers: format!("Cookie: {cookie}\r\n"),
        };
        let answer = stranger.posts("/sign-in", &fields).await;
        assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
        let mut person = Person {
            daemon,
            headers: format!("Cookie: {}\r\n", cookie_of(&answer)),
        };
        let session = person.json("/api/v1/session").await;
        let csrf = session["csrf"].as_str().unwrap();
        write!(person.headers, "X-CSRF-Token: {csrf}\r\n").unwrap();
        person
    }

    async fn gets(&self, path: &str) -> String {
        self.daemon.ask("GET", path, &self.headers, "").await
    }

    async fn json(&self, path: &str) -> Value {
        body(&self.gets(path).await)
    }

    async fn posts(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let fields = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", value.replace(' ', "+")));
        let form = fields.collect::<Vec<_>>().join("&");
        let headers = format!(
            "{}Content-Type: application/x-www-form-urlencoded\r\n",
            self.headers
        );
        self.daemon.ask("POST", path, &headers, &form).await
    }

    /// Looks at a plan and returns its page and its hash, empty when there is nothing to agree to.
    async fn plans(&self, query: &str) -> (String, String) {
        let page = self.gets(&format!("{PAGE}/plan?{query}")).await;
        assert!(page.starts_with("HTTP/1.1 200"), "{page}");
        let hash = page.split("name=\"plan\" value=\"").nth(1);
        let hash = hash.and_then(|rest| rest.split('"').next());
        (page.clone(), hash.unwrap_or_default().to_owned())
    }

    async fn applies(&self, hash: &str, name: &str) -> String {
        let fields = [("plan", hash), ("name", name)];
        self.posts(&format!("{PAGE}/apply"), &fields).await
    }
}

fn cookie(answer: &str, name: &str) -> String {
    let mut lines = answer.lines().filter_map(|line| line.split_once(": "));
    let found = lines.find(|(head, value)| {
        head.eq_ignore_ascii_case("set-cookie") && value.starts_with(&format!("{name}="))
    });
    let (_, value) = found.unwrap_or_else(|| panic!("no cookie {name}: {answer}"));
    value.split(';').next().unwrap().to_owned()
}

fn cookie_of(answer: &str) -> String {
    cookie(answer, "pawang")
}

fn body(answer: &str) -> Value {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// A server with somebody in the way of somebody.
struct Scene {
    cluster: Cluster,
    desk: Desk,
}

impl Scene {
    async fn new() -> Scene {
        let cluster = Cluster::start(&Setup::default()).await;
        cluster
            .sql("postgres", "CREATE ROLE etl LOGIN; CREATE ROLE payments LOGIN; CREATE TABLE t (n int); GRANT ALL ON t TO etl, payments")
            .await;
        let desk = Desk::new();
        let server = instance("dwh-1", &cluster.url("postgres"));
        desk.write(
            "pawang.toml",
            &format!(
                "state_directory = \"state\"\n[act]\nprotected_roles = [\"pay*\"]\n{}\nlabels = {{ stage = \"prod\" }}\n",
                server.trim_end()
            ),
        );
        desk.write("password", &format!("{PASSWORD}\n"));
        for (name, permission) in [("ann", "operator"), ("vera", "viewer")] {
            let created = desk.pawang(&[
                "account",
                "create",
                name,
                "--permission",
                permission,
                "--password-file",
                "password",
            ]);
            assert_eq!(created.code, 0, "{created:?}");
        }
        Scene { cluster, desk }
    }

    /// Opens a transaction that holds the table.
    async fn holder(&self, role: &str) -> Client {
        let client = self.cluster.connect_as(role, "postgres").await;
        let hold = "BEGIN; LOCK TABLE t IN ACCESS SHARE MODE";
        client.batch_execute(hold).await.unwrap();
        client
    }

    /// Makes somebody wait for the table.
    async fn waiter(&self, works: &mut JoinSet<bool>) {
        let client = self.cluster.connect("postgres").await;
        let lock = "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; COMMIT";
        works.spawn(async move { client.batch_execute(lock).await.is_ok() });
        self.counts("pg_locks WHERE NOT granted", 1).await;
    }

    async fn counts(&self, from: &str, count: usize) {
        until(from, async || {
            let sql = format!("SELECT 1 FROM {from}");
            self.cluster.sql("postgres", &sql).await.len() == count
        })
        .await;
    }

    /// Returns the session ID of the only session of a role.
    fn session(&self, role: &str) -> String {
        let list = self.desk.pawang(&["session", "list", "--user", role]);
        let line = list.stdout.lines().nth(1).unwrap();
        line.split('\t').nth(1).unwrap().to_owned()
    }

    /// Returns outcome, action and object of what somebody did, newest first.
    fn journal(&self, actor: &str) -> Vec<(String, String)> {
        let journal = self.desk.pawang(&["journal", "list", "--json"]);
        let records = journal.data("pawang.journal.list/1");
        let word = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let records = records.as_array().unwrap().iter();
        records
            .map(|record| record.get("entry").unwrap_or(record))
            .filter(|entry| entry["actor"] == actor)
            .map(|entry| (word(entry, "action"), word(entry, "outcome")))
            .filter(|(action, _)| !action.starts_with("sign-in"))
            .collect()
    }
}

fn told(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    let entries = entries.iter();
    entries
        .map(|(action, outcome)| ((*action).to_owned(), (*outcome).to_owned()))
        .collect()
}

#[tokio::test]
async fn a_root_blocker_is_ended_through_the_dashboard_by_whoever_may_and_says_so() {
    let scene = Scene::new().await;
    let daemon = Daemon::start(&scene.desk).await;
    daemon.judged("dwh-1").await;
    let etl = scene.holder("etl").await;
    let mut works = JoinSet::new();
    scene.waiter(&mut works).await;

    let stranger = daemon.ask("GET", &format!("{PAGE}/plan"), "", "").await;
    assert!(stranger.starts_with("HTTP/1.1 303"), "{stranger}");
    let ann = Person::signs_in(&daemon, "ann").await;
    let (page, hash) = ann.plans("do=blockers").await;
    assert!(page.contains("terminate-backend pid "), "{page}");
    assert!(page.contains("type the name of the instance"), "{page}");
    assert_eq!(hash.len(), 64, "{page}");

    // Without the secret of the session, without the permission, without the name: nothing is done.
    let cookie = ann.headers.split("X-CSRF").next().unwrap().to_owned();
    let forged = Person {
        daemon: &daemon,
        headers: cookie,
    };
    let refused = forged.applies(&hash, "dwh-1").await;
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    let vera = Person::signs_in(&daemon, "vera").await;
    let refused = vera.applies(&hash, "dwh-1").await;
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    assert_eq!(vera.plans("do=blockers").await.1, "");
    let wrong = ann.applies(&hash, "dwh-2").await;
    assert!(wrong.starts_with("HTTP/1.1 409"), "{wrong}");
    etl.batch_execute("SELECT 1").await.unwrap();

    let done = ann.applies(&hash, "dwh-1").await;
    assert!(done.starts_with("HTTP/1.1 200"), "{done}");
    assert!(done.contains("1 sessions waited, 0 wait still"), "{done}");
    etl.batch_execute("SELECT 1").await.unwrap_err();
    assert!(works.join_next().await.unwrap().unwrap(), "it goes on");
    let again = ann.applies(&hash, "dwh-1").await;
    assert!(again.starts_with("HTTP/1.1 409"), "{again}");
    assert_eq!(
        scene.journal("account:ann"),
        told(&[
            ("session.apply", "refused"),
            ("session.apply", "done"),
            ("terminate-backend.apply", "done"),
            ("terminate-backend.apply", "begun"),
            ("session.apply", "refused"),
            ("session.apply", "refused"),
        ])
    );
    let verified = scene.desk.pawang(&["journal", "verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
}

#[tokio::test]
async fn whoever_is_protected_or_in_nobodys_way_any_more_is_left_alone_by_the_dashboard() {
    let scene = Scene::new().await;
    let daemon = Daemon::start(&scene.desk).await;
    daemon.judged("dwh-1").await;
    let ann = Person::signs_in(&daemon, "ann").await;
    let payments = scene.holder("payments").await;
    let session = scene.session("payments");
    let (page, hash) = ann.plans(&format!("do=terminate&session={session}")).await;
    assert!(
        page.contains("is protected by act.protected_roles"),
        "{page}"
    );
    assert_eq!(hash, "", "there is nothing to agree to: {page}");

    // Between the plan and its agreement the blocker commits: by then it is innocent.
    let etl = scene.holder("etl").await;
    payments.batch_execute("COMMIT").await.unwrap();
    let mut works = JoinSet::new();
    scene.waiter(&mut works).await;
    let (_, hash) = ann.plans("do=blockers").await;
    etl.batch_execute("COMMIT").await.unwrap();
    assert!(works.join_next().await.unwrap().unwrap());
    let left = ann.applies(&hash, "dwh-1").await;
    assert!(left.contains("it makes nobody wait any more"), "{left}");
    etl.batch_execute("SELECT 1").await.unwrap();

    let sleeper = scene.cluster.connect_as("etl", "postgres").await;
    drop(etl);
    scene
        .counts("pg_stat_activity WHERE usename = 'etl'", 1)
        .await;
    works.spawn(async move { sleeper.batch_execute("SELECT pg_sleep(600)").await.is_ok() });
    scene
        .counts(
            "pg_stat_activity WHERE usename = 'etl' AND state = 'active'",
            1,
        )
        .await;
    let session = scene.session("etl");
    let (page, hash) = ann.plans(&format!("do=cancel&session={session}")).await;
    assert!(page.contains("cancel-backend pid "), "{page}");
    let done = ann.applies(&hash, "dwh-1").await;
    assert!(done.starts_with("HTTP/1.1 200"), "{done}");
    assert!(
        !works.join_next().await.unwrap().unwrap(),
        "it was cancelled"
    );
    assert_eq!(
        scene.journal("account:ann"),
        told(&[
            ("session.apply", "done"),
            ("cancel-backend.apply", "done"),
            ("cancel-backend.apply", "begun"),
            ("session.apply", "done"),
            ("terminate-backend.apply", "done"),
        ])
    );
}

#[tokio::test]
async fn programs_end_sessions_by_the_api_under_the_same_guard() {
    let scene = Scene::new().await;
    let token = ["token", "create", "ci", "--permission", "operator"];
    let token = scene.desk.pawang(&token);
    assert_eq!(token.code, 0, "{token:?}");
    let daemon = Daemon::start(&scene.desk).await;
    daemon.judged("dwh-1").await;
    let program = Person {
        daemon: &daemon,
        headers: format!("Authorization: Bearer {}\r\n", token.stdout.trim()),
    };
    let etl = scene.holder("etl").await;
    let mut works = JoinSet::new();
    scene.waiter(&mut works).await;
    until("the tree is seen", async || {
        let tree = program.json(&format!("{API}/tree")).await;
        tree["branches"][0]["user"] == "etl" && tree["branches"][0]["victims"] == 1
    })
    .await;
    let plan = program.json(&format!("{API}/plan?do=blockers")).await;
    assert_eq!(plan["plan"]["actions"].as_array().unwrap().len(), 1);
    let hash = plan["hash"].as_str().unwrap();
    let apply = format!("{API}/apply");
    let wrong = program.posts(&apply, &[("plan", hash)]).await;
    assert!(wrong.starts_with("HTTP/1.1 409"), "{wrong}");
    let fields = [("plan", hash), ("name", "dwh-1")];
    let done = body(&program.posts(&apply, &fields).await);
    assert_eq!(
        (&done["done"], &done["waiting"]),
        (&true.into(), &0.into()),
        "{done}"
    );
    etl.batch_execute("SELECT 1").await.unwrap_err();
    assert!(works.join_next().await.unwrap().unwrap());

    let payments = scene.holder("payments").await;
    let session = scene.session("payments");
    let query = format!("{API}/plan?do=terminate&session={session}");
    let plan = program.json(&query).await;
    assert_eq!(plan["plan"]["actions"], Value::Array(Vec::new()), "{plan}");
    let why = plan["plan"]["left"][0]["why"].as_str().unwrap();
    assert!(why.contains("is protected"), "{plan}");
    payments.batch_execute("COMMIT").await.unwrap();
}
