//! The bloat estimators against the truth: every relation of a corpus is estimated, then rebuilt.
//!
//! Truth is the share of pages that the rebuild gave back; pgstattuple and pgstatindex stand beside it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Instant;

use pawang_check::{Check, Policy, Resolved, find};
use pawang_collect::{Catalog, HostRequest, Request, observe};
use pawang_core::bloat::{Space, index_spaces};
use pawang_core::{Instance, Level, Timestamp, Verdict};
use pawang_postgres::{Environment, Target};
use pawang_testbed::{Cluster, Setup, Version, versions};

use crate::watch::{Watch, evaluate};

/// Points that an estimate may be off.
const ERROR_MAX: f64 = 5.0;
/// Share of the corpus that may be "not estimable".
const NOT_ESTIMABLE_MAX: f64 = 0.05;

/// Name and making of every table; `$t` is the name.
const CORPUS: &[(&str, &str)] = &[
    (
        "clean",
        "CREATE TABLE $t (id bigint PRIMARY KEY, a int NOT NULL, b int NOT NULL);
         INSERT INTO $t SELECT g, g % 1000, (random() * 1e9)::int FROM generate_series(1, 100000) g;
         CREATE INDEX $t_a ON $t (a); CREATE INDEX $t_b ON $t (b)",
    ),
    (
        "half_deleted",
        "CREATE TABLE $t (id bigint PRIMARY KEY, a int, b int); CREATE INDEX $t_a ON $t (a); CREATE INDEX $t_b ON $t (b);
         INSERT INTO $t SELECT g, g % 1000, (random() * 1e9)::int FROM generate_series(1, 100000) g;
         DELETE FROM $t WHERE id % 2 = 0",
    ),
    (
        "updated_twice",
        "CREATE TABLE $t (id int PRIMARY KEY, a int, note text); CREATE INDEX $t_a ON $t (a);
         INSERT INTO $t SELECT g, g, 'row ' || g FROM generate_series(1, 80000) g;
         UPDATE $t SET a = a + 1; UPDATE $t SET a = a + 1",
    ),
    (
        "front_deleted",
        "CREATE TABLE $t (id int PRIMARY KEY, at timestamptz NOT NULL); CREATE INDEX $t_at ON $t (at);
         INSERT INTO $t SELECT g, '2026-01-01'::timestamptz + g * interval '1 second' FROM generate_series(1, 150000) g;
         DELETE FROM $t WHERE id <= 100000",
    ),
    (
        "dedup_heavy",
        "CREATE TABLE $t (id int, status int, day date, kind text);
         INSERT INTO $t SELECT g, g % 5, '2026-01-01'::date + g % 365, 'kind ' || g % 20 FROM generate_series(1, 200000) g;
         CREATE INDEX $t_status ON $t (status); CREATE INDEX $t_day ON $t (day); CREATE INDEX $t_kind ON $t (kind)",
    ),
    (
        "dedup_bloated",
        "CREATE TABLE $t (id int, status int); CREATE INDEX $t_status ON $t (status);
         INSERT INTO $t SELECT g, g % 7 FROM generate_series(1, 250000) g; DELETE FROM $t WHERE id % 10 < 7",
    ),
    (
        "md5_text",
        "CREATE TABLE $t (id int, code text NOT NULL);
         INSERT INTO $t SELECT g, md5(g::text) FROM generate_series(1, 60000) g; CREATE INDEX $t_code ON $t (code)",
    ),
    (
        "varying_text",
        "CREATE TABLE $t (id int, name text NOT NULL);
         INSERT INTO $t SELECT g, g || repeat('x', (random() * 60)::int) FROM generate_series(1, 60000) g;
         CREATE INDEX $t_name ON $t (name)",
    ),
    (
        "random_uuid",
        "CREATE TABLE $t (id uuid PRIMARY KEY, a int); INSERT INTO $t SELECT gen_random_uuid(), g FROM generate_series(1, 100000) g",
    ),
    (
        "fresh_uuid",
        "CREATE TABLE $t (id uuid, a int); INSERT INTO $t SELECT gen_random_uuid(), g FROM generate_series(1, 80000) g;
         CREATE UNIQUE INDEX $t_id ON $t (id)",
    ),
    (
        "nullable",
        "CREATE TABLE $t (id int, a int, b bigint, c text, d timestamptz);
         INSERT INTO $t SELECT g, CASE WHEN g % 3 = 0 THEN g END, CASE WHEN random() < 0.5 THEN g END,
                CASE WHEN random() < 0.3 THEN 'text ' || g END, CASE WHEN random() < 0.9 THEN now() + g * interval '1 s' END
           FROM generate_series(1, 120000) g;
         CREATE INDEX $t_a ON $t (a); CREATE INDEX $t_b ON $t (b); CREATE INDEX $t_d ON $t (d)",
    ),
    (
        "mostly_null",
        "CREATE TABLE $t (id int, a int); INSERT INTO $t SELECT g, CASE WHEN g % 20 = 0 THEN g END FROM generate_series(1, 200000) g;
         CREATE INDEX $t_a ON $t (a)",
    ),
    (
        "partly_indexed",
        "CREATE TABLE $t (id int, done bool, a int);
         INSERT INTO $t SELECT g, g % 2 = 0, (random() * 1e9)::int FROM generate_series(1, 200000) g;
         CREATE INDEX $t_open ON $t (id) WHERE NOT done; CREATE INDEX $t_open_a ON $t (a) WHERE NOT done;
         DELETE FROM $t WHERE id % 4 = 1",
    ),
    (
        "covering",
        "CREATE TABLE $t (id int NOT NULL, a int NOT NULL, b bigint, c text);
         INSERT INTO $t SELECT g, g % 100, g, 'c' || g % 1000 FROM generate_series(1, 100000) g;
         CREATE UNIQUE INDEX $t_id ON $t (id) INCLUDE (a, b); CREATE INDEX $t_a ON $t (a) INCLUDE (c)",
    ),
    (
        "fillfactor_70",
        "CREATE TABLE $t (id int, a int) WITH (fillfactor = 70);
         INSERT INTO $t SELECT g, (random() * 50000)::int FROM generate_series(1, 100000) g;
         CREATE INDEX $t_id ON $t (id) WITH (fillfactor = 70); CREATE INDEX $t_a ON $t (a) WITH (fillfactor = 100)",
    ),
    (
        "fillfactor_90_updated",
        "CREATE TABLE $t (id int, a int, pad text) WITH (fillfactor = 90); CREATE INDEX $t_id ON $t (id);
         INSERT INTO $t SELECT g, g, repeat('p', 20) FROM generate_series(1, 80000) g; UPDATE $t SET a = a + 1",
    ),
    (
        "parted",
        "CREATE TABLE $t (id int, day date, v numeric) PARTITION BY RANGE (day); CREATE INDEX $t_id ON $t (id);
         CREATE TABLE $t_1 PARTITION OF $t FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
         CREATE TABLE $t_2 PARTITION OF $t FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
         INSERT INTO $t SELECT g, '2026-01-01'::date + g % 59, g / 7.0 FROM generate_series(1, 200000) g;
         DELETE FROM $t_2 WHERE id % 3 <> 0",
    ),
    (
        "toasted",
        "CREATE TABLE $t (id int PRIMARY KEY, title text, body text); ALTER TABLE $t ALTER body SET STORAGE EXTERNAL;
         INSERT INTO $t SELECT g, md5(g::text) || md5(g::text), repeat(md5(g::text), 66) FROM generate_series(1, 15000) g;
         DELETE FROM $t WHERE id % 3 = 0",
    ),
    (
        "compressed",
        "CREATE TABLE $t (id int, body text); INSERT INTO $t SELECT g, repeat('abc ' || g, 300) FROM generate_series(1, 30000) g",
    ),
    (
        "dropped_column",
        "CREATE TABLE $t (id int, old text, a int); INSERT INTO $t SELECT g, repeat('o', 40), g FROM generate_series(1, 60000) g;
         ALTER TABLE $t DROP COLUMN old; CREATE INDEX $t_a ON $t (a)",
    ),
    (
        "added_column",
        "CREATE TABLE $t (id int, a int); INSERT INTO $t SELECT g, g FROM generate_series(1, 100000) g;
         ALTER TABLE $t ADD COLUMN flag bool NOT NULL DEFAULT false; UPDATE $t SET flag = true WHERE id % 2 = 0",
    ),
    (
        "numbers",
        "CREATE TABLE $t (id int, amount numeric(12, 2) NOT NULL, ratio float8 NOT NULL);
         INSERT INTO $t SELECT g, (random() * 100000)::numeric(12, 2), g % 500 FROM generate_series(1, 100000) g;
         CREATE INDEX $t_amount ON $t (amount); CREATE INDEX $t_ratio ON $t (ratio)",
    ),
    (
        "few_numerics",
        "CREATE TABLE $t (id int, price numeric NOT NULL); INSERT INTO $t SELECT g, g % 50 FROM generate_series(1, 120000) g;
         CREATE INDEX $t_price ON $t (price)",
    ),
    (
        "documents",
        "CREATE TABLE $t (id int, doc jsonb);
         INSERT INTO $t SELECT g, jsonb_build_object('id', g, 'name', 'n' || g, 'tags', jsonb_build_array('a', g % 10)) FROM generate_series(1, 40000) g;
         CREATE INDEX $t_id ON $t (((doc ->> 'id')::int))",
    ),
    (
        "padded",
        "CREATE TABLE $t (a bool NOT NULL, b bigint NOT NULL, c smallint NOT NULL, d bigint NOT NULL, e \"char\" NOT NULL, f int NOT NULL);
         INSERT INTO $t SELECT true, g, 1, g, 'x', g FROM generate_series(1, 80000) g;
         CREATE INDEX $t_abc ON $t (c, d); CREATE INDEX $t_f ON $t (f, b)",
    ),
    (
        "correlated_pair",
        "CREATE TABLE $t (id int, city int NOT NULL, region int NOT NULL);
         INSERT INTO $t SELECT g, g % 3000, g % 3000 / 100 FROM generate_series(1, 150000) g;
         CREATE STATISTICS $t_stats (ndistinct) ON city, region FROM $t; CREATE INDEX $t_pair ON $t (region, city)",
    ),
    (
        "unrelated_pair",
        "CREATE TABLE $t (id int, a int NOT NULL, b int NOT NULL);
         INSERT INTO $t SELECT g, (random() * 3000)::int, (random() * 100)::int FROM generate_series(1, 120000) g;
         CREATE INDEX $t_pair ON $t (a, b)",
    ),
    (
        "status_and_id",
        "CREATE TABLE $t (id int NOT NULL, status int NOT NULL, at timestamptz NOT NULL);
         INSERT INTO $t SELECT g, g % 4, now() + g * interval '1 s' FROM generate_series(1, 100000) g;
         CREATE INDEX $t_status_id ON $t (status, id); CREATE INDEX $t_at ON $t (at, status)",
    ),
    (
        "few_of_both",
        "CREATE TABLE $t (id int, a int NOT NULL, b int NOT NULL);
         INSERT INTO $t SELECT g, g % 8, g % 30 FROM generate_series(1, 200000) g; CREATE INDEX $t_pair ON $t (a, b)",
    ),
    (
        "expression",
        "CREATE TABLE $t (id int, mail text); INSERT INTO $t SELECT g, 'User.' || g || '@Example.org' FROM generate_series(1, 70000) g;
         CREATE INDEX $t_lower ON $t (lower(mail)); CREATE UNIQUE INDEX $t_id ON $t ((id + 1)); DELETE FROM $t WHERE id % 5 = 0",
    ),
    (
        "padded_char",
        "CREATE TABLE $t (id int, code char(20) NOT NULL); INSERT INTO $t SELECT g, 'c' || g FROM generate_series(1, 70000) g;
         CREATE INDEX $t_code ON $t (code)",
    ),
    (
        "long_text",
        "CREATE TABLE $t (id int, body text NOT NULL);
         INSERT INTO $t SELECT g, (SELECT string_agg(md5(g::text || i), '') FROM generate_series(1, 3 + g % 8) i) FROM generate_series(1, 20000) g;
         CREATE INDEX $t_body ON $t (body); DELETE FROM $t WHERE id % 4 = 0",
    ),
    (
        "wide_rows",
        "CREATE TABLE $t (id int, body text NOT NULL);
         INSERT INTO $t SELECT g, (SELECT string_agg(md5(g::text || i), '') FROM generate_series(1, 30 + g % 20) i) FROM generate_series(1, 6000) g",
    ),
    (
        "bytes",
        "CREATE TABLE $t (id int, data bytea NOT NULL);
         INSERT INTO $t SELECT g, decode(md5(g::text), 'hex') FROM generate_series(1, 80000) g; CREATE INDEX $t_data ON $t (data)",
    ),
    (
        "arrays",
        "CREATE TABLE $t (id int, tags int[] NOT NULL); INSERT INTO $t SELECT g, ARRAY[g, g % 10, 3] FROM generate_series(1, 60000) g;
         CREATE INDEX $t_tags ON $t (tags); DELETE FROM $t WHERE id % 2 = 0",
    ),
    (
        "no_dedup",
        "CREATE TABLE $t (id int, a int NOT NULL); INSERT INTO $t SELECT g, g % 100 FROM generate_series(1, 120000) g;
         CREATE INDEX $t_a ON $t (a) WITH (deduplicate_items = off); CREATE INDEX $t_b ON $t (a)",
    ),
    (
        "unique_nulls",
        "CREATE TABLE $t (id int, ext int); INSERT INTO $t SELECT g, CASE WHEN g % 2 = 0 THEN g END FROM generate_series(1, 150000) g;
         CREATE UNIQUE INDEX $t_ext ON $t (ext)",
    ),
    (
        "random_key",
        "CREATE TABLE $t (id int PRIMARY KEY, customer int NOT NULL, product int NOT NULL);
         CREATE INDEX $t_customer ON $t (customer); CREATE INDEX $t_product ON $t (product);
         INSERT INTO $t SELECT g, (random() * 30000)::int, (random() * 500)::int FROM generate_series(1, 150000) g",
    ),
    (
        "skewed_key",
        "CREATE TABLE $t (id int, customer int NOT NULL);
         INSERT INTO $t SELECT g, (60000 * random() ^ 3)::int FROM generate_series(1, 200000) g; CREATE INDEX $t_customer ON $t (customer)",
    ),
    (
        "order_lines",
        "CREATE TABLE $t (order_id int NOT NULL, line int NOT NULL, quantity int, PRIMARY KEY (order_id, line));
         INSERT INTO $t SELECT g / 3, g % 3, g FROM generate_series(1, 150000) g; CREATE INDEX $t_order ON $t (order_id)",
    ),
    (
        "pairs",
        "CREATE TABLE $t (id int, parent int NOT NULL); INSERT INTO $t SELECT g, g / 2 FROM generate_series(1, 150000) g;
         CREATE INDEX $t_parent ON $t (parent)",
    ),
    (
        "heap_only_updates",
        "CREATE TABLE $t (id int PRIMARY KEY, n int) WITH (fillfactor = 50);
         INSERT INTO $t SELECT g, 0 FROM generate_series(1, 80000) g; UPDATE $t SET n = 1",
    ),
    (
        "many_columns",
        "CREATE TABLE $t AS SELECT g a, g b, g c, g d, g e, g f, g::bigint h, g::bigint i, g::bigint j, g::bigint k, g::text l, g::text m
           FROM generate_series(1, 40000) g; CREATE INDEX $t_lm ON $t (l, m)",
    ),
    (
        "named",
        "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE DOMAIN label AS text; CREATE TABLE \"$t Mixed\" (id int, mood mood, \"Name\" label, ip inet);
         INSERT INTO \"$t Mixed\" SELECT g, (ARRAY['sad', 'ok', 'happy'])[1 + g % 3]::mood, 'n' || g % 9000, ('10.0.' || g % 250 || '.' || g % 199)::inet FROM generate_series(1, 120000) g;
         CREATE INDEX \"$t Mood\" ON \"$t Mixed\" (mood); CREATE INDEX \"$t Name\" ON \"$t Mixed\" (\"Name\"); CREATE INDEX \"$t ip\" ON \"$t Mixed\" (ip)",
    ),
    (
        "emptied",
        "CREATE TABLE $t (id int PRIMARY KEY, a int); INSERT INTO $t SELECT g, g FROM generate_series(1, 80000) g;
         DELETE FROM $t WHERE id < 79990",
    ),
    (
        "materialized",
        "CREATE MATERIALIZED VIEW $t AS SELECT g AS id, 'value ' || g AS v, g % 10 AS n FROM generate_series(1, 60000) g; CREATE UNIQUE INDEX $t_id ON $t (id)",
    ),
];

/// One relation of the corpus: pages before and after its rebuild, and what pgstattuple says.
struct Truth {
    before: f64,
    after: f64,
    pgstattuple: f64,
}

/// Judges everything, however small.
struct NoFloors;

impl Policy for NoFloors {
    fn resolve(&self, check: &Check<'_>, _: Option<&str>, _: Option<&str>) -> Resolved {
        let mut limits = check.defaults();
        limits.floors.values_mut().for_each(|floor| *floor = 0.0);
        Resolved {
            enabled: true,
            limits,
        }
    }
}

#[tokio::test]
async fn estimates_are_within_five_points_of_a_rebuild() {
    for version in versions() {
        let (table, wrong) = compare(version).await;
        println!("PostgreSQL {}\n{table}", version.0);
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

/// Returns the table of results, and what is wrong with them.
async fn compare(version: Version) -> (String, Vec<String>) {
    let cluster = Cluster::start(&Setup {
        version: Some(version),
        settings: &[("autovacuum", "off"), ("maintenance_work_mem", "256MB")],
        ..Setup::default()
    })
    .await;
    cluster
        .sql("postgres", "CREATE EXTENSION pgstattuple")
        .await;
    let started = Instant::now();
    for (name, sql) in CORPUS {
        let sql = sql.replace("$t", name);
        cluster
            .sql("postgres", &format!("SELECT setseed(0.4); {sql}"))
            .await;
    }
    cluster.sql("postgres", "VACUUM (ANALYZE)").await;
    let built = started.elapsed();
    let mut watch = Watch::start(&cluster).await;
    cluster
        .sql("postgres", "GRANT pg_read_all_data TO monitor")
        .await;
    watch.look(&["table-bloat", "index-bloat"]).await;
    let facts = watch.older.take().unwrap();
    let tables = evaluate(find("table-bloat").unwrap(), &facts, None, &NoFloors).unwrap();
    let indexes = evaluate(find("index-bloat").unwrap(), &facts, None, &NoFloors).unwrap();
    let (table_truth, index_truth) = truth(&cluster).await;
    let mut table = format!(
        "{:<45} {:>7} {:>7} {:>9} {:>8} {:>7} {:>11}\n",
        "relation", "pages", "rebuilt", "estimate", "truth", "error", "pgstattuple"
    );
    let mut wrong = report("tables", 40, &tables, &table_truth, &mut table);
    wrong.extend(report("indexes", 60, &indexes, &index_truth, &mut table));
    let _ = writeln!(
        table,
        "built in {built:.1?}, estimated and rebuilt in {:.1?}",
        started.elapsed() - built
    );
    (table, wrong)
}

/// Measures, rebuilds and measures again.
async fn truth(cluster: &Cluster) -> (BTreeMap<String, Truth>, BTreeMap<String, Truth>) {
    let kinds = "n.nspname = 'public' AND c.relkind IN ('r', 'm') AND c.relpages >= 128";
    let tables = format!(
        "SELECT c.oid::int, n.nspname || '.' || c.relname, pg_relation_size(c.oid) / 8192,
                100 * greatest(0, 1 - (100 - s.free_percent - s.dead_tuple_percent) / coalesce((SELECT option_value::float8 FROM pg_options_to_table(c.reloptions) WHERE option_name = 'fillfactor'), 100))
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pgstattuple(c.oid) s WHERE {kinds} ORDER BY 1"
    );
    let indexes = "SELECT i.oid::int, n.nspname || '.' || i.relname, pg_relation_size(i.oid) / 8192,
                100 * greatest(0, 1 - (s.leaf_pages * s.avg_leaf_density / coalesce((SELECT option_value::float8 FROM pg_options_to_table(i.reloptions) WHERE option_name = 'fillfactor'), 90) + s.internal_pages + 1) * 8192 / s.index_size)
           FROM pg_class i JOIN pg_namespace n ON n.oid = i.relnamespace JOIN pg_index x ON x.indexrelid = i.oid, pgstatindex(i.oid) s
          WHERE n.nspname = 'public' AND i.relkind = 'i' AND i.relpages >= 128 ORDER BY 1";
    let before = (
        cluster.sql("postgres", &tables).await,
        cluster.sql("postgres", indexes).await,
    );
    let names = cluster
        .sql("postgres", "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind IN ('r', 'm')")
        .await;
    for name in names {
        cluster
            .sql(
                "postgres",
                &format!("VACUUM FULL {}", name[0].as_ref().unwrap()),
            )
            .await;
    }
    // VACUUM FULL rebuilds unique indexes as if they were not unique, and so merges their NULLs.
    cluster
        .sql("postgres", "REINDEX INDEX unique_nulls_ext")
        .await;
    let sizes = cluster.sql("postgres", "SELECT oid::int, pg_relation_size(oid) / 8192 FROM pg_class WHERE relkind IN ('r', 'm', 'i')").await;
    let sizes: BTreeMap<String, f64> = sizes
        .into_iter()
        .map(|row| (text(&row, 0), number(&row, 1)))
        .collect();
    let join = |rows: Vec<Vec<Option<String>>>| -> BTreeMap<String, Truth> {
        rows.into_iter()
            .map(|row| {
                let truth = Truth {
                    before: number(&row, 2),
                    after: sizes[&text(&row, 0)],
                    pgstattuple: number(&row, 3),
                };
                (text(&row, 1), truth)
            })
            .collect()
    };
    (join(before.0), join(before.1))
}

fn report(
    kind: &str,
    least: usize,
    verdict: &Verdict,
    truth: &BTreeMap<String, Truth>,
    table: &mut String,
) -> Vec<String> {
    let estimates: BTreeMap<String, f64> = verdict
        .measures
        .iter()
        .map(|measure| {
            (
                measure.object.trim_start_matches("postgres/").to_owned(),
                measure.value,
            )
        })
        .collect();
    let (mut missing, mut off) = (Vec::new(), Vec::new());
    for (name, truth) in truth {
        let real = 100.0 * (1.0 - truth.after / truth.before).max(0.0);
        let head = format!("{name:<45} {:>7} {:>7}", truth.before, truth.after);
        let Some(estimate) = estimates.get(name) else {
            let _ = writeln!(
                table,
                "{head} {:>9} {real:>8.1} {:>7} {:>11.1}",
                "n/a", "", truth.pgstattuple
            );
            missing.push(name);
            continue;
        };
        let error = estimate - real;
        let _ = writeln!(
            table,
            "{head} {estimate:>9.1} {real:>8.1} {error:>7.1} {:>11.1}",
            truth.pgstattuple
        );
        if error.abs() > ERROR_MAX {
            off.push((name, error));
        }
    }
    let _ = writeln!(
        table,
        "{} {kind}, {} not estimable, {} more than {ERROR_MAX} points off",
        truth.len(),
        missing.len(),
        off.len()
    );
    let mut wrong: Vec<String> = off
        .iter()
        .map(|(name, error)| format!("{name} is {error:.1} points off"))
        .collect();
    if truth.len() < least {
        wrong.push(format!("the corpus has only {} {kind}", truth.len()));
    }
    if missing.len() as f64 > NOT_ESTIMABLE_MAX * truth.len() as f64 {
        wrong.push(format!("too many {kind} are not estimable: {missing:?}"));
    }
    if verdict.level == Level::Unknown {
        wrong.push(format!("{verdict:#?}"));
    }
    wrong
}

/// Rows of each table of the second corpus.
const ROWS: u32 = 50_000;
/// Smaller indexes say nothing in whole pages.
const PAGES_MIN: u32 = 40;
/// Indexes of each half of the second corpus, at least.
const INDEXES_MIN: usize = 100;

/// The name of a type, the type, and how a number becomes a value of it; `$v` is the number.
type Kind = (&'static str, &'static str, &'static str);

const NUMBERS_AND_TIMES: [Kind; 5] = [
    ("int", "int", "($v)::int"),
    ("bigint", "bigint", "($v)::bigint"),
    (
        "timestamptz",
        "timestamptz",
        "'2026-01-01'::timestamptz + ($v) * interval '1 minute'",
    ),
    ("date", "date", "'2000-01-01'::date + ($v)::int"),
    ("float", "float8", "($v)::float8 / 3"),
];
const TEXTS_AND_LONG_VALUES: [Kind; 5] = [
    ("text", "text", "'value ' || ($v)"),
    ("collated", "text COLLATE \"C\"", "md5(($v)::text)"),
    ("numeric", "numeric", "($v)::numeric / 7"),
    ("uuid", "uuid", "md5(($v)::text)::uuid"),
    ("bytes", "bytea", "decode(md5(($v)::text), 'hex')"),
];

/// What happens to each table: whether its indexes are there before its rows, and what comes afterwards.
const LIVES: [(&str, bool, &str); 4] = [
    ("built", false, ""),
    ("grown", true, ""),
    ("deleted", true, "DELETE FROM $t WHERE id % 5 < 3"),
    (
        "updated",
        true,
        "UPDATE $t SET few = few, own = own, n = n, id = id + 1000000 WHERE id % 2 = 0",
    ),
];

const INDEXES: &str = "
    CREATE INDEX $t_few ON $t (few);
    CREATE UNIQUE INDEX $t_own ON $t (own);
    CREATE INDEX $t_filled ON $t (own) WITH (fillfactor = 70);
    CREATE INDEX $t_half ON $t (own) WHERE id % 2 = 1;
    CREATE INDEX $t_with ON $t (few) INCLUDE (id);
    CREATE INDEX $t_nulls ON $t (n);
";

/// Makes one table for each type and each life, with six indexes.
fn second_corpus(kinds: &[Kind]) -> String {
    let mut sql = String::new();
    for (number, (name, kind, value)) in kinds.iter().enumerate() {
        for (life, early, afterwards) in LIVES {
            // Groups of one size, and groups of the sizes that chance makes.
            let group = ["g % 400", "(random() * 400)::int"][number % 2];
            let table = format!("c_{name}_{life}");
            let of = |text: &str| value.replace("$v", text);
            let (few, own) = (of(group), of("(g::bigint * 7919) % 1000003"));
            let rows = format!(
                "INSERT INTO $t SELECT g, {few}, {own}, CASE WHEN g % 5 < 3 THEN {own} END FROM generate_series(1, {ROWS}) g;"
            );
            let parts = if early {
                [INDEXES, &rows]
            } else {
                [&rows, INDEXES]
            };
            let create = format!(
                "CREATE TABLE $t (id int NOT NULL, few {kind} NOT NULL, own {kind} NOT NULL, n {kind});"
            );
            sql +=
                &format!("{create} {} {} {afterwards};", parts[0], parts[1]).replace("$t", &table);
        }
    }
    sql
}

async fn fill(cluster: &Cluster, kinds: &[Kind]) {
    cluster.monitor().await;
    cluster
        .sql("postgres", "GRANT pg_read_all_data TO monitor")
        .await;
    for statement in second_corpus(kinds)
        .split(';')
        .filter(|part| !part.trim().is_empty())
    {
        cluster
            .sql("postgres", &format!("SELECT setseed(0.4); {statement}"))
            .await;
    }
    cluster.sql("postgres", "VACUUM (ANALYZE)").await;
}

/// Looks at all indexes of at least so many pages, as `pawang bloat` does.
async fn spaces(cluster: &Cluster) -> Vec<Space> {
    let mut catalog = Catalog::built_in();
    catalog.want_whole("index-shape", PAGES_MIN);
    let target = Target::parse(
        &cluster.url_as("monitor", "postgres"),
        &Environment::default(),
    )
    .unwrap();
    let collectors = ["index-shape", "extended-statistics"]
        .map(str::to_owned)
        .into();
    let facts = observe(&Request {
        instance: &Instance::default(),
        target: &target,
        purpose: "test",
        catalog: &catalog,
        collectors: &collectors,
        questions: &[],
        databases: &[],
        pgbouncer: None,
        patroni: None,
        host: HostRequest::default(),
        backups: &[],
        now: Timestamp::UNIX_EPOCH,
    })
    .await;
    let all = index_spaces(&facts, "postgres").unwrap();
    all.into_iter()
        .filter(|space| space.schema == "public")
        .collect()
}

#[tokio::test]
async fn indexes_of_numbers_and_times_are_within_five_points_and_within_their_bounds() {
    println!("{}", every_form_and_life(&NUMBERS_AND_TIMES).await);
}

#[tokio::test]
async fn indexes_of_texts_and_long_values_are_within_five_points_and_within_their_bounds() {
    println!("{}", every_form_and_life(&TEXTS_AND_LONG_VALUES).await);
}

/// Estimates each index, rebuilds it, compares, and returns how it went.
async fn every_form_and_life(kinds: &[Kind]) -> String {
    let cluster = Cluster::start(&Setup {
        settings: &[
            ("autovacuum", "off"),
            ("maintenance_work_mem", "256MB"),
            // Millions of index entries in random order: the log and the checkpoints would take most of the time.
            ("shared_buffers", "512MB"),
            ("wal_level", "minimal"),
            ("max_wal_senders", "0"),
            ("max_wal_size", "4GB"),
            ("full_page_writes", "off"),
        ],
        ..Setup::default()
    })
    .await;
    fill(&cluster, kinds).await;
    let spaces = spaces(&cluster).await;
    let mut wrong = Vec::new();
    let (mut told, mut outside) = (0, 0);
    for space in &spaces {
        cluster
            .sql(
                "postgres",
                &format!("REINDEX INDEX public.\"{}\"", space.name),
            )
            .await;
        let sql = format!("SELECT pg_relation_size({})::text", space.oid);
        let after = number(&cluster.sql("postgres", &sql).await[0], 0);
        let size = space.size.0 as f64;
        let real = (size - after).max(0.0);
        let Some(percent) = space.percent() else {
            wrong.push(format!(
                "{} is not estimable: {:?}",
                space.name, space.why_not
            ));
            continue;
        };
        told += 1;
        let error = percent - 100.0 * real / size;
        if error.abs() > ERROR_MAX {
            wrong.push(format!(
                "{} is {error:.1} points off ({real} of {size})",
                space.name
            ));
        }
        let waste = space.waste.unwrap();
        if real < waste.least.0 as f64 || real > waste.most.0 as f64 {
            outside += 1;
        }
    }
    assert!(
        spaces.len() >= INDEXES_MIN,
        "the corpus has only {} indexes",
        spaces.len()
    );
    assert!(wrong.len() * 20 <= spaces.len(), "{wrong:#?}");
    assert!(
        outside * 20 <= told,
        "{outside} of {told} are outside their bounds"
    );
    format!(
        "{} indexes, {told} estimated, {} not within {ERROR_MAX} points, {outside} outside their bounds\n{wrong:#?}",
        spaces.len(),
        wrong.len()
    )
}

fn text(row: &[Option<String>], column: usize) -> String {
    row[column].clone().unwrap_or_default()
}

fn number(row: &[Option<String>], column: usize) -> f64 {
    text(row, column).parse().unwrap()
}
