//! The dashboard as browsers and programs meet it: over HTTP, in front of real servers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod alerts;
mod api;
mod auth;
mod estate;
mod http;
mod logs;
mod pages;
mod server;
mod sessions;
