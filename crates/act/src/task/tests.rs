//! Tests of what tasks turn into.

use std::collections::BTreeMap;

use pawang_core::plan::{Relation, RewriteMethod, StatisticsKind, Task, VacuumOptions, VacuumPace};

use super::{Facts, foresee, leftovers, recipe, undo};

fn named(oid: u32, name: &str) -> Relation {
    Relation {
        oid,
        schema: "dw".to_owned(),
        name: name.to_owned(),
    }
}

fn sql(task: &Task, version: u32) -> Vec<String> {
    recipe(task, version).unwrap().sql
}

#[test]
fn statements_are_exact() {
    let table = named(1, "Fact");
    let options = VacuumOptions {
        analyze: true,
        parallel: Some(2),
        ..VacuumOptions::default()
    };
    let vacuum = Task::Vacuum {
        table: table.clone(),
        options,
    };
    assert_eq!(
        sql(&vacuum, 150_004),
        [r#"VACUUM (ANALYZE, INDEX_CLEANUP AUTO, TRUNCATE OFF, PARALLEL 2) "dw"."Fact""#]
    );
    assert_eq!(
        sql(&vacuum, 180_001),
        [
            r#"VACUUM (ANALYZE, INDEX_CLEANUP AUTO, TRUNCATE OFF, PARALLEL 2, SKIP_DATABASE_STATS) "dw"."Fact""#
        ]
    );
    let analyze = Task::Analyze {
        table: table.clone(),
        columns: vec!["a\"b".to_owned()],
        pace: VacuumPace::default(),
    };
    assert_eq!(sql(&analyze, 150_004), [r#"ANALYZE "dw"."Fact" ("a""b")"#]);
    let statistics = Task::CreateStatistics {
        table: table.clone(),
        name: "s".to_owned(),
        columns: vec!["a".to_owned(), "b".to_owned()],
        kinds: vec![StatisticsKind::Ndistinct, StatisticsKind::Mcv],
    };
    assert_eq!(
        sql(&statistics, 150_004),
        [r#"CREATE STATISTICS "dw"."s" (ndistinct, mcv) ON "a", "b" FROM "dw"."Fact""#]
    );
}

#[test]
fn refused_where_the_server_would_do_harm() {
    let reindex = |schema: &str| Task::Reindex {
        index: Relation {
            oid: 2,
            schema: schema.to_owned(),
            name: "i".to_owned(),
        },
        table: named(1, "t"),
    };
    for (task, version, refused) in [
        (reindex("dw"), 140_003, true),
        (reindex("dw"), 140_004, false),
        (reindex("pg_catalog"), 150_004, true),
        (
            Task::Rewrite {
                table: named(1, "t"),
                method: RewriteMethod::Repack,
            },
            180_000,
            true,
        ),
        (
            Task::SetStatisticsTarget {
                table: named(1, "t"),
                column: "c".to_owned(),
                target: 10_001,
            },
            150_004,
            true,
        ),
    ] {
        assert_eq!(
            recipe(&task, version).is_err(),
            refused,
            "{task:?} {version}"
        );
    }
}

#[test]
fn undo_goes_back_to_what_was_there() {
    let task = Task::SetStorageParameters {
        table: named(1, "t"),
        set: BTreeMap::from([
            (
                "autovacuum_vacuum_scale_factor".to_owned(),
                "0.01".to_owned(),
            ),
            ("toast.autovacuum_enabled".to_owned(), "true".to_owned()),
        ]),
        reset: vec!["fillfactor".to_owned()],
    };
    let facts = Facts::from([(
        "options".to_owned(),
        "autovacuum_vacuum_scale_factor=0.2\nfillfactor=70".to_owned(),
    )]);
    assert_eq!(
        undo(&task, &facts).unwrap(),
        r#"ALTER TABLE "dw"."t" SET ("autovacuum_vacuum_scale_factor" = '0.2', "fillfactor" = '70'), RESET ("toast"."autovacuum_enabled");"#
    );
}

#[test]
fn a_drop_after_its_detach_expects_no_partition() {
    let detach = Task::DetachPartition {
        parent: named(1, "t"),
        partition: named(2, "t_1"),
        concurrently: true,
    };
    let drop = Task::DropTable {
        table: named(2, "t_1"),
    };
    let mut facts = Facts::from([("partition".to_owned(), "true".to_owned())]);
    foresee(&drop, &detach, &mut facts);
    assert_eq!(facts["partition"], "false");
}

#[test]
fn leftovers_are_ours_invalid_and_nobody_builds_them() {
    let row = |oid: u32, name: &str, whole: bool, building: bool| {
        Facts::from([
            ("oid".to_owned(), oid.to_string()),
            ("schema".to_owned(), "dw".to_owned()),
            ("name".to_owned(), name.to_owned()),
            ("whole".to_owned(), whole.to_string()),
            ("building".to_owned(), building.to_string()),
        ])
    };
    let rows = [
        row(10, "idx", true, false),
        row(11, "idx_ccnew", false, false),
        row(12, "idx_ccnew1", false, false),
        row(13, "idx_ccnew2", false, true),
        row(14, "idx_ccnew3", true, false),
        row(15, "other_ccnew", false, false),
        row(16, "idx_ccnewer", false, false),
        row(17, "idx_ccold", false, false),
    ];
    let names = |index: &Relation, before: &[u32]| -> Vec<String> {
        let found = leftovers(&rows, index, before);
        found.into_iter().map(|index| index.name).collect()
    };
    assert_eq!(names(&named(10, "idx"), &[10, 12]), ["idx_ccnew"]);
    assert_eq!(names(&named(17, "idx"), &[17, 11, 12]), ["idx_ccold"]);
}
