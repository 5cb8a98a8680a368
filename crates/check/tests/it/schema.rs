//! Faults of the group `schema`: silent when healthy, found when injected, gone when cleared.

use std::time::Duration;

use pawang_check::{CHECKS, Group, find};
use pawang_core::{Blind, Facts, Level, Outcome, Verdict};
use pawang_testbed::{Cluster, Setup, Version, until, versions};

use crate::watch::{Watch, evaluate};

/// Longer than the thirty days that "unused" takes.
const FORTY_DAYS: Duration = Duration::from_secs(40 * 86_400);

async fn quiet(version: Option<Version>) -> Cluster {
    Cluster::start(&Setup {
        version,
        settings: &[("autovacuum", "off")],
        ..Setup::default()
    })
    .await
}

async fn run(cluster: &Cluster, sql: &str) {
    cluster.sql("postgres", sql).await;
}

/// Waits until a condition holds: statistics arrive a little after the transaction that caused them.
async fn holds(cluster: &Cluster, condition: &str) {
    until(condition, || async {
        let rows = cluster
            .sql("postgres", &format!("SELECT {condition}"))
            .await;
        rows[0][0].as_deref() == Some("t")
    })
    .await;
}

fn judge(facts: &Facts, id: &str) -> Verdict {
    evaluate(find(id).unwrap(), facts, None, &()).unwrap()
}

fn objects(verdict: &Verdict) -> Vec<&str> {
    let mut objects: Vec<&str> = verdict.findings.iter().map(|f| f.object.as_str()).collect();
    objects.sort_unstable();
    objects
}

#[tokio::test]
async fn an_index_that_is_not_valid_is_found_unless_it_is_being_built() {
    for version in versions() {
        let cluster = quiet(Some(version)).await;
        let mut watch = Watch::start(&cluster).await;
        run(
            &cluster,
            "CREATE TABLE \"Orders\" AS SELECT 1 AS id FROM generate_series(1, 2)",
        )
        .await;
        watch.silent("invalid-index").await;
        // Two equal keys: the build fails and leaves its index behind.
        let client = cluster.connect("postgres").await;
        let build = "CREATE UNIQUE INDEX CONCURRENTLY \"Orders_id\" ON \"Orders\" (id)";
        client.batch_execute(build).await.unwrap_err();
        let finding = watch
            .found("invalid-index", Level::Critical, "public.Orders_id")
            .await;
        assert_eq!(
            finding.remedy,
            "DROP INDEX CONCURRENTLY public.\"Orders_id\";"
        );
        run(&cluster, &finding.remedy).await;
        watch.silent("invalid-index").await;
        // One that waits for a writer is in progress, not broken.
        let writer = cluster.connect("postgres").await;
        writer
            .batch_execute("BEGIN; INSERT INTO \"Orders\" VALUES (3)")
            .await
            .unwrap();
        let build = client.batch_execute("CREATE INDEX CONCURRENTLY slow ON \"Orders\" (id)");
        let look = async {
            holds(
                &cluster,
                "EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)",
            )
            .await;
            watch.silent("invalid-index").await;
            writer.batch_execute("COMMIT").await.unwrap();
        };
        let (built, ()) = tokio::join!(build, look);
        built.unwrap();
        watch.silent("invalid-index").await;
    }
}

#[tokio::test]
async fn unused_duplicate_and_redundant_indexes_are_told_apart() {
    let cluster = quiet(None).await;
    let mut watch = Watch::start(&cluster).await;
    let tables = "CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1);
        CREATE TABLE sales (id bigint PRIMARY KEY, customer int REFERENCES parent, day date, note text);
        INSERT INTO sales SELECT g, 1, '2026-01-01'::date + g % 300, repeat(md5(g::text), 2) FROM generate_series(1, 150000) g;
        CREATE INDEX sales_customer ON sales (customer);
        CREATE UNIQUE INDEX sales_note ON sales (note)";
    run(&cluster, tables).await;
    run(&cluster, "VACUUM (ANALYZE)").await;
    for id in ["duplicate-index", "redundant-index", "index-count"] {
        watch.silent(id).await;
    }
    let verdict = watch.verdict("unused-index").await;
    assert_eq!(
        verdict.outcome,
        Outcome::NotApplicable,
        "the statistics are young"
    );
    let later = |watch: &Watch| {
        let mut facts = watch.older.clone().unwrap();
        facts.at += FORTY_DAYS;
        facts
    };
    let unused = judge(&later(&watch), "unused-index");
    assert_eq!(
        unused.level,
        Level::Ok,
        "keys and small indexes only: {unused:#?}"
    );

    let indexes = "CREATE INDEX sales_note_idle ON sales (note, id);
        CREATE INDEX sales_note_again ON sales (note);
        CREATE INDEX sales_customer_day ON sales (customer, day);
        CREATE INDEX sales_note_desc ON sales (note DESC);
        CREATE INDEX sales_note_part ON sales (note) WHERE customer > 5";
    run(&cluster, indexes).await;
    let duplicate = watch.verdict("duplicate-index").await;
    assert_eq!(
        objects(&duplicate),
        ["public.sales_note_again"],
        "{duplicate:#?}"
    );
    let redundant = watch.verdict("redundant-index").await;
    assert_eq!(redundant.level, Level::Info);
    assert_eq!(
        objects(&redundant),
        ["public.sales_customer", "public.sales_note_again"],
        "{redundant:#?}"
    );
    watch.verdict("unused-index").await;
    let unused = judge(&later(&watch), "unused-index");
    assert_eq!(unused.level, Level::Warning);
    assert_eq!(
        objects(&unused),
        [
            "public.sales_note_again",
            "public.sales_note_desc",
            "public.sales_note_idle"
        ],
        "{unused:#?}"
    );
    let gone = "DROP INDEX sales_note_again, sales_note_idle, sales_note_desc, sales_customer";
    run(&cluster, gone).await;
    watch.verdict("unused-index").await;
    assert_eq!(judge(&later(&watch), "unused-index").level, Level::Ok);
    watch.silent("duplicate-index").await;
    watch.silent("redundant-index").await;
}

#[tokio::test]
async fn scans_on_standbys_are_not_forgotten() {
    let cluster = quiet(None).await;
    let _standby = cluster.standby("reports").await;
    let mut watch = Watch::start(&cluster).await;
    let table = "CREATE TABLE sales AS SELECT g AS id, repeat(md5(g::text), 4) AS note FROM generate_series(1, 90000) g;
                 CREATE INDEX sales_note ON sales (note)";
    run(&cluster, table).await;
    watch.verdict("unused-index").await;
    let mut facts = watch.older.clone().unwrap();
    facts.at += FORTY_DAYS;
    let unused = judge(&facts, "unused-index");
    assert_eq!(unused.level, Level::Info, "{unused:#?}");
    assert!(
        unused.findings[0].title.contains("1 standbys"),
        "{unused:#?}"
    );
}

#[tokio::test]
async fn missing_indexes_are_found() {
    let cluster = quiet(None).await;
    let mut watch = Watch::start(&cluster).await;
    let tables = "CREATE TABLE customers (id int PRIMARY KEY); INSERT INTO customers SELECT generate_series(1, 1000);
        CREATE TABLE sales (id int, customer int REFERENCES customers, filler text);
        INSERT INTO sales SELECT g, 1 + g % 900, repeat('x', 150) FROM generate_series(1, 70000) g";
    run(&cluster, tables).await;
    run(&cluster, "ANALYZE").await;
    watch
        .found(
            "missing-fk-index",
            Level::Info,
            "public.sales.sales_customer_fkey",
        )
        .await;
    run(&cluster, "DELETE FROM customers WHERE id = 1000").await;
    holds(
        &cluster,
        "(SELECT n_tup_del = 1 FROM pg_stat_user_tables WHERE relname = 'customers')",
    )
    .await;
    let missing = watch
        .found(
            "missing-fk-index",
            Level::Warning,
            "public.sales.sales_customer_fkey",
        )
        .await;
    watch.silent("sequential-scans").await;
    let scans =
        "DO $$ BEGIN FOR i IN 1..150 LOOP PERFORM FROM sales WHERE id = -1; END LOOP; END $$";
    run(&cluster, scans).await;
    holds(
        &cluster,
        "(SELECT seq_scan > 140 FROM pg_stat_user_tables WHERE relname = 'sales')",
    )
    .await;
    // A table without any index, whose idx_scan is NULL.
    let finding = watch
        .found("sequential-scans", Level::Info, "public.sales")
        .await;
    assert!(finding.title.contains("it has no index"), "{finding:#?}");
    watch
        .found("primary-key", Level::Info, "public.sales")
        .await;
    let client = cluster.connect("postgres").await;
    client.batch_execute(&missing.remedy).await.unwrap();
    watch.silent("missing-fk-index").await;
    run(&cluster, "ALTER TABLE sales ADD PRIMARY KEY (id)").await;
    watch.silent("primary-key").await;
    let many: Vec<String> = (0..20)
        .map(|n| format!("CREATE INDEX ON sales ((id + {n}))"))
        .collect();
    run(&cluster, &many.join(";")).await;
    watch
        .found("index-count", Level::Warning, "public.sales")
        .await;
}

#[tokio::test]
async fn keys_and_sequences_that_run_out_are_found() {
    for version in versions() {
        let cluster = quiet(Some(version)).await;
        let mut watch = Watch::start(&cluster).await;
        let objects = "CREATE TABLE \"Orders\" (id serial PRIMARY KEY, code smallint GENERATED ALWAYS AS IDENTITY);
            CREATE SEQUENCE tickets AS bigint MAXVALUE 1000; CREATE SEQUENCE down INCREMENT -1 MINVALUE -1000 MAXVALUE -1;
            CREATE SEQUENCE wheel MAXVALUE 10 CYCLE; SELECT nextval('tickets'), nextval('down'), setval('wheel', 10)";
        run(&cluster, objects).await;
        // Without SELECT on the sequences nothing is known.
        let verdict = watch.verdict("integer-key-exhaustion").await;
        assert!(
            matches!(verdict.findings[0].blind, Some(Blind::NoPrivilege { .. })),
            "{verdict:#?}"
        );
        run(&cluster, "GRANT pg_read_all_data TO monitor").await;
        watch.silent("integer-key-exhaustion").await;
        watch.silent("sequence-exhaustion").await;
        run(
            &cluster,
            "SELECT setval('\"Orders_id_seq\"', 1600000000), setval('\"Orders_code_seq\"', 32000)",
        )
        .await;
        watch
            .found("integer-key-exhaustion", Level::Warning, "public.Orders.id")
            .await;
        watch
            .found(
                "integer-key-exhaustion",
                Level::Critical,
                "public.Orders.code",
            )
            .await;
        watch.silent("sequence-exhaustion").await;
        run(
            &cluster,
            "SELECT setval('tickets', 990), setval('down', -900)",
        )
        .await;
        let tickets = watch
            .found("sequence-exhaustion", Level::Critical, "public.tickets")
            .await;
        watch
            .found("sequence-exhaustion", Level::Warning, "public.down")
            .await;
        // Somebody holds the sequence exclusively: it is left out, not waited for.
        let holder = cluster.connect("postgres").await;
        holder
            .batch_execute("BEGIN; ALTER SEQUENCE tickets CACHE 2; ALTER SEQUENCE down CACHE 2")
            .await
            .unwrap();
        watch.silent("sequence-exhaustion").await;
        holder.batch_execute("ROLLBACK").await.unwrap();
        run(&cluster, &tickets.remedy).await;
        run(&cluster, "SELECT setval('\"Orders_id_seq\"', 5), setval('\"Orders_code_seq\"', 5), setval('down', -5)").await;
        watch.silent("integer-key-exhaustion").await;
        watch.silent("sequence-exhaustion").await;
    }
}

#[tokio::test]
async fn rules_that_are_not_enforced_are_found() {
    for version in versions() {
        let cluster = quiet(Some(version)).await;
        let mut watch = Watch::start(&cluster).await;
        let ids = ["disabled-triggers", "not-valid-constraints"];
        let tables = "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int CHECK (id > 0), parent int REFERENCES parent);
            CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
            CREATE TRIGGER audit BEFORE INSERT ON parent FOR EACH ROW EXECUTE FUNCTION audit()";
        run(&cluster, tables).await;
        for id in ids {
            watch.silent(id).await;
        }
        let off = "ALTER TABLE parent DISABLE TRIGGER audit; ALTER TABLE child DISABLE TRIGGER ALL";
        run(&cluster, off).await;
        watch
            .found("disabled-triggers", Level::Warning, "public.parent")
            .await;
        let foreign_key = watch
            .found("disabled-triggers", Level::Critical, "public.child")
            .await;
        assert!(
            foreign_key.title.contains("child_parent_fkey"),
            "{foreign_key:#?}"
        );
        run(&cluster, &foreign_key.remedy).await;
        run(&cluster, "ALTER TABLE parent ENABLE TRIGGER audit").await;
        run(
            &cluster,
            "ALTER TABLE child ADD CONSTRAINT small CHECK (id < 9) NOT VALID",
        )
        .await;
        let constraint = watch
            .found(
                "not-valid-constraints",
                Level::Warning,
                "public.child.small",
            )
            .await;
        run(&cluster, &constraint.remedy).await;
        if version >= Version(18) {
            run(
                &cluster,
                "ALTER TABLE child ADD CONSTRAINT even CHECK (id % 2 = 0) NOT ENFORCED",
            )
            .await;
            watch
                .found("not-valid-constraints", Level::Info, "public.child.even")
                .await;
            run(&cluster, "ALTER TABLE child DROP CONSTRAINT even").await;
        }
        for id in ids {
            watch.silent(id).await;
        }
    }
}

#[tokio::test]
async fn unlogged_worn_out_and_outdated_objects_are_found() {
    let cluster = quiet(None).await;
    let mut watch = Watch::start(&cluster).await;
    let ids = ["unlogged-tables", "column-limit", "extension-update"];
    run(
        &cluster,
        "CREATE TABLE staging AS SELECT g FROM generate_series(1, 2000) g",
    )
    .await;
    holds(
        &cluster,
        "EXISTS (SELECT FROM pg_stat_user_tables WHERE n_live_tup = 2000)",
    )
    .await;
    for id in ids {
        watch.silent(id).await;
    }
    run(
        &cluster,
        "ALTER TABLE staging SET UNLOGGED; ANALYZE staging",
    )
    .await;
    let unlogged = watch
        .found("unlogged-tables", Level::Info, "public.staging")
        .await;
    run(&cluster, &unlogged.remedy).await;
    let churn = "DO $$ BEGIN FOR i IN 1..1250 LOOP EXECUTE 'ALTER TABLE staging ADD c int; ALTER TABLE staging DROP c'; END LOOP; END $$";
    run(&cluster, churn).await;
    run(
        &cluster,
        "INSERT INTO staging SELECT generate_series(1, 100000); ANALYZE staging",
    )
    .await;
    watch
        .found("column-limit", Level::Warning, "public.staging")
        .await;
    run(
        &cluster,
        "DROP TABLE staging; CREATE EXTENSION pgstattuple VERSION '1.4'",
    )
    .await;
    let extension = watch
        .found("extension-update", Level::Info, "pgstattuple")
        .await;
    run(&cluster, &extension.remedy).await;
    run(
        &cluster,
        "UPDATE pg_extension SET extname = 'gone' WHERE extname = 'pgstattuple'",
    )
    .await;
    watch
        .found("extension-update", Level::Warning, "gone")
        .await;
    run(
        &cluster,
        "UPDATE pg_extension SET extname = 'pgstattuple' WHERE extname = 'gone'",
    )
    .await;
    for id in ids {
        watch.silent(id).await;
    }
}

#[tokio::test]
async fn a_changed_collation_is_found() {
    for version in versions() {
        let cluster = quiet(Some(version)).await;
        let mut watch = Watch::start(&cluster).await;
        watch.silent("collation-version").await;
        let icu = "SELECT collname FROM pg_collation WHERE collprovider = 'i' AND collversion IS NOT NULL ORDER BY oid LIMIT 1";
        if let Some(row) = cluster.sql("postgres", icu).await.first() {
            let name = row[0].clone().unwrap();
            run(&cluster, &format!("CREATE TABLE names (name text COLLATE \"{name}\"); CREATE INDEX ON names (name)")).await;
            watch.silent("collation-version").await;
            run(
                &cluster,
                &format!("UPDATE pg_collation SET collversion = '1' WHERE collname = '{name}'"),
            )
            .await;
            watch
                .found("collation-version", Level::Critical, &name)
                .await;
            run(
                &cluster,
                &format!("ALTER COLLATION \"{name}\" REFRESH VERSION"),
            )
            .await;
            watch.silent("collation-version").await;
        }
        // The default collation has a version since PostgreSQL 15.
        if version < Version(15) {
            continue;
        }
        let recorded = "SELECT datcollversion FROM pg_database WHERE datname = 'postgres' AND datcollversion IS NOT NULL";
        if !cluster.sql("postgres", recorded).await.is_empty() {
            run(
                &cluster,
                "UPDATE pg_database SET datcollversion = '0' WHERE datname = 'postgres'",
            )
            .await;
            let finding = watch
                .found("collation-version", Level::Critical, "default collation")
                .await;
            assert!(
                finding
                    .remedy
                    .contains("ALTER DATABASE postgres REFRESH COLLATION VERSION"),
                "{finding:#?}"
            );
            run(
                &cluster,
                "ALTER DATABASE postgres REFRESH COLLATION VERSION",
            )
            .await;
            watch.silent("collation-version").await;
        }
    }
}

#[tokio::test]
async fn partitions_that_run_out_are_found() {
    for version in versions() {
        let cluster = quiet(Some(version)).await;
        let mut watch = Watch::start(&cluster).await;
        let ids = [
            "partitions-ahead",
            "default-partition-rows",
            "partition-count",
            "partitioned-statistics",
        ];
        let day = |n: i32| format!("(current_date + {n})::timestamptz");
        let partition = |name: &str, from: i32, to: i32| {
            format!(
                "DO $$ BEGIN EXECUTE format('CREATE TABLE {name} PARTITION OF \"Events\" FOR VALUES FROM (%L) TO (%L)', {}, {}); END $$;",
                day(from),
                day(to)
            )
        };
        let table = format!(
            "CREATE TABLE \"Events\" (id int, at timestamptz) PARTITION BY RANGE (at); {} {} CREATE TABLE rest PARTITION OF \"Events\" DEFAULT",
            partition("old", -30, 0),
            partition("next", 0, 8)
        );
        run(&cluster, &table).await;
        for id in ids {
            watch.silent(id).await;
        }
        // Six days later nobody has created the next one.
        watch.verdict("partitions-ahead").await;
        let mut facts = watch.older.clone().unwrap();
        facts.at += Duration::from_secs(6 * 86_400);
        let verdict = judge(&facts, "partitions-ahead");
        assert_eq!(
            (verdict.level, objects(&verdict)),
            (Level::Warning, vec!["public.Events"]),
            "{verdict:#?}"
        );
        facts.at += Duration::from_secs(3 * 86_400);
        assert_eq!(judge(&facts, "partitions-ahead").level, Level::Critical);
        facts.at += Duration::from_secs(60 * 86_400);
        assert_eq!(
            judge(&facts, "partitions-ahead").level,
            Level::Ok,
            "abandoned"
        );
        run(&cluster, "INSERT INTO \"Events\" SELECT g, current_date - 5 FROM generate_series(1, 120000) g; INSERT INTO \"Events\" VALUES (1, '2099-01-01')").await;
        run(&cluster, "ANALYZE old; ANALYZE rest").await;
        watch
            .found("default-partition-rows", Level::Warning, "public.Events")
            .await;
        let statistics = watch
            .found("partitioned-statistics", Level::Warning, "public.Events")
            .await;
        run(&cluster, &statistics.remedy).await;
        watch.silent("partitioned-statistics").await;
        run(&cluster, "TRUNCATE rest; ANALYZE rest").await;
        holds(&cluster, "pg_stat_get_live_tuples('rest'::regclass) = 0").await;
        watch.silent("default-partition-rows").await;
    }
}

#[tokio::test]
async fn too_many_partitions_are_found() {
    let cluster = quiet(None).await;
    let mut watch = Watch::start(&cluster).await;
    run(
        &cluster,
        "CREATE TABLE many (id int) PARTITION BY LIST (id)",
    )
    .await;
    watch
        .found("partition-count", Level::Info, "public.many")
        .await;
    let partitions = "DO $$ BEGIN FOR i IN 1..2000 LOOP EXECUTE format('CREATE TABLE many_%s PARTITION OF many FOR VALUES IN (%s)', i, i);
                      IF i % 200 = 0 THEN COMMIT; END IF; END LOOP; END $$";
    run(&cluster, partitions).await;
    watch
        .found("partition-count", Level::Warning, "public.many")
        .await;
    let fewer =
        "DO $$ BEGIN FOR i IN 1..10 LOOP EXECUTE format('DROP TABLE many_%s', i); END LOOP; END $$";
    run(&cluster, fewer).await;
    watch.silent("partition-count").await;
}

#[tokio::test]
async fn releases_that_corrupt_indexes_are_known() {
    let cluster = quiet(None).await;
    let mut watch = Watch::start(&cluster).await;
    watch.verdict("reindex-concurrently-unsafe").await;
    let mut facts = watch.older.clone().unwrap();
    for (version, outcome, level) in [
        (140_003, Outcome::Judged, Level::Critical),
        (140_004, Outcome::Judged, Level::Ok),
        (150_000, Outcome::NotApplicable, Level::Ok),
    ] {
        facts.server.as_mut().unwrap().version = version;
        let verdict = judge(&facts, "reindex-concurrently-unsafe");
        assert_eq!(
            (verdict.outcome, verdict.level),
            (outcome, level),
            "{version}"
        );
    }
}

#[tokio::test]
async fn locks_on_every_table_stop_no_check_of_vacuum_and_schema() {
    for version in versions() {
        let cluster = quiet(Some(version)).await;
        let mut watch = Watch::start(&cluster).await;
        let tables = "CREATE TABLE sales (id serial PRIMARY KEY, at timestamptz NOT NULL, note text) PARTITION BY RANGE (id);
            CREATE TABLE sales_1 PARTITION OF sales FOR VALUES FROM (0) TO (1000000);
            INSERT INTO sales SELECT g, now(), 'note ' || g FROM generate_series(1, 60000) g; CREATE INDEX ON sales (lower(note));
            CREATE MATERIALIZED VIEW view AS SELECT * FROM sales; GRANT pg_read_all_data TO monitor";
        run(&cluster, tables).await;
        run(&cluster, "VACUUM (ANALYZE)").await;
        let ids: Vec<&str> = CHECKS
            .iter()
            .filter(|check| matches!(check.group, Group::Vacuum | Group::Schema))
            .map(|check| check.id)
            .collect();
        assert!(ids.len() >= 40, "{ids:?}");
        let before = watch.look(&ids).await;
        let holder = cluster.connect("postgres").await;
        let lock = "BEGIN; LOCK TABLE sales, sales_1 IN ACCESS EXCLUSIVE MODE; REINDEX TABLE sales_1; REFRESH MATERIALIZED VIEW view;
                    ALTER SEQUENCE sales_id_seq CACHE 5; ALTER TABLE sales_1 ALTER note SET STATISTICS 50";
        holder.batch_execute(lock).await.unwrap();
        let locked = watch.look(&ids).await;
        assert_eq!(locked.count(Level::Unknown), 0, "{:#?}", locked.findings());
        assert_eq!(before.count(Level::Unknown), 0, "{:#?}", before.findings());
        holder.batch_execute("ROLLBACK").await.unwrap();
    }
}
