//! The web: HTTP API and dashboard. Shows what store and check say; contains no SQL and no judgement.

mod api;
mod assets;
mod auth;
mod events;
mod health;
mod layout;
mod logs;
mod metrics;
mod order;
mod page;
mod problem;
mod routes;
mod server;
mod site;
mod words;

pub use api::openapi;
pub use logs::Logs;
pub use page::parts::without_secrets;
pub use routes::{RouteFacts, routes};
pub use server::{TlsError, serve, tls_config};
pub use site::{Applied, Command, Planned, SessionsWanted, Settings, Site};
