//! One record of the server's log, the same whatever the format it came in.

use crate::severity::Severity;

/// A record: everything that one call of the server's `ereport` wrote.
///
/// Texts are raw bytes in the log's own encoding, decoded from their format: no quoting of csvlog, no escapes of jsonlog, and a
/// statement's line ends are plain `\n` without the tab that the stderr format puts after them. An empty text is an absent one, and so is
/// `[unknown]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record<'a> {
    /// When it was written, in microseconds since 1970-01-01 UTC; none when the format or the prefix does not say.
    pub at: Option<i64>,
    /// The process; 0 when the prefix does not say.
    pub pid: u32,
    /// Start of the session in seconds since 1970-01-01 UTC (first half of `%c`, or `%s`); 0 when not said.
    pub session_started: u32,
    /// Number of the record's first line within its session (`%l`, `line_num`); 0 when not said.
    pub line: u32,
    /// How many numbers of `%l` the record used: 1 in csvlog and jsonlog, 1 for each prefixed line in stderr.
    pub lines: u32,
    /// How bad the server thinks it is.
    pub severity: Severity,
    /// SQLSTATE (`%e`); zeros when not said.
    pub sqlstate: [u8; 5],
    /// Query identifier (`%Q`); 0 when not said.
    pub query_id: i64,
    /// Process of the parallel leader (`%P`); 0 when there is none.
    pub leader_pid: u32,
    /// Role (`%u`).
    pub user: &'a [u8],
    /// Database (`%d`).
    pub database: &'a [u8],
    /// Application (`%a`).
    pub application: &'a [u8],
    /// Client host (`%h`), without the port of `%r`; `[local]` for a socket.
    pub host: &'a [u8],
    /// Backend type (`%b`), as PostgreSQL names it: `client backend`, `checkpointer`.
    pub backend: &'a [u8],
    /// The primary message.
    pub message: &'a [u8],
    /// DETAIL.
    pub detail: &'a [u8],
    /// HINT.
    pub hint: &'a [u8],
    /// CONTEXT.
    pub context: &'a [u8],
    /// STATEMENT: what the session was running.
    pub statement: &'a [u8],
    /// QUERY: the internal statement.
    pub internal_query: &'a [u8],
    /// LOCATION of `log_error_verbosity = verbose`.
    pub location: &'a [u8],
    /// The record was longer than a scanner keeps; its texts are cut.
    pub cut: bool,
    /// Which program wrote it.
    pub origin: Origin,
}

/// Which program wrote a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The PostgreSQL server.
    #[default]
    Server,
    /// PgBouncer, whose log looks alike.
    PgBouncer,
}

/// Something in the bytes that is no record, or cannot be trusted to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Odd<'a> {
    /// A line outside of any record: output of `archive_command`, of a library, of a shell. It is counted and shown, as kind `raw-line`.
    Raw(&'a [u8]),
    /// A line that pretends to be a record: a line end in a user, database or application name (reference: log forging). Never counted
    /// as a record.
    Forged(&'a [u8]),
    /// Bytes that are no text of a log: NUL, binary garbage, a csv record with the wrong number of columns, broken JSON.
    Malformed(&'a [u8]),
}

/// Takes what a scanner finds, in the order of the bytes.
pub trait Sink {
    /// Takes one record, which began at `offset` of the source.
    fn record(&mut self, offset: u64, record: &Record<'_>);
    /// Takes what is no record.
    fn odd(&mut self, offset: u64, odd: Odd<'_>);
}
