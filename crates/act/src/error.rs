//! What keeps a whole plan from being made, read, applied or settled.

use std::io;
use std::path::PathBuf;

use pawang_core::{Kind, Report};

/// Why a plan was not made, read, applied or settled at all; what becomes of a single action is no error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server could not be reached or asked.
    #[error(transparent)]
    Server(pawang_postgres::Error),
    /// The server is a standby.
    #[error("\"{address}\" is a standby, and only a primary can be changed")]
    Standby {
        /// `host:port`.
        address: String,
    },
    /// The plan is for another server, or the server has changed too much since.
    #[error("the plan of \"{instance}\" is not for this server: {problem}")]
    OtherWorld {
        /// The instance that the plan names.
        instance: String,
        /// What differs.
        problem: String,
    },
    /// Another Pawang changes things of this kind in this database.
    #[error("another session holds the lock of \"{area}\" in database \"{database}\"")]
    AnotherPawang {
        /// What kind of change, the first word of the plan's title.
        area: String,
        /// The database.
        database: String,
        /// Who, as far as the role may see.
        holder: String,
    },
    /// The text is no plan.
    #[error("cannot read the plan")]
    PlanText(#[source] serde_json::Error),
    /// The plan was written by another version of Pawang.
    #[error("cannot read a plan of format {found}, only of format {wanted}")]
    PlanFormat {
        /// Its format.
        found: u64,
        /// Ours.
        wanted: u32,
    },
    /// Something in the plan is not what Pawang writes.
    #[error("the plan was changed after it was made: {problem}")]
    PlanChanged {
        /// What is not as it was.
        problem: String,
    },
    /// The journal could not be written; nothing is done then.
    #[error("could not write the journal")]
    Journal(#[source] pawang_store::Error),
    /// The journal's JSON lines could not be read or written.
    #[error("could not write journal file \"{}\"", path.display())]
    Lines {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl From<pawang_postgres::Error> for Error {
    fn from(error: pawang_postgres::Error) -> Error {
        match error {
            pawang_postgres::Error::WrongRole {
                address,
                found: "a standby",
                ..
            } => Error::Standby { address },
            error => Error::Server(error),
        }
    }
}

impl Error {
    /// Returns the error for people: what, why, and what to run.
    pub fn report(&self) -> Report {
        match self {
            Error::Server(error) => error.report(),
            Error::Standby { .. } => Report::new(Kind::Refused, self.to_string())
                .with_hint("pawang estate list shows which server is the primary"),
            Error::OtherWorld { .. } => Report::new(Kind::Refused, self.to_string())
                .with_hint("make the plan again for the server as it is now"),
            Error::AnotherPawang { holder, .. } => Report::new(Kind::Refused, self.to_string())
                .with_detail(holder.clone())
                .with_hint("wait until it has ended: pawang progress"),
            Error::PlanChanged { .. } => Report::new(Kind::Refused, self.to_string())
                .with_hint("make the plan again; a plan is never edited by hand"),
            Error::PlanText(_) | Error::PlanFormat { .. } => {
                Report::from_error(Kind::Usage, self).with_hint("make the plan again")
            }
            Error::Journal(_) | Error::Lines { .. } => Report::from_error(Kind::Target, self),
        }
    }
}
