//! `pawang.toml`: one tree that is the struct, the JSON schema and the documentation.
//!
//! Reading it needs no server: whether a check exists is asked later, by [`Config::verify`].

mod act;
mod alert;
mod backup;
mod limits;
mod maintenance;
mod pattern;
mod problem;
mod quantity;
mod read;
pub mod schedule;
mod schema;
mod secrets;
mod sense;
mod serve;
mod tree;
mod verify;
mod walk;

pub use act::ActConfig;
pub use alert::{
    AlertConfig, AlertLevel, AlertmanagerConfig, BatchConfig, ChannelConfig, ContactConfig,
    ExecConfig, HeartbeatConfig, InhibitConfig, NoData, NtfyConfig, OWN_CHECKS, PagerdutyConfig,
    PolicyConfig, PriorityName, Response, RotaConfig, RouteConfig, RuleConfig, ServiceConfig,
    SmtpConfig, SmtpTls, StatusPageConfig, StepConfig, SubstituteConfig, SyslogConfig,
    TelegramConfig, WebhookConfig, WindowConfig,
};
pub use backup::{
    BackupPolicy, BackupRetention, BackupSettings, Encryption, ProbeConfig, RepositoryConfig,
    RepositoryPlace, ScratchConfig,
};
pub use limits::{Place, Resolved};
pub use maintenance::{
    AnalyzeConfig, Area, BudgetConfig, CleanupConfig, HighRisk, IndexConfig, MaintenanceConfig,
    MaintenancePolicy, MaintenanceRule, PartitionsConfig, RewriteChoice, TableConfig, VacuumConfig,
};
pub use pattern::{matches, nearest};
pub use problem::{Errors, Mistake, Origin, PROBLEMS_MAX, Position, Problem};
pub use quantity::{Period, Quantity, Size};
pub use read::{example, load, parse};
pub use schema::{reference, schema};
pub use secrets::redact;
pub use serve::{
    LogsConfig, MetricsConfig, QueryText, RemoteWriteConfig, RetentionConfig, ServeConfig,
    TlsConfig,
};
pub use tree::{
    BackupSource, CheckConfig, CollectorsConfig, Config, Defaults, Direction, FreshnessSource,
    InstanceConfig, LoadSource, Override, UserCheck,
};
pub use verify::KnownCheck;
