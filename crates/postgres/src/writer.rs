//! A session that can change a server: only crate `act` may name it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pawang_core::{Server, Timestamp, Value};

use crate::connect::{self, Connected};
use crate::session::{self, Link, Rows};
use crate::{Error, SessionAttributes, Target, key};

/// The server cuts `application_name` here.
const APPLICATION_BYTES_MAX: usize = 63;
/// How long we wait for a statement that has no limit of its own: as good as for ever, and still an instant.
const FOREVER: Duration = Duration::from_secs(10 * 366 * 86_400);

/// A session that can change a server; each statement is a message of its own, so VACUUM and CONCURRENTLY work.
///
/// It is refused on standbys and behind poolers. The server ends it, and what it runs, within a second after its client
/// is gone.
pub struct Writer {
    /// What the server says about itself.
    pub server: Server,
    /// The process id of its backend.
    pub backend: i32,
    /// When its backend began; with the process id it names the session for ever.
    pub backend_start: Timestamp,
    link: Link,
    /// What the session's timeouts are set to.
    limits: Mutex<Option<Limits>>,
}

/// The limits of one statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `statement_timeout`; none when not set.
    pub statement: Option<Duration>,
    /// `lock_timeout`.
    pub lock: Duration,
}

impl Writer {
    /// Connects to a primary for an action, which `application_name` names.
    ///
    /// # Errors
    /// The server is a standby, or a pooler stands between.
    pub async fn connect(target: &Target, action: &str) -> Result<Writer, Error> {
        let mut target = target.clone();
        if target.hosts.len() > 1 {
            // Of several hosts, the one that can be changed.
            target.target_session_attrs = SessionAttributes::Primary;
        }
        let connected = connect::connect(&target, &application(action)).await?;
        Writer::set_up(connected, &target).await
    }

    async fn set_up(connected: Connected, target: &Target) -> Result<Writer, Error> {
        session::check_version(&connected.version, &connected.name)?;
        let local = connected.local;
        let link = Link::new(connected, target);
        let announced = key::process_id(&link.client.cancel_token()).await;
        let limit = target.statement_timeout;
        let backend = link.run(backend(&link), limit).await?;
        if backend.0 != announced {
            return Err(Error::Pooled {
                address: link.address.clone(),
            });
        }
        let set = link.read_text(SETTINGS);
        link.run(set, limit).await?;
        let server = session::ask(&link, limit, local).await?;
        if server.role == pawang_core::Role::Standby {
            return Err(Error::WrongRole {
                address: link.address.clone(),
                found: "a standby",
                wanted: "a primary",
            });
        }
        Ok(Writer {
            server,
            backend: backend.0,
            backend_start: backend.1,
            link,
            limits: Mutex::new(None),
        })
    }

    /// Gives the session the name of another action.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn rename(&self, action: &str) -> Result<(), Error> {
        self.set("application_name", &application(action)).await
    }

    /// Sets a parameter of the session; `DEFAULT` is what it was at log-in.
    ///
    /// # Errors
    /// The server knows no such parameter or refuses the value.
    pub async fn set(&self, name: &str, value: &str) -> Result<(), Error> {
        let value = match value {
            "DEFAULT" => value.to_owned(),
            value => format!("'{}'", value.replace('\'', "''")),
        };
        let name = name.replace('"', "\"\"");
        let sql = format!("SET \"{name}\" = {value}");
        let limit = self.link.statement_timeout;
        self.link.run(self.link.read_text(&sql), limit).await?;
        Ok(())
    }

    /// Sends one statement under limits of its own; all values are texts.
    ///
    /// Nobody may drop the future while the statement runs: [`Writer::cancel`] ends it.
    ///
    /// # Errors
    /// Whatever the server says.
    pub async fn run(&self, sql: &str, limits: Limits) -> Result<Rows, Error> {
        self.limit(limits).await?;
        let patience = limits.statement.unwrap_or(FOREVER);
        let statement = self.link.read_text_within(sql, patience, limits.lock);
        self.link.run(statement, patience).await
    }

    /// Ends a transaction without effect, also one that an error has broken.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn roll_back(&self) -> Result<(), Error> {
        // The timeouts go back to those before the transaction, whatever they were.
        *self.known() = None;
        let limit = self.link.statement_timeout;
        self.link
            .run(self.link.read_text("ROLLBACK"), limit)
            .await?;
        Ok(())
    }

    /// Says whether the connection still stood when it was last used.
    pub fn alive(&self) -> bool {
        !self.link.client.is_closed()
    }

    /// Returns `host:port` of the host that was chosen.
    pub fn address(&self) -> &str {
        &self.link.address
    }

    /// Asks the server to cancel what this session is running, over a connection of its own.
    ///
    /// Nothing is reported: the statement that runs says how it ended.
    pub async fn cancel(&self) {
        self.link.cancel().await;
    }

    async fn limit(&self, limits: Limits) -> Result<(), Error> {
        if *self.known() == Some(limits) {
            return Ok(());
        }
        let statement = limits.statement.map_or(0, |limit| limit.as_millis());
        let lock = limits.lock.as_millis();
        // Costs the server a tenth of what `set_config` does, and each action needs it twice.
        let sql = format!("SET statement_timeout = {statement}; SET lock_timeout = {lock}");
        let limit = self.link.statement_timeout;
        self.link.run(self.link.read_text(&sql), limit).await?;
        *self.known() = Some(limits);
        Ok(())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<Limits>> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What makes every statement mean the same everywhere; the role's own settings must not change it.
const SETTINGS: &str = "SELECT pg_catalog.count(pg_catalog.set_config(s.name, s.value, false))
FROM (VALUES
    ('search_path', ''),
    ('default_transaction_read_only', 'off'),
    ('default_transaction_isolation', 'read committed'),
    ('standard_conforming_strings', 'on'),
    ('client_min_messages', 'error'),
    ('idle_in_transaction_session_timeout', '10000'),
    ('client_connection_check_interval',
        CASE WHEN pg_catalog.strpos(pg_catalog.version(), 'linux') OPERATOR(pg_catalog.>) 0
        THEN '1000' ELSE '0' END),
    ('timezone', 'UTC'),
    ('datestyle', 'ISO'),
    ('intervalstyle', 'postgres')
) AS s (name, value)";

const BACKEND: &str = "SELECT a.pid, a.backend_start FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) AS a";

async fn backend(link: &Link) -> Result<(i32, Timestamp), Error> {
    let rows = link.read(BACKEND, link.statement_timeout).await?;
    let row = rows.rows.first();
    let pid = row
        .and_then(|row| row[0].as_int())
        .and_then(|pid| i32::try_from(pid).ok());
    match (pid, row.map(|row| &row[1])) {
        (Some(pid), Some(Value::Time(start))) => Ok((pid, *start)),
        _ => Err(Error::Lost {
            address: link.address.clone(),
            message: "the server said nothing about the session".to_owned(),
        }),
    }
}

/// Returns `pawang:<action>`, no longer than the server keeps it.
fn application(action: &str) -> String {
    let name = format!("pawang:{action}");
    let end = name.floor_char_boundary(APPLICATION_BYTES_MAX);
    name[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::application;

    #[test]
    fn application_names_fit_the_server() {
        assert_eq!(application("vacuum:dw.fact"), "pawang:vacuum:dw.fact");
        let long = application(&"ü".repeat(60));
        assert_eq!(long.len(), 63);
        assert!(long.ends_with('ü'));
    }
}
