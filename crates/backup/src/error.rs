//! What goes wrong with backups, and what a person does about it.

use std::io;
use std::path::{Path, PathBuf};

use pawang_core::{Kind, Report};

use crate::repository::{MARKER, SealError, trouble};

/// Why a backup, a restore or a part of one was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server could not be reached or asked.
    #[error(transparent)]
    Server(#[from] pawang_postgres::Error),
    /// The repository could not be opened, read or written.
    #[error("could not {doing} \"{object}\" in repository {place}")]
    Storage {
        /// What was tried: `read`, `write`, `list`, `delete`.
        doing: &'static str,
        /// The object's path.
        object: String,
        /// The repository, without secrets.
        place: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An object that is written once exists already, with other content.
    #[error("\"{object}\" exists in repository {place} with other content")]
    Exists {
        /// The object's path.
        object: String,
        /// The repository.
        place: String,
    },
    /// WAL has a name that is taken by another content; it is kept beside, and what was there stays.
    #[error(
        "\"{object}\" exists in repository {place} with other content; what came now is kept as \"{kept}\""
    )]
    Conflict {
        /// The object's path.
        object: String,
        /// Where the other content is.
        kept: String,
        /// The repository.
        place: String,
    },
    /// An object is not what the format says.
    #[error("cannot read \"{object}\" in repository {place}: {problem}")]
    Format {
        /// The object's path.
        object: String,
        /// The repository.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// What the server sent is no whole backup.
    #[error("the backup that \"{address}\" sent is not whole: {problem}")]
    Incomplete {
        /// The server.
        address: String,
        /// What is wrong.
        problem: String,
    },
    /// A sealed object was not opened.
    #[error("could not open \"{object}\" in repository {place}")]
    Sealed {
        /// The object's path.
        object: String,
        /// The repository.
        place: String,
        /// Where the identities are from that were tried.
        identity_file: Option<PathBuf>,
        /// Why.
        source: SealError,
    },
    /// A file on this machine could not be read or written.
    #[error("could not {doing} \"{}\"", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A safety rule refused; nothing was touched.
    #[error("{0}")]
    Refused(Box<Report>),
}

impl Error {
    /// Returns what the server said, where bytes were read from it as from a file; else the error as it is.
    pub(crate) fn of_server(error: io::Error) -> Result<Error, io::Error> {
        error.downcast().map(Error::Server)
    }

    /// Returns the error for people: what, why, and what to run.
    pub fn report(&self) -> Report {
        match self {
            Error::Server(error) => error.report(),
            Error::Refused(report) => (**report).clone(),
            Error::Exists { .. } => Report::from_error(Kind::Refused, self)
                .with_hint("two servers may write into the same archive: pawang backup check"),
            Error::Conflict { .. } => Report::from_error(Kind::Refused, self)
                .with_hint("two servers write into the same archive: pawang wal status"),
            Error::Storage { source, place, .. } => {
                let report = Report::from_error(Kind::Target, self);
                match trouble::of(&**source) {
                    Some(trouble) => report.with_detail(trouble.detail).with_hint(trouble.hint),
                    None if place.contains("://") => report.with_hint(
                        "mend endpoint, region and place of its [[repository]] in pawang.toml",
                    ),
                    None => report.with_hint(format!("ls -ld {place}")),
                }
            }
            Error::Format { object, .. } if object == MARKER => {
                Report::from_error(Kind::Target, self)
                    .with_hint("a newer Pawang reads it; this one is: pawang --version")
            }
            Error::Format { .. } => {
                Report::from_error(Kind::Target, self).with_hint("pawang backup verify")
            }
            Error::Sealed {
                identity_file,
                source,
                ..
            } => {
                let report = Report::from_error(Kind::Target, self);
                report.with_hint(sealed_hint(identity_file.as_deref(), source))
            }
            Error::File { path, .. } if self.disk_is_full() => {
                let folder = path.ancestors().skip(1).find(|folder| folder.is_dir());
                let folder = folder.unwrap_or(path).display();
                Report::from_error(Kind::Target, self).with_hint(format!("df -h {folder}"))
            }
            Error::File { .. } | Error::Incomplete { .. } => Report::from_error(Kind::Target, self),
        }
    }
}

impl Error {
    /// Says whether a disk of this machine had no more room, that of a repository in a directory or another one.
    pub fn disk_is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        let full = |kind| matches!(kind, StorageFull | QuotaExceeded);
        match self {
            Error::File { source, .. } => full(source.kind()),
            Error::Storage { source, .. } => trouble::file_error(&**source).is_some_and(full),
            _ => false,
        }
    }
}

fn sealed_hint(identity_file: Option<&Path>, source: &SealError) -> String {
    match (source, identity_file) {
        (SealError::NoIdentity(_), None) => {
            "name the file with the secret key as identity_file in its [[repository]] of pawang.toml".to_owned()
        }
        (SealError::NoIdentity(_), Some(path)) => format!("ls -l {}", path.display()),
        (SealError::OtherRecipients(_), Some(path)) => {
            format!("age-keygen -y {}", path.display())
        }
        _ => "pawang backup verify".to_owned(),
    }
}
