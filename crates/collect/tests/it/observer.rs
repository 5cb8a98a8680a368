//! An observer over real servers that restart, fail over, hang, and end its session.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use pawang_collect::{Catalog, HostRequest, Observer, Question, Request, activity};
use pawang_core::{Blind, Facts, Instance, Missing, Role, Server, Snapshot, Timestamp, Value};
use pawang_postgres::{Environment, Target};
use pawang_testbed::{Cluster, Setup, Stop, until};
use rustix::process::{Pid, Signal, kill_process};

static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::built_in);

/// One instance under observation.
struct Watch {
    observer: Observer,
    instance: Instance,
    target: Target,
    questions: Vec<Question>,
}

impl Watch {
    /// Watches as a role that is a member of `pg_monitor` and nothing more.
    async fn start(cluster: &Cluster) -> Watch {
        let user = cluster.monitor().await;
        Watch::over(&cluster.url_as(&user, "postgres"))
    }

    fn over(url: &str) -> Watch {
        Watch {
            observer: Observer::default(),
            instance: Instance::default(),
            target: Target::parse(url, &Environment::default()).unwrap(),
            questions: Vec::new(),
        }
    }

    async fn look(&mut self, collectors: &[&str]) -> Facts {
        let collectors = collectors.iter().map(|name| (*name).to_owned()).collect();
        let request = request(&self.instance, &self.target, &collectors, &self.questions);
        self.observer.look(&request).await
    }

    async fn sample(&mut self) -> Result<Snapshot, Blind> {
        let none = BTreeSet::new();
        let request = request(&self.instance, &self.target, &none, &[]);
        self.observer.sample(&request).await
    }

    async fn texts(&mut self, ids: &[i64]) -> Result<Vec<(i64, String)>, Blind> {
        let none = BTreeSet::new();
        let request = request(&self.instance, &self.target, &none, &[]);
        self.observer.texts(&request, ids).await
    }
}

fn request<'a>(
    instance: &'a Instance,
    target: &'a Target,
    collectors: &'a BTreeSet<String>,
    questions: &'a [Question],
) -> Request<'a> {
    Request {
        instance,
        target,
        purpose: "observer",
        catalog: &CATALOG,
        collectors,
        questions,
        databases: &[],
        pgbouncer: None,
        patroni: None,
        backups: &[],
        host: HostRequest::default(),
        now: now(),
    }
}

#[expect(clippy::disallowed_methods, reason = "a test is an edge")]
fn now() -> Timestamp {
    Timestamp::now()
}

async fn start() -> Cluster {
    Cluster::start(&Setup::default()).await
}

/// Returns the processes that serve the observer.
async fn backends(cluster: &Cluster) -> Vec<String> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'pawang:observer'";
    let rows = cluster.sql("postgres", sql).await;
    rows.into_iter().flatten().flatten().collect()
}

fn server(facts: &Facts) -> &Server {
    facts.server.as_ref().unwrap()
}

/// Asserts that the server answered everything.
fn seen(facts: &Facts) {
    for sighting in &facts.sightings {
        let blind = matches!(sighting.seen, Err(Missing::Blind(_)));
        assert!(!blind, "{sighting:?}");
    }
}

#[tokio::test]
async fn one_session_serves_every_round_and_further_ones_last_no_longer_than_needed() {
    let cluster = start().await;
    cluster.sql("postgres", "CREATE DATABASE other").await;
    let mut watch = Watch::start(&cluster).await;
    let facts = watch.look(&["server", "extensions", "host-load"]).await;
    seen(&facts);
    // The session of the other database is over; its backend may need a moment.
    until("one backend is left", async || {
        backends(&cluster).await.len() == 1
    })
    .await;
    let first = backends(&cluster).await;
    let inside = facts.sightings.iter().filter_map(|s| s.database.as_deref());
    assert_eq!(inside.collect::<Vec<_>>(), ["postgres", "other"]);
    for _ in 0..3 {
        let facts = watch.look(&["sessions"]).await;
        seen(&facts);
        assert_eq!(facts.sightings.len(), 1, "only what was asked");
        assert_eq!(
            facts.databases,
            ["other", "postgres"],
            "also when nobody looked into them"
        );
    }
    assert_eq!(backends(&cluster).await, first);
}

#[tokio::test]
async fn a_restart_is_another_epoch() {
    let mut cluster = start().await;
    let mut watch = Watch::start(&cluster).await;
    let before = watch.look(&["server"]).await;
    cluster.stop(Stop::Fast).await;
    let down = watch.look(&["server", "host-load"]).await;
    assert!(matches!(down.server, Err(Blind::Unreachable { .. })));
    assert!(down.down.is_some() && down.snapshot("host-load", None).is_ok());
    assert!(
        watch.sample().await.is_err(),
        "nothing is opened for a sample"
    );
    cluster.start_again().await;
    let after = watch.look(&["server"]).await;
    let [before, after] = [&before, &after].map(|facts| &server(facts).epoch);
    assert_eq!(before.system_identifier, after.system_identifier);
    assert!(before.started_at < after.started_at);
}

#[tokio::test]
async fn a_session_that_is_ended_is_replaced() {
    let cluster = start().await;
    let mut watch = Watch::start(&cluster).await;
    watch.look(&["server"]).await;
    let [first] = &backends(&cluster).await[..] else {
        panic!("one session")
    };
    cluster
        .sql("postgres", &format!("SELECT pg_terminate_backend({first})"))
        .await;
    until("it is gone", async || backends(&cluster).await.is_empty()).await;
    assert!(watch.sample().await.is_err());
    seen(&watch.look(&["server"]).await);
    assert!(watch.sample().await.is_ok());
    assert!(!backends(&cluster).await.contains(first));
}

#[tokio::test]
async fn a_promotion_is_seen_over_the_same_session() {
    let cluster = start().await;
    cluster.monitor().await;
    let standby = cluster.standby("s1").await;
    // No role can be made on a standby, but this one came with the copy.
    let mut watch = Watch::over(&standby.url_as("monitor", "postgres"));
    let before = watch.look(&["server", "recovery"]).await;
    assert_eq!(server(&before).role, Role::Standby);
    assert!(before.snapshot("recovery", None).is_ok());
    let session = backends(&standby).await;
    standby.sql("postgres", "SELECT pg_promote(false)").await;
    until("the promotion is seen", async || {
        let facts = watch.look(&["recovery"]).await;
        let server = server(&facts);
        let missing = facts.snapshot("recovery", None).err();
        server.role == Role::Primary
            && server.epoch.timeline == 2
            && matches!(missing, Some(Missing::NotApplicable(_)))
    })
    .await;
    assert_eq!(backends(&standby).await, session);
}

#[tokio::test]
async fn a_session_that_hangs_is_given_up_and_replaced() {
    let cluster = start().await;
    let mut watch = Watch::start(&cluster).await;
    watch.target.statement_timeout = Duration::from_secs(2);
    watch.look(&["server"]).await;
    let hung: i32 = backends(&cluster).await[0].parse().unwrap();
    let hung = Pid::from_raw(hung).unwrap();
    kill_process(hung, Signal::STOP).unwrap();
    // It answers nobody until the round is over, so that whoever is seen was asked over another one.
    seen(&watch.look(&["server"]).await);
    let now = backends(&cluster).await;
    kill_process(hung, Signal::CONT).unwrap();
    assert_eq!(now.len(), 2, "{now:?}");
}

#[tokio::test]
async fn a_round_that_is_dropped_takes_its_session_with_it() {
    let cluster = start().await;
    let mut watch = Watch::start(&cluster).await;
    watch.look(&["server"]).await;
    let first = backends(&cluster).await;
    watch.questions.push(Question {
        name: "user:slow".to_owned(),
        database: None,
        sql: "SELECT pg_catalog.pg_sleep(60)::text".to_owned(),
        columns: [].into(),
        constants: Vec::new(),
        timeout: Duration::from_secs(120),
    });
    let asleep = until("it sleeps", async || {
        let sql = "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        !cluster.sql("postgres", sql).await.is_empty()
    });
    tokio::select! {
        _ = watch.look(&["server"]) => unreachable!("it sleeps for a minute"),
        () = asleep => {}
    }
    watch.questions.clear();
    assert!(
        watch.sample().await.is_err(),
        "the session is not used again"
    );
    seen(&watch.look(&["server"]).await);
    until("the sleeper is gone", async || {
        let now = backends(&cluster).await;
        now.len() == 1 && now != first
    })
    .await;
}

#[tokio::test]
async fn very_many_databases_are_looked_into_in_turns() {
    let cluster = start().await;
    for name in ["a", "b", "c"] {
        let sql = format!("CREATE DATABASE {name}");
        cluster.sql("postgres", &sql).await;
    }
    let mut watch = Watch::start(&cluster).await;
    watch.observer.databases_per_round = 2;
    let mut reached = BTreeSet::new();
    for _ in 0..3 {
        let facts = watch.look(&["extensions"]).await;
        seen(&facts);
        assert_eq!(facts.sightings.len(), 2);
        assert_eq!(facts.databases, ["a", "b", "c", "postgres"]);
        assert!(facts.notes[0].contains("in turns"), "{:?}", facts.notes);
        reached.extend(facts.sightings.into_iter().filter_map(|s| s.database));
    }
    assert_eq!(reached.len(), 4);
}

#[tokio::test]
async fn a_sample_shows_who_works_and_who_makes_whom_wait() {
    let cluster = start().await;
    cluster.set("compute_query_id", Some("on")).await;
    let mut watch = Watch::start(&cluster).await;
    assert!(
        watch.sample().await.is_err(),
        "nothing is opened for a sample"
    );
    watch.look(&["server"]).await;
    let clients = |sample: &Snapshot| -> Vec<Vec<Value>> {
        let kind = sample.key("backend_type");
        let rows = sample.rows().zip(&sample.rows);
        let rows = rows.filter(|(row, _)| row.at(kind).as_text() == Some("client backend"));
        rows.map(|(_, values)| values.clone()).collect()
    };
    let idle = watch.sample().await.unwrap();
    assert_eq!(clients(&idle), Vec::<Vec<Value>>::new());
    let holder = cluster
        .hold("postgres", "SELECT pg_advisory_xact_lock(1)")
        .await;
    let pid: i32 = holder
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    let waiter = cluster.connect("postgres").await;
    let wait = waiter.batch_execute("SELECT pg_advisory_lock(1)");
    let mut samples = Vec::new();
    let looking = async {
        until("the waiter is seen", async || {
            let sample = watch.sample().await.unwrap();
            let waits = |row: pawang_core::Row<'_>| row.text("wait_event_type") == Some("Lock");
            let seen = clients(&sample).len() == 2 && sample.rows().any(waits);
            samples.push(std::sync::Arc::new(sample));
            seen
        })
        .await;
    };
    tokio::select! {
        _ = wait => unreachable!("the lock is held"),
        () = looking => {}
    }
    let sample = samples.last().unwrap();
    let rows: Vec<_> = sample.rows().collect();
    let waiting = rows
        .iter()
        .find(|row| row.text("wait_event_type") == Some("Lock"))
        .unwrap();
    assert_eq!(waiting.list("blocked_by"), [pid.to_string()]);
    assert_eq!(waiting.text("state"), Some("active"));
    assert!(waiting.int("query_id").is_some());
    let holding = rows
        .iter()
        .find(|row| row.int("pid") == Some(pid.into()))
        .unwrap();
    assert_eq!(holding.text("state"), Some("idle in transaction"));
    assert_eq!(holding.text("datname"), Some("postgres"));
    let folded = activity::fold(&samples[samples.len() - 1..], now());
    let classes: BTreeSet<_> = folded
        .rows()
        .filter_map(|row| row.text("wait_event_type"))
        .collect();
    assert!(classes.is_superset(&BTreeSet::from(["Lock", activity::IDLE_IN_TRANSACTION])));
    let declared = &CATALOG.collector(activity::HISTORY).header.columns;
    assert_eq!(folded.columns, *declared);
    assert!(folded.rows.iter().all(|row| row.len() == declared.len()));
}

#[tokio::test]
async fn a_role_that_sees_nobody_says_so_instead_of_showing_an_idle_server() {
    let cluster = start().await;
    cluster.sql("postgres", "CREATE ROLE stranger LOGIN").await;
    let mut watch = Watch::over(&cluster.url_as("stranger", "postgres"));
    watch.look(&["server"]).await;
    let blind = watch.sample().await.unwrap_err();
    assert_eq!(blind.remedy(), "GRANT pg_monitor TO \"stranger\";");
    cluster
        .sql("postgres", "GRANT pg_read_all_stats TO stranger")
        .await;
    let mut watch = Watch::over(&cluster.url_as("stranger", "postgres"));
    watch.look(&["server"]).await;
    assert!(watch.sample().await.is_ok());
}

#[tokio::test]
async fn texts_are_found_wherever_the_extension_lives() {
    let cluster = Cluster::start(&Setup {
        settings: &[("shared_preload_libraries", "pg_stat_statements")],
        ..Setup::default()
    })
    .await;
    let mut watch = Watch::start(&cluster).await;
    let facts = watch.look(&["statements"]).await;
    let missing = facts.snapshot("statements", None).unwrap_err();
    assert!(matches!(
        missing,
        Missing::Blind(Blind::MissingExtension { .. })
    ));
    let missing = watch.texts(&[1]).await.unwrap_err();
    assert!(matches!(missing, Blind::MissingExtension { .. }));
    cluster.sql("postgres", "CREATE DATABASE stats").await;
    let create = "CREATE SCHEMA \"Ext\"; CREATE EXTENSION pg_stat_statements SCHEMA \"Ext\"; \
                  GRANT USAGE ON SCHEMA \"Ext\" TO monitor";
    cluster.sql("stats", create).await;
    let columns: Vec<String> = (0..1000).map(|i| format!("1 AS ünï_column_{i}")).collect();
    let long = format!("SELECT {}", columns.join(", "));
    for sql in ["SELECT 1 AS the_one", &long] {
        cluster.sql("postgres", sql).await;
    }
    let facts = watch.look(&["statements"]).await;
    let statements = facts.snapshot("statements", None).unwrap();
    let mut ids: Vec<i64> = statements
        .rows()
        .filter_map(|row| row.int("queryid"))
        .collect();
    ids.push(i64::MIN);
    let texts = watch.texts(&ids).await.unwrap();
    assert!(texts.iter().any(|(_, text)| text == "SELECT $1 AS the_one"));
    let longest = texts.iter().map(|(_, text)| text.chars().count()).max();
    assert_eq!(longest, Some(pawang_collect::TEXT_CHARACTERS_MAX));
    assert!(texts.iter().all(|(id, _)| *id != i64::MIN));
    // The session of the other database is over; its backend may need a moment.
    until("one backend is left", async || {
        backends(&cluster).await.len() == 1
    })
    .await;
    cluster
        .sql("stats", "DROP EXTENSION pg_stat_statements")
        .await;
    assert!(watch.texts(&ids).await.is_err());
}

#[tokio::test]
async fn objects_are_seen_to_change() {
    let cluster = start().await;
    let create = "CREATE TABLE a (id int PRIMARY KEY, name text DEFAULT 'x'); CREATE VIEW v AS SELECT id FROM a; \
                  CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TEMP TABLE hidden (i int)";
    cluster.sql("postgres", create).await;
    let mut watch = Watch::start(&cluster).await;
    let mut objects = async || {
        let facts = watch.look(&["schema-objects"]).await;
        let snapshot = facts.snapshot("schema-objects", Some("postgres")).unwrap();
        let object = |row: pawang_core::Row<'_>| {
            let [name, definition, hash] = ["name", "definition", "definition_hash"]
                .map(|column| row.text(column).unwrap().to_owned());
            (
                format!("{} {name}", row.text("object_type").unwrap()),
                definition,
                hash,
            )
        };
        snapshot.rows().map(object).collect::<BTreeSet<_>>()
    };
    let before = objects().await;
    let expected = [
        (
            "table a",
            "(id integer NOT NULL, name text DEFAULT 'x'::text)",
        ),
        ("index a_pkey", "PRIMARY KEY ON a USING btree (id)"),
        ("view v", "(id integer)"),
    ];
    for (name, definition) in expected {
        let found = before.iter().find(|object| object.0 == name).unwrap();
        assert_eq!(found.1, definition);
    }
    let names: Vec<&str> = before.iter().map(|object| object.0.as_str()).collect();
    assert_eq!(
        names,
        [
            "extension plpgsql",
            "function f(a integer)",
            "index a_pkey",
            "schema ",
            "table a",
            "view v"
        ]
    );
    let change = "ALTER TABLE a ADD more int; CREATE OR REPLACE VIEW v AS SELECT id + 0 AS id FROM a; \
                  CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 2'";
    cluster.sql("postgres", change).await;
    let after = objects().await;
    let changed: Vec<&str> = after
        .difference(&before)
        .map(|object| object.0.as_str())
        .collect();
    assert_eq!(changed, ["function f(a integer)", "table a", "view v"]);
}
