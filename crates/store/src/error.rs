//! What can go wrong with what is remembered.

use std::path::PathBuf;

use pawang_core::{Kind, Report};

/// Something cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or its directory refuses.
    #[error("could not use the file \"{}\"", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The file is not a sample.
    #[error("cannot read \"{}\" as a sample", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// Another Pawang uses the data directory.
    #[error("data directory \"{}\" is in use", path.display())]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// The process that holds it, where it says.
        pid: Option<u32>,
    },
    /// A newer Pawang wrote the file.
    #[error("\"{}\" has format {found}, and this version reads up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that is known.
        known: i64,
    },
    /// The disk, or a limit of space, refuses more.
    #[error("there is no space left for \"{}\"", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// The database's answer.
        source: rusqlite::Error,
    },
    /// The file is damaged.
    #[error("\"{}\" is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The database's answer, or what is wrong in its content.
        what: String,
    },
    /// Anything else that the database says.
    #[error("could not use \"{}\"", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// The database's answer.
        source: rusqlite::Error,
    },
}

impl Error {
    /// Returns the error for people.
    pub fn report(&self) -> Report {
        let hint = match self {
            Error::Locked { .. } => {
                Some("stop the other pawang serve, or set serve.data_directory in pawang.toml")
            }
            Error::Newer { .. } => Some("use the newer Pawang, or another data directory"),
            Error::Full { .. } => Some("free space, or lower serve.retention.size in pawang.toml"),
            _ => None,
        };
        let report = Report::from_error(Kind::Refused, self);
        match hint {
            Some(hint) => report.with_hint(hint),
            None => report,
        }
    }
}
