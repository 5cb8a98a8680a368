//! What can be seen of a server that does not let anybody in: plain facts, gathered without a connection.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How the attempt to connect ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// Nobody listens there, or the network does not lead there.
    #[default]
    Unreachable,
    /// Somebody listens and does not answer.
    Silent,
    /// The server says that it is starting, stopping or recovering.
    NotReady,
    /// All connection slots are taken: the server is up.
    Full,
    /// The server is up and does not want this user, database or certificate.
    LogIn,
    /// Whoever answers does not speak PostgreSQL's protocol.
    NotPostgres,
    /// Anything else.
    Other,
}

/// Everything that is known of a server that does not let anybody in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DownFacts {
    /// When they were gathered.
    pub at: Timestamp,
    /// How the attempt to connect ended.
    pub refusal: Refusal,
    /// The error of that attempt.
    pub error: String,
    /// Hosts or socket directories with their ports.
    pub addresses: Vec<(String, u16)>,
    /// Whether one of them is on this machine.
    pub local: bool,
    /// The data directory of the server, if one was found.
    pub directory: Option<DataDirectory>,
    /// Who listens on the ports and sockets that were asked.
    pub listeners: Vec<Listener>,
    /// File systems of data, WAL and log.
    pub space: Vec<Space>,
    /// What is provably wrong in the configuration files.
    pub configuration: Vec<ConfigurationProblem>,
    /// The server log that was read.
    pub log: Option<PathBuf>,
    /// The last lines of that log since the server last started or became ready.
    pub log_lines: Vec<String>,
}

/// A data directory as it lies on disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataDirectory {
    /// Where it is.
    pub path: PathBuf,
    /// How it was found.
    pub found_by: String,
    /// Whether it is there.
    pub exists: bool,
    /// Why it, or a part of it, could not be read.
    pub unreadable: Option<String>,
    /// Permission bits.
    pub mode: Option<u32>,
    /// The owner's name or number.
    pub owner: Option<String>,
    /// The owner of the file `PG_VERSION` inside, who ran `initdb`.
    pub owner_inside: Option<String>,
    /// The major version in `PG_VERSION`.
    pub version: Option<u32>,
    /// Files and directories that every cluster has and this one lacks.
    pub missing: Vec<String>,
    /// Whether it is a standby (`standby.signal`).
    pub standby: bool,
    /// The file `postmaster.pid`.
    pub pid_file: Option<PidFile>,
    /// What `pg_control` says.
    pub control: Option<Control>,
    /// Why `pg_control` could not be understood.
    pub control_problem: Option<String>,
}

/// What `postmaster.pid` says, and what became of the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PidFile {
    /// The process.
    pub pid: i64,
    /// Its port.
    pub port: Option<u16>,
    /// `starting`, `ready`, `standby` or `stopping`.
    pub status: Option<String>,
    /// Whether the process is there.
    pub alive: bool,
    /// The process's name, when it is there.
    pub process: Option<String>,
    /// Whether that is a PostgreSQL server.
    pub postgres: bool,
    /// Whether it was stopped by a signal (state `T`).
    pub suspended: bool,
    /// What its startup process is doing, such as `recovering 000000010000000000000003`.
    pub startup: Option<String>,
}

/// What `pg_control` says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// The state in `pg_controldata`'s words, such as `in production`.
    pub state: String,
    /// The major version that wrote it.
    pub major: u32,
    /// When it was written.
    pub written_at: Timestamp,
    /// The last checkpoint.
    pub checkpoint_at: Timestamp,
}

/// Somebody who listens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    /// `127.0.0.1:5432` or the path of a socket.
    pub address: String,
    /// The process, when it may be seen.
    pub pid: Option<i64>,
    /// Its name.
    pub process: Option<String>,
    /// Whether it is a PostgreSQL server.
    pub postgres: bool,
}

/// Room on a file system.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Space {
    /// `data`, `wal` or `log`.
    pub purpose: String,
    /// Where.
    pub path: PathBuf,
    /// Size in bytes.
    pub total_bytes: u64,
    /// Bytes available to ordinary users.
    pub available_bytes: u64,
    /// Inodes, 0 where the file system has no such limit.
    pub inodes: u64,
    /// Inodes that are free.
    pub inodes_free: u64,
}

/// Something provably wrong in a configuration file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfigurationProblem {
    /// What kind: `syntax`, `parameter`, `value`, `file`, `hba`, `ssl`, `socket-directory`.
    pub kind: String,
    /// The file.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
    /// What is wrong, as a sentence without full stop.
    pub what: String,
}
