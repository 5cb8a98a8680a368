//! Everything that must be right before the daemon begins: address, TLS, accounts.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use pawang_config::ServeConfig;
use pawang_core::{Kind, Report};
use pawang_store::state::State;
use pawang_web::Settings;

/// Decides how the dashboard is served.
///
/// # Errors
/// Passwords would cross a network in the clear, or nobody could sign in.
pub(super) fn settings(
    config: &ServeConfig,
    listen: SocketAddr,
    state: &State,
) -> Result<Settings, Report> {
    let loopback = listen.ip().is_loopback();
    let secure = config.tls.is_some() || config.behind_tls_proxy;
    let local = format!("127.0.0.1:{}", listen.port());
    if !loopback && !secure {
        return Err(Report::new(
            Kind::Refused,
            format!("cannot serve address {listen} without TLS"),
        )
        .with_detail(
            "passwords and cookies would cross the network in the clear; set [serve.tls], or behind_tls_proxy = true \
             where a proxy ends TLS",
        )
        .with_hint(format!("pawang serve --listen {local}")));
    }
    // A proxy carries the loopback address out into the network.
    let public = !loopback || config.behind_tls_proxy;
    if public && config.sign_in == Some(false) {
        let hint = match config.behind_tls_proxy {
            true => "pawang account create NAME --permission admin".to_owned(),
            false => format!("pawang serve --listen {local}"),
        };
        return Err(Report::new(
            Kind::Usage,
            format!("cannot serve address {listen} with sign_in = false"),
        )
        .with_detail(
            "everybody who reaches the address, or the proxy before it, would see every server",
        )
        .with_hint(hint));
    }
    let report = |error: pawang_store::Error| error.report();
    let accounts = !state.accounts().map_err(report)?.is_empty();
    let lost = state.accounts_lost().map_err(report)?;
    let sign_in = config.sign_in.unwrap_or(public || accounts || lost);
    if sign_in && !accounts && !lost {
        return Err(Report::new(
            Kind::Refused,
            format!("cannot serve address {listen} without an account"),
        )
        .with_detail("everybody must sign in there, and nobody could")
        .with_hint("pawang account create NAME --permission admin"));
    }
    Ok(Settings {
        listen,
        sign_in,
        sign_in_configured: config.sign_in,
        secure,
        hosts: config.hosts.clone(),
        query_text: config.query_text,
        metrics: config.metrics.clone(),
    })
}

/// Reads certificate and key of the dashboard, where it has its own.
///
/// # Errors
/// A file cannot be read, or the two do not fit.
pub(super) fn tls(config: &ServeConfig) -> Result<Option<Arc<rustls::ServerConfig>>, Report> {
    let Some(tls) = &config.tls else {
        return Ok(None);
    };
    let read = pawang_web::tls_config(&tls.certificate, &tls.key);
    read.map(Some)
        .map_err(|error| Report::from_error(Kind::Usage, &error).with_hint("pawang config check"))
}

/// Takes the address.
///
/// # Errors
/// Somebody else has it, or it may not be had.
pub(super) fn bind(listen: SocketAddr) -> Result<TcpListener, Report> {
    let listener = TcpListener::bind(listen).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|error| {
        let next = SocketAddr::new(listen.ip(), listen.port().checked_add(1).unwrap_or(8432));
        let (kind, hint) = match error.kind() {
            std::io::ErrorKind::AddrInUse => (Kind::Refused, next),
            std::io::ErrorKind::PermissionDenied => {
                (Kind::Refused, SocketAddr::new(listen.ip(), 8432))
            }
            _ => (Kind::Usage, SocketAddr::from(([127, 0, 0, 1], 8432))),
        };
        Report::new(kind, format!("could not listen on {listen}"))
            .with_detail(error.to_string())
            .with_hint(format!("pawang serve --listen {hint}"))
    })
}
