//! Backups that are proven: base backup, WAL, point-in-time restore, drills.
//!
//! A [`Repository`] holds backups and WAL of clusters in format v1 (`docs/reference/repository.md`), which stock tools read.
//! Its objects are written once and never changed; a backup exists when its [`Commit`] does.
//!
//! | duty | module |
//! |---|---|
//! | where objects lie, and what they hold | [`repository`] |
//! | a backup is taken | [`take`] |
//! | WAL is pushed, received, and got back | [`wal`] |
//! | a cluster is restored | [`restore`] |
//! | single tables are restored | [`table`] |
//! | a backup is proven by a restore | [`drill`] |
//! | databases are dumped and restored by client programs | [`dump`] |
//! | a backup is read again, without a server | [`mod@verify`] |
//! | which bytes are read again next | [`rolling`] |
//! | what may be deleted | [`retention`] |
//! | what is there, for checks, pages, metrics and commands | [`mod@survey`] |
//! | whether a restored server can read what it needs | [`reach`] |
//! | repositories of other tools | [`other`] |

mod child;
pub mod drill;
pub mod dump;
mod error;
pub mod other;
mod owner;
pub mod reach;
pub mod repository;
pub mod restore;
pub mod retention;
pub mod rolling;
pub mod survey;
pub mod table;
pub mod take;
pub mod verify;
pub mod wal;

pub use error::Error;
pub use owner::Owner;
pub use repository::{BackupId, ClusterId, Commit, Repository};
pub use survey::survey;
