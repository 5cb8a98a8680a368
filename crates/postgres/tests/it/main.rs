//! Against real servers of the test bed; one module per subject.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod connect;
mod control_file;
mod hosts;
mod leave;
mod middle;
mod patroni;
mod pooler;
mod read;
mod refuse;
mod replication;
mod target;
mod tls;
mod writer;

use std::time::Duration;

use pawang_postgres::{Environment, Error, Session, Target};

/// An environment without variables.
fn environment() -> Environment {
    Environment {
        os_user: "nobody".to_owned(),
        ..Environment::default()
    }
}

fn target(text: &str) -> Target {
    let mut target = Target::parse(text, &environment()).unwrap();
    target.connect_timeout = Duration::from_secs(30);
    target
}

async fn session(text: &str) -> Session {
    Session::connect(&target(text), "test")
        .await
        .unwrap_or_else(|error| panic!("{text}: {}", error.report()))
}

async fn refusal(text: &str) -> Error {
    match Session::connect(&target(text), "test").await {
        Ok(_) => panic!("{text}: it must not connect"),
        Err(error) => error,
    }
}

/// Returns the first value of the first row as text.
async fn one(session: &Session, sql: &str) -> String {
    let rows = session.read(sql).await.unwrap();
    rows.rows[0][0].to_string()
}
