//! What a session is after connecting.

use pawang_core::Role;
use pawang_postgres::{Host, Session};
use pawang_testbed::{Cluster, Setup, versions};

use crate::{environment, one, session, target};

#[tokio::test]
async fn a_session_knows_its_server_and_is_bounded() {
    for version in versions() {
        let cluster = Cluster::start(&Setup {
            version: Some(version),
            ..Setup::default()
        })
        .await;
        let session = session(&cluster.url("postgres")).await;
        let server = &session.server;
        assert_eq!(server.major(), version.0);
        assert_eq!(server.role, Role::Primary);
        assert_eq!(
            (server.superuser, server.monitor, server.local),
            (true, true, true)
        );
        assert_eq!(
            (server.user.as_str(), server.database.as_str()),
            ("postgres", "postgres")
        );
        assert_eq!(
            server.data_directory.as_deref(),
            cluster.data_directory().to_str()
        );
        let identity = cluster
            .sql(
                "postgres",
                "SELECT system_identifier FROM pg_control_system()",
            )
            .await;
        assert_eq!(
            Some(server.epoch.system_identifier.to_string()),
            identity[0][0]
        );
        assert_eq!(server.epoch.timeline, 1);
        assert!(!session.pooled());
        let settings = "SELECT string_agg(name || '=' || setting, ' ' ORDER BY lower(name)) FROM pg_settings
            WHERE name IN ('application_name', 'client_connection_check_interval', 'default_transaction_read_only',
                'idle_in_transaction_session_timeout', 'jit', 'lock_timeout', 'search_path', 'statement_timeout', 'TimeZone')";
        assert_eq!(
            one(&session, settings).await,
            "application_name=pawang:test client_connection_check_interval=1000 default_transaction_read_only=on \
            idle_in_transaction_session_timeout=10000 jit=off lock_timeout=200 search_path= statement_timeout=15000 TimeZone=UTC"
        );
        let error = session.read("CREATE TABLE t (a int)").await.unwrap_err();
        assert!(error.line().contains("25006"), "{}", error.line());
    }
}

#[tokio::test]
async fn a_monitor_sees_all_and_a_stranger_still_connects() {
    let cluster = Cluster::start(&Setup::default()).await;
    let monitor = cluster.monitor().await;
    cluster
        .sql(
            "postgres",
            "CREATE ROLE stranger LOGIN; REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC",
        )
        .await;
    let session_of_monitor = session(&cluster.url_as(&monitor, "postgres")).await;
    let server = &session_of_monitor.server;
    assert_eq!((server.superuser, server.monitor), (false, true));
    assert!(server.data_directory.is_some());
    let session_of_stranger = session(&cluster.url_as("stranger", "postgres")).await;
    let server = &session_of_stranger.server;
    assert_eq!((server.superuser, server.monitor), (false, false));
    assert_eq!(server.data_directory, None);
    assert_eq!(server.epoch.system_identifier, 0, "the function is refused");
    assert!(server.epoch.started_at.as_second() > 0);
}

#[tokio::test]
async fn without_a_named_database_that_of_the_user_or_postgres_will_do() {
    let cluster = Cluster::start(&Setup::default()).await;
    let monitor = cluster.monitor().await;
    let directory = cluster.socket_directory().display();
    let text = format!("host={directory} user={monitor}");
    assert_eq!(session(&text).await.server.database, "postgres");
    cluster.sql("postgres", "CREATE DATABASE monitor").await;
    assert_eq!(session(&text).await.server.database, "monitor");
    let error = crate::refusal(&format!("{text} dbname=missing")).await;
    assert_eq!(
        error.to_string(),
        format!("database \"missing\" does not exist on \"{directory}:5432\"")
    );
}

#[tokio::test]
async fn loopback_is_local() {
    let cluster = Cluster::start(&Setup {
        tcp: true,
        ..Setup::default()
    })
    .await;
    for host in ["127.0.0.1", "localhost"] {
        let text = format!("postgresql://postgres@{host}:{}/postgres", cluster.port());
        let session = session(&text).await;
        assert!(session.server.local);
        assert_eq!(session.address(), format!("{host}:{}", cluster.port()));
    }
}

#[tokio::test]
async fn a_service_and_a_password_file_are_used() {
    use std::os::unix::fs::PermissionsExt;
    let cluster = Cluster::start(&Setup {
        hba: Some("local all all scram-sha-256"),
        ..Setup::default()
    })
    .await;
    cluster
        .sql("postgres", "CREATE ROLE ann LOGIN PASSWORD 'a:b'")
        .await;
    let home = tempfile::tempdir().unwrap();
    let directory = cluster.socket_directory().display();
    let write = |name: &str, text: String| std::fs::write(home.path().join(name), text).unwrap();
    write(
        ".pg_service.conf",
        format!("[dwh]\nhost={directory}\ndbname=postgres\nuser=ann\n"),
    );
    write(".pgpass", format!("{directory}:*:*:ann:a\\:b\n"));
    let mode = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(home.path().join(".pgpass"), permissions).unwrap();
    };
    let mut env = environment();
    env.home = Some(home.path().to_path_buf());
    env.variables
        .insert("PGSERVICE".to_owned(), "dwh".to_owned());
    let target = pawang_postgres::Target::from_environment(&env).unwrap();
    mode(0o600);
    let session = Session::connect(&target, "test").await.unwrap();
    assert_eq!(session.server.user, "ann");
    mode(0o644);
    let error = Session::connect(&target, "test").await.err().unwrap();
    assert!(error.to_string().contains("wants a password"), "{error}");
    env.variables
        .insert("PGPASSWORD".to_owned(), "a:b".to_owned());
    let target = pawang_postgres::Target::from_environment(&env).unwrap();
    assert!(Session::connect(&target, "test").await.is_ok());
}

#[tokio::test]
async fn an_address_spares_the_look_up_of_the_name() {
    let cluster = Cluster::start(&Setup {
        tcp: true,
        ..Setup::default()
    })
    .await;
    let text = format!(
        "host=db.example hostaddr=127.0.0.1 port={} user=postgres dbname=postgres sslmode=disable",
        cluster.port()
    );
    assert!(matches!(&target(&text).hosts[0], Host::Tcp { name, .. } if name == "db.example"));
    assert!(session(&text).await.server.local);
}
