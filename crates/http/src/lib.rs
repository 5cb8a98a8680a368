//! One small HTTP client: HTTP/1.1, plain or by TLS, bounded in time and size; and a pool of connections for bodies that stream.
//!
//! It follows no redirects, keeps no cookies, and nothing runs while nobody asks.

mod base64;
mod client;
mod connection;
mod error;
mod place;
mod pool;
mod tls;

pub use base64::base64;
pub use client::{Answer, Client, Request, basic};
pub use error::{Error, chain, is_certificate};
pub use place::Place;
pub use pool::{Flow, Patience, Pool};
pub use tls::{certificates, client_config};
