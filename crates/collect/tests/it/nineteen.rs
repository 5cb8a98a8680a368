//! PostgreSQL 19 against its documented signatures only: no server of 19 takes part.
//!
//! The views that 19 changed are built on the newest server that there is, empty but with the documented names and types
//! of their columns (`nineteen.toml`), and the statements that 19 would get run against them. That the server
//! delivers what it documents, and what its values mean, is not tested here.

use std::collections::{BTreeMap, BTreeSet};

use pawang_collect::{Catalog, Collector, Scope};
use pawang_postgres::{Environment, Session, Target};
use pawang_testbed::{Cluster, Setup, installations};
use serde::Deserialize;

const SERVER: (u32, u32) = (19, u32::MAX);
const STATEMENTS: (u32, u32) = (1, 13);
/// The newest that is built; an older one would lack what the statements of 19 take over from it.
const BUILT_ON: u32 = 18;

/// One view of `nineteen.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct View {
    /// The collector that reads it.
    pub(crate) collector: String,
    /// Its documented columns, each with its type.
    #[serde(default)]
    columns: Vec<String>,
    /// The function behind it that the collector calls instead.
    #[serde(default)]
    function: Option<String>,
    /// Its columns that 18 does not have.
    pub(crate) new: Vec<String>,
}

/// Returns what 19 documents, by view.
pub(crate) fn documented() -> BTreeMap<String, View> {
    toml::from_str(include_str!("nineteen.toml")).unwrap()
}

/// Returns the statement that 19 gets, with stubs instead of what it changed, or `None` when it gets none.
fn rewritten(collector: &Collector, views: &BTreeMap<String, View>) -> Option<String> {
    if !matches!(collector.header.scope, Scope::Server | Scope::Database) {
        return None;
    }
    let mut sql = match collector.header.extension.as_deref() {
        None => collector.statement(SERVER)?.to_owned(),
        Some("pg_stat_statements") if collector.name == "statements" => collector
            .statement(STATEMENTS)?
            .replace("{schema}", "nineteen"),
        Some(_) => return None,
    };
    for (name, view) in views {
        sql = sql.replace(&format!("pg_catalog.{name} "), &format!("nineteen.{name} "));
        if let Some(function) = &view.function {
            sql = sql.replace(
                &format!("pg_catalog.{function}("),
                &format!("nineteen.{function}("),
            );
        }
    }
    Some(sql.trim().trim_end_matches(';').to_owned())
}

/// Returns the statements that build the stubs: a row of nulls each, because only names and types are documented.
fn stubs(views: &BTreeMap<String, View>) -> String {
    let mut sql = String::from("CREATE SCHEMA nineteen; CREATE SCHEMA reading;");
    for (name, view) in views {
        let nulls = view.columns.iter().map(|column| {
            let (column, kind) = column.split_once(' ').unwrap();
            format!("NULL::{kind} AS {column}")
        });
        let nulls = nulls.collect::<Vec<_>>().join(", ");
        if !nulls.is_empty() {
            sql += &format!("CREATE VIEW nineteen.{name} AS SELECT {nulls};");
        }
        if let Some(function) = &view.function {
            sql += &format!(
                "CREATE OR REPLACE FUNCTION nineteen.{function}(oid) RETURNS timestamptz LANGUAGE sql STABLE \
                 AS 'SELECT NULL::timestamptz';"
            );
        }
    }
    sql + "CREATE FUNCTION nineteen.pg_stat_statements(showtext boolean) RETURNS SETOF nineteen.pg_stat_statements \
           LANGUAGE sql STABLE AS 'SELECT * FROM nineteen.pg_stat_statements';"
}

#[tokio::test]
async fn every_statement_for_19_runs_on_the_documented_columns_and_reads_the_new_ones() {
    let mut versions = installations().iter().map(|found| found.version);
    let Some(version) = versions.find(|version| version.0 == BUILT_ON) else {
        return;
    };
    let cluster = Cluster::start(&Setup {
        version: Some(version),
        ..Setup::default()
    })
    .await;
    let views = documented();
    cluster.sql("postgres", &stubs(&views)).await;
    let target = Target::parse(&cluster.url("postgres"), &Environment::default()).unwrap();
    let session = Session::connect(&target, "nineteen").await.unwrap();
    let catalog = Catalog::built_in();
    let mut statements = BTreeMap::new();
    for collector in catalog.collectors.values() {
        let Some(sql) = rewritten(collector, &views) else {
            continue;
        };
        let name = &collector.name;
        if let Err(error) = session.read(&sql).await {
            panic!("collector \"{name}\" on 19: {error:?}");
        }
        for (column, _) in session.describe(&sql).await.unwrap() {
            let declared = collector.header.columns.iter().any(|c| c.name == column);
            assert!(
                declared,
                "\"{name}\" on 19 returns \"{column}\", which it does not declare"
            );
        }
        let view = format!("SET search_path = ''; CREATE VIEW reading.\"{name}\" AS {sql}");
        cluster.sql("postgres", &view).await;
        statements.insert(name.clone(), sql);
    }
    let read = columns_read(&cluster).await;
    let exclusions = Catalog::exclusions();
    let mut missing = Vec::new();
    for (name, view) in &views {
        let sql = &statements[&view.collector];
        for column in &view.new {
            let key = format!("{name}.{column}");
            let called = |function: &String| sql.contains(&format!("nineteen.{function}("));
            let collected = match (&view.function, name.as_str()) {
                (Some(function), _) => called(function),
                (None, "pg_stat_statements") => sql.contains(&format!("p.{column},")),
                (None, _) => read.contains(&key),
            };
            if !collected && !exclusions.contains_key(&key) {
                missing.push(key);
            }
        }
    }
    assert!(
        missing.is_empty(),
        "PostgreSQL 19: neither collected nor excluded: {missing:#?}"
    );
}

/// Returns the columns of the stubs that statements depend on, as `view.column`.
async fn columns_read(cluster: &Cluster) -> BTreeSet<String> {
    let sql = "SELECT DISTINCT c.relname || '.' || a.attname \
               FROM pg_depend AS d \
               JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid \
               JOIN pg_class AS v ON v.oid = r.ev_class \
               JOIN pg_class AS c ON d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid \
               JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid \
               WHERE v.relnamespace = 'reading'::regnamespace AND c.relnamespace = 'nineteen'::regnamespace";
    let rows = cluster.sql("postgres", sql).await;
    rows.into_iter()
        .map(|mut row| row.remove(0).unwrap())
        .collect()
}

#[test]
fn what_is_new_in_19_is_a_column_of_its_view_and_has_a_collector() {
    let catalog = Catalog::built_in();
    for (name, view) in documented() {
        assert!(catalog.collectors.contains_key(&view.collector), "{name}");
        let listed = |new: &String| {
            let prefix = format!("{new} ");
            view.columns
                .iter()
                .any(|column| column.starts_with(&prefix))
        };
        assert_ne!(view.columns.is_empty(), view.function.is_none(), "{name}");
        assert!(
            view.function.is_some() || view.new.iter().all(listed),
            "{name}"
        );
    }
}
