//! The server: accepts connections, each in a task of its own that is owned and bounded, until it is told to stop.

mod answer;
mod asset;
mod compress;
mod drawn;
mod headers;
mod pace;
mod peers;
mod readers;
mod shared;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::Site;
use crate::problem::Problem;

pub(crate) use answer::{Call, FORM_BYTES_MAX, is_json, permission_name};
pub(crate) use asset::asset;
pub(crate) use drawn::Key;
pub(crate) use headers::host;
pub(crate) use shared::Shared;
pub use tls::{TlsError, tls_config};

use pace::Paced;
use peers::Peers;

/// Connections at the same time; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 512;
/// How long a request's head may take to arrive, and how long a connection may be idle.
const HEAD_MAX: Duration = Duration::from_secs(15);
/// How long a TLS handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Longest head of a request; longer ones are answered 431.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Most header fields of a request; more are answered 431.
const HEADERS_MAX: usize = 100;
/// How long answers in progress may take when the server stops.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// How long to wait when the machine has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the site until `stop` turns true, then lets answers in progress finish.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    site: Arc<Site>,
    mut stop: watch::Receiver<bool>,
) {
    let shared = Arc::new(Shared::new(site, tls.is_some(), stop.clone()));
    let router = answer::router(&shared);
    let acceptor = tls.map(TlsAcceptor::from);
    // All connections of a proxy come from its one address.
    let peers = (!shared.behind_proxy).then(Arc::<Peers>::default);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let permit = Arc::clone(&room).acquire_owned();
        let accepted = async {
            // The semaphore is never closed.
            let permit = permit.await.ok();
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = accepted => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("could not accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let held = peers.as_ref().map(|peers| peers.enter(peer.ip()));
        if matches!(held, Some(None)) {
            tracing::debug!(%peer, "too many connections of one peer");
            continue;
        }
        let (router, acceptor, stop) = (router.clone(), acceptor.clone(), stop.clone());
        connections.spawn(async move {
            let _room = (permit, held);
            connection(stream, peer, acceptor, router, stop).await;
        });
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_MAX, drained).await.is_err() {
        tracing::warn!("connections were cut off while the server stopped");
    }
}

/// Returns when the server has to stop; a sender that is gone says so too.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _told = stop.wait_for(|stop| *stop).await;
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    stop: watch::Receiver<bool>,
) {
    // Answers are written whole; waiting for more would only delay them.
    let _best_effort = stream.set_nodelay(true);
    let stream = Paced::new(stream);
    let Some(acceptor) = acceptor else {
        return http(stream, peer, router, stop).await;
    };
    match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => http(stream, peer, router, stop).await,
        Ok(Err(error)) => tracing::debug!(%peer, "no TLS: {error}"),
        Err(_) => tracing::debug!(%peer, "the TLS handshake took too long"),
    }
}

async fn http<S>(stream: S, peer: SocketAddr, router: Router, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        router.call(request)
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, "the connection ended: {error}");
    }
}

/// Runs work that may block in a thread where it may.
///
/// # Errors
/// Whatever the work returns; and when it panicked.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        tracing::error!("a request panicked");
        Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "a bug in Pawang prevented the answer",
        ))
    })
}

/// Who is at the other end of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);
