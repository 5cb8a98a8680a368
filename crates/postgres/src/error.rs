//! All that can go wrong between Pawang and a server, and what a person does about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use pawang_core::{Blind, Kind, Report};

/// What pg_hba.conf and password files call the database of the replication protocol.
pub(crate) const REPLICATION: &str = "replication";

/// Why a server, a pooler or a file beside it could not be read.
///
/// No variant carries a password.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A connection string is neither a URL nor a `key=value` line.
    #[error("cannot read the connection string: {problem}")]
    Syntax {
        /// What is wrong with it; never a part of it.
        problem: String,
    },
    /// A connection parameter does not exist, or not with that value.
    #[error("cannot use connection parameter \"{name}\": {problem}")]
    Parameter {
        /// libpq's name of it.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A service is not in the service files, or its section is wrong.
    #[error("cannot use service \"{service}\": {problem}")]
    Service {
        /// The service.
        service: String,
        /// What is wrong.
        problem: String,
    },
    /// A file that a parameter names could not be read.
    #[error("could not read file \"{}\"", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A certificate or key file does not hold what it should.
    #[error("cannot use certificate file \"{}\": {problem}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Nothing listens there, or the network does not lead there.
    #[error("could not reach \"{address}\"")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The host took longer than `connect_timeout`.
    #[error("could not connect to \"{address}\" within {} s: {stage}", limit.as_secs_f32())]
    ConnectTimeout {
        /// `host:port`.
        address: String,
        /// The limit.
        limit: Duration,
        /// How far it came.
        stage: &'static str,
    },
    /// None of several hosts would do.
    #[error("could not connect to {wanted} of {} hosts", attempts.len())]
    NoHost {
        /// What was looked for.
        wanted: &'static str,
        /// One line per host that says why not.
        attempts: Vec<String>,
    },
    /// A single host is not what `target_session_attrs` asks for.
    #[error("\"{address}\" is {found}, and {wanted} is wanted")]
    WrongRole {
        /// `host:port`.
        address: String,
        /// What it is.
        found: &'static str,
        /// What was looked for.
        wanted: &'static str,
    },
    /// The peer hung up before it said who it is.
    #[error("\"{address}\" closed the connection before login")]
    Closed {
        /// `host:port`.
        address: String,
    },
    /// The peer does not speak PostgreSQL's protocol.
    #[error("\"{address}\" is no PostgreSQL server")]
    NotPostgres {
        /// `host:port`.
        address: String,
        /// The first bytes that it sent, escaped.
        heard: String,
    },
    /// The server did not let the role in.
    #[error("\"{address}\" refused user \"{user}\" for database \"{database}\"")]
    Refused {
        /// `host:port`.
        address: String,
        /// The role.
        user: String,
        /// The database.
        database: String,
        /// `28P01` for a wrong password, `28000` for everything else.
        sqlstate: String,
        /// The server's words.
        message: String,
    },
    /// The server wants a password and there is none.
    #[error("\"{address}\" wants a password for user \"{user}\" and none was given")]
    PasswordMissing {
        /// `host:port`.
        address: String,
        /// The role.
        user: String,
        /// The database.
        database: String,
    },
    /// Logging in did not work out on our side: method, channel binding, the server's proof.
    #[error("cannot log in to \"{address}\" as user \"{user}\": {problem}")]
    LogIn {
        /// `host:port`.
        address: String,
        /// The role.
        user: String,
        /// What is wrong.
        problem: String,
    },
    /// There is no such database.
    #[error("database \"{database}\" does not exist on \"{address}\"")]
    NoDatabase {
        /// `host:port`.
        address: String,
        /// The database.
        database: String,
    },
    /// All connection slots are taken.
    #[error("\"{address}\" has no free connection slot")]
    TooManyConnections {
        /// `host:port`.
        address: String,
        /// The server's words.
        message: String,
    },
    /// The server is starting up, shutting down or recovering and does not accept connections.
    #[error("\"{address}\" does not accept connections now")]
    StartingUp {
        /// `host:port`.
        address: String,
        /// The server's words.
        message: String,
    },
    /// The server is older than PostgreSQL 14.
    #[error("\"{address}\" runs PostgreSQL {version}, and 14 is the oldest that Pawang reads")]
    TooOld {
        /// `host:port`.
        address: String,
        /// Its `server_version`.
        version: String,
    },
    /// The target is PgBouncer's own console and not a database.
    #[error("\"{address}\" is the console of PgBouncer and not a database")]
    IsConsole {
        /// `host:port`.
        address: String,
    },
    /// A pooler stands between, which gives the session's backend to others.
    #[error("\"{address}\" is a pooler, and changes need a backend of their own")]
    Pooled {
        /// `host:port`.
        address: String,
    },
    /// TLS did not come about.
    #[error("cannot set up TLS with \"{address}\": {problem}")]
    Tls {
        /// `host:port`.
        address: String,
        /// Which of the many ways it was.
        problem: TlsProblem,
    },
    /// The role may not do this.
    #[error("permission denied for user \"{user}\"")]
    Privilege {
        /// The role.
        user: String,
        /// The server's words.
        message: String,
    },
    /// The server, or our own clock, cancelled a statement after `statement_timeout`.
    #[error("a statement took longer than {} ms and was cancelled", limit.as_millis())]
    Timeout {
        /// The limit.
        limit: Duration,
    },
    /// A lock that the statement needs is held by somebody else.
    #[error("a lock was not free within {} ms", limit.as_millis())]
    LockTimeout {
        /// The limit.
        limit: Duration,
        /// The server's words.
        message: String,
    },
    /// Somebody cancelled the statement.
    #[error("a statement was cancelled by somebody else")]
    Cancelled {
        /// The server's words.
        message: String,
    },
    /// A relation, column, function or type does not exist.
    #[error("the statement names something that does not exist")]
    Undefined {
        /// The five-character code.
        sqlstate: String,
        /// The server's words.
        message: String,
    },
    /// Any other error of the server.
    #[error("the server refused a statement ({sqlstate})")]
    Sql {
        /// The five-character code.
        sqlstate: String,
        /// The server's words.
        message: String,
    },
    /// The connection broke, or the server ended it.
    #[error("lost the connection to \"{address}\"")]
    Lost {
        /// `host:port`.
        address: String,
        /// Why, in the words of the server or the operating system.
        message: String,
    },
    /// The role may not use the replication protocol.
    #[error("user \"{user}\" is not allowed to replicate")]
    NoReplication {
        /// The role.
        user: String,
        /// The server's words.
        message: String,
    },
    /// The server has no WAL senders at all, as with `wal_level = minimal`.
    #[error(
        "\"{address}\" has no WAL senders: its max_wal_senders is 0, as wal_level = minimal wants it"
    )]
    WalSendersOff {
        /// `host:port`.
        address: String,
        /// The server's words.
        message: String,
    },
    /// All WAL senders are taken.
    #[error("\"{address}\" has no free WAL sender")]
    NoWalSender {
        /// `host:port`.
        address: String,
        /// The server's words.
        message: String,
    },
    /// All replication slots are taken.
    #[error("the server has no free replication slot")]
    NoFreeSlot {
        /// The server's words.
        message: String,
    },
    /// A slot of that name exists.
    #[error("replication slot \"{slot}\" exists already")]
    SlotExists {
        /// The slot.
        slot: String,
    },
    /// No slot of that name exists.
    #[error("replication slot \"{slot}\" does not exist")]
    NoSlot {
        /// The slot.
        slot: String,
    },
    /// Somebody else uses the slot.
    #[error("replication slot \"{slot}\" is in use")]
    SlotActive {
        /// The slot.
        slot: String,
        /// The server's words, with the process that uses it.
        message: String,
    },
    /// The slot was invalidated, or is a logical one.
    #[error("cannot stream from replication slot \"{slot}\"")]
    SlotUnusable {
        /// The slot.
        slot: String,
        /// The server's words.
        message: String,
    },
    /// The server has removed WAL that was asked for.
    #[error("the server no longer has the WAL that was asked for")]
    WalRemoved {
        /// The server's words, with the segment.
        message: String,
    },
    /// The server ends streams because it shuts down.
    #[error("\"{address}\" is shutting down and ended the stream")]
    ShutDown {
        /// `host:port`.
        address: String,
    },
    /// The server is too old for what was asked.
    #[error("\"{address}\" runs PostgreSQL {version}, and {what} needs {needed}")]
    NeedsVersion {
        /// `host:port`.
        address: String,
        /// What was asked for.
        what: &'static str,
        /// The oldest major version that can do it.
        needed: u32,
        /// Its `server_version`.
        version: String,
    },
    /// Any other error of a replication command.
    #[error("the server refused {command} ({sqlstate})")]
    Replication {
        /// The command's first word.
        command: &'static str,
        /// The five-character code.
        sqlstate: String,
        /// The server's words.
        message: String,
    },
    /// A statement returned more rows than anybody should read.
    #[error("a statement returned more than {limit} rows")]
    TooManyRows {
        /// The bound.
        limit: usize,
    },
    /// A column's type has no meaning here.
    #[error("cannot read column \"{column}\" of type \"{type_name}\": {problem}")]
    Column {
        /// The column.
        column: String,
        /// Its type.
        type_name: String,
        /// What is wrong.
        problem: String,
    },
    /// The control file is not what its version says.
    #[error("cannot read control file \"{}\": {problem}", path.display())]
    ControlFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A REST API did not answer as it should.
    #[error("could not get \"{url}\": {problem}")]
    Http {
        /// The address, without credentials.
        url: String,
        /// What went wrong.
        problem: String,
    },
}

/// Why TLS did not come about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsProblem {
    /// The server does not do TLS and the parameters demand it.
    #[error("the server does not offer it")]
    NotOffered,
    /// The certificate's time is over.
    #[error("the server's certificate has expired")]
    Expired,
    /// The certificate's time has not come.
    #[error("the server's certificate is not valid yet")]
    NotYetValid,
    /// The certificate is for another host.
    #[error("the server's certificate is not for host \"{host}\"{}", names(.presented))]
    WrongHost {
        /// The host that was connected to.
        host: String,
        /// The names in the certificate, where they are known.
        presented: Vec<String>,
    },
    /// No trusted root signed the certificate.
    #[error("the server's certificate is not signed by a trusted root certificate")]
    Untrusted,
    /// The certificate was revoked.
    #[error("the server's certificate was revoked")]
    Revoked,
    /// The root certificates that verification needs do not exist.
    #[error("root certificate file \"{}\" does not exist, and sslmode={mode} needs it", .path.display())]
    NoRoot {
        /// The file that was looked for.
        path: PathBuf,
        /// The mode.
        mode: &'static str,
    },
    /// The server did not like the client's certificate, or wanted one.
    #[error("the server refused the client certificate ({alert})")]
    ClientRefused {
        /// The TLS alert that it sent.
        alert: String,
    },
    /// Anything else.
    #[error("{message}")]
    Other {
        /// The TLS library's words.
        message: String,
    },
}

fn names(presented: &[String]) -> String {
    match presented {
        [] => String::new(),
        names => format!(" but for {}", names.join(", ")),
    }
}

impl Error {
    /// Returns why a collector or a check that needed this could not see.
    pub fn blind(&self) -> Blind {
        match self {
            Error::Privilege { user, message } => Blind::NoPrivilege {
                what: message.clone(),
                grant: format!("GRANT pg_monitor TO {};", quote(user)),
            },
            Error::Timeout { limit } => Blind::Timeout {
                what: "a statement".to_owned(),
                limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            },
            Error::LockTimeout { limit, .. } => Blind::Timeout {
                what: "waiting for a lock".to_owned(),
                limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            },
            _ if self.is_connection() => Blind::Unreachable {
                what: self.line(),
                hint: self.report().hint,
            },
            _ => Blind::Failed { what: self.line() },
        }
    }

    /// Returns the error for people: what, why, and what to run.
    pub fn report(&self) -> Report {
        Report {
            primary: self.to_string(),
            detail: self.detail(),
            hint: self.hint(),
            kind: self.kind(),
        }
    }

    /// Returns primary message and detail in one line.
    pub fn line(&self) -> String {
        match self.detail() {
            Some(detail) => format!("{self}: {}", detail.replace('\n', "; ")),
            None => self.to_string(),
        }
    }

    /// Says whether there is no connection, as opposed to a statement or a file that did not work out.
    fn is_connection(&self) -> bool {
        matches!(
            self,
            Error::Unreachable { .. }
                | Error::ConnectTimeout { .. }
                | Error::NoHost { .. }
                | Error::WrongRole { .. }
                | Error::Closed { .. }
                | Error::NotPostgres { .. }
                | Error::Refused { .. }
                | Error::PasswordMissing { .. }
                | Error::LogIn { .. }
                | Error::NoDatabase { .. }
                | Error::TooManyConnections { .. }
                | Error::StartingUp { .. }
                | Error::TooOld { .. }
                | Error::IsConsole { .. }
                | Error::Pooled { .. }
                | Error::Tls { .. }
                | Error::Lost { .. }
                | Error::NoReplication { .. }
                | Error::NoWalSender { .. }
                | Error::WalSendersOff { .. }
                | Error::ShutDown { .. }
                | Error::Http { .. }
        )
    }

    fn kind(&self) -> Kind {
        match self {
            Error::Syntax { .. }
            | Error::Parameter { .. }
            | Error::Service { .. }
            | Error::File { .. }
            | Error::Certificate { .. }
            | Error::IsConsole { .. }
            | Error::Pooled { .. }
            | Error::Undefined { .. }
            | Error::TooManyRows { .. }
            | Error::Column { .. } => Kind::Usage,
            Error::Tls {
                problem: TlsProblem::NoRoot { .. },
                ..
            } => Kind::Usage,
            // The server's own trouble (rollbacks, resources, limits, operators, system) is nobody's wrong usage.
            Error::Sql { sqlstate, .. } => match sqlstate.get(..2) {
                Some("25" | "40" | "53" | "54" | "55" | "57" | "58" | "XX") => Kind::Target,
                _ => Kind::Usage,
            },
            _ => Kind::Target,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Error::File { source, .. } | Error::Unreachable { source, .. } => {
                Some(source.to_string())
            }
            Error::NoHost { attempts, .. } => Some(attempts.join("\n")),
            Error::NotPostgres { heard, .. } => Some(format!("it sent: {heard}")),
            Error::Refused { message, .. }
            | Error::TooManyConnections { message, .. }
            | Error::StartingUp { message, .. }
            | Error::Privilege { message, .. }
            | Error::LockTimeout { message, .. }
            | Error::Cancelled { message }
            | Error::Undefined { message, .. }
            | Error::Sql { message, .. }
            | Error::NoReplication { message, .. }
            | Error::NoWalSender { message, .. }
            | Error::WalSendersOff { message, .. }
            | Error::NoFreeSlot { message }
            | Error::SlotActive { message, .. }
            | Error::SlotUnusable { message, .. }
            | Error::WalRemoved { message }
            | Error::Replication { message, .. }
            | Error::Lost { message, .. } => Some(message.clone()),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Error::Syntax { .. } => {
                "write postgresql://user@host:5432/database, or host=... port=... user=... dbname=..."
                    .to_owned()
            }
            Error::Parameter { .. } => {
                "https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS".to_owned()
            }
            Error::Service { .. } => {
                "grep '^\\[' ~/.pg_service.conf lists the services".to_owned()
            }
            Error::File { path, .. } | Error::Certificate { path, .. } => {
                format!("ls -l {}", path.display())
            }
            Error::ControlFile { path, .. } => format!(
                "pg_controldata {}",
                path.parent().and_then(|p| p.parent()).unwrap_or(path).display()
            ),
            Error::Http { url, .. } => format!("curl -sS {url}"),
            Error::TooManyRows { .. } => "add a LIMIT to the statement".to_owned(),
            Error::Column { column, .. } => format!("write {}::text in the statement", quote(column)),
            Error::Undefined { .. } | Error::Sql { .. } => {
                "run the statement in psql to see its position".to_owned()
            }
            Error::Privilege { user, .. } => format!("GRANT pg_monitor TO {};", quote(user)),
            Error::Timeout { .. } | Error::LockTimeout { .. } | Error::Cancelled { .. } => {
                "look for load or locks on the server: pawang check locks".to_owned()
            }
            _ => return self.replication_hint().or_else(|| self.connection_hint()),
        };
        Some(hint)
    }

    fn replication_hint(&self) -> Option<String> {
        let hint = match self {
            Error::NoReplication { user, .. } => {
                format!("ALTER ROLE {} REPLICATION;", quote(user))
            }
            Error::Refused { user, database, sqlstate, .. }
                if database == REPLICATION && sqlstate != "28P01" =>
            {
                format!(
                    "add to pg_hba.conf on the server: host replication {} samenet scram-sha-256; then SELECT pg_reload_conf();",
                    quote(user)
                )
            }
            Error::NoWalSender { .. } => {
                "who has them: SELECT * FROM pg_stat_replication; then ALTER SYSTEM SET max_wal_senders = 20, and restart the server"
                    .to_owned()
            }
            Error::WalSendersOff { .. } => {
                "ALTER SYSTEM SET wal_level = 'replica'; ALTER SYSTEM SET max_wal_senders = 10; then restart the server"
                    .to_owned()
            }
            Error::NoFreeSlot { .. } => {
                "who has them: SELECT * FROM pg_replication_slots; then drop one, or ALTER SYSTEM SET max_replication_slots = 20 and restart the server"
                    .to_owned()
            }
            Error::SlotExists { slot } | Error::NoSlot { slot } | Error::SlotActive { slot, .. } => {
                format!("SELECT * FROM pg_replication_slots WHERE slot_name = '{slot}';")
            }
            Error::SlotUnusable { slot, .. } => format!(
                "see wal_status: SELECT * FROM pg_replication_slots; a lost slot can only be dropped: SELECT pg_drop_replication_slot('{slot}');"
            ),
            Error::WalRemoved { .. } => {
                "the hole stays; a slot prevents the next one: SELECT slot_name, wal_status FROM pg_replication_slots; SHOW max_slot_wal_keep_size;"
                    .to_owned()
            }
            Error::ShutDown { .. } => "try again when it runs: pg_isready".to_owned(),
            Error::NeedsVersion { .. } => "https://www.postgresql.org/support/versioning/".to_owned(),
            Error::Replication { .. } => {
                "the server's log says more: SELECT pg_current_logfile();".to_owned()
            }
            _ => return None,
        };
        Some(hint)
    }

    fn connection_hint(&self) -> Option<String> {
        let hint = match self {
            Error::Unreachable { address, .. } | Error::Closed { address } => {
                format!("is it running? on its machine: systemctl status postgresql; {}", ping(address))
            }
            Error::ConnectTimeout { address, .. } => {
                format!("firewall, network or an overloaded server? {}", ping(address))
            }
            Error::NoHost { .. } => {
                "name the server: pawang check postgresql://user@host:5432/database; on its machine: systemctl status postgresql"
                    .to_owned()
            }
            Error::WrongRole { .. } => "set target_session_attrs=any to take any server".to_owned(),
            Error::NotPostgres { .. } => {
                "check the port: PostgreSQL listens on 5432, PgBouncer on 6432 unless configured otherwise".to_owned()
            }
            Error::Refused { sqlstate, .. } if sqlstate == "28P01" => {
                "check the password: PGPASSWORD, or a line host:port:database:user:password in ~/.pgpass with mode 0600"
                    .to_owned()
            }
            Error::Refused { .. } => {
                "check pg_hba.conf on the server: SELECT * FROM pg_hba_file_rules; then SELECT pg_reload_conf();"
                    .to_owned()
            }
            Error::PasswordMissing { address, user, database } => format!(
                "umask 077; echo '{}:{database}:{user}:PASSWORD' >> ~/.pgpass",
                address.replace("[", "").replace("]", "")
            ),
            Error::LogIn { .. } => {
                "use scram-sha-256 with sslmode=require or stronger; channel_binding=prefer allows servers without binding"
                    .to_owned()
            }
            Error::NoDatabase { database, .. } => {
                format!("list them: psql -l; or create it: CREATE DATABASE {};", quote(database))
            }
            Error::TooManyConnections { .. } => {
                "free one, or reserve some: SHOW max_connections; GRANT pg_use_reserved_connections TO monitor; (PostgreSQL 16)"
                    .to_owned()
            }
            Error::StartingUp { .. } => "try again in a few seconds; the server's log says how far it is".to_owned(),
            Error::TooOld { .. } => "https://www.postgresql.org/support/versioning/".to_owned(),
            Error::Pooled { .. } => "name the host and port of the server itself".to_owned(),
            Error::IsConsole { .. } => "name a database instead of \"pgbouncer\"".to_owned(),
            Error::Tls { problem, .. } => problem.hint(),
            Error::Lost { .. } => "the server's log says why it ended the connection".to_owned(),
            _ => return None,
        };
        Some(hint)
    }
}

impl TlsProblem {
    fn hint(&self) -> String {
        match self {
            TlsProblem::NotOffered => {
                "on the server: ALTER SYSTEM SET ssl = on; else connect with sslmode=prefer"
            }
            TlsProblem::Expired => "renew the server's certificate, then SELECT pg_reload_conf();",
            TlsProblem::NotYetValid => "compare the clocks of both machines: date -u",
            TlsProblem::WrongHost { .. } => {
                "connect by a name that the certificate carries, or use sslmode=verify-ca"
            }
            TlsProblem::Untrusted => {
                "set sslrootcert to the certificate of the authority that signed it"
            }
            TlsProblem::Revoked => "install a new certificate on the server",
            TlsProblem::NoRoot { .. } => "set sslrootcert to a file, or sslrootcert=system",
            TlsProblem::ClientRefused { .. } => {
                "set sslcert and sslkey to a certificate that the server's ssl_ca_file trusts"
            }
            TlsProblem::Other { .. } => {
                "look at the handshake: openssl s_client -starttls postgres -connect HOST:PORT"
            }
        }
        .to_owned()
    }
}

fn ping(address: &str) -> String {
    match address.trim_matches(['[', ']']).rsplit_once(':') {
        Some((host, port)) => format!("pg_isready -h {} -p {port}", host.trim_matches(['[', ']'])),
        None => format!("pg_isready -h {address}"),
    }
}

fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
