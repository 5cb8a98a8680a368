//! The only crate that opens sockets to PostgreSQL, PgBouncer and Patroni.
//!
//! It reads no environment. Every session is bounded and named, and read-only but for [`Writer`], which only crate `act`
//! may name.

mod certificate;
mod channel;
mod connect;
pub mod control_file;
mod copy;
mod decode;
mod driver;
mod error;
mod explain;
mod file;
mod key;
mod parameters;
mod passfile;
pub mod patroni;
mod program;
pub mod replication;
mod service;
mod session;
mod target;
mod tls;
mod wire;
mod writer;

pub use error::{Error, TlsProblem};
pub use session::{Console, MAX_ROWS, Rows, Session, console};
pub use target::{
    ChannelBinding, ClientCertificate, Environment, Host, RootCertificate, SessionAttributes, Ssl,
    SslMode, Target,
};
pub use writer::{Limits, Writer};
