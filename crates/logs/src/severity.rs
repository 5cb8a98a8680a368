//! The severities of the server, in its own order of importance to a reader of the log.

use serde::{Deserialize, Serialize};

/// A severity as the server writes it; `Log` is for administrators and says nothing of how bad it is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// DEBUG1 to DEBUG5.
    Debug,
    /// LOG.
    #[default]
    Log,
    /// INFO.
    Info,
    /// NOTICE.
    Notice,
    /// WARNING.
    Warning,
    /// ERROR: the statement failed.
    Error,
    /// FATAL: the session ended.
    Fatal,
    /// PANIC: all sessions ended.
    Panic,
}

impl Severity {
    /// All severities, least first.
    pub const ALL: [Severity; 8] = [
        Severity::Debug,
        Severity::Log,
        Severity::Info,
        Severity::Notice,
        Severity::Warning,
        Severity::Error,
        Severity::Fatal,
        Severity::Panic,
    ];

    /// Returns the severity of a word of an English log, such as `ERROR` or `DEBUG3`.
    pub fn of(word: &[u8]) -> Option<Severity> {
        Some(match word {
            b"LOG" => Severity::Log,
            b"ERROR" => Severity::Error,
            b"FATAL" => Severity::Fatal,
            b"PANIC" => Severity::Panic,
            b"WARNING" => Severity::Warning,
            b"NOTICE" => Severity::Notice,
            b"INFO" => Severity::Info,
            b"DEBUG" | b"DEBUG1" | b"DEBUG2" | b"DEBUG3" | b"DEBUG4" | b"DEBUG5" => Severity::Debug,
            _ => return None,
        })
    }

    /// Returns PostgreSQL's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Debug => "DEBUG",
            Severity::Log => "LOG",
            Severity::Info => "INFO",
            Severity::Notice => "NOTICE",
            Severity::Warning => "WARNING",
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
            Severity::Panic => "PANIC",
        }
    }
}
