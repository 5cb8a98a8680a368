//! The dashboard as a person sees it: real facts of a real server, keys, and the characters on the screen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pawang_collect::{Catalog, HostRequest, Request, observe};
use pawang_core::{Facts, Instance, Timestamp};
use pawang_postgres::{Environment, Target};
use pawang_store::live::{BudgetStatus, Present};
use pawang_testbed::{Cluster, Setup, until};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::draw::draw;
use crate::memory::Memory;
use crate::state::{Flow, State};

const COLLECTORS: [&str; 8] = [
    "activity",
    "blocking",
    "database",
    "replication",
    "sessions",
    "settings",
    "statements",
    "tables",
];

/// A person in front of a terminal of 80 columns and 24 lines.
struct Person {
    terminal: Terminal<TestBackend>,
    memory: Memory,
    state: State,
    now: Timestamp,
}

impl Person {
    fn new(presents: Vec<Present>, now: Timestamp) -> Person {
        let mut person = Person {
            terminal: Terminal::new(TestBackend::new(80, 24)).unwrap(),
            memory: Memory::default(),
            state: State::new(None),
            now,
        };
        person.see(presents);
        person
    }

    fn see(&mut self, presents: Vec<Present>) {
        self.memory
            .see(presents.into_iter().map(Arc::new).collect());
        self.state.settle(&self.memory);
    }

    fn screen(&mut self) -> String {
        let (state, memory, now) = (&mut self.state, &self.memory, self.now);
        self.terminal
            .draw(|frame| draw(frame, state, memory, "direct", now))
            .unwrap();
        self.terminal.backend().to_string()
    }

    fn press(&mut self, keys: &str) -> String {
        for key in keys.chars() {
            let code = match key {
                '\n' => KeyCode::Enter,
                '\u{1b}' => KeyCode::Esc,
                '\t' => KeyCode::Tab,
                key => KeyCode::Char(key),
            };
            let flow = self
                .state
                .press(KeyEvent::new(code, KeyModifiers::NONE), &self.memory);
            assert_eq!(flow, Flow::Stay, "{key}");
            // What keys mean depends on what was drawn.
            self.screen();
        }
        self.screen()
    }
}

fn present(facts: Facts) -> Present {
    Present {
        instance: facts.instance.clone(),
        labels: BTreeMap::new(),
        answered_at: Some(facts.at),
        facts: Arc::new(facts),
        evaluation: None,
        since: Arc::new(BTreeMap::new()),
        collectors: Arc::new([]),
        budget: BudgetStatus::default(),
        activity: Arc::new([]),
    }
}

async fn facts(cluster: &Cluster, name: &str, now: Timestamp) -> Facts {
    let instance = Instance {
        name: name.to_owned(),
        ..Instance::default()
    };
    let collectors: BTreeSet<String> = COLLECTORS.map(str::to_owned).into();
    let target = Target::parse(&cluster.url("postgres"), &Environment::default()).unwrap();
    let request = Request {
        instance: &instance,
        target: &target,
        purpose: "top",
        catalog: &Catalog::built_in(),
        collectors: &collectors,
        questions: &[],
        databases: &[],
        pgbouncer: None,
        patroni: None,
        host: HostRequest::default(),
        backups: &[],
        now,
    };
    observe(&request).await
}

#[tokio::test]
async fn a_blocked_session_is_found_by_keys() {
    let cluster = Cluster::start(&Setup::default()).await;
    cluster
        .sql(
            "postgres",
            "CREATE TABLE orders (id int);
             CREATE TABLE large AS SELECT repeat('x', 900) AS note FROM generate_series(1, 50000) AS g;
             ANALYZE large",
        )
        .await;
    let holder = cluster.connect("postgres").await;
    holder
        .batch_execute("BEGIN; LOCK TABLE orders")
        .await
        .unwrap();
    let waiter = cluster.connect("postgres").await;
    let wait = waiter.batch_execute("SELECT * FROM orders");
    let look = async {
        until("the lock is waited for", async || {
            let sql = "SELECT count(*) FROM pg_locks WHERE NOT granted";
            cluster.sql("postgres", sql).await[0][0].as_deref() == Some("1")
        })
        .await;
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let seen = facts(&cluster, "dwh-1", now).await;
        holder.batch_execute("COMMIT").await.unwrap();
        (seen, now)
    };
    let (waited, (seen, now)) = tokio::join!(wait, look);
    waited.unwrap();
    let mut person = Person::new(vec![present(seen)], now);
    // One instance: its sessions are the first screen.
    let screen = person.screen();
    assert!(
        screen.contains("dwh-1") && screen.contains("primary"),
        "{screen}"
    );
    assert!(screen.contains("Lock:relation"), "{screen}");
    assert!(screen.contains("[idle in xact]"), "{screen}");
    let tree = person.press("4");
    assert!(tree.contains("AccessShare public.order"), "{tree}");
    let detail = person.press("\n");
    assert!(detail.contains("LOCK TABLE orders"), "{detail}");
    assert!(person.press("\u{1b}:act\n").contains("Lock:relation"));
    let filtered = person.press("/lock table\n");
    assert!(!filtered.contains("Lock:relation"), "{filtered}");
    assert!(
        person
            .press("\u{1b}/nonsense\n")
            .contains("nothing matches \"nonsense\"")
    );
    assert!(
        person.press("\u{1b}6").contains("pg_stat_statements"),
        "a missing extension is said"
    );
    assert!(person.press("7").contains("postgres: public.large"));
    assert!(person.press("8").contains("no standby is connected"));
    assert!(
        person
            .press(":nowhere\n")
            .contains("there is no screen \"nowhere\"")
    );
    assert!(person.press("?").contains("hold the picture still"));
}

#[tokio::test]
async fn rates_need_two_looks_and_never_cross_a_restart() {
    let mut cluster = Cluster::start(&Setup::default()).await;
    cluster
        .sql(
            "postgres",
            "CREATE TABLE t AS SELECT g FROM generate_series(1, 5000) g",
        )
        .await;
    let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
    let first = facts(&cluster, "a", at(0)).await;
    cluster
        .sql(
            "postgres",
            "INSERT INTO t SELECT g FROM generate_series(1, 1000) g",
        )
        .await;
    until("the insert is counted", async || {
        let sql = "SELECT n_tup_ins FROM pg_stat_all_tables WHERE relname = 't'";
        cluster.sql("postgres", sql).await[0][0].as_deref() == Some("6000")
    })
    .await;
    let second = facts(&cluster, "a", at(10)).await;
    let mut person = Person::new(vec![present(first)], at(10));
    person.see(vec![present(second)]);
    let screen = person.press("7");
    let line = screen
        .lines()
        .find(|line| line.contains("postgres: public.t"))
        .unwrap();
    // A look takes some milliseconds: 99.97 is written as 100.0.
    let rate = [" 100 ", " 100.0 ", " 99."];
    assert!(rate.iter().any(|rate| line.contains(rate)), "{line}");
    cluster.stop(pawang_testbed::Stop::Fast).await;
    cluster.start_again().await;
    let third = facts(&cluster, "a", at(20)).await;
    person.see(vec![present(third)]);
    let screen = person.screen();
    let line = screen
        .lines()
        .find(|line| line.contains("postgres: public.t"))
        .unwrap();
    assert!(
        line.trim_start_matches('"').trim_start().starts_with('-'),
        "{line}"
    );
}

#[tokio::test]
async fn a_fleet_shows_the_worst_first_and_leads_to_its_instances() {
    let mut cluster = Cluster::start(&Setup::default()).await;
    let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    let fine = facts(&cluster, "fine", now).await;
    cluster.stop(pawang_testbed::Stop::Fast).await;
    let gone = facts(&cluster, "gone", now).await;
    assert!(gone.server.is_err());
    let mut person = Person::new(vec![present(fine.clone()), present(gone)], now);
    let screen = person.screen();
    let place = |name: &str| {
        screen
            .find(name)
            .unwrap_or_else(|| panic!("{name}: {screen}"))
    };
    assert!(place("!! gone") < place("fine"), "{screen}");
    assert!(person.press("j\n").contains("not judged yet"));
    assert_eq!(person.state.instance.as_deref(), Some("fine"));
    person.press("n3");
    assert_eq!(person.state.instance.as_deref(), Some("gone"));
    person.see(vec![present(fine)]);
    assert!(
        person
            .screen()
            .contains("\"gone\" is no longer looked after")
    );
}

#[tokio::test]
async fn nothing_that_a_server_says_reaches_the_terminal_as_control() {
    let cluster = Cluster::start(&Setup::default()).await;
    let holder = cluster.connect("postgres").await;
    holder
        .batch_execute("BEGIN; SELECT '\u{1b}[31m\u{202e}x'")
        .await
        .unwrap();
    let now = Timestamp::UNIX_EPOCH;
    let seen = facts(&cluster, "a", now).await;
    seen.snapshot("activity", None).unwrap();
    let mut person = Person::new(vec![present(seen)], now);
    for keys in ["", "3", "\n"] {
        let screen = person.press(keys);
        assert!(
            !screen.contains('\u{1b}') && !screen.contains('\u{202e}'),
            "{screen:?}"
        );
    }
}
