//! What is refused, with a clear outcome: another world, another Pawang, missing privileges, locks that never come free.

use std::time::Duration;

use futures_util::future::join;
use pawang_act::{Error, settle, witness};
use pawang_core::plan::{State, Task, VacuumOptions};
use pawang_testbed::{Pooler, until, versions};

use crate::world::{DATABASE, How, Scene, clock, target};

const TABLES: &str = "CREATE SCHEMA dw; CREATE TABLE dw.fakta (n int PRIMARY KEY);
    CREATE TABLE dw.lain (n int); INSERT INTO dw.fakta SELECT generate_series(1, 100)";

async fn vacuum(scene: &Scene, table: &str) -> Task {
    Task::Vacuum {
        table: scene.relation("dw", table).await,
        options: VacuumOptions::default(),
    }
}

#[tokio::test]
async fn a_stale_plan_is_refused_action_by_action() {
    let scene = Scene::new(versions()[0]).await;
    scene.sql(TABLES).await;
    let reindex = Task::Reindex {
        index: scene.relation("dw", "fakta_pkey").await,
        table: scene.relation("dw", "fakta").await,
    };
    let tasks = vec![
        vacuum(&scene, "lain").await,
        vacuum(&scene, "fakta").await,
        reindex,
    ];
    let plan = scene.plan(tasks).await;
    scene
        .sql(
            "DROP TABLE dw.lain; CREATE TABLE dw.lain (n int); ALTER TABLE dw.fakta RENAME TO fakta_lama;
            ALTER TABLE dw.fakta_lama DROP CONSTRAINT fakta_pkey; ALTER TABLE dw.fakta_lama ADD CONSTRAINT fakta_pkey PRIMARY KEY (n)",
        )
        .await;
    let outcome = scene.apply(&plan).await;
    let states: Vec<(State, &str)> = outcome
        .actions
        .iter()
        .map(|done| (done.state, done.detail.as_str()))
        .collect();
    assert_eq!(
        states,
        [
            (State::Stale, "it is gone"),
            (State::Stale, "name was \"fakta\" and is \"fakta_lama\" now"),
            (State::Stale, "it is gone"),
        ]
    );
    // A second look moves them out of a new plan.
    let mut again = plan.clone();
    witness(&mut again, &scene.target).await.unwrap();
    assert_eq!(again.actions.len(), 0);
    assert_eq!(again.left.len(), 3);
}

#[tokio::test]
async fn standbys_poolers_and_other_servers_are_refused() {
    let scene = Scene::new(versions()[0]).await;
    scene.sql(TABLES).await;
    let plan = scene.plan(vec![vacuum(&scene, "fakta").await]).await;
    let standby = scene.cluster.standby("s1").await;
    let mut elsewhere = Scene::new(versions()[0]).await;
    elsewhere.target = target(&standby.url(DATABASE));
    let refusal = elsewhere
        .try_apply(&plan, How::default())
        .await
        .unwrap_err();
    assert!(matches!(refusal, Error::Standby { .. }), "{refusal}");
    let refusal = witness(&mut plan.clone(), &elsewhere.target)
        .await
        .unwrap_err();
    assert!(matches!(refusal, Error::Standby { .. }), "{refusal}");
    elsewhere.target = target(&scene.cluster.url(DATABASE));
    // The clusters of the testbed are copies of one: only the plan can be of another.
    let mut foreign = plan.clone();
    foreign.world.system_identifier = Some("1".to_owned());
    let refusal = elsewhere
        .try_apply(&foreign, How::default())
        .await
        .unwrap_err();
    assert!(
        refusal.to_string().contains("system identifier"),
        "{refusal}"
    );
    let mut older = plan.clone();
    older.world.timeline = Some(7);
    let refusal = elsewhere
        .try_apply(&older, How::default())
        .await
        .unwrap_err();
    assert!(
        refusal.to_string().contains("promoted or restored"),
        "{refusal}"
    );
    if Pooler::installed() {
        let pooler = Pooler::start(&scene.cluster, "pool_mode = session").await;
        elsewhere.target = target(&pooler.url(DATABASE));
        let refusal = elsewhere
            .try_apply(&plan, How::default())
            .await
            .unwrap_err();
        assert!(refusal.to_string().contains("is a pooler"), "{refusal}");
    }
}

#[tokio::test]
async fn two_at_once_are_refused() {
    let scene = Scene::new(versions()[0]).await;
    scene.sql(TABLES).await;
    let plan = scene.plan(vec![vacuum(&scene, "fakta").await]).await;
    let lock = "LOCK TABLE dw.fakta IN ACCESS EXCLUSIVE MODE";
    let locked = scene.cluster.hold(DATABASE, lock).await;
    let second = async {
        until("the first has begun", async || {
            !scene.seen.lock().unwrap().is_empty()
        })
        .await;
        let refusal = scene.try_apply(&plan, How::default()).await.unwrap_err();
        let Error::AnotherPawang { holder, .. } = &refusal else {
            panic!("{refusal}");
        };
        assert!(holder.contains("application \"pawang:act\""), "{holder}");
        // The first one is at work: it is not settled by others.
        let settled = settle(&scene.target, &scene.journal, clock).await.unwrap();
        assert_eq!(settled, []);
        drop(locked);
    };
    let (outcome, ()) = join(scene.apply(&plan), second).await;
    assert_eq!(outcome.actions[0].state, State::Done, "{outcome:?}");
}

#[tokio::test]
async fn a_lock_that_never_comes_free_ends_clearly() {
    let mut scene = Scene::new(versions()[0]).await;
    scene.sql(TABLES).await;
    scene.limits.patience = Duration::from_secs(3);
    let plan = scene.plan(vec![vacuum(&scene, "fakta").await]).await;
    let lock = "LOCK TABLE dw.fakta IN ACCESS EXCLUSIVE MODE";
    let holder = scene.cluster.hold(DATABASE, lock).await;
    let outcome = scene.apply(&plan).await;
    drop(holder);
    let done = &outcome.actions[0];
    assert_eq!(done.state, State::Failed, "{done:?}");
    assert!(done.tries > 1, "{done:?}");
    assert!(done.detail.contains("application \"testbed\""), "{done:?}");
    assert_eq!(scene.apply(&plan).await.actions[0].state, State::Done);
}

#[tokio::test]
async fn a_missing_privilege_is_named() {
    for version in versions() {
        let mut scene = Scene::new(version).await;
        scene.sql(TABLES).await;
        scene
            .sql("CREATE ROLE \"Etl\" LOGIN; GRANT USAGE ON SCHEMA dw TO \"Etl\"")
            .await;
        scene.target = target(&scene.cluster.url_as("Etl", DATABASE));
        let table = scene.relation("dw", "fakta").await;
        let plan = scene
            .plan(vec![
                vacuum(&scene, "fakta").await,
                Task::SetStatisticsTarget {
                    table,
                    column: "n".to_owned(),
                    target: 500,
                },
            ])
            .await;
        let outcome = scene.apply(&plan).await;
        let grants: Vec<&str> = outcome
            .actions
            .iter()
            .map(|done| {
                assert_eq!(done.state, State::Refused, "{done:?}");
                done.hint.as_deref().unwrap()
            })
            .collect();
        // The owner is a superuser: whoever is granted it is one too.
        let owner =
            "let role postgres do it, which owns it, or make a role that is no superuser its owner";
        let maintain = match version.0 {
            17.. => "GRANT MAINTAIN ON \"dw\".\"fakta\" TO \"Etl\";",
            _ => owner,
        };
        assert_eq!(grants, [maintain, owner], "{version}");
        scene
            .sql("CREATE ROLE dw NOLOGIN; ALTER TABLE dw.fakta OWNER TO dw; REVOKE ALL ON dw.fakta FROM \"Etl\"")
            .await;
        let outcome = scene.apply(&plan).await;
        let grant = "GRANT dw TO \"Etl\";";
        assert_eq!(outcome.actions[1].hint.as_deref(), Some(grant), "{version}");
        scene.sql(grant).await;
        let outcome = scene.apply(&plan).await;
        assert_eq!(
            outcome.actions[0].state,
            State::Done,
            "{version}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn high_risk_needs_a_word() {
    let scene = Scene::new(versions()[0]).await;
    scene.sql(TABLES).await;
    let table = scene.relation("dw", "lain").await;
    let plan = scene.plan(vec![Task::DropTable { table }]).await;
    let how = How {
        allow_high_risk: false,
        ..How::default()
    };
    let outcome = scene.try_apply(&plan, how).await.unwrap();
    assert_eq!(outcome.actions[0].state, State::Refused, "{outcome:?}");
    assert_eq!(scene.apply(&plan).await.actions[0].state, State::Done);
    let again = scene.apply(&plan).await;
    assert_eq!(again.actions[0].state, State::Needless, "{again:?}");
}

#[tokio::test]
async fn what_concurrent_work_would_wait_for_keeps_it_from_beginning() {
    let mut scene = Scene::with(versions()[0], &[("max_prepared_transactions", "5")]).await;
    scene.sql(TABLES).await;
    scene.limits.patience = Duration::ZERO;
    let reindex = Task::Reindex {
        index: scene.relation("dw", "fakta_pkey").await,
        table: scene.relation("dw", "fakta").await,
    };
    let plan = scene.plan(vec![reindex]).await;
    let prepare = "BEGIN; SELECT FROM dw.fakta; PREPARE TRANSACTION 'lama'";
    let client = scene.cluster.connect(DATABASE).await;
    client.batch_execute(prepare).await.unwrap();
    let outcome = scene.apply(&plan).await;
    assert_eq!(outcome.actions[0].state, State::Skipped, "{outcome:?}");
    assert!(
        outcome.actions[0].detail.contains("a prepared transaction"),
        "{outcome:?}"
    );
    client
        .batch_execute("ROLLBACK PREPARED 'lama'")
        .await
        .unwrap();
    let outcome = scene.apply(&plan).await;
    assert_eq!(outcome.actions[0].state, State::Done, "{outcome:?}");
}
