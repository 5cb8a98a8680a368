//! What is planned is done, verified and written down.

use pawang_act::{Journal, hash, read_plan};
use pawang_core::plan::{State, Task, VacuumOptions, VacuumPace};
use pawang_testbed::versions;

use crate::world::Scene;

const TABLE: &str =
    "CREATE SCHEMA dw; CREATE TABLE dw.\"Fakta \"\"ü\"\"\" (id int PRIMARY KEY, v text);
    ALTER TABLE dw.\"Fakta \"\"ü\"\"\" SET (autovacuum_enabled = off);
    CREATE INDEX \"fakta idx\" ON dw.\"Fakta \"\"ü\"\"\" (v);
    INSERT INTO dw.\"Fakta \"\"ü\"\"\" SELECT n, n::text FROM generate_series(1, 20000) AS n;
    DELETE FROM dw.\"Fakta \"\"ü\"\"\" WHERE id % 10 <> 0";

#[tokio::test]
async fn vacuums_analyzes_and_builds_indexes_anew() {
    for version in versions() {
        let scene = Scene::new(version).await;
        scene.sql(TABLE).await;
        let table = scene.relation("dw", "Fakta \"ü\"").await;
        let index = scene.relation("dw", "fakta idx").await;
        let plan = scene
            .plan(vec![
                Task::Vacuum {
                    table: table.clone(),
                    options: VacuumOptions {
                        pace: VacuumPace {
                            cost_delay_ms: Some(0.5),
                            cost_limit: Some(5_000),
                        },
                        ..VacuumOptions::default()
                    },
                },
                Task::Analyze {
                    table: table.clone(),
                    columns: vec!["v".to_owned()],
                    pace: VacuumPace::default(),
                },
                Task::Reindex {
                    index: index.clone(),
                    table,
                },
            ])
            .await;
        assert_eq!(plan.left, []);
        let text = serde_json::to_string_pretty(&plan).unwrap();
        assert_eq!(hash(&read_plan(&text).unwrap()), hash(&plan));
        let outcome = scene.apply(&plan).await;
        for done in &outcome.actions {
            assert_eq!(done.state, State::Done, "{version}: {done:?}");
            assert_eq!(done.tries, 1);
        }
        let number = |at: usize, before: bool, name: &str| -> u64 {
            let done = &outcome.actions[at];
            let facts = if before { &done.before } else { &done.after };
            facts[name].parse().unwrap()
        };
        assert!(number(0, true, "dead_tuples") > 0);
        assert_eq!(number(0, false, "dead_tuples"), 0);
        assert!(number(2, false, "index_bytes") * 3 < number(2, true, "index_bytes"));
        assert_ne!(number(2, false, "oid"), u64::from(index.oid));
        assert_eq!(scene.journal.verify().unwrap(), (6, None));
        assert_eq!(scene.journal.open_intents().unwrap(), []);
        // The index is another one now, so the same plan is not applied twice.
        let again = scene.apply(&plan).await;
        assert_eq!(again.actions[2].state, State::Stale);
        assert!(!again.good());
    }
}

#[tokio::test]
async fn a_plan_that_was_edited_is_refused() {
    let scene = Scene::new(versions()[0]).await;
    scene.sql(TABLE).await;
    let table = scene.relation("dw", "Fakta \"ü\"").await;
    let options = VacuumOptions::default();
    let plan = scene.plan(vec![Task::Vacuum { table, options }]).await;
    let text = serde_json::to_string(&plan).unwrap();
    for (from, to, words) in [
        ("VACUUM (", "VACUUM (FULL, ", "the statements of"),
        (
            "\"risk\":\"low\"",
            "\"risk\":\"medium\"",
            "lock, guard or risk",
        ),
        ("\"format\":1", "\"format\":2", "format 2"),
        ("\"title\"", "\"titel\"", "cannot read the plan"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        let refusal = read_plan(&changed).unwrap_err();
        assert!(refusal.to_string().contains(words), "{refusal}");
    }
}
