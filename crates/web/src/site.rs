//! What every request shares: the present, the store, the settings, and the way to the daemon.

use std::net::SocketAddr;
use std::sync::Arc;

use pawang_alert::book::External;
use pawang_alert::setup::Setup;
use pawang_config::{MetricsConfig, QueryText};
use pawang_core::alert::{Done, Order};
use pawang_core::plan::{Outcome, Plan};
use pawang_core::{Report, Timestamp};
use pawang_store::Store;
use pawang_store::live::Live;
use tokio::sync::{mpsc, oneshot, watch};

use crate::logs::Logs;

/// What every request shares.
pub struct Site {
    /// The present of the estate.
    pub live: Arc<Live>,
    /// History and state.
    pub store: Store,
    /// How it is served.
    pub settings: Settings,
    /// Orders to the daemon; bounded, and refused when the daemon is busy.
    pub commands: mpsc::Sender<Command>,
    /// Alerting as it is configured now: contacts, channels, the public page.
    pub setup: watch::Receiver<Arc<Setup>>,
    /// What was read of logs a moment ago.
    pub logs: Logs,
    /// The clock; only the binary has one.
    pub now: fn() -> Timestamp,
}

/// How the site is served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether everybody must sign in; always so on addresses that are not loopback.
    pub sign_in: bool,
    /// What the configuration says of signing in; where it says nothing, everybody must from the first account on.
    pub sign_in_configured: Option<bool>,
    /// Whether browsers reach it by TLS, its own or that of a proxy: cookies are `Secure` then.
    pub secure: bool,
    /// Names of the `Host` header besides the address itself.
    pub hosts: Vec<String>,
    /// Whether query texts keep their values.
    pub query_text: QueryText,
    /// What `/metrics` shows.
    pub metrics: MetricsConfig,
}

/// An order to the daemon.
pub enum Command {
    /// Read `pawang.toml` again; refused whole when it is wrong.
    Reload {
        /// Where the answer goes.
        answer: oneshot::Sender<Result<(), Vec<Report>>>,
    },
    /// Ask all collectors of an instance now.
    Ask {
        /// The instance.
        instance: String,
        /// Whether there is such an instance.
        answer: oneshot::Sender<bool>,
    },
    /// Do what somebody asks for about alerts; what readers see has changed when the answer comes.
    Alert {
        /// What, and who asks.
        order: Order,
        /// What came of it.
        answer: oneshot::Sender<Result<Done, Report>>,
    },
    /// Take alerts of somebody else.
    External {
        /// The alerts.
        alerts: Vec<External>,
        /// Whether they were taken.
        answer: oneshot::Sender<Result<(), Report>>,
    },
    /// Look at the sessions of an instance and make a plan; nothing is changed.
    PlanSessions {
        /// The instance.
        instance: String,
        /// What is wanted.
        wanted: SessionsWanted,
        /// Who asks, as the journal names it.
        by: String,
        /// The plan.
        answer: oneshot::Sender<Result<Planned, Report>>,
    },
    /// Carry out a plan that was made before.
    ApplySessions {
        /// The instance.
        instance: String,
        /// The hash of the plan.
        plan: String,
        /// The name of the instance as somebody typed it.
        typed: String,
        /// Who asks, as the journal names it.
        by: String,
        /// What came of it.
        answer: oneshot::Sender<Result<Applied, Report>>,
    },
}

/// What is wanted of the sessions of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionsWanted {
    /// Cancel the statement of a session, by session ID.
    Cancel(String),
    /// End a session, by session ID.
    Terminate(String),
    /// Free those that wait.
    Blockers,
}

/// A plan that waits for agreement.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// Its hash, by which it is applied.
    pub hash: String,
    /// Whether the name of the instance must be typed.
    pub production: bool,
}

/// What came of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The plan.
    pub planned: Planned,
    /// What became of each action.
    pub outcome: Outcome,
    /// How many sessions waited before.
    pub waited: usize,
    /// How many of them wait still.
    pub waiting: usize,
}
