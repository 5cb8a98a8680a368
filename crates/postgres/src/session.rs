//! A read-only session with one server, and what the server says about itself.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future;
use pawang_core::{Epoch, Role, Server, Timestamp, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::connect::{self, Connected, Route, Sql};
use crate::driver::Driver;
use crate::explain::{self, Limits};
use crate::{Error, Target, decode, key};

/// No statement of ours returns more rows.
pub const MAX_ROWS: usize = 1_000_000;
const OLDEST_MAJOR: u32 = 14;
/// How much longer than the server's own limit we wait before we give up on the server.
const GRACE: Duration = Duration::from_secs(2);
const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// What a statement returned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The names of the columns; empty when [`Session::read`] got no rows.
    pub names: Vec<String>,
    /// One value per column.
    pub rows: Vec<Vec<Value>>,
}

/// A read-only session with one server.
///
/// Nothing runs in the background: bytes move only while one of its futures is polled. Several reads at a time are
/// done one after the other.
pub struct Session {
    /// What the server says about itself.
    pub server: Server,
    link: Link,
    pooled: bool,
    /// Whether the peer of the connection is on this machine.
    local: bool,
}

/// A session with PgBouncer's console.
pub struct Console {
    link: Link,
}

/// Both halves of a connection.
pub(crate) struct Link {
    // Dropped in this order: without a client, the driver's last poll says goodbye.
    pub(crate) client: Client,
    driver: Mutex<Driver>,
    route: Route,
    pub(crate) address: String,
    user: String,
    pub(crate) statement_timeout: Duration,
    lock_timeout: Duration,
}

/// Connects to PgBouncer's console: no settings are sent, since it knows none.
pub async fn console(target: &Target, purpose: &str) -> Result<Console, Error> {
    let connected = connect::connect(target, &application_name(purpose)).await?;
    Ok(Console {
        link: Link::new(connected, target),
    })
}

/// The name by which administrators see what a connection is for.
pub(crate) fn application_name(purpose: &str) -> String {
    format!("pawang:{purpose}")
}

impl Console {
    /// Runs a console command such as `SHOW POOLS`; all values are texts.
    pub async fn read_text(&self, command: &str) -> Result<Rows, Error> {
        self.link
            .run(self.link.read_text(command), self.link.statement_timeout)
            .await
    }
}

impl Session {
    /// Connects, makes the session read-only and bounded, and asks the server what it is.
    pub async fn connect(target: &Target, purpose: &str) -> Result<Session, Error> {
        let application = application_name(purpose);
        match connect::connect(target, &application).await {
            Ok(connected) => Session::set_up(connected, target).await,
            Err(Error::NoDatabase { .. }) if target.database_guessed => {
                let target = target.with_database("postgres");
                let connected = connect::connect(&target, &application).await?;
                Session::set_up(connected, &target).await
            }
            Err(error) => Err(error),
        }
    }

    async fn set_up(connected: Connected<Sql>, target: &Target) -> Result<Session, Error> {
        check_version(&connected.version, &connected.name)?;
        let local = connected.local;
        let link = Link::new(connected, target);
        let backend = key::process_id(&link.client.cancel_token()).await;
        let set_up = settings(target, backend);
        let limit = target.statement_timeout;
        let all = future::join3(
            link.read_text(&set_up),
            link.read(FACTS, limit),
            // Refused to the role, or not there, as with some hosted servers: then the epoch has no identity.
            link.read(CONTROL, limit),
        );
        let (set, facts, control) = link.run(async { Ok(all.await) }, limit).await?;
        let set = set?;
        let facts = facts?;
        let control = control.unwrap_or_default();
        let direct = matches!(set.rows.as_slice(), [row] if row[0].as_text() != Some("0"));
        let server = server(&facts, &control, local, direct, &link.address)?;
        Ok(Session {
            server,
            link,
            pooled: !direct,
            local,
        })
    }

    /// Asks the server again what it is: a promotion changes role and timeline without ending any session.
    pub async fn refresh(&mut self) -> Result<(), Error> {
        let limit = self.link.statement_timeout;
        let both = future::join(self.link.read(FACTS, limit), self.link.read(CONTROL, limit));
        let (facts, control) = self.link.run(async { Ok(both.await) }, limit).await?;
        let control = control.unwrap_or_default();
        let known = self.server.epoch.clone();
        self.server = server(
            &facts?,
            &control,
            self.local,
            !self.pooled,
            &self.link.address,
        )?;
        if control.rows.is_empty() && self.server.epoch.started_at == known.started_at {
            self.server.epoch = known;
        }
        Ok(())
    }

    /// Measures the time from asking nothing to its answer: what the network takes of every statement.
    pub async fn round_trip(&self) -> Result<Duration, Error> {
        let started = Instant::now();
        let nothing = self.link.read_text("");
        self.link.run(nothing, self.link.statement_timeout).await?;
        Ok(started.elapsed())
    }

    /// Says whether the connection still stood when it was last used.
    pub fn alive(&self) -> bool {
        !self.link.client.is_closed()
    }

    /// Returns `host:port` of the host that was chosen.
    pub fn address(&self) -> &str {
        &self.link.address
    }

    /// Says whether a pooler stands between; then settings hold for one statement only, since the next one may run
    /// in another backend.
    pub fn pooled(&self) -> bool {
        self.pooled
    }

    /// Runs one statement without parameters and returns its typed rows.
    pub async fn read(&self, sql: &str) -> Result<Rows, Error> {
        self.read_within(sql, self.link.statement_timeout).await
    }

    /// Runs one statement with a `statement_timeout` of its own instead of the target's.
    pub async fn read_within(&self, sql: &str, limit: Duration) -> Result<Rows, Error> {
        let read = self.link.read(sql, limit);
        let (before, after) = if self.pooled {
            let begin = transaction_settings(limit, self.link.lock_timeout);
            (begin, "ROLLBACK".to_owned())
        } else if limit == self.link.statement_timeout {
            return self.link.run(read, limit).await;
        } else {
            (timeout(limit), timeout(self.link.statement_timeout))
        };
        // All three are sent together: one round trip, and what is to be undone is undone even if nobody waits for it.
        let all = future::join3(
            self.link.read_text(&before),
            read,
            self.link.read_text(&after),
        );
        let (before, rows, after) = self.link.run(async { Ok(all.await) }, limit).await?;
        before?;
        let rows = rows?;
        after?;
        Ok(rows)
    }

    /// Runs one statement whose rows are a number (`int4`) and bytes, and hands each row on without keeping it.
    ///
    /// One round trip, where a COPY takes two. Not behind a pooler, whose backends have none of this session's settings.
    pub async fn read_bytes(
        &self,
        sql: &str,
        each: &mut (dyn FnMut(i32, Option<&[u8]>) + Send),
    ) -> Result<(), Error> {
        assert!(!self.pooled, "settings of the session must hold");
        let limit = self.link.statement_timeout;
        self.link.run(self.link.read_bytes(sql, each), limit).await
    }

    /// Runs one command through the simple protocol; all values are texts.
    pub async fn read_text(&self, command: &str) -> Result<Rows, Error> {
        let limit = self.link.statement_timeout;
        if !self.pooled {
            return self.link.run(self.link.read_text(command), limit).await;
        }
        let begin = transaction_settings(limit, self.link.lock_timeout);
        let sql = format!("{begin}; {command}");
        let both = future::join(self.link.read_text(&sql), self.link.read_text("ROLLBACK"));
        let (rows, ended) = self.link.run(async { Ok(both.await) }, limit).await?;
        let rows = rows?;
        ended?;
        Ok(rows)
    }

    /// Returns the names and types of a statement's columns without running it.
    pub async fn describe(&self, sql: &str) -> Result<Vec<(String, String)>, Error> {
        self.link
            .run(self.link.describe(sql), self.link.statement_timeout)
            .await
    }

    /// Asks the server to cancel what this session is running, over a connection of its own.
    ///
    /// Nothing is reported: the statement that runs says how it ended.
    pub async fn cancel(&self) {
        self.link.cancel().await;
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }
}

impl Link {
    pub(crate) fn new(connected: Connected<Sql>, target: &Target) -> Link {
        Link {
            client: connected.talk.client,
            driver: Mutex::new(connected.talk.driver),
            route: connected.route,
            address: connected.name,
            user: target.user.clone(),
            statement_timeout: target.statement_timeout,
            lock_timeout: target.lock_timeout,
        }
    }

    /// Asks the server to cancel what runs, over a connection of its own.
    pub(crate) async fn cancel(&self) {
        let token = self.client.cancel_token();
        let request = self.route.cancel(&token);
        match tokio::time::timeout(CANCEL_TIMEOUT, request).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!("could not cancel: {error}"),
            Err(_) => tracing::debug!("could not cancel within {CANCEL_TIMEOUT:?}"),
        }
    }

    /// Moves bytes until `work` is done, for a little longer than the server's own limit at most.
    pub(crate) async fn run<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
        limit: Duration,
    ) -> Result<T, Error> {
        // Waiting for an earlier statement is no part of the limit.
        let mut driver = self.driver.lock().await;
        let limit = limit + GRACE;
        match tokio::time::timeout(limit, driver.run(&self.address, work)).await {
            Ok(result) => result,
            Err(_) => {
                // The server did not even cancel: it is stopped or the network swallows it. Nobody waits for it again.
                driver.hang_up();
                Err(Error::Timeout { limit })
            }
        }
    }

    pub(crate) async fn read(&self, sql: &str, limit: Duration) -> Result<Rows, Error> {
        let started = Instant::now();
        let explain = |error| self.explain(&error, started, limit, self.lock_timeout);
        let parameters = std::iter::empty::<(i32, Type)>();
        let stream = self.client.query_typed_raw(sql, parameters).await;
        let mut stream = pin!(stream.map_err(explain)?);
        let mut rows = Rows::default();
        let mut readers = Vec::new();
        while let Some(row) = stream.try_next().await.map_err(explain)? {
            if rows.rows.is_empty() {
                readers = decode::readers(row.columns())?;
                rows.names = row.columns().iter().map(|c| c.name().to_owned()).collect();
            }
            rows.push(decode::row(&row, &readers)?)?;
        }
        Ok(rows)
    }

    async fn read_bytes(
        &self,
        sql: &str,
        each: &mut (dyn FnMut(i32, Option<&[u8]>) + Send),
    ) -> Result<(), Error> {
        let started = Instant::now();
        let explain =
            |error| self.explain(&error, started, self.statement_timeout, self.lock_timeout);
        let parameters = std::iter::empty::<(i32, Type)>();
        let stream = self.client.query_typed_raw(sql, parameters).await;
        let mut stream = pin!(stream.map_err(explain)?);
        while let Some(row) = stream.try_next().await.map_err(explain)? {
            let number = row.try_get(0).map_err(explain)?;
            each(number, row.try_get(1).map_err(explain)?);
        }
        Ok(())
    }

    async fn describe(&self, sql: &str) -> Result<Vec<(String, String)>, Error> {
        let started = Instant::now();
        let statement = self.client.prepare(sql).await;
        let statement = statement.map_err(|error| {
            self.explain(&error, started, self.statement_timeout, self.lock_timeout)
        })?;
        let columns = statement.columns().iter();
        Ok(columns
            .map(|column| (column.name().to_owned(), column.type_().name().to_owned()))
            .collect())
    }

    pub(crate) async fn read_text(&self, command: &str) -> Result<Rows, Error> {
        self.read_text_within(command, self.statement_timeout, self.lock_timeout)
            .await
    }

    /// Sends one command whose session has these limits.
    pub(crate) async fn read_text_within(
        &self,
        command: &str,
        statement: Duration,
        lock: Duration,
    ) -> Result<Rows, Error> {
        let started = Instant::now();
        let explain = |error| self.explain(&error, started, statement, lock);
        let stream = self.client.simple_query_raw(command).await;
        let mut stream = pin!(stream.map_err(explain)?);
        let mut rows = Rows::default();
        while let Some(message) = stream.try_next().await.map_err(explain)? {
            match message {
                SimpleQueryMessage::RowDescription(columns) => {
                    rows.names = columns.iter().map(|c| c.name().to_owned()).collect();
                    rows.rows.clear();
                }
                SimpleQueryMessage::Row(row) => {
                    let value = |index| match row.try_get(index) {
                        Ok(Some(text)) => Value::Text(text.into()),
                        _ => Value::Null,
                    };
                    rows.push((0..row.len()).map(value).collect())?;
                }
                _ => {}
            }
        }
        Ok(rows)
    }

    pub(crate) fn explain(
        &self,
        error: &tokio_postgres::Error,
        started: Instant,
        statement: Duration,
        lock: Duration,
    ) -> Error {
        let limits = Limits {
            statement,
            lock,
            elapsed: started.elapsed(),
        };
        explain::statement(error, &self.user, &self.address, limits)
    }
}

impl Rows {
    fn push(&mut self, row: Vec<Value>) -> Result<(), Error> {
        if self.rows.len() >= MAX_ROWS {
            return Err(Error::TooManyRows { limit: MAX_ROWS });
        }
        self.rows.push(row);
        Ok(())
    }
}

/// Sets `statement_timeout` of the session; the search path is empty, so the function is named in full.
pub(crate) fn timeout(limit: Duration) -> String {
    let limit = limit.as_millis();
    format!("SELECT pg_catalog.set_config('statement_timeout', '{limit}', false)")
}

/// Refuses consoles and servers that are too old.
pub(crate) fn check_version(version: &str, address: &str) -> Result<(), Error> {
    let address = address.to_owned();
    if version.ends_with("/bouncer") {
        return Err(Error::IsConsole { address });
    }
    let digits = version.split(|c: char| !c.is_ascii_digit()).next();
    let major: u32 = digits.and_then(|digits| digits.parse().ok()).unwrap_or(0);
    if major < OLDEST_MAJOR {
        return Err(Error::TooOld {
            address,
            version: version.to_owned(),
        });
    }
    Ok(())
}

/// Sets the session up in one statement, and only if the backend is ours alone: behind a pooler that hands backends
/// around, the settings would stay with the next client.
fn settings(target: &Target, backend: i32) -> String {
    format!(
        "SELECT pg_catalog.count(pg_catalog.set_config(s.name, s.value, false))
        FROM (VALUES
            ('default_transaction_read_only', 'on'),
            ('statement_timeout', '{}'),
            ('lock_timeout', '{}'),
            ('idle_in_transaction_session_timeout', '{}'),
            -- A backend looks for its client every second, so that none survives a killed Pawang for long.
            ('client_connection_check_interval',
                CASE WHEN pg_catalog.strpos(pg_catalog.version(), 'linux') OPERATOR(pg_catalog.>) 0
                THEN '1000' ELSE '0' END),
            ('search_path', ''),
            ('jit', 'off'),
            ('timezone', 'UTC'),
            ('datestyle', 'ISO'),
            ('intervalstyle', 'postgres')
        ) AS s (name, value)
        WHERE pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) {backend}",
        target.statement_timeout.as_millis(),
        target.lock_timeout.as_millis(),
        IDLE_IN_TRANSACTION_TIMEOUT.as_millis(),
    )
}

/// The same for one transaction, for use behind a pooler.
fn transaction_settings(statement_timeout: Duration, lock_timeout: Duration) -> String {
    format!(
        "BEGIN READ ONLY; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}; SET LOCAL search_path = ''; \
        SET LOCAL jit = off; SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO'; SET LOCAL intervalstyle = 'postgres'",
        statement_timeout.as_millis(),
        lock_timeout.as_millis(),
    )
}

/// Asks the server over a direct connection what it is.
pub(crate) async fn ask(link: &Link, limit: Duration, local: bool) -> Result<Server, Error> {
    let both = future::join(link.read(FACTS, limit), link.read(CONTROL, limit));
    let (facts, control) = link.run(async { Ok(both.await) }, limit).await?;
    server(
        &facts?,
        &control.unwrap_or_default(),
        local,
        true,
        &link.address,
    )
}

const FACTS: &str = "
SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4 AS version,
    pg_catalog.current_setting('server_version') AS version_text,
    pg_catalog.pg_is_in_recovery() AS recovering,
    pg_catalog.pg_postmaster_start_time() AS started_at,
    current_user AS user_name,
    (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user) AS superuser,
    pg_catalog.pg_has_role(current_user, 'pg_monitor', 'USAGE') AS monitor,
    pg_catalog.current_database() AS database,
    CASE WHEN pg_catalog.pg_has_role(current_user, 'pg_read_all_settings', 'USAGE')
        THEN pg_catalog.current_setting('data_directory') END AS data_directory,
    pg_catalog.inet_server_addr() AS server_address";

const CONTROL: &str = "
SELECT s.system_identifier, c.timeline_id
FROM pg_catalog.pg_control_system() AS s, pg_catalog.pg_control_checkpoint() AS c";

fn server(
    facts: &Rows,
    control: &Rows,
    local: bool,
    direct: bool,
    address: &str,
) -> Result<Server, Error> {
    let row = facts.rows.first().ok_or_else(|| Error::Lost {
        address: address.to_owned(),
        message: "the server said nothing about itself".to_owned(),
    })?;
    let text = |index: usize| row[index].as_text().map(str::to_owned);
    let flag = |index: usize| row[index] == Value::Bool(true);
    let identity = control.rows.first();
    let number = |index: usize| identity.and_then(|row| row[index].as_int()).unwrap_or(0);
    // Behind a pooler only a socket or loopback between pooler and server tells that the server is here as well.
    let here = match row[9].as_text() {
        None => true,
        Some(address) => address
            .split('/')
            .next()
            .and_then(|ip| ip.parse::<std::net::IpAddr>().ok())
            .is_some_and(|ip| ip.is_loopback()),
    };
    Ok(Server {
        version: row[0]
            .as_int()
            .and_then(|v| u32::try_from(v).ok())
            .unwrap_or(0),
        version_text: text(1).unwrap_or_default(),
        role: if flag(2) {
            Role::Standby
        } else {
            Role::Primary
        },
        epoch: Epoch {
            system_identifier: number(0).cast_unsigned(),
            timeline: u32::try_from(number(1)).unwrap_or(0),
            started_at: match row[3] {
                Value::Time(at) => at,
                _ => Timestamp::UNIX_EPOCH,
            },
        },
        user: text(4).unwrap_or_default(),
        superuser: flag(5),
        monitor: flag(6),
        database: text(7).unwrap_or_default(),
        data_directory: text(8),
        local: local && (direct || here),
    })
}

#[cfg(test)]
mod tests {
    use super::check_version;

    #[test]
    fn refuses_servers_older_than_14_and_consoles() {
        for (version, expected) in [
            ("14.0", None),
            ("18.1 (Debian 18.1-1)", None),
            ("19devel", None),
            (
                "13.23",
                Some("\"db:5432\" runs PostgreSQL 13.23, and 14 is the oldest that Pawang reads"),
            ),
            (
                "9.6.24",
                Some("\"db:5432\" runs PostgreSQL 9.6.24, and 14 is the oldest that Pawang reads"),
            ),
            (
                "8.0.2",
                Some("\"db:5432\" runs PostgreSQL 8.0.2, and 14 is the oldest that Pawang reads"),
            ),
            (
                "1.18.0/bouncer",
                Some("\"db:5432\" is the console of PgBouncer and not a database"),
            ),
            (
                "",
                Some("\"db:5432\" runs PostgreSQL , and 14 is the oldest that Pawang reads"),
            ),
        ] {
            let refusal = check_version(version, "db:5432")
                .err()
                .map(|e| e.to_string());
            assert_eq!(refusal.as_deref(), expected);
        }
    }
}
