//! Who answers for a server before a backup begins: the replication protocol, or SQL where the role may not use that.

use bytes::Bytes;
use pawang_core::{Role, Value};
use pawang_postgres::Session;
use pawang_postgres::replication::Replication;

use super::lanes::{self, WalFiles};
use super::{Reading, TakeRequest};
use crate::Error;
use crate::wal::Timeline;

/// The timeline that a server writes, or the newest that a standby replayed.
const TIMELINE: &str = "\
SELECT CASE
           WHEN pg_catalog.pg_is_in_recovery()
           THEN GREATEST(c.timeline_id, r.min_recovery_end_timeline)::pg_catalog.int8
           ELSE ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))
                    ::pg_catalog.bit(32)::pg_catalog.int8
       END
  FROM pg_catalog.pg_control_checkpoint() AS c, pg_catalog.pg_control_recovery() AS r";

/// Whether the role may not replicate, or the server lets nobody do so.
const NEVER: &str = "\
SELECT pg_catalog.current_setting('max_wal_senders') = '0'
       OR NOT EXISTS (SELECT
                        FROM pg_catalog.pg_roles AS r
                       WHERE r.rolname = session_user
                         AND (r.rolsuper OR r.rolreplication))";

/// A way to ask.
pub(super) enum Contact {
    /// The replication protocol.
    Replication(Replication),
    /// SQL, and why not the other.
    Sql(Box<Session>, pawang_postgres::Error),
}

/// Who the server is.
pub(super) struct Identity {
    pub(super) system_identifier: u64,
    pub(super) timeline: Timeline,
    /// `server_version_num`.
    pub(super) version: u32,
    pub(super) standby: bool,
}

impl Contact {
    /// Connects by the replication protocol; where that is refused and lanes would do, over SQL.
    pub(super) async fn open(request: &TakeRequest) -> Result<Contact, Error> {
        let refused = match Replication::connect(&request.target, "backup").await {
            Ok(replication) => return Ok(Contact::Replication(replication)),
            Err(error) => error,
        };
        let session = match request.reading {
            Reading::Protocol | Reading::Local => return Err(refused.into()),
            Reading::Auto | Reading::Lanes => Session::connect(&request.target, "backup").await,
        };
        let Ok(session) = session else {
            return Err(refused.into());
        };
        // Where nobody asked for lanes, what they lack is not what is missing; and a protocol that is only taken now is waited for.
        if request.reading == Reading::Auto
            && (!never_let_in(&refused, &session).await?
                || lanes::lacking(&session).await?.is_some())
        {
            return Err(refused.into());
        }
        Ok(Contact::Sql(Box::new(session), refused))
    }

    /// Returns `host:port`.
    pub(super) fn address(&self) -> &str {
        match self {
            Contact::Replication(replication) => replication.address(),
            Contact::Sql(session, _) => session.address(),
        }
    }

    /// Asks who the server is.
    pub(super) async fn identify(&mut self) -> Result<Identity, Error> {
        match self {
            Contact::Replication(replication) => {
                let system = replication.identify_system().await?;
                Ok(Identity {
                    system_identifier: system.system_identifier,
                    timeline: Timeline(system.timeline),
                    version: u32::try_from(replication.server_version()).unwrap_or(0),
                    standby: replication.in_recovery(),
                })
            }
            Contact::Sql(session, _) => {
                let rows = session.read(TIMELINE).await?;
                let timeline = rows.rows.first().and_then(|row| row.first()?.as_int());
                let timeline = timeline.and_then(|number| u32::try_from(number).ok());
                let server = &session.server;
                let system_identifier = server.epoch.system_identifier;
                match timeline {
                    Some(timeline) if timeline > 0 && system_identifier > 0 => Ok(Identity {
                        system_identifier,
                        timeline: Timeline(timeline),
                        version: server.version,
                        standby: server.role == Role::Standby,
                    }),
                    _ => Err(Error::Incomplete {
                        address: session.address().to_owned(),
                        problem: "it does not say which cluster it is".to_owned(),
                    }),
                }
            }
        }
    }

    /// Returns a setting as the server writes it.
    pub(super) async fn show(&mut self, name: &str) -> Result<String, Error> {
        match self {
            Contact::Replication(replication) => Ok(replication.show(name).await?),
            Contact::Sql(session, _) => {
                let sql = format!("SELECT pg_catalog.current_setting('{name}')");
                let rows = session.read(&sql).await?;
                let text = rows.rows.first().and_then(|row| row.first());
                let text = text.and_then(Value::as_text);
                Ok(text.unwrap_or_default().to_owned())
            }
        }
    }

    /// Returns the history file of a timeline.
    pub(super) async fn history(
        &mut self,
        request: &TakeRequest,
        timeline: Timeline,
    ) -> Result<Bytes, Error> {
        match self {
            Contact::Replication(replication) => {
                Ok(replication.timeline_history(timeline.0).await?.bytes)
            }
            Contact::Sql(..) => {
                let files = WalFiles::open(&request.target).await?;
                Ok(files.history(timeline).await?.into())
            }
        }
    }
}

/// Says whether a role that was refused would be so the next time too: by its rights, `pg_hba.conf`, or a setting.
async fn never_let_in(refused: &pawang_postgres::Error, session: &Session) -> Result<bool, Error> {
    use pawang_postgres::Error as Refusal;
    let by_right = matches!(
        refused,
        Refusal::NoReplication { .. } | Refusal::Refused { .. } | Refusal::PasswordMissing { .. }
    );
    if by_right {
        return Ok(true);
    }
    let rows = session.read(NEVER).await?;
    let never = rows.rows.first().and_then(|row| row.first());
    Ok(matches!(never, Some(Value::Bool(true))))
}
