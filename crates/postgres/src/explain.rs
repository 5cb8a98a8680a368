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
    /// Whether the replication protocol is spoken.
    pub(crate) replication: bool,
}

/// What a server says when it refuses.
pub(crate) struct Refusal {
    /// The five-character code.
    pub(crate) sqlstate: String,
    /// The server's message with its detail, hint and position; never the statement.
    pub(crate) message: String,
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
        return refused(Refusal::new(refusal), peer);
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

/// Explains what went wrong with the connection itself before the log-in was done.
pub(crate) fn broken(error: &io::Error, peer: &Peer<'_>, heard: Option<Vec<u8>>) -> Error {
    let address = peer.address.clone();
    if let Some(bytes) = heard.filter(|bytes| !is_greeting(bytes)) {
        let heard = show(&bytes);
        return Error::NotPostgres { address, heard };
    }
    if let Some(problem) = tls::problem(error, &peer.host) {
        return Error::Tls { address, problem };
    }
    if is_hang_up(error) {
        return Error::Closed { address };
    }
    let source = io::Error::new(error.kind(), error.to_string());
    Error::Unreachable { address, source }
}

/// Explains why the server refused a log-in.
pub(crate) fn refused(refusal: Refusal, peer: &Peer<'_>) -> Error {
    let address = peer.address.clone();
    let Refusal { sqlstate, message } = refusal;
    let user = peer.user.to_owned();
    match sqlstate.as_str() {
        "42501" if peer.replication => Error::NoReplication { user, message },
        // WAL senders have slots of their own, apart from max_connections.
        // The server says how many there may be at most, in any language: with none, waiting for one is of no use.
        "53300" if peer.replication && last_number(&message) == Some(0) => {
            Error::WalSendersOff { address, message }
        }
        "53300" if peer.replication => Error::NoWalSender { address, message },
        // PgBouncer refuses log-ins with 08P01.
        "28P01" | "28000" | "08P01" => Error::Refused {
            address,
            user,
            database: peer.database.to_owned(),
            sqlstate,
            message,
        },
        "3D000" => Error::NoDatabase {
            address,
            database: peer.database.to_owned(),
        },
        "53300" => Error::TooManyConnections { address, message },
        "57P01" | "57P02" | "57P03" => Error::StartingUp { address, message },
        _ => statement_refused(Refusal { sqlstate, message }, peer.user, &address, None),
    }
}

fn last_number(text: &str) -> Option<u32> {
    let mut words = text.rsplit(|letter: char| !letter.is_ascii_digit());
    words.find(|word| !word.is_empty())?.parse().ok()
}

/// Explains why the server refused a replication command.
pub(crate) fn replication(
    refusal: Refusal,
    command: &'static str,
    slot: Option<&str>,
    user: &str,
    address: &str,
) -> Error {
    let Refusal { sqlstate, message } = refusal;
    let slot = slot.map(str::to_owned);
    let starting = command == "START_REPLICATION";
    match (sqlstate.as_str(), slot) {
        ("42501", _) => Error::NoReplication {
            user: user.to_owned(),
            message,
        },
        // No slot is free, or the server has none at all.
        ("53400", _) => Error::NoFreeSlot { message },
        ("55000", Some(_)) if command == "CREATE_REPLICATION_SLOT" => Error::NoFreeSlot { message },
        ("42710", Some(slot)) => Error::SlotExists { slot },
        ("42704", Some(slot)) => Error::NoSlot { slot },
        ("55006", Some(slot)) => Error::SlotActive { slot, message },
        ("55000" | "0A000", Some(slot)) => Error::SlotUnusable { slot, message },
        ("58P01", _) if starting => Error::WalRemoved { message },
        // The check after the segment was read goes by a stale error number of the operating system.
        ("XX000", _) if starting && message.contains("has already been removed") => {
            Error::WalRemoved { message }
        }
        ("57P01" | "57P02" | "57P03", _) => Error::Lost {
            address: address.to_owned(),
            message,
        },
        _ => Error::Replication {
            command,
            sqlstate,
            message,
        },
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
        Some(refusal) => statement_refused(Refusal::new(refusal), user, address, Some(limits)),
        None => Error::Lost {
            address: address.to_owned(),
            message: match error.source() {
                Some(cause) => cause.to_string(),
                None => error.to_string(),
            },
        },
    }
}

fn statement_refused(refusal: Refusal, user: &str, address: &str, limits: Option<Limits>) -> Error {
    let Refusal { sqlstate, message } = refusal;
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

impl Refusal {
    fn new(error: &DbError) -> Refusal {
        let position = match error.position() {
            Some(ErrorPosition::Original(position)) => Some(position.to_string()),
            _ => None,
        };
        Refusal {
            sqlstate: error.code().code().to_owned(),
            message: words(
                error.message(),
                [error.detail(), error.hint()],
                position.as_deref(),
            ),
        }
    }
}

/// Joins what a server says into one line.
pub(crate) fn words(message: &str, more: [Option<&str>; 2], position: Option<&str>) -> String {
    let mut words = message.to_owned();
    for more in more.into_iter().flatten() {
        words.push_str("; ");
        words.push_str(more);
    }
    if let Some(position) = position {
        words.push_str(&format!("; at character {position}"));
    }
    words
}
