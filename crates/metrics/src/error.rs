//! What can go wrong on the way to a remote store.

use std::path::PathBuf;

use pawang_core::{Kind, Report};

/// Remote-write cannot be set up, or its queue cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the queue, or one with a password or token, refuses.
    #[error("could not use \"{}\" for remote-write", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The address of the store is not one. It may carry a password, so no message repeats it.
    #[error("cannot use the url of remote-write \"{name}\": {problem}")]
    Url {
        /// Name of the store in the configuration.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Error {
    /// Returns the error for people.
    pub fn report(&self) -> Report {
        let (kind, hint) = match self {
            Error::File { .. } => (Kind::Refused, "free space, and check owner and mode"),
            Error::Url { .. } => (
                Kind::Usage,
                "url = \"http://prometheus:9090/api/v1/write\" in pawang.toml",
            ),
        };
        Report::from_error(kind, self).with_hint(hint)
    }
}
