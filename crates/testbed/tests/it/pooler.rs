//! PgBouncer pools a cluster and shows its console.

use pawang_testbed::{Cluster, Pooler, Setup};

#[tokio::test]
async fn answers_in_console_and_pools() {
    if !Pooler::installed() {
        return;
    }
    let cluster = Cluster::start(&Setup::default()).await;
    let pooler = Pooler::start(&cluster, "pool_mode = transaction").await;
    let version = pooler.console("SHOW VERSION").await;
    let version = version[0][0].as_deref().expect("a version");
    assert!(version.starts_with("PgBouncer 1."), "{version}");
    assert!(
        pooler
            .url("pgbouncer")
            .starts_with("postgresql:///pgbouncer?host=/")
    );

    let config: tokio_postgres::Config = pooler.url("postgres").parse().expect("a libpq URL");
    let (client, connection) = config
        .connect(tokio_postgres::NoTls)
        .await
        .expect("trust on the socket");
    let session = async {
        let rows = client.simple_query("SELECT 1").await.expect("it pools");
        assert!(!rows.is_empty());
        let pools = pooler.console("SHOW POOLS").await;
        let mine = |row: &&Vec<Option<String>>| row[0].as_deref() == Some("postgres");
        let pool = pools.iter().find(mine).expect("a pool of this database");
        assert_eq!(
            pool.iter().flatten().next_back().map(String::as_str),
            Some("transaction")
        );
    };
    tokio::select! {
        () = session => {}
        ended = connection => panic!("{ended:?}"),
    }
    let directory = pooler.socket_directory().to_owned();
    drop(pooler);
    assert!(!directory.exists());
}
