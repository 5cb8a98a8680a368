//! From a target to a logged-in connection: hosts in order, TLS as demanded, one time limit per host.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_postgres::config::{ChannelBinding as Binding, SslMode as RawSslMode, SslNegotiation};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, SimpleQueryRow};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::driver::Driver;
use crate::explain::{self, Peer};
use crate::target::{ChannelBinding, Host, SessionAttributes, SslMode, Target};
use crate::tls;
use crate::wire::{Address, SslAnswer, Wire};
use crate::{Error, TlsProblem};

/// A logged-in connection.
pub(crate) struct Connected {
    // Dropped in this order, as in a session.
    pub(crate) client: Client,
    pub(crate) driver: Driver,
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

/// The way to one server, once found.
pub(crate) struct Route {
    address: Address,
    tls: Option<MakeRustlsConnect>,
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
pub(crate) async fn connect(target: &Target, application: &str) -> Result<Connected, Error> {
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

fn suits(connected: Connected, wanted: SessionAttributes) -> Result<Connected, Error> {
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

/// Asks for what servers report at log-in and poolers keep to themselves.
async fn ask_role(connected: &mut Connected) -> Result<(), Error> {
    if connected.recovering.is_some() && connected.writable.is_some() {
        return Ok(());
    }
    let lost = |error: tokio_postgres::Error| Error::Lost {
        address: connected.name.clone(),
        message: error.to_string(),
    };
    let ask = async { connected.client.simple_query(ROLE).await.map_err(lost) };
    let messages = connected.driver.run(&connected.name, ask).await?;
    let flag = |row: &SimpleQueryRow, index: usize| {
        let text = row.try_get(index).ok().flatten();
        text.map(|text| text == "t")
    };
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            connected.recovering = flag(&row, 0);
            connected.writable = flag(&row, 1);
        }
    }
    Ok(())
}

const ROLE: &str = "SELECT pg_catalog.pg_is_in_recovery(),
    pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'off'";

async fn connect_host(target: &Target, host: &Host, application: &str) -> Result<Connected, Error> {
    let stage = Stage::default();
    let limit = target.connect_timeout;
    let attempt = async {
        let mut connected = connect_addresses(target, host, application, &stage).await?;
        if target.target_session_attrs != SessionAttributes::Any {
            ask_role(&mut connected).await?;
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

async fn connect_addresses(
    target: &Target,
    host: &Host,
    application: &str,
    stage: &Stage,
) -> Result<Connected, Error> {
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

struct Attempt<'a> {
    target: &'a Target,
    host: &'a Host,
    application: &'a str,
    stage: &'a Stage,
}

impl Attempt<'_> {
    async fn at(&self, address: &Address) -> Result<Connected, Error> {
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

    async fn plain(&self, address: &Address) -> Result<Connected, Error> {
        let wire = self.open(address).await?;
        self.log_in_plain(wire, address).await
    }

    async fn log_in_plain(&self, wire: Wire, address: &Address) -> Result<Connected, Error> {
        self.stage.enter(3);
        let (heard, local) = (wire.heard(), wire.local());
        let config = self.config(RawSslMode::Disable);
        match config.connect_raw(wire, NoTls).await {
            Ok((client, connection)) => {
                let reported = Reported::new(|name| connection.parameter(name).map(str::to_owned));
                Ok(self.connected(
                    client,
                    Driver::new(connection),
                    reported,
                    local,
                    address,
                    None,
                ))
            }
            Err(error) => Err(explain::log_in(error, &self.peer(), heard.bytes())),
        }
    }

    async fn tls(&self, address: &Address) -> Result<Connected, Error> {
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
        let name = self.host_name();
        let mut make = tls::connector(ssl, &self.host.to_string())?;
        let connector = match MakeTlsConnect::<Wire>::make_tls_connect(&mut make, &name) {
            Ok(connector) => connector,
            Err(never) => match never {},
        };
        let config = self.config(RawSslMode::Require);
        match config.connect_raw(wire, connector).await {
            Ok((client, connection)) => {
                let reported = Reported::new(|name| connection.parameter(name).map(str::to_owned));
                Ok(self.connected(
                    client,
                    Driver::new(connection),
                    reported,
                    local,
                    address,
                    Some(make),
                ))
            }
            Err(error) => Err(explain::log_in(error, &self.peer(), None)),
        }
    }

    fn connected(
        &self,
        client: Client,
        driver: Driver,
        reported: Reported,
        local: bool,
        address: &Address,
        tls: Option<MakeRustlsConnect>,
    ) -> Connected {
        Connected {
            client,
            driver,
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

    fn config(&self, mode: RawSslMode) -> Config {
        let mut config = Config::new();
        config
            .user(&self.target.user)
            .dbname(&self.target.database)
            .application_name(self.application)
            .ssl_mode(mode)
            // The request for TLS was made above, where its answer can be told from another protocol's; what
            // tokio-postgres calls direct is to begin with the handshake at once.
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

    fn peer(&self) -> Peer<'_> {
        Peer {
            address: self.host.to_string(),
            host: self.host_name(),
            user: &self.target.user,
            database: &self.target.database,
            password: self.target.password_for(self.host).is_some(),
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

/// What the server told about itself at log-in.
struct Reported {
    version: String,
    writable: Option<bool>,
    recovering: Option<bool>,
}

impl Reported {
    fn new(parameter: impl Fn(&str) -> Option<String>) -> Reported {
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
        let Some(make) = &self.tls else {
            return Ok(token.cancel_query_raw(wire, NoTls).await?);
        };
        if !self.direct && !matches!(wire.ask_for_tls().await?, SslAnswer::Yes) {
            return Err("the server no longer offers TLS".into());
        }
        let mut make = make.clone();
        let connector = MakeTlsConnect::<Wire>::make_tls_connect(&mut make, &self.host)?;
        Ok(token.cancel_query_raw(wire, connector).await?)
    }
}
