//! What can go wrong with what is remembered.

use std::path::{Path, PathBuf};

use pawang_core::{Kind, Report};
use rusqlite::ErrorCode;

/// With less space than this a refused write is taken for a full disk.
const FREE_BYTES_MIN: u64 = 1 << 20;

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
    /// An older Pawang wrote the file and no newer one has opened it for writing yet.
    #[error("\"{}\" has format {found}, and this version reads {known}", path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The format that is known.
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
    /// Returns what an answer of the database about the file `path` means.
    pub(crate) fn of_database(path: &Path, source: rusqlite::Error) -> Error {
        let path = path.to_owned();
        match source.sqlite_error().map(|error| error.code) {
            Some(ErrorCode::DiskFull) => Error::Full { path, source },
            Some(ErrorCode::SystemIoFailure) if full(&path) => Error::Full { path, source },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::Damaged {
                path,
                what: source.to_string(),
            },
            _ => Error::Database { path, source },
        }
    }

    /// Returns the error for people.
    pub fn report(&self) -> Report {
        let hint = match self {
            Error::Locked { .. } => {
                Some("stop the other pawang serve, or set serve.data_directory in pawang.toml")
            }
            Error::Newer { .. } => Some("use the newer Pawang, or another data directory"),
            Error::Older { .. } => Some("pawang serve"),
            Error::Full { .. } => Some("free space, or lower serve.retention.size in pawang.toml"),
            _ => None,
        };
        let mut report = Report::from_error(Kind::Refused, self);
        match self {
            Error::Locked { pid: Some(pid), .. } => {
                report = report.with_detail(format!("process {pid} holds it"));
            }
            Error::Damaged { what, .. } => report = report.with_detail(what.clone()),
            _ => {}
        }
        match hint {
            Some(hint) => report.with_hint(hint),
            None => report,
        }
    }
}

/// Returns whether the disk of `path` is full: SQLite tells a quota, a full file of shared memory and the like only as
/// an input or output error.
fn full(path: &Path) -> bool {
    let directory = path.parent().unwrap_or(path);
    rustix::fs::statvfs(directory)
        .is_ok_and(|space| space.f_bavail.saturating_mul(space.f_frsize) < FREE_BYTES_MIN)
}
