//! The only crate that opens sockets to PostgreSQL, PgBouncer and Patroni.
//!
//! It reads no environment and changes nothing on a server: every session is read-only, bounded and named.

mod certificate;
mod connect;
pub mod control_file;
mod decode;
mod driver;
mod error;
mod explain;
mod file;
mod key;
mod parameters;
mod passfile;
pub mod patroni;
mod service;
mod session;
mod target;
mod tls;
mod wire;

pub use error::{Error, TlsProblem};
pub use session::{Console, MAX_ROWS, Rows, Session, console};
pub use target::{
    ChannelBinding, ClientCertificate, Environment, Host, RootCertificate, SessionAttributes, Ssl,
    SslMode, Target,
};
