//! PgBouncer: its console, and databases behind it.

use pawang_core::Value;
use pawang_postgres::{Error, console};
use pawang_testbed::{Cluster, Pooler, Setup};

use crate::{one, refusal, session, target};

#[tokio::test]
async fn the_console_is_read_as_text() {
    if !Pooler::installed() {
        return;
    }
    let cluster = Cluster::start(&Setup::default()).await;
    let pooler = Pooler::start(&cluster, "").await;
    let url = pooler.url("pgbouncer");
    let console = console(&target(&url), "test").await.unwrap();
    let rows = console.read_text("SHOW CONFIG").await.unwrap();
    let key = rows.names.iter().position(|name| name == "key").unwrap();
    let texts = rows.rows.iter().map(|row| &row[key]);
    assert!(
        texts
            .clone()
            .any(|text| *text == Value::Text("pool_mode".into()))
    );
    let error = console.read_text("SHOW NONSENSE").await.unwrap_err();
    assert!(matches!(error, Error::Sql { .. }), "{error}");
    assert!(
        console.read_text("SHOW POOLS").await.is_ok(),
        "an error must not end the session"
    );
    let error = refusal(&url).await;
    assert!(matches!(error, Error::IsConsole { .. }), "{error}");
}

#[tokio::test]
async fn settings_do_not_stay_with_pooled_backends() {
    if !Pooler::installed() {
        return;
    }
    let cluster = Cluster::start(&Setup::default()).await;
    let pooler = Pooler::start(&cluster, "pool_mode = transaction\ndefault_pool_size = 1").await;
    let session = session(&pooler.url("postgres")).await;
    assert!(session.pooled());
    let settings = "SELECT concat_ws(' ', current_setting('transaction_read_only'),
        current_setting('statement_timeout'), current_setting('lock_timeout'), current_setting('search_path'))";
    assert_eq!(one(&session, settings).await, "on 15s 200ms \"\"");
    let error = session.read("SELECT no_such_column").await.unwrap_err();
    assert!(matches!(error, Error::Undefined { .. }), "{error}");
    assert_eq!(one(&session, "SELECT 1").await, "1");
    let text = session.read_text("SHOW lock_timeout").await.unwrap();
    assert_eq!(text.rows, [[Value::Text("200ms".into())]]);
    // Another client gets the same backend, as it was.
    let rows = cluster
        .sql(
            "postgres",
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'",
        )
        .await;
    assert_eq!(
        rows[0][0].as_deref(),
        Some("2"),
        "one pooled backend and the one that asks"
    );
    let other = settings_left_behind(&pooler).await;
    assert_eq!(other, "off 0 0 \"$user\", public");
}

#[tokio::test]
async fn the_role_of_a_pooled_server_is_asked_for() {
    if !Pooler::installed() {
        return;
    }
    let cluster = Cluster::start(&Setup::default()).await;
    let pooler = Pooler::start(&cluster, "pool_mode = transaction").await;
    let url = pooler.url("postgres");
    for wanted in ["primary", "read-write"] {
        session(&format!("{url}&target_session_attrs={wanted}")).await;
    }
    for wanted in ["standby", "read-only"] {
        let error = refusal(&format!("{url}&target_session_attrs={wanted}")).await;
        assert!(matches!(error, Error::WrongRole { .. }), "{error}");
    }
}

async fn settings_left_behind(pooler: &Pooler) -> String {
    // A console session sends no settings, so that it sees what the backend was left with.
    let plain = console(&target(&pooler.url("postgres")), "test")
        .await
        .unwrap();
    let sql = "SELECT concat_ws(' ', current_setting('default_transaction_read_only'),
        current_setting('statement_timeout'), current_setting('lock_timeout'), current_setting('search_path'))";
    let rows = plain.read_text(sql).await.unwrap();
    rows.rows[0][0].to_string()
}
