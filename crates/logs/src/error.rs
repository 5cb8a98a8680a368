//! What can go wrong as a whole. What goes wrong with one file is stated beside it, in `SourceFile.trouble`, and the others are read.

use std::io;
use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was named.
    #[error("no log was named")]
    NoInput,
    /// No format fits what the file begins with.
    #[error("the format of \"{name}\" was not recognised: {why}")]
    Unrecognised {
        /// The file.
        name: String,
        /// What was tried and how well it fitted.
        why: String,
    },
    /// A file or directory of the state could not be read or written.
    #[error("could not {action} \"{path}\": {}", cause(source))]
    State {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A file of the state was not written by this program, or was damaged.
    #[error("state file \"{path}\" is damaged: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file of the state is of an earlier version of this program, whose layout is no longer read.
    #[error(
        "state file \"{path}\" has version {found} of an earlier program, this one reads {known}"
    )]
    Earlier {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version that this program reads.
        known: u32,
    },
    /// A file of the state is of a later version of this program.
    #[error("state file \"{path}\" has version {found}, this program reads up to {known}")]
    Later {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The last version that this program reads.
        known: u32,
    },
    /// A log cannot be followed.
    #[error("cannot follow \"{path}\": {why}")]
    Follow {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

impl Error {
    /// Whether a state cannot be used ever again, so that only another one can be begun.
    pub fn begin_anew(&self) -> bool {
        matches!(self, Error::Damaged { .. } | Error::Earlier { .. })
    }
}

/// Returns what an error of the operating system means, in the words of this program.
pub(crate) fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::UnexpectedEof => "it ends early".to_owned(),
        // The reader of archives says it in its own words, as an error of no kind.
        _ if error.to_string().starts_with("unexpected EOF") => "it ends early".to_owned(),
        _ => error.to_string(),
    }
}
