//! How bad a finding is.

use serde::{Deserialize, Serialize};

/// How bad a finding is; `Unknown` means that Pawang could not see, which is never good.
///
/// The order is the one of display, worst last: `ok < info < unknown < warning < critical`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Seen, and within its limits.
    Ok,
    /// Worth knowing; nobody has to act.
    Info,
    /// Not seen: no privilege, time-out, missing extension, server down.
    Unknown,
    /// Somebody should act today.
    Warning,
    /// Somebody must act now.
    Critical,
}

impl Level {
    /// Returns the kebab-case name used on every wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Info => "info",
            Level::Unknown => "unknown",
            Level::Warning => "warning",
            Level::Critical => "critical",
        }
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
