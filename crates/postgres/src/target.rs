//! Where and how to connect: libpq's connection parameters with their meaning, defaults and precedence.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use pawang_core::Secret;

use crate::parameters::{self, Parameters};
use crate::{Error, passfile, service};

/// The directories in which Debian's and PostgreSQL's own servers put their sockets, in libpq's order.
const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];
const PORT: u16 = 5432;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// What `connect_timeout=0` (libpq: wait for ever) means here.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(300);
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(15);
const LOCK_TIMEOUT: Duration = Duration::from_millis(200);
const HOSTS_MAX: usize = 64;

/// What surrounds the process: environment variables, home directory and user name.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Environment variables; only libpq's `PG...` names are looked at.
    pub variables: BTreeMap<String, String>,
    /// The home directory, for `~/.pgpass`, `~/.pg_service.conf` and `~/.postgresql/`.
    pub home: Option<PathBuf>,
    /// The name of the operating-system user.
    pub os_user: String,
}

/// One place where a server may listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A Unix socket.
    Socket {
        /// The directory of the socket file.
        directory: PathBuf,
        /// The number in the name of the socket file.
        port: u16,
    },
    /// A TCP port.
    Tcp {
        /// The name that was given, which is also the one that a certificate must carry.
        name: String,
        /// The address to connect to instead of looking the name up (`hostaddr`).
        address: Option<IpAddr>,
        /// The port.
        port: u16,
    },
}

/// How much protection by TLS is demanded; libpq's `sslmode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS only if the server refuses without.
    Allow,
    /// TLS if the server can, else without.
    #[default]
    Prefer,
    /// TLS; the certificate is verified only when there is a root certificate.
    Require,
    /// TLS with a certificate that a trusted root has signed.
    VerifyCa,
    /// The same, and the certificate must carry the host's name.
    VerifyFull,
}

/// The certificates that the server's one must descend from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RootCertificate {
    /// No home directory, hence nothing to look for.
    #[default]
    None,
    /// `~/.postgresql/root.crt`, if it exists.
    Default(PathBuf),
    /// A file that was named and must exist.
    File(PathBuf),
    /// The roots that the operating system trusts (`sslrootcert=system`).
    System,
}

/// All that concerns TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ssl {
    /// How much protection is demanded.
    pub mode: SslMode,
    /// Whom to trust.
    pub root: RootCertificate,
    /// Certificates that were revoked (`sslcrl`).
    pub revoked: Option<PathBuf>,
    /// The client's certificate and key, when there are any.
    pub client: Option<ClientCertificate>,
    /// Whether TLS begins without asking first (`sslnegotiation=direct`, PostgreSQL 17).
    pub direct: bool,
    /// Whether SCRAM binds itself to the TLS channel.
    pub channel_binding: ChannelBinding,
}

/// The certificate by which a client logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The file with the certificate and its intermediates.
    pub certificate: PathBuf,
    /// The file with its private key.
    pub key: PathBuf,
}

/// Whether SCRAM binds itself to the TLS channel, so that nobody can sit in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// When the server offers it.
    #[default]
    Prefer,
    /// Always; no password is sent otherwise.
    Require,
}

/// Which of several servers will do; libpq's `target_session_attrs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionAttributes {
    /// The first that answers.
    #[default]
    Any,
    /// One that accepts writes.
    ReadWrite,
    /// One that does not accept writes.
    ReadOnly,
    /// One that is not in recovery.
    Primary,
    /// One in recovery.
    Standby,
    /// One in recovery, else any.
    PreferStandby,
}

/// Where and how to connect; what libpq calls connection parameters.
#[derive(Clone, Debug)]
pub struct Target {
    /// Tried in this order.
    pub hosts: Vec<Host>,
    /// The role to log in as.
    pub user: String,
    /// The database.
    pub database: String,
    /// Whether nobody named the database, so that `postgres` will do when there is none of the user's name.
    pub database_guessed: bool,
    /// The password, when one was given.
    pub password: Option<Secret<String>>,
    /// Passwords by host, port, database and user, for hosts without a password of their own.
    pub passfile: Option<PathBuf>,
    /// TLS.
    pub ssl: Ssl,
    /// Which of the hosts will do.
    pub target_session_attrs: SessionAttributes,
    /// How long one host may take, log-in included.
    pub connect_timeout: Duration,
    /// `-c name=value` options for the server (`PGOPTIONS`); a pooler may refuse them.
    pub options: Option<String>,
    /// After this long the server cancels a statement of ours.
    pub statement_timeout: Duration,
    /// After this long the server stops waiting for a lock.
    pub lock_timeout: Duration,
}

/// Environment variables and the parameters that they stand for.
const VARIABLES: [(&str, &str); 21] = [
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGUSER", "user"),
    ("PGDATABASE", "dbname"),
    ("PGPASSWORD", "password"),
    ("PGPASSFILE", "passfile"),
    ("PGSERVICE", "service"),
    ("PGSERVICEFILE", "servicefile"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGSSLCRL", "sslcrl"),
    ("PGSSLNEGOTIATION", "sslnegotiation"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGOPTIONS", "options"),
    // Refused: nobody who set them wants them ignored.
    ("PGREQUIREAUTH", "require_auth"),
    ("PGREQUIREPEER", "requirepeer"),
];

impl Target {
    /// Reads a `postgresql://` URL, a `key=value` line or the empty text; what it leaves open comes from the service
    /// file, then the environment, then libpq's defaults.
    pub fn parse(text: &str, env: &Environment) -> Result<Target, Error> {
        let mut parameters = parameters::parse(text)?;
        let mut from_environment = Parameters::new();
        for (variable, name) in VARIABLES {
            if let Some(value) = env.variables.get(variable).filter(|v| !v.is_empty()) {
                parameters::insert(&mut from_environment, name, value.clone())?;
            }
        }
        let named = |name: &str| parameters.get(name).or_else(|| from_environment.get(name));
        let service = match named("service") {
            Some(service) => {
                let file = named("servicefile").map(PathBuf::from);
                service::read(service, file.as_deref(), env)?
            }
            None => Parameters::new(),
        };
        // An explicit host must not be combined with an inherited address, nor the other way round.
        for layer in [service, from_environment] {
            let placed = parameters.contains_key("host") || parameters.contains_key("hostaddr");
            for (name, value) in layer {
                if !(placed && (name == "host" || name == "hostaddr")) {
                    parameters.entry(name).or_insert(value);
                }
            }
        }
        build(&parameters, env)
    }

    /// Reads the environment, the service file and libpq's defaults.
    pub fn from_environment(env: &Environment) -> Result<Target, Error> {
        Target::parse("", env)
    }

    /// Returns the same target with another database.
    pub fn with_database(&self, database: &str) -> Target {
        Target {
            database: database.to_owned(),
            database_guessed: false,
            ..self.clone()
        }
    }

    /// Returns `host:port` or `directory:port`; several hosts are joined with commas. Never a password.
    pub fn name(&self) -> String {
        // The default directories are one place to people: the second is only tried when the first has no socket.
        let default = self.hosts.len() == 2
            && self.hosts.iter().zip(SOCKET_DIRECTORIES).all(|(host, path)| {
                matches!(host, Host::Socket { directory, .. } if directory == Path::new(path))
            });
        let shown = if default { 1 } else { self.hosts.len() };
        let names: Vec<String> = self.hosts[..shown].iter().map(Host::to_string).collect();
        names.join(",")
    }

    /// Returns the password for a host: the one that was given, else the one of the password file.
    pub fn password_for(&self, host: &Host) -> Option<Secret<String>> {
        if self.password.is_some() {
            return self.password.clone();
        }
        let name = match host {
            Host::Tcp { name, .. } => name.clone(),
            Host::Socket { directory, .. }
                if SOCKET_DIRECTORIES.iter().any(|d| directory == Path::new(d)) =>
            {
                "localhost".to_owned()
            }
            Host::Socket { directory, .. } => directory.display().to_string(),
        };
        let file = self.passfile.as_deref()?;
        passfile::find(file, &name, host.port(), &self.database, &self.user)
    }
}

impl Host {
    /// Returns the port.
    pub fn port(&self) -> u16 {
        match self {
            Host::Socket { port, .. } | Host::Tcp { port, .. } => *port,
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Host::Socket { directory, port } => write!(f, "{}:{port}", directory.display()),
            Host::Tcp { name, port, .. } if name.contains(':') => write!(f, "[{name}]:{port}"),
            Host::Tcp { name, port, .. } => write!(f, "{name}:{port}"),
        }
    }
}

fn build(parameters: &Parameters, env: &Environment) -> Result<Target, Error> {
    let text = |name: &str| parameters.get(name).filter(|value| !value.is_empty());
    let user = text("user").unwrap_or(&env.os_user).clone();
    let home_file = |name: &str| env.home.as_ref().map(|home| home.join(name));
    Ok(Target {
        hosts: hosts(parameters)?,
        database: text("dbname").unwrap_or(&user).clone(),
        database_guessed: text("dbname").is_none() && text("service").is_none(),
        user,
        password: text("password").cloned().map(Secret::new),
        passfile: text("passfile")
            .map(PathBuf::from)
            .or_else(|| home_file(".pgpass")),
        ssl: ssl(parameters, env)?,
        target_session_attrs: one_of(
            parameters,
            "target_session_attrs",
            &[
                ("any", SessionAttributes::Any),
                ("read-write", SessionAttributes::ReadWrite),
                ("read-only", SessionAttributes::ReadOnly),
                ("primary", SessionAttributes::Primary),
                ("standby", SessionAttributes::Standby),
                ("prefer-standby", SessionAttributes::PreferStandby),
            ],
        )?,
        connect_timeout: match number::<i64>(parameters, "connect_timeout")? {
            None => CONNECT_TIMEOUT,
            Some(seconds) => match u64::try_from(seconds) {
                Ok(seconds @ 1..) => Duration::from_secs(seconds).min(CONNECT_TIMEOUT_MAX),
                _ => CONNECT_TIMEOUT_MAX,
            },
        },
        options: text("options").cloned(),
        statement_timeout: STATEMENT_TIMEOUT,
        lock_timeout: LOCK_TIMEOUT,
    })
}

fn hosts(parameters: &Parameters) -> Result<Vec<Host>, Error> {
    let list = |name: &str| -> Vec<&str> {
        match parameters.get(name) {
            Some(value) if !value.is_empty() => value.split(',').collect(),
            _ => Vec::new(),
        }
    };
    let (names, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = names.len().max(addresses.len()).max(1);
    let fits = |length: usize| length <= 1 || length == count;
    if count > HOSTS_MAX {
        return Err(wrong("host", format!("more than {HOSTS_MAX} hosts")));
    }
    if !addresses.is_empty() && !names.is_empty() && addresses.len() != names.len() {
        return Err(wrong("hostaddr", "there must be as many as hosts"));
    }
    if !fits(ports.len()) {
        return Err(wrong("port", "there must be one, or as many as hosts"));
    }
    let mut hosts = Vec::with_capacity(count + 1);
    for index in 0..count {
        let text = match ports.as_slice() {
            [one] => *one,
            several => several.get(index).copied().unwrap_or(""),
        };
        let port = match text.trim() {
            "" => PORT,
            text => match text.parse() {
                Ok(port @ 1..) => port,
                _ => return Err(wrong("port", "must be a number from 1 to 65535")),
            },
        };
        let address = match addresses.get(index).map(|text| text.trim()) {
            None | Some("") => None,
            Some(text) => Some(
                IpAddr::from_str(text)
                    .map_err(|_| wrong("hostaddr", "must be an IPv4 or IPv6 address"))?,
            ),
        };
        match (names.get(index).map_or("", |name| name.trim()), address) {
            ("", None) => hosts.extend(SOCKET_DIRECTORIES.map(|directory| Host::Socket {
                directory: directory.into(),
                port,
            })),
            (path, None) if path.starts_with('/') => hosts.push(Host::Socket {
                directory: path.into(),
                port,
            }),
            (name, None) if name.starts_with('@') => {
                return Err(wrong(
                    "host",
                    format!("abstract socket \"{name}\" is not supported"),
                ));
            }
            (name, address) => hosts.push(Host::Tcp {
                name: match (name, address) {
                    ("", Some(address)) => address.to_string(),
                    _ => name.to_owned(),
                },
                address,
                port,
            }),
        }
    }
    Ok(hosts)
}

fn ssl(parameters: &Parameters, env: &Environment) -> Result<Ssl, Error> {
    let text = |name: &str| parameters.get(name).filter(|value| !value.is_empty());
    let home = env.home.as_ref().map(|home| home.join(".postgresql"));
    let root = match text("sslrootcert").map(String::as_str) {
        Some("system") => RootCertificate::System,
        Some(path) => RootCertificate::File(path.into()),
        None => home.as_ref().map_or(RootCertificate::None, |home| {
            RootCertificate::Default(home.join("root.crt"))
        }),
    };
    let client = client_certificate(parameters, home)?;
    let system = root == RootCertificate::System;
    let mode = match text("sslmode") {
        None if system => SslMode::VerifyFull,
        _ => one_of(
            parameters,
            "sslmode",
            &[
                ("prefer", SslMode::Prefer),
                ("disable", SslMode::Disable),
                ("allow", SslMode::Allow),
                ("require", SslMode::Require),
                ("verify-ca", SslMode::VerifyCa),
                ("verify-full", SslMode::VerifyFull),
            ],
        )?,
    };
    if system && mode != SslMode::VerifyFull {
        return Err(wrong(
            "sslmode",
            "sslrootcert=system needs sslmode=verify-full",
        ));
    }
    let direct = one_of(
        parameters,
        "sslnegotiation",
        &[("postgres", false), ("direct", true)],
    )?;
    if direct && mode < SslMode::Require {
        return Err(wrong(
            "sslnegotiation",
            "direct needs sslmode=require or stronger",
        ));
    }
    Ok(Ssl {
        mode,
        root,
        revoked: text("sslcrl").map(PathBuf::from),
        client,
        direct,
        channel_binding: one_of(
            parameters,
            "channel_binding",
            &[
                ("prefer", ChannelBinding::Prefer),
                ("disable", ChannelBinding::Disable),
                ("require", ChannelBinding::Require),
            ],
        )?,
    })
}

fn client_certificate(
    parameters: &Parameters,
    home: Option<PathBuf>,
) -> Result<Option<ClientCertificate>, Error> {
    let text = |name: &str| parameters.get(name).filter(|value| !value.is_empty());
    let default = home.map(|home| ClientCertificate {
        certificate: home.join("postgresql.crt"),
        key: home.join("postgresql.key"),
    });
    Ok(match (text("sslcert"), text("sslkey"), default) {
        (Some(certificate), Some(key), _) => Some(ClientCertificate {
            certificate: certificate.into(),
            key: key.into(),
        }),
        (certificate, key, Some(default)) => Some(ClientCertificate {
            certificate: certificate.map_or(default.certificate, PathBuf::from),
            key: key.map_or(default.key, PathBuf::from),
        })
        // Without a certificate of that default name the client simply has none.
        .filter(|client| certificate.is_some() || client.certificate.exists()),
        (Some(_), None, None) => return Err(wrong("sslkey", "is needed with \"sslcert\"")),
        (None, _, None) => None,
    })
}

fn wrong(name: &str, problem: impl Into<String>) -> Error {
    Error::Parameter {
        name: name.to_owned(),
        problem: problem.into(),
    }
}

/// Reads a parameter that has a few words as values; the first is the default.
fn one_of<T: Copy>(parameters: &Parameters, name: &str, choices: &[(&str, T)]) -> Result<T, Error> {
    let Some(text) = parameters.get(name).filter(|text| !text.is_empty()) else {
        return Ok(choices[0].1);
    };
    let choice = choices.iter().find(|(word, _)| word == text);
    choice.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        wrong(name, format!("\"{text}\" is none of {}", words.join(", ")))
    })
}

fn number<T: FromStr>(parameters: &Parameters, name: &str) -> Result<Option<T>, Error> {
    match parameters.get(name).map(|text| text.trim()) {
        None | Some("") => Ok(None),
        Some(text) => text
            .parse()
            .map(Some)
            .map_err(|_| wrong(name, format!("\"{text}\" is no whole number"))),
    }
}
