//! The databases that are measured: many tables with three indexes each, most of them small, as in real warehouses.

use pawang_testbed::{Cluster, Setup};

pub(super) const DATABASE: &str = "bench";
/// Tables of one transaction, which must fit the server's lock table.
const BATCH: u32 = 250;
/// Every so many tables one is large enough to be judged by its size.
const LARGE_EVERY: u32 = 25;
const SETTINGS: [(&str, &str); 8] = [
    ("shared_preload_libraries", "pg_stat_statements"),
    ("pg_stat_statements.track_planning", "on"),
    ("pg_stat_statements.max", "20000"),
    // Its work would be counted as that of the tools.
    ("autovacuum", "off"),
    ("shared_buffers", "256MB"),
    ("max_wal_size", "4GB"),
    ("max_locks_per_transaction", "1024"),
    ("full_page_writes", "off"),
];

/// Locks every table of the database against everybody.
pub(super) const LOCK_ALL: &str = "DO $$
DECLARE
  name regclass;
BEGIN
  FOR name IN SELECT c.oid FROM pg_class AS c WHERE c.relnamespace = 'dwh'::regnamespace AND c.relkind = 'r' LOOP
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', name);
  END LOOP;
END $$";

/// Rows of small tables and of large ones.
pub(super) struct Rows {
    pub(super) small: u32,
    pub(super) large: u32,
}

/// Starts a server with a database of so many tables and three times as many indexes.
pub(super) async fn start(tables: u32) -> Cluster {
    let rows = Rows {
        small: 60,
        large: 20_000,
    };
    start_with(tables, &rows, &[]).await
}

/// Says whether this table is a large one.
pub(super) fn large(table: u32) -> bool {
    table.is_multiple_of(LARGE_EVERY)
}

/// Starts such a server with tables of these sizes and with more settings.
pub(super) async fn start_with(tables: u32, rows: &Rows, more: &[(&str, &str)]) -> Cluster {
    let settings = [&SETTINGS[..], more].concat();
    let setup = Setup {
        settings: &settings,
        ..Setup::default()
    };
    let cluster = Cluster::start(&setup).await;
    cluster.monitor().await;
    let create = format!("CREATE DATABASE {DATABASE}");
    cluster.sql("postgres", &create).await;
    let prepare = "CREATE EXTENSION pg_stat_statements; CREATE SCHEMA dwh; \
                   GRANT USAGE ON SCHEMA dwh TO monitor; \
                   ALTER DEFAULT PRIVILEGES IN SCHEMA dwh GRANT SELECT ON TABLES TO monitor";
    cluster.sql(DATABASE, prepare).await;
    for first in (1..=tables).step_by(BATCH as usize) {
        let last = (first + BATCH - 1).min(tables);
        cluster.sql(DATABASE, &batch(first, last, rows)).await;
    }
    for alone in ["VACUUM (ANALYZE)", "CHECKPOINT"] {
        cluster.sql(DATABASE, alone).await;
    }
    cluster
}

fn batch(first: u32, last: u32, rows: &Rows) -> String {
    let Rows { small, large } = rows;
    format!(
        "DO $$
BEGIN
  FOR t IN {first}..{last} LOOP
    EXECUTE format('CREATE TABLE dwh.t%s (
                      id bigint PRIMARY KEY,
                      day date NOT NULL,
                      unit integer NOT NULL,
                      note text)', t);
    EXECUTE format('INSERT INTO dwh.t%s
                    SELECT n, date ''2026-01-01'' + n %% 300, n %% 97, repeat(''x'', n %% 50)
                      FROM generate_series(1, %s) AS n', t, CASE WHEN t % {LARGE_EVERY} = 0 THEN {large} ELSE {small} END);
    EXECUTE format('CREATE INDEX ON dwh.t%s (day)', t);
    EXECUTE format('CREATE INDEX ON dwh.t%s (unit, day)', t);
  END LOOP;
END $$"
    )
}
