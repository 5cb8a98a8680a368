//! From the driver's errors to ours: by SQLSTATE and type, hardly ever by text.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use tokio_postgres::error::{DbError, ErrorPosition};

use crate::wire::{is_greeting, show};
use crate::{Error, tls};

/// Whom we talk to and as whom, for messages.
pub(crate) struct Peer<'a> {
    pub(crate) address: String,
    pub(crate) host: String,
    pub(crate) user: &'a str,
    pub(crate) database: &'a str,
    pub(crate) password: bool,
}

/// Explains what went wrong before anything was sent by the server that could be understood.
pub(crate) fn greeting(error: io::Error, peer: &Peer<'_>, heard: Option<Vec<u8>>) -> Error {
    let address = peer.address.clone();
    match heard {
        Some(bytes) => Error::NotPostgres {
            address,
            heard: show(&bytes),
        },
        None if is_hang_up(&error) => Error::Closed { address },
        None => Error::Unreachable {
            address,
            source: error,
        },
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

/// Explains why a log-in did not work out; `heard` is what the peer sent first, where that was not encrypted.
pub(crate) fn log_in(
    error: tokio_postgres::Error,
    peer: &Peer<'_>,
    heard: Option<Vec<u8>>,
) -> Error {
    let address = peer.address.clone();
    if let Some(refusal) = error.as_db_error() {
        return refused(refusal, peer);
    }
    if let Some(bytes) = heard.as_deref().filter(|bytes| !is_greeting(bytes)) {
        return Error::NotPostgres {
            address,
            heard: show(bytes),
        };
    }
    let cause = error.source();
    if let Some(problem) = cause.and_then(|cause| tls::problem(cause, &peer.host)) {
        return Error::Tls { address, problem };
    }
    let io = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
    if error.is_closed() || io.is_some_and(is_hang_up) {
        return Error::Closed { address };
    }
    if let Some(io) = io {
        let source = io::Error::new(io.kind(), io.to_string());
        return Error::Unreachable { address, source };
    }
    let words = cause.map_or_else(|| error.to_string(), ToString::to_string);
    // The driver has no type for this; a test with a real server holds the text.
    if !peer.password && words == "password missing" {
        return Error::PasswordMissing {
            address,
            user: peer.user.to_owned(),
            database: peer.database.to_owned(),
        };
    }
    Error::LogIn {
        address,
        user: peer.user.to_owned(),
        problem: words,
    }
}

fn refused(refusal: &DbError, peer: &Peer<'_>) -> Error {
    let address = peer.address.clone();
    let message = words(refusal);
    match refusal.code().code() {
        // PgBouncer refuses log-ins with 08P01.
        sqlstate @ ("28P01" | "28000" | "08P01") => Error::Refused {
            address,
            user: peer.user.to_owned(),
            database: peer.database.to_owned(),
            sqlstate: sqlstate.to_owned(),
            message,
        },
        "3D000" => Error::NoDatabase {
            address,
            database: peer.database.to_owned(),
        },
        "53300" => Error::TooManyConnections { address, message },
        "57P01" | "57P02" | "57P03" => Error::StartingUp { address, message },
        _ => statement_refused(refusal, peer.user, &address, None),
    }
}

/// The limits of a statement, and how long it ran.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) statement: Duration,
    pub(crate) lock: Duration,
    pub(crate) elapsed: Duration,
}

/// Explains why a statement did not work out.
pub(crate) fn statement(
    error: &tokio_postgres::Error,
    user: &str,
    address: &str,
    limits: Limits,
) -> Error {
    match error.as_db_error() {
        Some(refusal) => statement_refused(refusal, user, address, Some(limits)),
        None => Error::Lost {
            address: address.to_owned(),
            message: match error.source() {
                Some(cause) => cause.to_string(),
                None => error.to_string(),
            },
        },
    }
}

fn statement_refused(
    refusal: &DbError,
    user: &str,
    address: &str,
    limits: Option<Limits>,
) -> Error {
    let sqlstate = refusal.code().code().to_owned();
    let message = words(refusal);
    match (sqlstate.as_str(), limits) {
        ("42501", _) => Error::Privilege {
            user: user.to_owned(),
            message,
        },
        // One code for `statement_timeout` and for somebody's pg_cancel_backend: only the clock tells them apart.
        ("57014", Some(limits)) if limits.elapsed >= limits.statement.mul_f64(0.9) => {
            Error::Timeout {
                limit: limits.statement,
            }
        }
        ("57014", _) => Error::Cancelled { message },
        ("55P03", Some(limits)) => Error::LockTimeout {
            limit: limits.lock,
            message,
        },
        ("57P01" | "57P02" | "57P03" | "57P05" | "25P03", _) => Error::Lost {
            address: address.to_owned(),
            message,
        },
        ("42P01" | "42703" | "42883" | "42704" | "3F000", _) => {
            Error::Undefined { sqlstate, message }
        }
        _ => Error::Sql { sqlstate, message },
    }
}

/// The server's message with its detail, hint and position; never the statement.
fn words(refusal: &DbError) -> String {
    let mut words = refusal.message().to_owned();
    for more in [refusal.detail(), refusal.hint()].into_iter().flatten() {
        words.push_str("; ");
        words.push_str(more);
    }
    if let Some(ErrorPosition::Original(position)) = refusal.position() {
        words.push_str(&format!("; at character {position}"));
    }
    words
}
