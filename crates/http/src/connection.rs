//! One connection to a server, plain or by TLS, that moves only while somebody asks or reads.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Error;
use crate::error::{chain, is_certificate};

/// An open connection. Its other half, which moves bytes, is polled by whoever waits for something.
pub(crate) struct Open<B> {
    pub(crate) sender: SendRequest<B>,
    moving: Pin<Box<dyn Future<Output = ()> + Send>>,
    running: bool,
}

impl<B> Open<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Connects to a host; with `tls` it proves who it is.
    pub(crate) async fn connect(
        host: &str,
        port: u16,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<Open<B>, Error> {
        let host = host.trim_matches(['[', ']']);
        let found = tokio::net::lookup_host((host, port)).await;
        let addresses: Vec<_> = found
            .map_err(|error| Error::Name {
                host: host.to_owned(),
                problem: error.to_string(),
            })?
            .collect();
        let stream = TcpStream::connect(&*addresses).await;
        let stream = stream.map_err(|error| Error::Connect {
            problem: error.to_string(),
        })?;
        // Small requests must not wait for the answer to the one before.
        let _best_effort = stream.set_nodelay(true);
        let Some(tls) = tls else {
            return handshake(stream).await;
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| Error::Tls {
            problem: error.to_string(),
            certificate: false,
        })?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream);
        handshake(stream.await.map_err(|error| tls_error(&error))?).await
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(
        &mut self,
        request: hyper::Request<B>,
    ) -> Result<hyper::Response<Incoming>, Error> {
        let Open {
            sender,
            moving,
            running,
        } = self;
        let mut answer = pin!(async {
            sender.ready().await.map_err(|error| broken(&error))?;
            let response = sender.send_request(request).await;
            response.map_err(|error| broken(&error))
        });
        poll_fn(|context| {
            if let Poll::Ready(result) = answer.as_mut().poll(context) {
                return Poll::Ready(result);
            }
            move_on(moving, running, context);
            answer.as_mut().poll(context)
        })
        .await
    }
}

impl<B> Open<B> {
    /// Moves what can be moved; says whether the connection is still good.
    pub(crate) fn poll_moving(&mut self, context: &mut Context<'_>) -> bool {
        move_on(&mut self.moving, &mut self.running, context);
        self.running
    }
}

/// Its error, if any, comes out of the answer or its body as well.
fn move_on(
    moving: &mut Pin<Box<dyn Future<Output = ()> + Send>>,
    running: &mut bool,
    context: &mut Context<'_>,
) {
    if *running {
        *running = moving.as_mut().poll(context).is_pending();
    }
}

async fn handshake<S, B>(stream: S) -> Result<Open<B>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let opened = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = opened.map_err(|error| broken(&error))?;
    Ok(Open {
        sender,
        moving: Box::pin(async {
            // Whoever waits for an answer is told.
            let _ended = connection.await;
        }),
        running: true,
    })
}

pub(crate) fn broken(error: &dyn std::error::Error) -> Error {
    Error::Broken {
        problem: chain(error),
    }
}

fn tls_error(error: &std::io::Error) -> Error {
    Error::Tls {
        problem: error.to_string(),
        certificate: is_certificate(error),
    }
}
