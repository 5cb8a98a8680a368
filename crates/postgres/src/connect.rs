//! From a target to a logged-in connection: hosts in order, TLS as demanded, one time limit per host.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_postgres::config::{ChannelBinding as Binding, SslMode as RawSslMode, SslNegotiation};
use tokio_postgres::{Client, Config, SimpleQueryMessage, SimpleQueryRow};
use tokio_rustls::TlsConnector;

use crate::channel::{Channel, Settled};
use crate::driver::Driver;
use crate::explain::{self, Peer};
use crate::target::{ChannelBinding, Host, SessionAttributes, SslMode, Target};
use crate::tls;
use crate::wire::{Address, Heard, SslAnswer, Wire};
use crate::{Error, TlsProblem};

/// A logged-in connection.
pub(crate) struct Connected<T> {
    /// What it is used by.
    pub(crate) talk: T,
    /// `host:port`.
    pub(crate) name: String,
    /// `server_version` as the server reported it.
    pub(crate) version: String,
    /// Whether the peer is on this machine.
    pub(crate) local: bool,
    /// The way back to the same server, for cancelling.
    pub(crate) route: Route,
    writable: Option<bool>,
    recovering: Option<bool>,
}

/// What an open channel is used by: SQL, or the replication protocol.
pub(crate) trait Talk: Sized + Send {
    /// Logs in.
    fn log_in(
        attempt: &Attempt<'_>,
        channel: Channel,
        heard: Heard,
    ) -> impl Future<Output = Result<(Self, Reported), Error>> + Send;

    /// Asks for what servers report at log-in and poolers keep to themselves: whether it is in recovery, and whether
    /// it accepts writes.
    fn ask_role(
        &mut self,
        address: &str,
    ) -> impl Future<Output = Result<[Option<bool>; 2], Error>> + Send;
}

/// Both halves of a connection for SQL.
pub(crate) struct Sql {
    // Dropped in this order, as in a session.
    pub(crate) client: Client,
    pub(crate) driver: Driver,
}

/// The way to one server, once found.
pub(crate) struct Route {
    address: Address,
    tls: Option<TlsConnector>,
    direct: bool,
    host: String,
}

/// How far an attempt came.
#[derive(Default)]
struct Stage(AtomicUsize);

const STAGES: [&str; 4] = [
    "the host name was not resolved",
    "nobody answered at the port",
    "no answer to the request for TLS",
    "connected, but the log-in was not answered",
];

impl Stage {
    fn enter(&self, stage: usize) {
        self.0.store(stage, Ordering::Relaxed);
    }

    fn show(&self) -> &'static str {
        STAGES[self.0.load(Ordering::Relaxed)]
    }
}

/// Connects to the first host that will do.
pub(crate) async fn connect<T: Talk>(
    target: &Target,
    application: &str,
) -> Result<Connected<T>, Error> {
    let passes: &[SessionAttributes] = match target.target_session_attrs {
        SessionAttributes::PreferStandby => &[SessionAttributes::Standby, SessionAttributes::Any],
        _ => std::slice::from_ref(&target.target_session_attrs),
    };
    let mut errors = Vec::new();
    for &wanted in passes {
        for host in &target.hosts {
            let attempt = connect_host(target, host, application).await;
            let attempt = attempt.and_then(|connected| suits(connected, wanted));
            match attempt {
                Ok(connected) => return Ok(connected),
                Err(error) if goes_on(&error) => errors.push(error),
                Err(error) => return Err(error),
            }
        }
    }
    match errors.len() {
        1 => Err(errors.remove(0)),
        _ => Err(Error::NoHost {
            wanted: name_of(target.target_session_attrs),
            attempts: errors.iter().map(Error::line).collect(),
        }),
    }
}

/// Says whether the next host is worth a try; a server that refuses the role ends the search, as in libpq.
fn goes_on(error: &Error) -> bool {
    matches!(
        error,
        Error::Unreachable { .. }
            | Error::ConnectTimeout { .. }
            | Error::WrongRole { .. }
            | Error::Closed { .. }
            | Error::NotPostgres { .. }
            | Error::StartingUp { .. }
            | Error::Lost { .. }
    )
}

fn name_of(wanted: SessionAttributes) -> &'static str {
    match wanted {
        SessionAttributes::Any | SessionAttributes::PreferStandby => "any",
        SessionAttributes::ReadWrite => "a server that accepts writes",
        SessionAttributes::ReadOnly => "a server that accepts no writes",
        SessionAttributes::Primary => "a primary",
        SessionAttributes::Standby => "a standby",
    }
}

fn suits<T>(connected: Connected<T>, wanted: SessionAttributes) -> Result<Connected<T>, Error> {
    let (suits, found) = match (wanted, connected.recovering, connected.writable) {
        (SessionAttributes::Any | SessionAttributes::PreferStandby, ..) => (true, ""),
        (SessionAttributes::ReadWrite, _, writable) => (writable == Some(true), "read-only"),
        (SessionAttributes::ReadOnly, _, writable) => (writable == Some(false), "read-write"),
        (SessionAttributes::Primary, recovering, _) => (recovering == Some(false), "a standby"),
        (SessionAttributes::Standby, recovering, _) => (recovering == Some(true), "a primary"),
    };
    if suits {
        return Ok(connected);
    }
    Err(Error::WrongRole {
        address: connected.name,
        found,
        wanted: name_of(wanted),
    })
}

const ROLE: &str = "SELECT pg_catalog.pg_is_in_recovery(),
    pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'off'";

async fn connect_host<T: Talk>(
    target: &Target,
    host: &Host,
    application: &str,
) -> Result<Connected<T>, Error> {
    let stage = Stage::default();
    let limit = target.connect_timeout;
    let attempt = async {
        let mut connected: Connected<T> =
            connect_addresses(target, host, application, &stage).await?;
        let told = connected.recovering.is_some() && connected.writable.is_some();
        if target.target_session_attrs != SessionAttributes::Any && !told {
            [connected.recovering, connected.writable] =
                connected.talk.ask_role(&connected.name).await?;
        }
        Ok(connected)
    };
    match tokio::time::timeout(limit, attempt).await {
        Ok(result) => result,
        Err(_) => Err(Error::ConnectTimeout {
            address: host.to_string(),
            limit,
            stage: stage.show(),
        }),
    }
}

async fn connect_addresses<T: Talk>(
    target: &Target,
    host: &Host,
    application: &str,
    stage: &Stage,
) -> Result<Connected<T>, Error> {
    let addresses = match host {
        Host::Socket { directory, port } => {
            vec![Address::Socket(directory.join(format!(".s.PGSQL.{port}")))]
        }
        Host::Tcp {
            address: Some(address),
            port,
            ..
        } => vec![Address::Tcp((*address, *port).into())],
        Host::Tcp { name, port, .. } => {
            let found = tokio::net::lookup_host((name.as_str(), *port)).await;
            let found = found.map_err(|source| unreachable_host(host, source))?;
            found.map(Address::Tcp).collect()
        }
    };
    let mut last = unreachable_host(host, std::io::ErrorKind::AddrNotAvailable.into());
    let attempt = Attempt {
        target,
        host,
        application,
        stage,
    };
    let count = addresses.len();
    for (index, address) in addresses.into_iter().enumerate() {
        // Each address of a name gets its share of the time, so that one that swallows packets does not hide the next.
        let share = target.connect_timeout.div_f64((count - index) as f64);
        let share = share.max(Duration::from_secs(1));
        match tokio::time::timeout(share, attempt.at(&address)).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) if goes_on(&error) => last = error,
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                last = Error::ConnectTimeout {
                    address: host.to_string(),
                    limit: share,
                    stage: stage.show(),
                };
            }
        }
    }
    Err(last)
}

fn unreachable_host(host: &Host, source: std::io::Error) -> Error {
    Error::Unreachable {
        address: host.to_string(),
        source,
    }
}

/// One attempt at one host.
pub(crate) struct Attempt<'a> {
    pub(crate) target: &'a Target,
    pub(crate) host: &'a Host,
    pub(crate) application: &'a str,
    stage: &'a Stage,
}

impl Attempt<'_> {
    async fn at<T: Talk>(&self, address: &Address) -> Result<Connected<T>, Error> {
        if matches!(address, Address::Socket(_)) {
            return self.plain(address).await;
        }
        match self.target.ssl.mode {
            SslMode::Disable => self.plain(address).await,
            SslMode::Allow => match self.plain(address).await {
                Err(refused) if is_hba(&refused) => self
                    .tls(address)
                    .await
                    .map_err(|error| prefer_first(refused, error)),
                result => result,
            },
            SslMode::Prefer => match self.tls(address).await {
                Err(refused) if is_hba(&refused) => self
                    .plain(address)
                    .await
                    .map_err(|error| prefer_first(refused, error)),
                Err(Error::Tls { .. }) => self.plain(address).await,
                result => result,
            },
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => self.tls(address).await,
        }
    }

    async fn open(&self, address: &Address) -> Result<Wire, Error> {
        self.stage.enter(1);
        Wire::open(address)
            .await
            .map_err(|source| unreachable_host(self.host, source))
    }

    async fn plain<T: Talk>(&self, address: &Address) -> Result<Connected<T>, Error> {
        let wire = self.open(address).await?;
        self.log_in_plain(wire, address).await
    }

    async fn log_in_plain<T: Talk>(
        &self,
        wire: Wire,
        address: &Address,
    ) -> Result<Connected<T>, Error> {
        self.stage.enter(3);
        let (heard, local) = (wire.heard(), wire.local());
        let logged = T::log_in(self, Channel::Plain(wire), heard).await?;
        Ok(self.connected(logged, local, address, None))
    }

    async fn tls<T: Talk>(&self, address: &Address) -> Result<Connected<T>, Error> {
        let ssl = &self.target.ssl;
        let mut wire = self.open(address).await?;
        if !ssl.direct {
            self.stage.enter(2);
            let heard = wire.heard();
            match wire.ask_for_tls().await {
                Ok(SslAnswer::Yes) => {}
                Ok(SslAnswer::No) if ssl.mode == SslMode::Prefer => {
                    return self.log_in_plain(wire, address).await;
                }
                Ok(SslAnswer::No) => return Err(self.tls_problem(TlsProblem::NotOffered)),
                Ok(SslAnswer::Error) => {
                    return Err(self.tls_problem(TlsProblem::Other {
                        message: "the server answered the request for TLS with an error".to_owned(),
                    }));
                }
                Err(error) => return Err(explain::greeting(error, &self.peer(), heard.bytes())),
            }
        }
        self.stage.enter(3);
        let local = wire.local();
        let connector = tls::connector(ssl, &self.host.to_string())?;
        let stream = tls::handshake(&connector, &self.host_name(), wire)
            .await
            .map_err(|error| explain::broken(&error, &self.peer(), None))?;
        // What was heard is encrypted and says nothing.
        let logged = T::log_in(self, Channel::Tls(Box::new(stream)), Heard::default()).await?;
        Ok(self.connected(logged, local, address, Some(connector)))
    }

    fn connected<T>(
        &self,
        (talk, reported): (T, Reported),
        local: bool,
        address: &Address,
        tls: Option<TlsConnector>,
    ) -> Connected<T> {
        Connected {
            talk,
            name: self.host.to_string(),
            version: reported.version,
            local,
            route: Route {
                address: address.clone(),
                tls,
                direct: self.target.ssl.direct,
                host: self.host_name(),
            },
            writable: reported.writable,
            recovering: reported.recovering,
        }
    }

    fn config(&self) -> Config {
        let mut config = Config::new();
        config
            .user(&self.target.user)
            .dbname(&self.target.database)
            .application_name(self.application)
            // TLS is settled above, where its answers can be told from another protocol's; what tokio-postgres calls
            // required and direct is to ask for the stream at once.
            .ssl_mode(RawSslMode::Require)
            .ssl_negotiation(SslNegotiation::Direct)
            .channel_binding(match self.target.ssl.channel_binding {
                ChannelBinding::Disable => Binding::Disable,
                ChannelBinding::Prefer => Binding::Prefer,
                ChannelBinding::Require => Binding::Require,
            });
        if let Some(password) = self.target.password_for(self.host) {
            config.password(password.reveal());
        }
        if let Some(options) = &self.target.options {
            config.options(options);
        }
        config
    }

    /// Returns whom it is about, for messages.
    pub(crate) fn peer(&self) -> Peer<'_> {
        Peer {
            address: self.host.to_string(),
            host: self.host_name(),
            user: &self.target.user,
            database: &self.target.database,
            password: self.target.password_for(self.host).is_some(),
            replication: false,
        }
    }

    fn host_name(&self) -> String {
        match self.host {
            Host::Tcp { name, .. } => name.clone(),
            Host::Socket { .. } => "localhost".to_owned(),
        }
    }

    fn tls_problem(&self, problem: TlsProblem) -> Error {
        Error::Tls {
            address: self.host.to_string(),
            problem,
        }
    }
}

impl Talk for Sql {
    async fn log_in(
        attempt: &Attempt<'_>,
        channel: Channel,
        heard: Heard,
    ) -> Result<(Sql, Reported), Error> {
        match attempt.config().connect_raw(channel, Settled).await {
            Ok((client, connection)) => {
                let reported = Reported::new(|name| connection.parameter(name).map(str::to_owned));
                let driver = Driver::new(connection);
                Ok((Sql { client, driver }, reported))
            }
            Err(error) => Err(explain::log_in(error, &attempt.peer(), heard.bytes())),
        }
    }

    async fn ask_role(&mut self, address: &str) -> Result<[Option<bool>; 2], Error> {
        let lost = |error: tokio_postgres::Error| Error::Lost {
            address: address.to_owned(),
            message: error.to_string(),
        };
        let ask = async { self.client.simple_query(ROLE).await.map_err(lost) };
        let messages = self.driver.run(address, ask).await?;
        let flag = |row: &SimpleQueryRow, index: usize| {
            let text = row.try_get(index).ok().flatten();
            text.map(|text| text == "t")
        };
        let row = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some([flag(row, 0), flag(row, 1)]),
            _ => None,
        });
        Ok(row.unwrap_or_default())
    }
}

/// What the server told about itself at log-in.
pub(crate) struct Reported {
    pub(crate) version: String,
    writable: Option<bool>,
    recovering: Option<bool>,
}

impl Reported {
    /// Reads the parameters that the server reported.
    pub(crate) fn new(parameter: impl Fn(&str) -> Option<String>) -> Reported {
        let flag = |name: &str| parameter(name).map(|value| value == "on");
        let recovering = flag("in_hot_standby");
        Reported {
            version: parameter("server_version").unwrap_or_default(),
            recovering,
            writable: match (recovering, flag("default_transaction_read_only")) {
                (Some(recovering), Some(read_only)) => Some(!recovering && !read_only),
                _ => None,
            },
        }
    }
}

/// Says whether `pg_hba.conf`, and not the password, was the reason: then TLS or its absence may change the answer.
fn is_hba(error: &Error) -> bool {
    matches!(error, Error::Refused { sqlstate, .. } if sqlstate == "28000")
}

/// The first refusal says more than a second one that only complains about TLS or its absence.
fn prefer_first(first: Error, second: Error) -> Error {
    match second {
        Error::Tls { .. } => first,
        second if is_hba(&second) => first,
        second => second,
    }
}

impl Route {
    /// Sends a cancel request for the session that `token` belongs to.
    pub(crate) async fn cancel(
        &self,
        token: &tokio_postgres::CancelToken,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut wire = Wire::open(&self.address).await?;
        let channel = match &self.tls {
            None => Channel::Plain(wire),
            Some(connector) => {
                if !self.direct && !matches!(wire.ask_for_tls().await?, SslAnswer::Yes) {
                    return Err("the server no longer offers TLS".into());
                }
                let stream = tls::handshake(connector, &self.host, wire).await?;
                Channel::Tls(Box::new(stream))
            }
        };
        Ok(token.cancel_query_raw(channel, Settled).await?)
    }
}
