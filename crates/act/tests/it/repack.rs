//! pg_repack by its client program, with a real server.

use std::time::Duration;

use pawang_act::repack::{Ended, Reach, find, repack};
use pawang_act::{Journal, JsonLines, settle};
use pawang_core::plan::{Relation, RewriteMethod, State, Task};
use pawang_postgres::Ssl;
use pawang_testbed::{Cluster, Setup, Version, until};
use tokio::sync::watch;

use crate::kills;
use crate::world::{DATABASE, How, Scene, clock, target};

/// Debian packages it for this version.
const MAJOR: u32 = 15;
const WAIT: Duration = Duration::from_secs(1);

async fn start() -> Cluster {
    let cluster = Cluster::start(&Setup {
        version: Some(Version(MAJOR)),
        ..Setup::default()
    })
    .await;
    cluster
        .sql(
            "postgres",
            "CREATE EXTENSION pg_repack; CREATE SCHEMA \"Dw\"; CREATE TABLE \"Dw\".\"Fact x\" (id int PRIMARY KEY, note text);
             INSERT INTO \"Dw\".\"Fact x\" SELECT g, repeat('x', 100) FROM generate_series(1, 20000) g; DELETE FROM \"Dw\".\"Fact x\" WHERE id > 1000;
             CREATE TABLE public.keyless (id int)",
        )
        .await;
    cluster
}

async fn run(
    cluster: &Cluster,
    schema: &str,
    name: &str,
    stop: &mut watch::Receiver<bool>,
) -> Ended {
    let program = find(MAJOR).expect("pg_repack is installed");
    let host = cluster.socket_directory().to_string_lossy().into_owned();
    let table = Relation {
        oid: 0,
        schema: schema.to_owned(),
        name: name.to_owned(),
    };
    let reach = Reach {
        host: &host,
        port: cluster.port(),
        user: "postgres",
        database: "postgres",
        password: None,
        ssl: &Ssl::default(),
        application: "pawang:test",
    };
    repack(&program, &table, &reach, WAIT, stop)
        .await
        .expect("pg_repack can be started")
}

async fn number(cluster: &Cluster, sql: &str) -> i64 {
    let rows = cluster.sql("postgres", sql).await;
    let text = rows[0][0].as_deref();
    text.and_then(|text| text.parse().ok())
        .expect("the query returns a number")
}

#[tokio::test]
async fn a_table_is_written_anew_and_one_without_a_key_is_said_to_be_skipped() {
    let cluster = start().await;
    let (_stop, mut stopped) = watch::channel(false);
    let size = "SELECT pg_relation_size('\"Dw\".\"Fact x\"')";
    let before = number(&cluster, size).await;
    assert_eq!(
        run(&cluster, "Dw", "Fact x", &mut stopped).await,
        Ended::Done
    );
    assert!(number(&cluster, size).await * 10 < before);
    assert_eq!(
        number(&cluster, "SELECT count(*) FROM \"Dw\".\"Fact x\"").await,
        1000
    );
    let skipped = run(&cluster, "public", "keyless", &mut stopped).await;
    assert!(
        matches!(&skipped, Ended::Failed(why) if why.contains("key")),
        "{skipped:?}"
    );
}

#[tokio::test]
async fn it_gives_up_behind_a_lock_instead_of_ending_its_holder_and_stops_when_told() {
    let cluster = start().await;
    let (stop, mut stopped) = watch::channel(false);
    let holder = cluster
        .hold("postgres", "SELECT count(*) FROM \"Dw\".\"Fact x\"")
        .await;
    let gave_up = run(&cluster, "Dw", "Fact x", &mut stopped).await;
    assert!(matches!(gave_up, Ended::Failed(_)), "{gave_up:?}");
    holder
        .simple_query("SELECT 1")
        .await
        .expect("the session of the holder still lives");
    stop.send(true).unwrap();
    let ended = run(&cluster, "Dw", "Fact x", &mut stopped).await;
    assert_eq!(ended, Ended::Stopped { clean: true });
    drop(holder);
    let left = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE '%repack%'";
    assert_eq!(number(&cluster, left).await, 0);
}

/// A table with much free space, of whose rows a checksum is kept.
const SPARSE: &str = "CREATE EXTENSION pg_repack; CREATE SCHEMA \"Dw\"; CREATE TABLE \"Dw\".\"Fact x\" (id int PRIMARY KEY, note text);
    INSERT INTO \"Dw\".\"Fact x\" SELECT g, repeat('x', 100) FROM generate_series(1, 20000) g; DELETE FROM \"Dw\".\"Fact x\" WHERE id > 1000;
    CREATE TABLE \"Dw\".keyless (id int); CREATE TABLE \"Dw\".lain (id int); CREATE ROLE pawang LOGIN;
    GRANT USAGE ON SCHEMA \"Dw\" TO pawang; ALTER TABLE \"Dw\".lain OWNER TO pawang; ALTER TABLE \"Dw\".lain ADD PRIMARY KEY (id)";
/// Everything that pg_repack may leave.
const LEFT: &str = "SELECT (SELECT count(*) FROM pg_trigger WHERE tgname LIKE '%repack%')
    + (SELECT count(*) FROM pg_class WHERE relnamespace = 'repack'::regnamespace AND relname ~ '^(log|table|pk)_[0-9]+$')";

async fn sparse() -> Scene {
    let scene = Scene::new(Version(MAJOR)).await;
    scene.sql(SPARSE).await;
    scene
}

async fn rewrite(scene: &Scene, name: &str, method: RewriteMethod) -> Task {
    let table = scene.relation("Dw", name).await;
    Task::Rewrite { table, method }
}

#[tokio::test]
async fn a_plan_writes_a_table_anew_by_pg_repack() {
    let scene = sparse().await;
    let plan = scene
        .plan(vec![
            rewrite(&scene, "Fact x", RewriteMethod::PgRepack).await,
        ])
        .await;
    assert_eq!(plan.left, []);
    let how = How {
        effects: pawang_act::Effects::Dry,
        ..How::default()
    };
    let outcome = scene.try_apply(&plan, how).await.unwrap();
    assert_eq!(outcome.actions[0].state, State::DryRun, "{outcome:?}");
    let done = scene.apply(&plan).await.actions.remove(0);
    assert_eq!(done.state, State::Done, "{done:?}");
    let bytes = |facts: &std::collections::BTreeMap<String, String>| -> u64 {
        facts["table_bytes"].parse().unwrap()
    };
    assert!(bytes(&done.after) * 10 < bytes(&done.before), "{done:?}");
    assert_ne!(done.after["filenode"], done.before["filenode"]);
    assert_eq!(
        scene.sql("SELECT count(*) FROM \"Dw\".\"Fact x\"").await,
        "1000"
    );
    assert_eq!(scene.sql(LEFT).await, "0");
}

#[tokio::test]
async fn what_a_rewrite_needs_and_is_not_there_is_named_before_anything_begins() {
    let mut scene = sparse().await;
    for (name, method, why) in [
        (
            "keyless",
            RewriteMethod::PgRepack,
            "no key that pg_repack needs",
        ),
        (
            "Fact x",
            RewriteMethod::PgSqueeze,
            "pg_squeeze is not installed",
        ),
        ("Fact x", RewriteMethod::Repack, "needs PostgreSQL 19"),
    ] {
        let plan = scene.plan(vec![rewrite(&scene, name, method).await]).await;
        assert_eq!(plan.actions, [], "{method:?}");
        assert!(plan.left[0].why.contains(why), "{:?}", plan.left);
    }
    // Gone between plan and apply.
    let plan = scene
        .plan(vec![
            rewrite(&scene, "Fact x", RewriteMethod::PgRepack).await,
        ])
        .await;
    scene.sql("DROP EXTENSION pg_repack").await;
    let outcome = scene.apply(&plan).await;
    assert_eq!(outcome.actions[0].state, State::Stale, "{outcome:?}");
    scene.sql("CREATE EXTENSION pg_repack").await;
    // The trigger of somebody else's pg_repack is not ours to take away.
    scene
        .sql(
            "CREATE TRIGGER repack_trigger AFTER INSERT ON \"Dw\".\"Fact x\" FOR EACH ROW
            EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        )
        .await;
    let again = scene
        .plan(vec![
            rewrite(&scene, "Fact x", RewriteMethod::PgRepack).await,
        ])
        .await;
    assert!(again.left[0].why.contains("left its trigger"), "{again:?}");
    scene.target = target(&scene.cluster.url_as("pawang", DATABASE));
    let done = scene
        .one(rewrite(&scene, "lain", RewriteMethod::PgRepack).await)
        .await;
    assert_eq!(done.state, State::Refused, "{done:?}");
    assert_eq!(done.hint.as_deref(), Some("ALTER ROLE pawang SUPERUSER;"));
}

#[tokio::test]
async fn a_session_of_pg_repack_that_is_ended_leaves_no_trigger() {
    let scene = sparse().await;
    let plan = scene
        .plan(vec![
            rewrite(&scene, "Fact x", RewriteMethod::PgRepack).await,
        ])
        .await;
    // An older transaction makes it wait after its trigger stands.
    let holder = scene
        .cluster
        .hold(DATABASE, "SELECT FROM \"Dw\".lain")
        .await;
    let trouble = async {
        until("the trigger stands", async || scene.sql(LEFT).await != "0").await;
        until("its sessions are ended", async || {
            let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                WHERE application_name LIKE 'pawang:rewrite:%' AND query NOT LIKE '%pg_relation_filenode%' AND pid <> pg_backend_pid()
                AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = 16185446)";
            scene.sql(sql).await == "1"
        })
        .await;
    };
    let (outcome, ()) = futures_util::future::join(scene.apply(&plan), trouble).await;
    drop(holder);
    assert!(!outcome.good(), "{outcome:?}");
    until("nothing is left", async || scene.sql(LEFT).await == "0").await;
    assert_eq!(
        scene.sql("SELECT count(*) FROM \"Dw\".\"Fact x\"").await,
        "1000"
    );
}

#[tokio::test]
async fn a_killed_pawang_is_settled_after_its_pg_repack() {
    for end_program in [true, false] {
        let scene = sparse().await;
        let task = rewrite(&scene, "Fact x", RewriteMethod::PgRepack).await;
        let path = scene.journal_file();
        let holder = scene
            .cluster
            .hold(DATABASE, "SELECT FROM \"Dw\".lain")
            .await;
        let mut child = kills::start(&scene.cluster.url(DATABASE), &path, &[task]);
        until("the trigger stands", async || scene.sql(LEFT).await != "0").await;
        child.kill().unwrap();
        child.wait().unwrap();
        let journal = JsonLines::open(&path).unwrap();
        assert_eq!(journal.open_intents().unwrap().len(), 1);
        if end_program {
            let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'pawang:rewrite:%'";
            scene.sql(sql).await;
        }
        drop(holder);
        let mut found = Vec::new();
        until("everything is settled", async || {
            found.extend(settle(&scene.target, &journal, clock).await.unwrap());
            journal.open_intents().unwrap().is_empty()
        })
        .await;
        assert_eq!(scene.sql(LEFT).await, "0", "{found:?}");
        let settled = &found[0];
        let pages = scene
            .sql("SELECT pg_relation_size('\"Dw\".\"Fact x\"') < 1000000")
            .await;
        let done = if pages == "t" {
            State::Done
        } else {
            State::Cancelled
        };
        assert_eq!(settled.state, done, "{found:?}");
        assert!(
            !end_program || settled.state == State::Cancelled,
            "{found:?}"
        );
        assert_eq!(
            scene.sql("SELECT count(*) FROM \"Dw\".\"Fact x\"").await,
            "1000"
        );
        println!("{end_program}: {}", settled.found);
    }
}
