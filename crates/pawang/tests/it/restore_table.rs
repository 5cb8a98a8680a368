//! `pawang restore --table`: tables of the past beside those of now, compared, and merged by a plan.

use pawang_core::Lsn;
use pawang_testbed::{Version, versions};
use serde_json::json;

use crate::backup_world::World;
use crate::program::{Desk, Screen, instance};

const TABLES: [&str; 9] = [
    "CREATE SCHEMA dw",
    "CREATE SCHEMA \"Gudang\"",
    "CREATE TYPE dw.mood AS ENUM ('good', 'bad')",
    "CREATE TABLE dw.fact (id bigint GENERATED ALWAYS AS IDENTITY (START 100) PRIMARY KEY, code varchar(9) COLLATE \"C\" \
     NOT NULL UNIQUE CHECK (code <> ''), amount numeric(12,2) DEFAULT 1.5, mood dw.mood DEFAULT 'good', doc json, \
     twice numeric GENERATED ALWAYS AS (amount * 2) STORED, at timestamptz DEFAULT '2026-01-01 00:00:00+07') WITH (fillfactor = 70)",
    "CREATE INDEX fact_lower ON dw.fact USING btree (lower(code)) WHERE amount > 0",
    "COMMENT ON TABLE dw.fact IS 'it''s a fact'; COMMENT ON COLUMN dw.fact.code IS 'tab\there'",
    "CREATE TABLE \"Gudang\".\"Fakta Surat\" (\"Nomor\" serial, \"Bulan\" date NOT NULL, isi text, PRIMARY KEY (\"Nomor\", \"Bulan\")) \
     PARTITION BY RANGE (\"Bulan\")",
    "CREATE TABLE \"Gudang\".\"Surat 1\" PARTITION OF \"Gudang\".\"Fakta Surat\" FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
    "CREATE TABLE \"Gudang\".lain PARTITION OF \"Gudang\".\"Fakta Surat\" DEFAULT",
];
const ROWS: [&str; 2] = [
    "INSERT INTO dw.fact (code, doc) SELECT 'k' || n, json_build_object('n', n, 'text', E'a\\\\b\\n\\t' || n) \
     FROM generate_series(1, 1000) AS n",
    "INSERT INTO \"Gudang\".\"Fakta Surat\" (\"Bulan\", isi) SELECT date '2026-01-01' + n, md5(n::text) FROM generate_series(0, 99) AS n",
];
const DAMAGE: [&str; 5] = [
    "DELETE FROM dw.fact WHERE code IN ('k1', 'k2', 'k3')",
    "UPDATE dw.fact SET amount = 99 WHERE code IN ('k10', 'k11')",
    "UPDATE dw.fact SET doc = '{}' WHERE code = 'k12'",
    "INSERT INTO dw.fact (code) VALUES ('new')",
    "DROP TABLE \"Gudang\".\"Fakta Surat\"",
];

/// A server whose tables were damaged, with all that is needed to bring them back.
struct Case {
    world: World,
    desk: Desk,
    before: Lsn,
}

impl Case {
    async fn new(version: Version) -> Case {
        let world = World::new(version).await;
        world.many("postgres", &TABLES).await;
        world.backup().await;
        world.many("postgres", &ROWS).await;
        let before = world.position().await;
        world.many("postgres", &DAMAGE).await;
        world.archive().await;
        let desk = Desk::new();
        desk.write(
            "pawang.toml",
            &instance("test", &world.cluster.url("postgres")),
        );
        Case {
            world,
            desk,
            before,
        }
    }

    async fn pawang(&self, words: Vec<String>) -> Screen {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let running = self.desk.start(&words);
        let screen = tokio::task::spawn_blocking(move || running.screen());
        screen.await.unwrap()
    }

    async fn restore(&self, more: &[&str]) -> Screen {
        let scratch = self.world.cluster.socket_directory().display().to_string();
        let bin = self.world.cluster.bin_directory().display().to_string();
        let folder = self.world.folder.display().to_string();
        let before = self.before.to_string();
        let words = [
            "restore",
            "-i",
            "test",
            "--repository",
            &folder,
            "--scratch",
            &scratch,
            "--bindir",
            &bin,
            "--to-lsn",
            &before,
        ];
        let words = words.iter().chain(more);
        self.pawang(words.map(ToString::to_string).collect()).await
    }

    fn is_clean(&self) -> bool {
        let entries = std::fs::read_dir(self.world.cluster.socket_directory()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        !names
            .into_iter()
            .any(|name| name.to_string_lossy().starts_with("pawang-"))
    }
}

#[tokio::test]
async fn tables_come_back_beside_those_of_now_and_rows_by_a_plan() {
    for version in versions() {
        let case = Case::new(version).await;
        let screen = case
            .restore(&[
                "--table",
                "dw.fact",
                "--table",
                "\"Gudang\".\"Fakta Surat\"",
                "--into-schema",
                "Pulih",
                "--merge",
                "merge.json",
                "--yes",
                "--json",
            ])
            .await;
        assert_eq!(screen.code, 0, "{screen:?}");
        let data = screen.data("pawang.restore.table/1");
        let difference = &data["differences"][0];
        for (what, count) in [
            ("only_restored", 3),
            ("only_live", 1),
            ("different", 3),
            ("same", 994),
        ] {
            assert_eq!(difference[what], count, "{what}: {data}");
        }
        assert_eq!(
            difference["samples"][0],
            json!({ "kind": "only-restored", "key": "(100)" })
        );
        let not_compared = data["not_compared"][0]["why"].as_str().unwrap();
        assert!(not_compared.contains("there is no table"), "{not_compared}");
        assert!(
            screen
                .stderr
                .contains("merge.json -i test --allow-high-risk"),
            "{screen:?}"
        );
        assert!(case.is_clean());
        is_as_it_was(&case.world).await;
        merged(&case).await;
    }
}

/// Asserts that the copies have everything that the tables had; a sequence that was recovered is some values ahead.
async fn is_as_it_was(world: &World) {
    for (sql, expected) in [
        ("SELECT count(*)::text FROM \"Pulih\".fact", "1000"),
        ("SELECT sum(twice)::text FROM \"Pulih\".fact", "3000.00"),
        (
            "SELECT doc->>'text' FROM \"Pulih\".fact WHERE code = 'k7'",
            "a\\b\n\t7",
        ),
        (
            "SELECT obj_description('\"Pulih\".fact'::regclass)",
            "it's a fact",
        ),
        (
            "SELECT col_description('\"Pulih\".fact'::regclass, 2)",
            "tab\there",
        ),
        (
            "SELECT reloptions::text FROM pg_class WHERE oid = '\"Pulih\".fact'::regclass",
            "{fillfactor=70}",
        ),
        (
            "SELECT string_agg(indexname, ' ' ORDER BY indexname) FROM pg_indexes WHERE schemaname = 'Pulih' AND tablename = 'fact'",
            "fact_code_key fact_lower fact_pkey",
        ),
        (
            "INSERT INTO \"Pulih\".fact (code) VALUES ('next') RETURNING (id > 1099)::text",
            "true",
        ),
        ("SELECT count(*)::text FROM ONLY \"Pulih\".lain", "69"),
        (
            "INSERT INTO \"Pulih\".\"Fakta Surat\" (\"Bulan\") VALUES ('2026-01-05') RETURNING (\"Nomor\" > 100)::text",
            "true",
        ),
        (
            "SELECT pg_get_serial_sequence('\"Pulih\".\"Fakta Surat\"', 'Nomor')",
            "\"Pulih\".\"Fakta Surat_Nomor_seq\"",
        ),
        // Nothing of what is there was touched.
        ("SELECT count(*)::text FROM dw.fact", "998"),
    ] {
        assert_eq!(world.text(sql).await, expected, "{sql}");
    }
}

/// Applies the plan that was written, and asserts what it brought back and what it left.
async fn merged(case: &Case) {
    case.world
        .cluster
        .sql("postgres", "DELETE FROM \"Pulih\".fact WHERE code = 'next'")
        .await;
    let words = ["maintain", "apply", "merge.json", "-i", "test", "--yes"];
    let words = |more: &[&str]| words.iter().chain(more).map(ToString::to_string).collect();
    // It changes rows that people work with: nobody does that without saying so.
    let refused = case.pawang(words(&[])).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert_eq!(
        case.world.text("SELECT count(*)::text FROM dw.fact").await,
        "998"
    );
    // Somebody worked on while the plan lay there: nobody has seen what would be overwritten now.
    for (change, back) in [
        (
            "UPDATE dw.fact SET amount = 98 WHERE code = 'k10'",
            "UPDATE dw.fact SET amount = 99 WHERE code = 'k10'",
        ),
        (
            "UPDATE dw.fact SET amount = 7 WHERE code = 'k500'",
            "UPDATE dw.fact SET amount = 1.5 WHERE code = 'k500'",
        ),
        (
            "DELETE FROM \"Pulih\".fact WHERE code = 'k1'",
            "INSERT INTO \"Pulih\".fact (id, code, amount, mood, doc, at) OVERRIDING SYSTEM VALUE \
             SELECT (kept).id, (kept).code, (kept).amount, (kept).mood, (kept).doc, (kept).at FROM kept",
        ),
    ] {
        let keep = "CREATE TABLE IF NOT EXISTS kept AS SELECT f AS kept FROM \"Pulih\".fact AS f WHERE code = 'k1'";
        case.world.many("postgres", &[keep, change]).await;
        let stale = case.pawang(words(&["--allow-high-risk"])).await;
        assert_eq!(stale.code, 1, "{change}: {stale:?}");
        let told = format!("{}{}", stale.stdout, stale.stderr);
        assert!(told.contains("changed since they were compared"), "{told}");
        let count = "SELECT count(*)::text FROM dw.fact";
        assert_eq!(case.world.text(count).await, "998", "{change}");
        case.world.many("postgres", &[back]).await;
    }
    let screen = as_another_role(case, words(&["--allow-high-risk"])).await;
    assert_eq!(screen.code, 0, "{screen:?}");
    for (sql, expected) in [
        ("SELECT count(*)::text FROM dw.fact", "1001"),
        (
            "SELECT count(*)::text FROM dw.fact AS t JOIN \"Pulih\".fact AS r USING (id, code, amount)",
            "1000",
        ),
        (
            "SELECT count(*)::text FROM \"Pulih\".\"fact before merge\"",
            "3",
        ),
    ] {
        assert_eq!(case.world.text(sql).await, expected, "{sql}");
    }
    let journal = case
        .pawang(vec!["journal".to_owned(), "list".to_owned()])
        .await;
    for word in ["copy-tables", "merge-rows"] {
        assert!(journal.stdout.contains(word), "{journal:?}");
    }
}

/// Applies as a role that owns nothing: what it lacks is told as what grants it, and no superuser is.
async fn as_another_role(case: &Case, words: Vec<String>) -> Screen {
    let world = &case.world;
    world
        .many(
            "postgres",
            &[
                "CREATE ROLE etl LOGIN IN ROLE pg_monitor",
                "GRANT USAGE ON SCHEMA dw TO etl",
            ],
        )
        .await;
    let url = world.cluster.url_as("etl", "postgres");
    case.desk.write("pawang.toml", &instance("test", &url));
    let refused = case.pawang(words.clone()).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    let told = format!("{}{}", refused.stdout, refused.stderr);
    assert!(!told.contains("GRANT postgres"), "{told}");
    let grants = [
        "GRANT SELECT, INSERT, UPDATE ON \"dw\".\"fact\" TO etl;",
        "GRANT USAGE, CREATE ON SCHEMA \"Pulih\" TO etl;",
        "GRANT SELECT ON \"Pulih\".\"fact\" TO etl;",
    ];
    let all = grants.join(" ");
    assert!(told.contains(&all), "{all}: {told}");
    world.many("postgres", &grants).await;
    case.pawang(words).await
}

/// What a preview shows, and what is refused before anything is recovered.
async fn looked_at_before(case: &Case) {
    let preview = case
        .restore(&[
            "--table",
            "dw.fact",
            "--table",
            "dw.nope",
            "--into-schema",
            "free",
            "--preview",
        ])
        .await;
    assert_eq!(preview.code, 0, "{preview:?}");
    for told in [
        "table      dw.fact is there now",
        "table      dw.nope is not there now",
        "schema     free, which is made in database postgres",
        "scratch    ",
    ] {
        assert!(preview.stdout.contains(told), "{told}: {preview:?}");
    }
    // Nothing is recovered for a role that could not make the tables.
    let role = case.world.cluster.url_as("etl", "postgres");
    case.world
        .many("postgres", &["CREATE ROLE etl LOGIN IN ROLE pg_monitor"])
        .await;
    let plain = case.desk.write("pawang.toml", &instance("test", &role));
    let screen = case.restore(&["--table", "dw.fact", "--yes"]).await;
    screen.is_clear_error(
        3,
        &[
            "may not make a schema",
            "hint: GRANT CREATE ON DATABASE postgres TO etl;",
        ],
    );
    assert!(!screen.stderr.contains("recover"), "{screen:?}");
    let url = case.world.cluster.url("postgres");
    std::fs::write(plain, instance("test", &url)).unwrap();
}

#[tokio::test]
async fn what_cannot_be_restored_is_refused_before_anything_is_made() {
    let case = Case::new(versions()[0]).await;
    let schemas = "SELECT count(*)::text FROM pg_namespace";
    case.world
        .many(
            "postgres",
            &["CREATE SCHEMA taken", "CREATE VIEW dw.seen AS SELECT 1"],
        )
        .await;
    let count = case.world.text(schemas).await;
    for (more, code, told) in [
        (
            vec!["--table", "dw.fact", "--into-schema", "taken"],
            4,
            "exists already",
        ),
        (
            vec!["--table", "dw.nowhere", "--yes"],
            4,
            "there was no table dw.nowhere",
        ),
        (
            vec!["--table", "dw.Fact", "--table", "dw.Nowhere", "--yes"],
            4,
            "dw.Nowhere",
        ),
        (vec!["--table", "dw.fact"], 4, "nobody agreed"),
        (
            vec!["--table", "dw.fact", "--into", "here"],
            2,
            "cannot be used with",
        ),
        (
            vec!["--table", "dw.fact", "--database", "nowhere"],
            3,
            "nowhere",
        ),
    ] {
        let screen = case.restore(&more).await;
        assert_eq!(screen.code, code, "{screen:?}");
        assert!(screen.stderr.contains(told), "{told}: {screen:?}");
        assert!(case.is_clean(), "{more:?}");
    }
    looked_at_before(&case).await;
    assert_eq!(case.world.text(schemas).await, count);
    let plan = case.desk.write(
        "forged.json",
        &json!({ "format": 1, "title": "restore tables", "world": { "instance": "test", "system_identifier": null,
            "timeline": null, "version": 150_000 }, "made_at": "2026-11-22T08:00:00Z", "made_by": "x", "left": [],
            "actions": [{ "id": "x", "database": "postgres", "object": "x", "sql": ["DROP TABLE dw.fact"], "reason": "",
                "evidence": [], "lock": "none", "guard": "exclusive", "risk": "medium",
                "cost": { "read": null, "wal": null, "disk": null, "freed": null, "duration": null }, "expected": {},
                "verify": "", "undo": "", "task": { "kind": "copy-tables", "schema": "x", "tables": [], "source":
                    { "folder": "/", "port": 1, "role": "x", "database": "x" } } }] })
        .to_string(),
    );
    let plan = plan.display().to_string();
    let forged = case
        .pawang(
            ["maintain", "apply", &plan, "-i", "test", "--yes"]
                .map(str::to_owned)
                .to_vec(),
        )
        .await;
    forged.is_clear_error(4, &["pawang restore --table"]);
}
