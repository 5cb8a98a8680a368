//! Looks at a server that does not let anybody in: files and processes of this machine, no connection.
//!
//! Nothing is judged here. Every file is read up to a bound, so that the answer comes within two seconds.

mod configuration;
mod directory;
mod hba;
mod listener;
mod log;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use pawang_core::{DownFacts, Refusal, Space, Timestamp};
use pawang_postgres::{Error, Host, Target};

use crate::host::space;

/// What is known before the search begins.
#[derive(Clone, Debug, Default)]
pub struct DownRequest {
    /// How the attempt to connect ended.
    pub refusal: Refusal,
    /// The error of that attempt.
    pub error: String,
    /// Hosts or socket directories with their ports.
    pub addresses: Vec<(String, u16)>,
    /// Data directories, best first: configured, remembered, `PGDATA`.
    pub data_directories: Vec<PathBuf>,
    /// The directory of the server log, when it is known from an earlier run.
    pub log_directory: Option<PathBuf>,
    /// The file that the server's stderr goes to, when it is known.
    pub log_file: Option<PathBuf>,
}

impl DownRequest {
    /// Takes over what the failed attempt to connect tells.
    pub fn new(target: &Target, error: &Error) -> DownRequest {
        let refusal = match error {
            Error::StartingUp { .. } => Refusal::NotReady,
            Error::TooManyConnections { .. } => Refusal::Full,
            Error::Refused { .. }
            | Error::PasswordMissing { .. }
            | Error::LogIn { .. }
            | Error::NoDatabase { .. }
            | Error::Tls { .. } => Refusal::LogIn,
            Error::NotPostgres { .. } => Refusal::NotPostgres,
            Error::ConnectTimeout { .. } => Refusal::Silent,
            Error::Unreachable { .. } | Error::NoHost { .. } | Error::Closed { .. } => {
                Refusal::Unreachable
            }
            _ => Refusal::Other,
        };
        let address = |host: &Host| match host {
            Host::Socket { directory, port } => (directory.to_string_lossy().into_owned(), *port),
            Host::Tcp {
                name,
                address,
                port,
            } => (
                address.map_or_else(|| name.clone(), |address| address.to_string()),
                *port,
            ),
        };
        DownRequest {
            refusal,
            error: error.line(),
            addresses: target.hosts.iter().map(address).collect(),
            ..DownRequest::default()
        }
    }
}

/// Gathers everything that files and processes of this machine tell; blocks for well under two seconds.
pub fn inspect(request: &DownRequest, now: Timestamp) -> DownFacts {
    let local = request.addresses.iter().any(|(host, _)| is_local(host));
    let mut facts = DownFacts {
        at: now,
        refusal: request.refusal,
        error: request.error.clone(),
        addresses: request.addresses.clone(),
        local,
        ..DownFacts::default()
    };
    let configured = request.data_directories.iter().any(|path| path.exists());
    if !local && !configured {
        return facts;
    }
    facts.local = true;
    facts.listeners = listener::listeners(&request.addresses);
    let Some(place) = directory::locate(request) else {
        return facts;
    };
    let configuration = configuration::read_all(&place);
    let directory = directory::look(&place);
    let log = log::find(request, &place, &configuration);
    facts.space = spaces(&place.data, log.as_deref());
    facts.configuration = configuration::problems(&place, &configuration, directory.version);
    if let Some(path) = log {
        facts.log_lines = log::tail(&path);
        facts.log = Some(path);
    }
    facts.directory = Some(directory);
    facts
}

fn is_local(host: &str) -> bool {
    if host.starts_with('/') || host.is_empty() || host == "localhost" {
        return true;
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return address.is_loopback();
    }
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let own = own.trim();
    own == host || own.split('.').next() == Some(host)
}

fn spaces(data: &Path, log: Option<&Path>) -> Vec<Space> {
    let wal = std::fs::canonicalize(data.join("pg_wal")).ok();
    let log = log.and_then(Path::parent).map(Path::to_owned);
    let places = [("data", Some(data.to_owned())), ("wal", wal), ("log", log)];
    let mut spaces = Vec::new();
    for (purpose, path) in places {
        let Some(path) = path else { continue };
        if let Ok([total_bytes, available_bytes, inodes, inodes_free]) = space(&path) {
            spaces.push(Space {
                purpose: purpose.to_owned(),
                path,
                total_bytes,
                available_bytes,
                inodes,
                inodes_free,
            });
        }
    }
    spaces
}
