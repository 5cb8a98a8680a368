//! Every column of every statistics view is collected or excluded with a reason, and every statement runs everywhere.

use std::collections::{BTreeMap, BTreeSet};

use pawang_collect::{Catalog, Collector, Scope};
use pawang_core::{Blind, Role};
use pawang_postgres::{Environment, Session, Target};
use pawang_testbed::{Cluster, Setup, Version, installations, until};

use crate::nineteen::documented;

const MAJORS: std::ops::RangeInclusive<u32> = 14..=18;
/// Functions that lock the relation that they are asked about, and so wait for whoever has locked it.
const LOCKING: [&str; 8] = [
    "pg_relation_size",
    "pg_table_size",
    "pg_total_relation_size",
    "pg_indexes_size",
    "pg_get_constraintdef",
    "pg_get_viewdef",
    "pg_get_indexdef",
    "pg_sequences",
];

/// The columns that a catalog view reads, and those that it defines, by view.
type Columns = BTreeMap<String, BTreeSet<String>>;

fn majors() -> Vec<Version> {
    let installed = installations().iter().map(|found| found.version);
    installed
        .filter(|version| MAJORS.contains(&version.0))
        .collect()
}

async fn start(version: Version) -> Cluster {
    let cluster = Cluster::start(&Setup {
        version: Some(version),
        settings: &[("shared_preload_libraries", "pg_stat_statements")],
        ..Setup::default()
    })
    .await;
    cluster
        .sql("postgres", "CREATE EXTENSION pg_stat_statements")
        .await;
    cluster
}

/// Returns the statements that read this cluster, with the collectors that they belong to.
async fn statements<'a>(cluster: &Cluster, catalog: &'a Catalog) -> Vec<(&'a Collector, String)> {
    let mut extensions = BTreeMap::new();
    let sql = "SELECT e.extname, e.extversion, quote_ident(n.nspname) FROM pg_extension AS e \
               JOIN pg_namespace AS n ON n.oid = e.extnamespace";
    for row in cluster.sql("postgres", sql).await {
        let [Some(name), Some(version), Some(schema)] = &row[..] else {
            panic!("{row:?}")
        };
        let mut parts = version.split('.').map(|part| part.parse().unwrap());
        let version: (u32, u32) = (parts.next().unwrap(), parts.next().unwrap_or(0));
        extensions.insert(name.clone(), (version, schema.clone()));
    }
    let readable =
        |collector: &&Collector| matches!(collector.header.scope, Scope::Server | Scope::Database);
    let collectors = catalog.collectors.values().filter(readable);
    collectors
        .filter_map(|collector| match &collector.header.extension {
            None => Some((
                collector,
                collector
                    .statement((cluster.version().0, u32::MAX))?
                    .to_owned(),
            )),
            Some(name) => {
                let (version, schema) = extensions.get(name)?;
                Some((
                    collector,
                    collector.statement(*version)?.replace("{schema}", schema),
                ))
            }
        })
        .collect()
}

#[tokio::test]
async fn every_column_of_every_statistics_view_is_collected_or_excluded() {
    let catalog = Catalog::built_in();
    let exclusions = Catalog::exclusions();
    let mut needed = BTreeSet::new();
    for version in majors() {
        let cluster = start(version).await;
        let statements = statements(&cluster, &catalog).await;
        let mut collected = read_by_views(&cluster, &statements).await;
        for (view, columns) in called_directly(&cluster, &statements).await {
            collected.entry(view).or_default().extend(columns);
        }
        let mut missing = Vec::new();
        for (view, columns) in defined(&cluster).await {
            let seen = collected.remove(&view).unwrap_or_default();
            for column in columns.difference(&seen) {
                let name = format!("{view}.{column}");
                let keys = [view.clone(), name.clone()];
                match keys.into_iter().find(|key| exclusions.contains_key(key)) {
                    Some(key) => _ = needed.insert(key),
                    None => missing.push(name),
                }
            }
        }
        assert!(
            missing.is_empty(),
            "PostgreSQL {version}: neither collected nor excluded: {missing:#?}"
        );
    }
    if majors().len() == MAJORS.count() {
        let only_in_19: BTreeSet<String> = documented()
            .into_iter()
            .flat_map(|(view, of)| {
                of.new
                    .into_iter()
                    .map(move |column| format!("{view}.{column}"))
            })
            .collect();
        let idle: Vec<&String> = exclusions
            .keys()
            .filter(|key| !needed.contains(*key) && !only_in_19.contains(*key))
            .collect();
        assert!(
            idle.is_empty(),
            "excluded.toml has lines that no version needs: {idle:#?}"
        );
    }
    assert!(
        exclusions.values().all(|reason| reason.len() > 10),
        "a line of excluded.toml has no reason"
    );
}

/// Turns every statement into a view and asks the catalog which columns of statistics views it depends on.
async fn read_by_views(cluster: &Cluster, statements: &[(&Collector, String)]) -> Columns {
    cluster.sql("postgres", "CREATE SCHEMA coverage").await;
    for (collector, sql) in statements {
        let sql = sql.trim().trim_end_matches(';');
        let create = format!(
            "SET search_path = ''; CREATE VIEW coverage.\"{}\" AS {sql}",
            collector.name
        );
        cluster.sql("postgres", &create).await;
    }
    let sql = "SELECT DISTINCT c.relname, a.attname \
               FROM pg_depend AS d \
               JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid \
               JOIN pg_class AS v ON v.oid = r.ev_class \
               JOIN pg_class AS c ON d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid \
               JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid \
               WHERE v.relnamespace = 'coverage'::regnamespace AND c.relname ~ '^pg_stat(io)?_'";
    by_view(cluster.sql("postgres", sql).await)
}

/// Returns every column of every statistics view of the server and of pg_stat_statements.
async fn defined(cluster: &Cluster) -> Columns {
    let sql = "SELECT c.relname, a.attname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 \
               WHERE c.relkind = 'v' AND c.relname ~ '^pg_stat(io)?_' AND c.relnamespace <> 'coverage'::regnamespace";
    by_view(cluster.sql("postgres", sql).await)
}

/// Returns the columns of statistics views that a statement takes from their functions instead of the view.
async fn called_directly(cluster: &Cluster, statements: &[(&Collector, String)]) -> Columns {
    let sql = "SELECT c.relname, pg_get_viewdef(c.oid) FROM pg_class AS c WHERE c.relkind = 'v' AND c.relname ~ \
               '^pg_stat(io)?_all_(tables|indexes|sequences)$|^pg_stat_user_functions$|^pg_stat_statements'";
    let mut columns = Columns::new();
    for row in cluster.sql("postgres", sql).await {
        let [Some(view), Some(definition)] = &row[..] else {
            panic!("{row:?}")
        };
        let about = statements
            .iter()
            .filter(|(collector, _)| is_about(collector, view));
        let called: BTreeSet<&str> = about.flat_map(|(_, sql)| words(sql)).collect();
        let items = select_items(definition);
        let seen: BTreeSet<String> = items
            .iter()
            .filter(|(name, expression)| {
                let functions = statistics_functions(expression);
                if view.starts_with("pg_stat_statements") {
                    called.contains(name.as_str())
                } else {
                    // What identifies the row comes with it.
                    !called.is_empty() && functions.iter().all(|function| called.contains(function))
                }
            })
            .map(|(name, _)| name.clone())
            .collect();
        columns.insert(view.clone(), seen);
    }
    columns
}

/// Tells collectors of indexes from those of their tables: both call the same functions.
fn is_about(collector: &Collector, view: &str) -> bool {
    let declares = |name: &str| {
        collector
            .header
            .columns
            .iter()
            .any(|column| column.name == name)
    };
    match view.rsplit('_').next() {
        Some("tables") => declares("seq_scan") || declares("heap_blks_read"),
        Some("indexes") => declares("indexrelname"),
        Some("sequences") => declares("relname") && declares("blks_read"),
        Some("functions") => declares("funcname"),
        _ => collector.header.extension.as_deref() == Some("pg_stat_statements"),
    }
}

/// Splits a view's select list, one item per line as PostgreSQL prints it, into names and expressions.
fn select_items(definition: &str) -> Vec<(String, String)> {
    let body = definition.trim_start().strip_prefix("SELECT ").unwrap();
    let list = body.split("\n   FROM ").next().unwrap();
    list.split(",\n")
        .map(|item| {
            let item = item.trim();
            let (expression, name) = item
                .rsplit_once(" AS ")
                .unwrap_or((item, item.rsplit('.').next().unwrap()));
            (name.trim_matches('"').to_owned(), expression.to_owned())
        })
        .collect()
}

fn statistics_functions(expression: &str) -> Vec<&str> {
    words(expression)
        .filter(|word| word.starts_with("pg_stat_get_"))
        .collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
}

fn by_view(rows: Vec<Vec<Option<String>>>) -> Columns {
    let mut columns = Columns::new();
    for row in rows {
        let [Some(view), Some(column)] = &row[..] else {
            panic!("{row:?}")
        };
        columns
            .entry(view.clone())
            .or_default()
            .insert(column.clone());
    }
    columns
}

#[tokio::test]
async fn every_statement_runs_read_only_as_monitor_and_delivers_what_is_declared() {
    let catalog = Catalog::built_in();
    let mut delivered = Columns::new();
    for version in majors() {
        let primary = start(version).await;
        primary.monitor().await;
        let standby = primary.standby("s1").await;
        for (cluster, role) in [(&primary, Role::Primary), (&standby, Role::Standby)] {
            let session = connect(cluster).await;
            let read_only = session
                .read_text("SHOW transaction_read_only")
                .await
                .unwrap();
            assert_eq!(read_only.rows[0][0].as_text(), Some("on"));
            for (collector, sql) in statements(&primary, &catalog).await {
                if collector.header.role.is_some_and(|wanted| wanted != role) {
                    continue;
                }
                let names = run(&primary, cluster, &session, collector, &sql).await;
                let declared = &collector.header.columns;
                for name in &names {
                    let known = declared.iter().any(|column| column.name == *name);
                    assert!(
                        known,
                        "\"{}\" on {version} returns \"{name}\", which it does not declare",
                        collector.name
                    );
                }
                delivered
                    .entry(collector.name.clone())
                    .or_default()
                    .extend(names);
            }
        }
    }
    if majors().len() == MAJORS.count() {
        let only_in_19: BTreeSet<(String, String)> = documented()
            .into_values()
            .flat_map(|view| {
                view.new
                    .into_iter()
                    .map(move |column| (view.collector.clone(), column))
            })
            .collect();
        let idle = |(name, columns): (&String, &BTreeSet<String>)| {
            let declared = catalog.collector(name).header.columns.iter();
            declared
                .filter(|c| !columns.contains(&c.name))
                .filter(|c| !only_in_19.contains(&(name.clone(), c.name.clone())))
                .map(|c| format!("{name}.{}", c.name))
                .collect::<Vec<_>>()
        };
        let idle: Vec<String> = delivered.iter().flat_map(idle).collect();
        assert!(
            idle.is_empty(),
            "declared but delivered by no version: {idle:#?}"
        );
    }
}

async fn connect(cluster: &Cluster) -> Session {
    let target = Target::parse(
        &cluster.url_as("monitor", "postgres"),
        &Environment::default(),
    )
    .unwrap();
    Session::connect(&target, "coverage").await.unwrap()
}

/// Runs a statement, after what its header says to grant where it is refused, and returns the names of its columns.
async fn run(
    primary: &Cluster,
    cluster: &Cluster,
    session: &Session,
    collector: &Collector,
    sql: &str,
) -> Vec<String> {
    let place = format!(
        "collector \"{}\" on PostgreSQL {}",
        collector.name,
        cluster.version()
    );
    if let Err(error) = session.read(sql).await {
        assert!(
            matches!(error.blind(), Blind::NoPrivilege { .. }),
            "{place}: {error:?}"
        );
        let grant = collector.header.grant.replace("{role}", "monitor");
        if grant.starts_with("--") {
            let names = format!("SET search_path = ''; CREATE TEMP VIEW looked AS {sql}");
            let list = "SELECT attname FROM pg_catalog.pg_attribute WHERE attrelid = 'pg_temp.looked'::regclass AND attnum > 0";
            let rows = primary.sql("postgres", &format!("{names}; {list}")).await;
            return rows
                .into_iter()
                .map(|mut row| row.remove(0).unwrap())
                .collect();
        }
        primary.sql("postgres", &grant).await;
        until("what was granted works", async || {
            session.read(sql).await.is_ok()
        })
        .await;
    }
    let columns = session
        .describe(sql)
        .await
        .unwrap_or_else(|error| panic!("{place}: {error:?}"));
    columns.into_iter().map(|(name, _)| name).collect()
}

#[test]
fn no_statement_calls_what_waits_for_relation_locks() {
    for collector in Catalog::built_in().collectors.values() {
        for sql in collector.statements.values() {
            let called: Vec<&str> = words(sql).filter(|word| LOCKING.contains(word)).collect();
            assert!(
                called.is_empty(),
                "collector \"{}\" calls {called:?}",
                collector.name
            );
            // Without a relation to resolve columns in, it has nothing to lock.
            for call in sql.split("pg_get_expr(").skip(1) {
                let arguments = call.split(')').next().unwrap();
                assert!(
                    arguments.ends_with(", 0"),
                    "collector \"{}\" calls pg_get_expr({arguments})",
                    collector.name
                );
            }
        }
    }
}
