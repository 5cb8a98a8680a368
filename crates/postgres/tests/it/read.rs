//! Types, bounds and errors of statements.

use std::time::Duration;

use pawang_core::{Blind, Timestamp, Value};
use pawang_postgres::{Error, Session};
use pawang_testbed::{Cluster, Setup, versions};

use crate::{session, target};

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn time(text: &str) -> Value {
    Value::Time(text.parse().unwrap())
}

fn list(items: &[&str]) -> Value {
    Value::List(items.iter().map(|item| (*item).to_owned()).collect())
}

fn samples() -> Vec<(&'static str, Value)> {
    vec![
        ("true", Value::Bool(true)),
        ("NULL::bool", Value::Null),
        ("(-2)::int2", Value::Int(-2)),
        ("(-3)::int4", Value::Int(-3)),
        ("(-9223372036854775808)::int8", Value::Int(i64::MIN)),
        ("4294967295::oid", Value::Int(4_294_967_295)),
        ("'4294967295'::xid", Value::Int(4_294_967_295)),
        ("'5000000000'::xid8", Value::Int(5_000_000_000)),
        ("1.5::float4", Value::Float(1.5)),
        ("'-infinity'::float8", Value::Float(f64::NEG_INFINITY)),
        ("0::numeric", Value::Float(0.0)),
        ("-12345.678901::numeric", Value::Float(-12_345.678_901)),
        ("99999999999999999999.5::numeric", Value::Float(1e20)),
        ("0.00000000000001234::numeric", Value::Float(1.234e-14)),
        ("'infinity'::numeric", Value::Float(f64::INFINITY)),
        ("'é'::text", text("é")),
        ("'a'::varchar(3)", text("a")),
        ("'a'::char(3)", text("a  ")),
        ("'r'::\"char\"", text("r")),
        ("'abc'::name", text("abc")),
        ("'abc'", text("abc")),
        (
            "'2026-01-02 03:04:05.678901+07'::timestamptz",
            time("2026-01-01T20:04:05.678901Z"),
        ),
        ("'infinity'::timestamptz", Value::Time(Timestamp::MAX)),
        (
            "'0044-03-15 00:00:00 BC'::timestamptz",
            time("-000043-03-15T00:00:00Z"),
        ),
        (
            "'2026-01-02 03:04:05'::timestamp",
            time("2026-01-02T03:04:05Z"),
        ),
        ("'2026-01-02'::date", time("2026-01-02T00:00:00Z")),
        (
            "'1 mon 2 days 00:00:00.5'::interval",
            Value::Float(2_764_800.5),
        ),
        ("'16/B374D848'::pg_lsn", Value::Int(0x16_B374_D848)),
        ("'{\"a\": 1}'::json", text("{\"a\": 1}")),
        ("'{\"a\":1}'::jsonb", text("{\"a\": 1}")),
        ("'192.168.1.0/24'::inet", text("192.168.1.0/24")),
        ("'192.168.1.1'::inet", text("192.168.1.1")),
        ("'192.168.1.1/32'::cidr", text("192.168.1.1/32")),
        ("'2001:db8::1'::inet", text("2001:db8::1")),
        ("'{a,NULL,\"b c\"}'::text[]", list(&["a", "b c"])),
        ("'{}'::text[]", list(&[])),
        ("'{x}'::name[]", list(&["x"])),
        ("'{1,2}'::int4[]", list(&["1", "2"])),
        ("'1 2'::int2vector", list(&["1", "2"])),
        ("'1 2'::oidvector", list(&["1", "2"])),
        ("'ok'::mood", text("ok")),
        ("'{ok}'::mood[]", list(&["ok"])),
        ("'x'::label", text("x")),
        (
            "'00112233-4455-6677-8899-aabbccddeeff'::uuid",
            text("00112233-4455-6677-8899-aabbccddeeff"),
        ),
        ("'\\x01ff'::bytea", text("\\x01ff")),
        ("1259::regclass", Value::Int(1259)),
        ("pg_sleep(0)", Value::Null),
        ("'p'::information_schema.sql_identifier", text("p")),
    ]
}

#[tokio::test]
async fn every_type_becomes_a_value() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        let types = "CREATE TYPE mood AS ENUM ('ok'); CREATE DOMAIN label AS text";
        cluster.sql("postgres", types).await;
        let session = session(&cluster.url("postgres")).await;
        let samples = samples();
        let sql = |select: String| {
            select
                .replace("::mood", "::public.mood")
                .replace("::label", "::public.label")
        };
        for (expression, expected) in &samples {
            let rows = session
                .read(&sql(format!("SELECT {expression} AS a")))
                .await;
            let rows = rows.unwrap_or_else(|error| panic!("{expression}: {}", error.line()));
            assert_eq!(rows.rows, [[expected.clone()]], "{expression} on {version}");
            assert_eq!(rows.names, ["a"]);
        }
        let all: Vec<&str> = samples.iter().map(|(expression, _)| *expression).collect();
        let rows = session
            .read(&sql(format!("SELECT {}", all.join(", "))))
            .await
            .unwrap();
        let expected: Vec<Value> = samples.into_iter().map(|(_, value)| value).collect();
        assert_eq!(rows.rows[0], expected);
    }
}

#[tokio::test]
async fn types_without_a_value_are_named() {
    let cluster = Cluster::start(&Setup::default()).await;
    let session = session(&cluster.url("postgres")).await;
    let error = session
        .read("SELECT '(1,2)'::point AS place")
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read column \"place\" of type \"point\": there is no value for this type"
    );
    assert!(error.report().hint.unwrap().contains("\"place\"::text"));
    let error = session
        .read("SELECT relacl FROM pg_class LIMIT 1")
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Undefined { .. }), "{error}");
    let rows = session
        .read("SELECT 1 AS a, 2 AS b WHERE false")
        .await
        .unwrap();
    assert!(rows.rows.is_empty());
    assert_eq!(
        session.describe("SELECT 1 AS a, now() AS b").await.unwrap(),
        [
            ("a".to_owned(), "int4".to_owned()),
            ("b".to_owned(), "timestamptz".to_owned())
        ]
    );
}

#[tokio::test]
async fn limits_of_ours_are_told_from_those_of_others() {
    let cluster = Cluster::start(&Setup::default()).await;
    cluster.sql("postgres", "CREATE TABLE t (a int)").await;
    let mut target = target(&cluster.url("postgres"));
    target.statement_timeout = Duration::from_millis(300);
    let session = Session::connect(&target, "test").await.unwrap();
    let error = session.read("SELECT pg_sleep(10)").await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(matches!(
        error.blind(),
        Blind::Timeout { limit_ms: 300, .. }
    ));
    drop(session);
    // The limit of the statement is far away from that of the lock: which of them comes first is no matter of luck.
    let session = crate::session(&cluster.url("postgres")).await;
    let lock = cluster
        .hold("postgres", "LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        .await;
    let error = session
        .read("SELECT count(*) FROM public.t")
        .await
        .unwrap_err();
    assert!(matches!(error, Error::LockTimeout { .. }), "{error}");
    drop(lock);
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'pawang:test'";
    cluster.sql("postgres", kill).await;
    let error = session.read("SELECT 1").await.unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_stopped_answering_is_given_up() {
    let cluster = Cluster::start(&Setup::default()).await;
    let mut target = target(&cluster.url("postgres"));
    target.statement_timeout = Duration::from_millis(200);
    let session = Session::connect(&target, "test").await.unwrap();
    let rows = session.read("SELECT pg_backend_pid()").await.unwrap();
    let pid = i32::try_from(rows.rows[0][0].as_int().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let error = session.read("SELECT 1").await.unwrap_err();
    let next = session.read("SELECT 1").await.unwrap_err();
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(
        matches!(next, Error::Lost { .. }),
        "nobody waits for it twice: {next}"
    );
}

#[tokio::test]
async fn errors_keep_the_session() {
    let cluster = Cluster::start(&Setup::default()).await;
    cluster
        .sql(
            "postgres",
            "CREATE ROLE stranger LOGIN; CREATE TABLE t (a int)",
        )
        .await;
    let session = session(&cluster.url_as("stranger", "postgres")).await;
    for (sql, expected) in [
        (
            "SELECT * FROM public.t",
            "permission denied for user \"stranger\"",
        ),
        (
            "SELECT * FROM nowhere",
            "the statement names something that does not exist",
        ),
        ("SELECT 1/0", "the server refused a statement (22012)"),
        ("SELEC", "the server refused a statement (42601)"),
        (
            "SELECT 1; SELECT 2",
            "the server refused a statement (42601)",
        ),
    ] {
        let error = session.read(sql).await.unwrap_err();
        assert_eq!(error.to_string(), expected, "{sql}");
    }
    let error = session.read("SELECT * FROM public.t").await.unwrap_err();
    assert_eq!(error.blind().remedy(), "GRANT pg_monitor TO \"stranger\";");
    let detail = session
        .read("SELECT 1 FROM nowhere")
        .await
        .unwrap_err()
        .report()
        .detail;
    assert!(detail.unwrap().ends_with("; at character 15"));
    let (a, b) = tokio::join!(session.read("SELECT 1"), session.read("SELECT 2"));
    assert_eq!(
        (a.unwrap().rows, b.unwrap().rows),
        (vec![vec![Value::Int(1)]], vec![vec![Value::Int(2)]])
    );
    assert_eq!(session.read("").await.unwrap().rows.len(), 0);
}
