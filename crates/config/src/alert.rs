//! The part of `pawang.toml` about alerts: when a finding becomes one, who is told, and how.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use pawang_core::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::{Period, Quantity};

/// What Pawang says about itself, by the names that rules and matchers use for it like ids of checks.
pub const OWN_CHECKS: [&str; 4] = [
    "monitor-stale",
    "monitor-blind",
    "notification-failed",
    "scheduler-stuck",
];

/// When a finding becomes an alert, who is told of it, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AlertConfig {
    /// Whether the daemon makes alerts of findings.
    pub enabled: bool,
    /// Groups of instances that people wait for, with `*`: their alerts are more urgent. When no instance has a group,
    /// all are.
    pub production: Vec<String>,
    /// Address of the dashboard as people reach it, such as `https://pawang.example.org`: begin of the links in messages.
    #[schemars(extend("format" = "web-url"))]
    pub link: Option<String>,
    /// Labels by whose values alerts are told together.
    pub group_by: Vec<String>,
    /// How long the first message of a group waits for more alerts.
    pub group_wait: Period,
    /// How long a group waits before it tells what changed.
    pub group_interval: Period,
    /// After how long a group tells again what still fires and nobody has acknowledged.
    pub repeat_interval: Period,
    /// Channels, contacts or rotas that are told when nobody is on duty, or when a channel does not get a message through.
    pub fallback: Vec<String>,
    /// How long an acknowledgement counts when whoever gives it says nothing.
    pub acknowledge_for: Period,
    /// By when somebody has to respond, by priority.
    pub response: Response,
    /// After how long without a sample an instance counts as not seen.
    pub stale_after: Period,
    /// Ways to tell somebody, one `[[alert.channel]]` each.
    #[serde(rename = "channel")]
    pub channels: Vec<ChannelConfig>,
    /// People, one `[[alert.contact]]` each.
    #[serde(rename = "contact")]
    pub contacts: Vec<ContactConfig>,
    /// Who is on duty when, one `[[alert.rota]]` each.
    #[serde(rename = "rota")]
    pub rotas: Vec<RotaConfig>,
    /// Who is told when nobody acknowledges, one `[[alert.policy]]` each.
    #[serde(rename = "policy")]
    pub policies: Vec<PolicyConfig>,
    /// Which alerts are told to whom, one `[[alert.route]]` each; the first one that matches counts.
    #[serde(rename = "route")]
    pub routes: Vec<RouteConfig>,
    /// Alerts that explain others, one `[[alert.inhibit]]` each, besides those that Pawang knows by itself.
    #[serde(rename = "inhibit")]
    pub inhibits: Vec<InhibitConfig>,
    /// When a finding of a check becomes an alert, one `[[alert.rule]]` each; later ones win, key by key.
    #[serde(rename = "rule")]
    pub rules: Vec<RuleConfig>,
    /// Maintenance windows, one `[[alert.window]]` each.
    #[serde(rename = "window")]
    pub windows: Vec<WindowConfig>,
    /// Times in which the warehouse is busy by design, one `[[alert.batch]]` each.
    #[serde(rename = "batch")]
    pub batches: Vec<BatchConfig>,
    /// A sign of life to somebody who notices when it is missing.
    pub heartbeat: Option<HeartbeatConfig>,
    /// The page about the state of the warehouse that everybody may see.
    pub status_page: Option<StatusPageConfig>,
}

impl Default for AlertConfig {
    fn default() -> AlertConfig {
        let minutes = |minutes: u64| Period(Duration::from_secs(minutes * 60));
        AlertConfig {
            enabled: true,
            production: vec!["prod*".to_owned()],
            link: None,
            group_by: vec!["instance".to_owned()],
            group_wait: Period(Duration::from_millis(250)),
            group_interval: minutes(5),
            repeat_interval: minutes(4 * 60),
            fallback: Vec::new(),
            acknowledge_for: minutes(8 * 60),
            response: Response::default(),
            stale_after: minutes(3),
            channels: Vec::new(),
            contacts: Vec::new(),
            rotas: Vec::new(),
            policies: Vec::new(),
            routes: Vec::new(),
            inhibits: Vec::new(),
            rules: Vec::new(),
            windows: Vec::new(),
            batches: Vec::new(),
            heartbeat: None,
            status_page: None,
        }
    }
}

/// By when somebody has to respond, by priority.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[expect(non_snake_case, reason = "P1 to P4 are written in capitals everywhere")]
pub struct Response {
    /// Database down, data at risk.
    pub P1: Period,
    /// Severe degradation, replication or backup broken.
    pub P2: Period,
    /// Somebody should act today.
    pub P3: Period,
    /// Worth knowing.
    pub P4: Period,
}

impl Default for Response {
    fn default() -> Response {
        let minutes = |minutes: u64| Period(Duration::from_secs(minutes * 60));
        Response {
            P1: minutes(15),
            P2: minutes(30),
            P3: minutes(2 * 60),
            P4: minutes(24 * 60),
        }
    }
}

/// A way to tell somebody: a name, what it may be used for, and exactly one of the tables below.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelConfig {
    /// Its name, used in routes, policies and contacts.
    #[schemars(extend("format" = "name", "x-unique" = true))]
    pub name: String,
    /// Messages a minute at most; more of them become one digest.
    #[serde(default = "rate")]
    #[schemars(range(min = 1, max = 10_000))]
    pub rate_per_minute: u32,
    /// Collect messages of priority P3 and P4 and send them together so often; at once when not set.
    #[serde(default)]
    pub digest: Option<Period>,
    /// Whether it is told when alerts are over.
    #[serde(default = "yes")]
    pub send_resolved: bool,
    /// How long one attempt may take.
    #[serde(default = "attempt")]
    pub timeout: Period,
    /// After how long a message that does not get through is given up.
    #[serde(default = "day")]
    pub give_up_after: Period,
    /// Mail.
    #[serde(default)]
    pub smtp: Option<SmtpConfig>,
    /// A webhook with the payload of Alertmanager, version 4.
    #[serde(default)]
    pub webhook: Option<WebhookConfig>,
    /// A Slack-compatible webhook: Slack, Mattermost, Rocket.Chat.
    #[serde(default)]
    pub slack: Option<WebhookConfig>,
    /// A Teams-compatible webhook with an adaptive card.
    #[serde(default)]
    pub teams: Option<WebhookConfig>,
    /// A Telegram bot.
    #[serde(default)]
    pub telegram: Option<TelegramConfig>,
    /// PagerDuty, Events API version 2.
    #[serde(default)]
    pub pagerduty: Option<PagerdutyConfig>,
    /// A topic of ntfy.
    #[serde(default)]
    pub ntfy: Option<NtfyConfig>,
    /// A program on this machine; it gets the message as JSON on its standard input.
    #[serde(default)]
    pub exec: Option<ExecConfig>,
    /// The system log, local or by network.
    #[serde(default)]
    pub syslog: Option<SyslogConfig>,
    /// An Alertmanager, by its API version 2; it does the telling then.
    #[serde(default)]
    pub alertmanager: Option<AlertmanagerConfig>,
}

impl ChannelConfig {
    /// Says whether it leads somewhere by itself, not only to the contacts that have an address there.
    pub fn has_target(&self) -> bool {
        let mail = self.smtp.as_ref().is_some_and(|smtp| smtp.to.is_empty());
        let chat = self.telegram.as_ref();
        !mail && chat.is_none_or(|telegram| telegram.chat_id.is_some())
    }

    /// Returns the files that it names.
    pub(crate) fn files(&mut self) -> Vec<&mut PathBuf> {
        let mut files = Vec::new();
        if let Some(smtp) = &mut self.smtp {
            files.extend(&mut smtp.ca_file);
            files.extend(&mut smtp.password_file);
        }
        let webhooks = [&mut self.webhook, &mut self.slack, &mut self.teams];
        for webhook in webhooks.into_iter().flatten() {
            files.extend(&mut webhook.url_file);
            files.extend(&mut webhook.token_file);
            files.extend(&mut webhook.ca_file);
        }
        files.extend(
            self.telegram
                .as_mut()
                .map(|telegram| &mut telegram.token_file),
        );
        files.extend(
            self.pagerduty
                .as_mut()
                .map(|pagerduty| &mut pagerduty.key_file),
        );
        files.extend(self.ntfy.as_mut().and_then(|ntfy| ntfy.token_file.as_mut()));
        let alertmanager = self.alertmanager.as_mut();
        files.extend(alertmanager.and_then(|alertmanager| alertmanager.token_file.as_mut()));
        files
    }
}

fn rate() -> u32 {
    30
}

fn yes() -> bool {
    true
}

fn attempt() -> Period {
    Period(Duration::from_secs(10))
}

fn day() -> Period {
    Period(Duration::from_secs(86_400))
}

/// How mail is sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmtpConfig {
    /// Name or address of the mail server.
    #[schemars(length(min = 1))]
    pub server: String,
    /// Its port; 587 with `starttls`, 465 with `tls`, 25 with `none` when not set.
    #[serde(default)]
    pub port: Option<u16>,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: SmtpTls,
    /// File with the certificates that sign the server's, besides those of the system (PEM).
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// User to sign in as.
    #[serde(default)]
    pub username: Option<String>,
    /// File whose first line is the password; only its owner may be able to read it.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Who the mail comes from, such as `Pawang <pawang@example.org>`.
    #[schemars(length(min = 1))]
    pub from: String,
    /// Who gets it, when it is not sent to a contact.
    #[serde(default)]
    pub to: Vec<String>,
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SmtpTls {
    /// It begins plain and must turn to TLS before anything is said.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// Not at all; only for a server on this machine or in a network that is trusted.
    None,
}

/// A webhook.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// Its address; it is a secret itself where it carries a token. Redirects are not followed.
    #[serde(default, skip_serializing_if = "no_secret")]
    #[schemars(with = "Option<String>", extend("format" = "web-url"))]
    pub url: Option<Secret<String>>,
    /// File whose first line is the address, instead of `url`.
    #[serde(default)]
    pub url_file: Option<PathBuf>,
    /// File whose first line is a bearer token.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// File with the certificates that sign the server's, besides those of the system (PEM).
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// A Telegram bot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TelegramConfig {
    /// File whose first line is the bot's token.
    pub token_file: PathBuf,
    /// The chat, when it is not sent to a contact.
    #[serde(default)]
    pub chat_id: Option<String>,
    /// The API, when it is not Telegram's own.
    #[serde(default)]
    #[schemars(extend("format" = "web-url"))]
    pub api: Option<String>,
}

/// PagerDuty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PagerdutyConfig {
    /// File whose first line is the integration key.
    pub key_file: PathBuf,
    /// The API, when it is not that of the United States region.
    #[serde(default)]
    #[schemars(extend("format" = "web-url"))]
    pub api: Option<String>,
}

/// A topic of ntfy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NtfyConfig {
    /// The server with the topic: `https://ntfy.sh/our-databases`.
    #[serde(default, skip_serializing_if = "no_secret")]
    #[schemars(with = "Option<String>", extend("format" = "web-url"))]
    pub url: Option<Secret<String>>,
    /// File whose first line is an access token.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
}

/// A program on this machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecConfig {
    /// The program and its arguments; no shell is involved. Exit code 0 means that the message was taken.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
}

/// The system log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyslogConfig {
    /// Socket of the local log, or `udp://host:514`, `tcp://host:514`; `/dev/log` when not set.
    #[serde(default)]
    pub address: Option<String>,
    /// Facility, such as `daemon` or `local3`.
    #[serde(default)]
    pub facility: Option<String>,
}

/// An Alertmanager.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertmanagerConfig {
    /// Its address, such as `http://127.0.0.1:9093`.
    #[serde(default, skip_serializing_if = "no_secret")]
    #[schemars(with = "Option<String>", extend("format" = "web-url"))]
    pub url: Option<Secret<String>>,
    /// File whose first line is a bearer token.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
}

fn no_secret(url: &Option<Secret<String>>) -> bool {
    url.is_none()
}

/// A person.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactConfig {
    /// The name used in rotas, policies and routes.
    #[schemars(extend("format" = "name", "x-unique" = true))]
    pub name: String,
    /// What the person does, such as `Primary DBA`.
    #[serde(default)]
    pub role: Option<String>,
    /// Where the person is told: channels, each with the person's address there, such as
    /// `{ email-dba = "ayu@example.org", telegram = "4711" }`.
    pub channels: BTreeMap<String, String>,
    /// Telephone, shown in incidents.
    #[serde(default)]
    pub phone: Option<String>,
}

/// Who is on duty when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotaConfig {
    /// The name used in policies and routes.
    #[schemars(extend("format" = "name", "x-unique" = true))]
    pub name: String,
    /// Contacts in the order of their turns.
    pub members: Vec<String>,
    /// How long a turn is, in whole days: `1 d`, `7 d`.
    #[serde(default = "week")]
    pub turn: Period,
    /// When the first turn began: day and time, such as `2026-01-05 09:00`.
    pub starts: String,
    /// Time zone of everything here, such as `Asia/Jakarta`; that of the machine when not set.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// When somebody is on duty at all, such as `mon-fri 08:00-17:00`; always when not set.
    #[serde(default)]
    pub hours: Option<String>,
    /// Who stands in for whom, one `[[alert.rota.substitute]]` each.
    #[serde(default, rename = "substitute")]
    pub substitutes: Vec<SubstituteConfig>,
}

fn week() -> Period {
    Period(Duration::from_secs(7 * 86_400))
}

/// Somebody stands in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubstituteConfig {
    /// From when on, such as `2026-12-24 09:00`.
    pub from: String,
    /// Until when.
    pub to: String,
    /// The contact on duty; nobody when not set.
    #[serde(default)]
    pub contact: Option<String>,
}

/// A ladder: who is told when nobody acknowledges.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// The name used in routes.
    #[schemars(extend("format" = "name", "x-unique" = true))]
    pub name: String,
    /// Its steps, one `[[alert.policy.step]]` each.
    #[serde(rename = "step")]
    pub steps: Vec<StepConfig>,
    /// How often the whole ladder is climbed again when nobody acknowledged at its end.
    #[serde(default)]
    #[schemars(range(min = 0, max = 20))]
    pub repeat: u32,
}

/// A step of a ladder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepConfig {
    /// How long after the begin of the ladder.
    pub after: Period,
    /// Channels, contacts and rotas that are told.
    pub notify: Vec<String>,
    /// Count only time within these hours, such as `mon-fri 08:00-17:00 Asia/Jakarta`.
    #[serde(default)]
    pub hours: Option<String>,
}

/// Which alerts are told to whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// Its name.
    #[schemars(extend("format" = "name", "x-unique" = true))]
    pub name: String,
    /// Which alerts, such as `['priority=~"P[12]"', 'group="prod"']`; all when not set.
    #[serde(default, rename = "match")]
    pub matchers: Vec<String>,
    /// Channels, contacts and rotas that are told.
    #[serde(default)]
    pub notify: Vec<String>,
    /// The ladder that is climbed instead.
    #[serde(default)]
    pub policy: Option<String>,
    /// When it counts, such as `mon-fri 08:00-17:00 Asia/Jakarta`; always when not set. Outside of it the next route is asked.
    #[serde(default)]
    pub hours: Option<String>,
    /// Go on to the next routes too.
    #[serde(default, rename = "continue")]
    pub goes_on: bool,
    /// As in `[alert]`.
    #[serde(default)]
    pub group_by: Option<Vec<String>>,
    /// As in `[alert]`.
    #[serde(default)]
    pub group_wait: Option<Period>,
    /// As in `[alert]`.
    #[serde(default)]
    pub group_interval: Option<Period>,
    /// As in `[alert]`.
    #[serde(default)]
    pub repeat_interval: Option<Period>,
}

/// An alert that explains others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InhibitConfig {
    /// Its name, told with whatever it keeps quiet.
    #[schemars(extend("format" = "name", "x-unique" = true))]
    pub name: String,
    /// The alert that explains.
    pub source: Vec<String>,
    /// The alerts that it explains.
    pub target: Vec<String>,
    /// Labels that must have the same value on both; a missing one is the empty text.
    #[serde(default)]
    pub equal: Vec<String>,
}

/// When a finding becomes an alert; keys that are not set stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// Id of the check, with `*`.
    pub check: String,
    /// Only instances of these groups, with `*`.
    #[serde(default)]
    pub group: Option<String>,
    /// Only these instances, with `*`.
    #[serde(default)]
    pub instance: Option<String>,
    /// Only these objects, with `*`.
    #[serde(default)]
    pub object: Option<String>,
    /// Whether findings become alerts at all.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// From which level on.
    #[serde(default)]
    pub level: Option<AlertLevel>,
    /// How long a warning must last.
    #[serde(default, rename = "for")]
    pub lasts: Option<Period>,
    /// How long a critical finding must last.
    #[serde(default)]
    pub for_critical: Option<Period>,
    /// How many of the last samples must be bad, such as `3 of 5`.
    #[serde(default)]
    pub samples: Option<String>,
    /// How long it must be good before it counts as over; longer when it fired for longer or comes back often.
    #[serde(default)]
    pub keep_firing: Option<Period>,
    /// What fires is over only on the good side of this value; a number in the check's unit or a text with a unit.
    #[serde(default)]
    pub clear: Option<Quantity>,
    /// What fires is over only when the value is so much better than its limit, in percent of the limit.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub clear_margin_percent: Option<f64>,
    /// What to do when it can no longer be seen.
    #[serde(default)]
    pub no_data: Option<NoData>,
    /// Priority, instead of the one by level and role.
    #[serde(default)]
    pub priority: Option<PriorityName>,
    /// Warnings fire only when the value is so many deviations away from what is usual at this hour of the week.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub deviations: Option<f64>,
    /// Whether warnings are expected while a batch window (`[[alert.batch]]`) is open.
    #[serde(default)]
    pub expected_in_batch: Option<bool>,
    /// Address of a runbook of your own.
    #[serde(default)]
    pub runbook: Option<String>,
}

/// A level from which on findings become alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AlertLevel {
    /// Warnings and critical findings.
    Warning,
    /// Only critical findings.
    Critical,
}

/// What to do when something can no longer be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NoData {
    /// What fired goes on firing, as not seen; what did not fire stays quiet.
    #[default]
    Keep,
    /// It fires when it cannot be seen for as long as `for`.
    Fire,
    /// What fired counts as over.
    Resolve,
}

/// A priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PriorityName {
    /// Database down, data at risk.
    P1,
    /// Severe degradation, replication or backup broken.
    P2,
    /// Somebody should act today.
    P3,
    /// Worth knowing.
    P4,
}

/// A maintenance window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowConfig {
    /// Its name.
    #[schemars(extend("format" = "name", "x-unique" = true))]
    pub name: String,
    /// When: `sun 02:00-06:00 Asia/Jakarta`, `first sun 00:00-04:00`, `cron 0 2 * * 0 for 4 h`, `2026-12-01 22:00 for 2 h`.
    pub schedule: String,
    /// Which alerts; the whole estate when not set.
    #[serde(default, rename = "match")]
    pub matchers: Vec<String>,
    /// What is done in it.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A time in which the warehouse is busy by design.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchConfig {
    /// Its name.
    #[schemars(extend("format" = "name", "x-unique" = true))]
    pub name: String,
    /// When, as in `[[alert.window]]`: `mon-sat 01:00-05:00 Asia/Jakarta`.
    pub schedule: String,
    /// Which instances; all when not set.
    #[serde(default, rename = "match")]
    pub matchers: Vec<String>,
}

/// A sign of life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatConfig {
    /// Address that is asked as long as everything moves; it is somebody else's duty to notice when that ends.
    #[schemars(with = "String", extend("format" = "web-url"))]
    pub url: Secret<String>,
    /// How often.
    #[serde(default = "minute")]
    pub every: Period,
}

fn minute() -> Period {
    Period(Duration::from_secs(60))
}

/// The page about the state of the warehouse that everybody may see.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusPageConfig {
    /// Its title, such as `Smart Dairy data warehouse`.
    #[schemars(length(min = 1))]
    pub title: String,
    /// What people see instead of instances, one `[[alert.status_page.service]]` each.
    #[serde(default, rename = "service")]
    pub services: Vec<ServiceConfig>,
    /// Whom people may ask.
    #[serde(default)]
    pub contact: Option<String>,
}

/// A service as its users know it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// Its name, such as `Sales reports`.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Alerts that mean trouble for it, such as `['instance="dwh-1"', 'priority=~"P[12]"']`.
    #[serde(rename = "match")]
    pub matchers: Vec<String>,
}
