//! Sessions of the tests themselves, by tokio-postgres without TLS.

use std::path::Path;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};

/// Rows as text, column by column.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

/// Opens a session over a Unix socket; the task ends when the client is dropped or the server goes away.
pub(crate) async fn open(
    directory: &Path,
    port: u16,
    user: &str,
    database: &str,
) -> Result<(Client, JoinHandle<()>), Error> {
    let (client, connection) = Config::new()
        .host_path(directory)
        .port(port)
        .user(user)
        .dbname(database)
        .application_name("testbed")
        .connect(NoTls)
        .await?;
    let task = tokio::spawn(async move {
        // A server that is killed under its clients is what many tests are about.
        let _ended = connection.await;
    });
    Ok((client, task))
}

/// Runs statements by the simple protocol and returns the rows of the last one.
pub(crate) async fn rows(client: &Client, sql: &str) -> Result<Rows, Error> {
    let mut current = Rows::new();
    let mut last = Rows::new();
    for message in client.simple_query(sql).await? {
        match message {
            SimpleQueryMessage::Row(row) => current.push(
                (0..row.len())
                    .map(|column| row.get(column).map(str::to_owned))
                    .collect(),
            ),
            SimpleQueryMessage::CommandComplete(_) => last = std::mem::take(&mut current),
            _ => {}
        }
    }
    Ok(last)
}

/// Runs statements in a superuser session of their own, which is closed before this returns.
///
/// # Panics
///
/// With the server's message on an error.
pub(crate) async fn once(directory: &Path, port: u16, database: &str, sql: &str) -> Rows {
    try_once(directory, port, database, sql)
        .await
        .unwrap_or_else(|error| panic!("{}\n{sql}", explain(&error)))
}

/// Like [`once`], but returns the error.
pub(crate) async fn try_once(
    directory: &Path,
    port: u16,
    database: &str,
    sql: &str,
) -> Result<Rows, Error> {
    let (client, task) = open(directory, port, "postgres", database).await?;
    let rows = rows(&client, sql).await;
    drop(client);
    let _ended = task.await;
    rows
}

/// Returns an error with the server's own words.
pub(crate) fn explain(error: &Error) -> String {
    match error.as_db_error() {
        Some(server) => format!(
            "{}: {} ({}){}",
            server.severity(),
            server.message(),
            server.code().code(),
            server
                .detail()
                .map(|d| format!(": {d}"))
                .unwrap_or_default()
        ),
        None => match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
}
