//! Why Pawang could not see something.

use serde::{Deserialize, Serialize};

/// Why a collector or a check could not see; each reason knows what would make it see.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Blind {
    /// The monitoring role lacks a privilege; `grant` is the statement that gives it.
    NoPrivilege {
        /// What was refused, in the server's words or ours.
        what: String,
        /// The statement to run.
        grant: String,
    },
    /// A statement of ours was cancelled by our own `statement_timeout` or `lock_timeout`.
    Timeout {
        /// What took too long.
        what: String,
        /// The limit in milliseconds.
        limit_ms: u64,
    },
    /// An extension that the collector reads is not installed in the database.
    MissingExtension {
        /// The extension's name.
        name: String,
        /// The database looked at.
        database: String,
    },
    /// The server, pooler or agent does not answer.
    Unreachable {
        /// The first line of the error.
        what: String,
        /// What to do about it, where the error says.
        #[serde(default)]
        hint: Option<String>,
    },
    /// A rate needs two samples and there is only one yet.
    FirstSample,
    /// The counters were reset, or the server restarted, between the two samples.
    Reset {
        /// What was reset.
        what: String,
    },
    /// The estate file does not say where to look.
    NotConfigured {
        /// The key to add to `pawang.toml`.
        key: String,
        /// What it would tell.
        what: String,
    },
    /// The facts are on a machine that Pawang does not run on.
    NotLocal {
        /// What would have been read.
        what: String,
    },
    /// The server has this switched off.
    Disabled {
        /// The setting to change, such as `track_io_timing = on`.
        setting: String,
    },
    /// Anything else, in the words of the component that failed.
    Failed {
        /// The error.
        what: String,
    },
}

impl Blind {
    /// Returns one sentence without full stop that says why nothing was seen.
    pub fn sentence(&self) -> String {
        match self {
            Blind::NoPrivilege { what, .. } => format!("no privilege: {what}"),
            Blind::Timeout { what, limit_ms } => {
                format!("{what} took longer than {limit_ms} ms and was cancelled")
            }
            Blind::MissingExtension { name, database } => {
                format!("extension \"{name}\" is not installed in database \"{database}\"")
            }
            Blind::Unreachable { what, .. } => what.clone(),
            Blind::FirstSample => "a rate needs two samples and this is the first".to_owned(),
            Blind::Reset { what } => format!("{what} between the two samples"),
            Blind::NotConfigured { what, .. } => format!("not configured: {what}"),
            Blind::NotLocal { what } => {
                format!("{what} can only be read on the server's own machine")
            }
            Blind::Disabled { setting } => format!("switched off on the server; needs {setting}"),
            Blind::Failed { what } => what.clone(),
        }
    }

    /// Returns what to run or write so that it can be seen next time.
    pub fn remedy(&self) -> String {
        match self {
            Blind::NoPrivilege { grant, .. } => grant.clone(),
            Blind::Timeout { .. } => {
                "look for load or locks on the server: pawang check locks".to_owned()
            }
            Blind::MissingExtension { name, database } => format!(
                "CREATE EXTENSION {name};  -- in database \"{database}\"{}",
                if name == "pg_stat_statements" {
                    ", after adding it to shared_preload_libraries"
                } else {
                    ""
                }
            ),
            Blind::Unreachable { hint, .. } => hint
                .clone()
                .unwrap_or_else(|| "check address, port, firewall and whether it runs".to_owned()),
            Blind::FirstSample | Blind::Reset { .. } => {
                "run the same command again in a minute".to_owned()
            }
            Blind::NotConfigured { key, .. } => format!("set {key} in pawang.toml"),
            Blind::NotLocal { .. } => "run pawang on that machine".to_owned(),
            Blind::Disabled { setting } => {
                format!("ALTER SYSTEM SET {setting}; SELECT pg_reload_conf();")
            }
            Blind::Failed { .. } => {
                "run it again with -vv to see every statement and answer".to_owned()
            }
        }
    }
}

/// Why there is no snapshot to judge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// The question does not arise here, such as replay on a primary; never counted as ok.
    NotApplicable(String),
    /// It could not be seen.
    Blind(Blind),
}

impl From<Blind> for Missing {
    fn from(blind: Blind) -> Missing {
        Missing::Blind(blind)
    }
}
