//! The part of `pawang.toml` that `pawang serve` reads.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use pawang_core::{ByteSize, Secret};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::{Period, Size};

/// How the daemon observes, remembers and shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServeConfig {
    /// Address and port of dashboard, API and `/metrics`.
    ///
    /// Anything but a loopback address needs accounts (`pawang account create`) and TLS, its own or that of a proxy.
    #[schemars(with = "String", extend("format" = "address"))]
    pub listen: SocketAddr,
    /// Folder of history and state; `data` in the state folder when not set.
    pub data_directory: Option<PathBuf>,
    /// Whether everybody must sign in; when not set, on addresses that are not loopback, behind a TLS proxy, and as soon
    /// as there is an account. Off only on loopback addresses without a proxy.
    pub sign_in: Option<bool>,
    /// TLS of its own.
    pub tls: Option<TlsConfig>,
    /// A proxy in front ends TLS; without it and without `tls`, only loopback addresses are served.
    pub behind_tls_proxy: bool,
    /// Names (`Host` headers) under which the dashboard may be asked besides its address, such as `pawang.example.org`.
    pub hosts: Vec<String>,
    /// Share of one core of the server that observing may use, in percent; collectors are asked less often to keep it.
    #[schemars(range(min = 0.01, max = 100.0))]
    pub budget_percent: f64,
    /// Whether sessions are sampled every second (active-session history).
    pub activity_sampling: bool,
    /// Whether query texts are shown as the server has them, with their values, or normalised.
    pub query_text: QueryText,
    /// How long history is kept, and in how much space.
    pub retention: RetentionConfig,
    /// Whether and how the logs of servers on this machine are read.
    pub logs: LogsConfig,
    /// What `/metrics` shows.
    pub metrics: MetricsConfig,
    /// Prometheus-compatible stores that everything is sent to, one `[[serve.remote_write]]` each.
    pub remote_write: Vec<RemoteWriteConfig>,
}

/// Whether query texts keep their values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum QueryText {
    /// Literals are replaced by `$1`, `$2`, ...
    #[default]
    Normalised,
    /// As the server shows them: values of customers may be in them.
    Raw,
}

/// Certificate and key of the dashboard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file with the certificate and its chain.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// How long history is kept, and in how much space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionConfig {
    /// How long every sample is kept.
    pub raw: Period,
    /// How long one-minute values are kept.
    pub minute: Period,
    /// How long ten-minute values are kept.
    pub ten_minutes: Period,
    /// Most space of the history of all instances; the oldest goes first.
    pub size: Size,
}

/// Whether and how the logs of servers on this machine are read, for the dashboard's page about them.
///
/// What was read adds up to numbers per hour in the data directory; the log itself is not copied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogsConfig {
    /// Whether they are read.
    pub enabled: bool,
    /// From one look for something new to the next.
    pub interval: Period,
    /// How long the numbers of an hour are kept.
    pub keep: Period,
}

/// What `/metrics` shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// Collectors that are shown, with `*`; all when not set.
    pub collectors: Option<Vec<String>>,
    /// Most series of one collector and instance; the largest rows are kept and the rest is counted in
    /// `pawang_series_dropped`.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub series_per_collector: u32,
    /// Also the names of postgres_exporter, for dashboards and rules that exist already.
    pub postgres_exporter_names: bool,
}

/// A Prometheus-compatible store that everything is sent to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoteWriteConfig {
    /// Name of the store; unique.
    #[schemars(extend("format" = "name", "x-unique" = true))]
    pub name: String,
    /// Address of its receiver, such as `http://prometheus:9090/api/v1/write`.
    #[schemars(with = "String", extend("format" = "web-url"))]
    pub url: Secret<String>,
    /// Name for basic authentication.
    #[serde(default)]
    pub username: Option<String>,
    /// File whose first line is the password for basic authentication.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// File whose first line is a bearer token.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// Labels added to every series.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Collectors that are sent, with `*`; all when not set.
    #[serde(default)]
    pub collectors: Option<Vec<String>>,
    /// Most space of what waits on disk while the store does not answer; the oldest is dropped and counted.
    #[serde(default = "queue_size")]
    pub queue_size: Size,
}

fn queue_size() -> Size {
    Size(ByteSize(256 << 20))
}

const DAY: Duration = Duration::from_secs(86_400);

impl Default for RetentionConfig {
    fn default() -> RetentionConfig {
        RetentionConfig {
            raw: Period(7 * DAY),
            minute: Period(90 * DAY),
            ten_minutes: Period(730 * DAY),
            size: Size(ByteSize(10 << 30)),
        }
    }
}

impl Default for MetricsConfig {
    fn default() -> MetricsConfig {
        MetricsConfig {
            collectors: None,
            series_per_collector: 50_000,
            postgres_exporter_names: false,
        }
    }
}

impl Default for LogsConfig {
    fn default() -> LogsConfig {
        LogsConfig {
            enabled: true,
            interval: Period(Duration::from_secs(60)),
            keep: Period(35 * DAY),
        }
    }
}

impl Default for ServeConfig {
    fn default() -> ServeConfig {
        ServeConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 8432)),
            data_directory: None,
            sign_in: None,
            tls: None,
            behind_tls_proxy: false,
            hosts: Vec::new(),
            budget_percent: 0.5,
            activity_sampling: true,
            query_text: QueryText::default(),
            retention: RetentionConfig::default(),
            logs: LogsConfig::default(),
            metrics: MetricsConfig::default(),
            remote_write: Vec::new(),
        }
    }
}
