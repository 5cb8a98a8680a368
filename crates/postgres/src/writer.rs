//! A session that can change a server: only crate `act` may name it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future;
use pawang_core::{Server, Timestamp, Value};

use crate::connect::{self, Connected, Sql};
use crate::session::{self, Link, Rows};
use crate::{Error, SessionAttributes, Target, key};

/// The server cuts `application_name` here.
const APPLICATION_BYTES_MAX: usize = 63;
/// How long we wait for a statement that has no limit of its own: as good as for ever, and still an instant.
pub(crate) const FOREVER: Duration = Duration::from_secs(10 * 366 * 86_400);

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
    settings: Mutex<Settings>,
    /// What streams into the server looks at it: the server is not heard before the end.
    cancelled: AtomicBool,
}

/// How the session is set.
#[derive(Debug, Default)]
struct Settings {
    /// What its timeouts are set to.
    limits: Option<Limits>,
    /// The name that it takes with the next statement.
    name: Option<String>,
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

    async fn set_up(connected: Connected<Sql>, target: &Target) -> Result<Writer, Error> {
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
            settings: Mutex::default(),
            cancelled: AtomicBool::new(false),
        })
    }

    /// Gives the session the name of another action, with the next statement.
    pub fn rename(&self, action: &str) {
        self.settings().name = Some(application(action));
    }

    /// Sets a parameter of the session; `DEFAULT` is what it was at log-in.
    ///
    /// # Errors
    /// The server knows no such parameter or refuses the value.
    pub async fn set(&self, name: &str, value: &str) -> Result<(), Error> {
        let value = match value {
            "DEFAULT" => value.to_owned(),
            value => literal(value),
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
        self.cancelled.store(false, Ordering::Relaxed);
        let patience = limits.statement.unwrap_or(FOREVER);
        let statement = self.link.read_text_within(sql, patience, limits.lock);
        let Some(settings) = self.due(limits) else {
            return self.link.run(statement, patience).await;
        };
        // A message of their own, which the server reads first, but no round trip: each action needs them three times.
        let both = future::join(self.link.read_text(&settings), statement);
        let (set, result) = self.link.run(async { Ok(both.await) }, patience).await?;
        if set.is_ok() {
            let limits = Some(limits);
            *self.settings() = Settings { limits, name: None };
        }
        result.and_then(|rows| set.map(|_| rows))
    }

    /// Ends a transaction without effect, also one that an error has broken.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn roll_back(&self) -> Result<(), Error> {
        // The timeouts go back to those before the transaction, whatever they were.
        self.settings().limits = None;
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
        self.cancelled.store(true, Ordering::Relaxed);
        self.link.cancel().await;
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// Returns what has to be set before a statement under these limits.
    fn due(&self, limits: Limits) -> Option<String> {
        let settings = self.settings();
        let mut due = Vec::new();
        if let Some(name) = &settings.name {
            due.push(format!("SET application_name = {}", literal(name)));
        }
        if settings.limits != Some(limits) {
            let statement = limits.statement.map_or(0, |limit| limit.as_millis());
            let lock = limits.lock.as_millis();
            // Costs the server a tenth of what `set_config` does.
            due.push(format!(
                "SET statement_timeout = {statement}; SET lock_timeout = {lock}"
            ));
        }
        (!due.is_empty()).then(|| due.join("; "))
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns a text as SQL spells it; the session's strings conform to the standard.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
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
