//! One connection, opened when it is needed and kept open between requests.
//!
//! Nothing runs while nobody asks: the connection moves only within [`Client::ask`].

use std::future::{Future, poll_fn};
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::Method;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, LOCATION, RETRY_AFTER, USER_AGENT};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::base64::base64;
use crate::error::{chain, is_certificate};
use crate::{Error, Place, tls};

/// So much of an answer is read; it is only shown to people.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// What is asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// Headers besides `Host` and `User-Agent`.
    pub headers: &'a [(&'a str, &'a str)],
    /// What is posted; without it, it is a `GET`.
    pub body: Option<&'a [u8]>,
    /// How long it may take, from the connection to the end of the answer.
    pub timeout: Duration,
}

/// What a server answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The begin of the body.
    pub body: String,
    /// After how long it wants to be asked again.
    pub retry_after: Option<Duration>,
    /// Where it says that what was asked for is now.
    pub location: Option<String>,
}

impl Answer {
    /// Returns the first line of the body.
    pub fn line(&self) -> &str {
        self.body.lines().next().unwrap_or_default().trim()
    }
}

/// One connection, opened when it is needed.
pub struct Client {
    address: Address,
    open: Option<Open>,
}

/// How to get there; apart from the connection, which only one task at a time may touch.
struct Address {
    place: Place,
    tls: Option<Arc<ClientConfig>>,
}

struct Open {
    sender: SendRequest<Full<Bytes>>,
    connection: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.address.place.shown())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Makes a client for one place that trusts the certificates of the system, and those of a file besides.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn new(place: Place, certificates: Option<&Path>) -> Result<Client, Error> {
        let tls = if place.secure {
            Some(tls::client_config(tls::certificates(certificates)?))
        } else {
            None
        };
        Ok(Client {
            address: Address { place, tls },
            open: None,
        })
    }

    /// Returns where it asks.
    pub fn place(&self) -> &Place {
        &self.address.place
    }

    /// Asks once; a redirect is an answer like any other.
    ///
    /// # Errors
    /// No answer came.
    pub async fn ask(&mut self, request: &Request<'_>) -> Result<Answer, Error> {
        // A server may have closed a connection that was idle; that is no trouble, unless a new one goes the same way.
        let kept = self.open.take();
        let within = tokio::time::timeout(request.timeout, async {
            if let Some(mut open) = kept
                && let Ok(answer) = self.address.ask(&mut open, request).await
            {
                return Ok((answer, open));
            }
            let mut open = self.address.connect().await?;
            let answer = self.address.ask(&mut open, request).await?;
            Ok((answer, open))
        });
        let Ok(result) = within.await else {
            return Err(Error::Timeout {
                after: request.timeout,
            });
        };
        let (answer, open) = result?;
        self.open = (!open.sender.is_closed()).then_some(open);
        Ok(answer)
    }
}

impl Address {
    async fn connect(&self) -> Result<Open, Error> {
        let host = self.place.host.trim_matches(['[', ']']);
        let found = tokio::net::lookup_host((host, self.place.port)).await;
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
        let Some(tls) = &self.tls else {
            return handshake(stream).await;
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| Error::Tls {
            problem: error.to_string(),
            certificate: false,
        })?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream);
        handshake(stream.await.map_err(|error| tls_error(&error))?).await
    }

    async fn ask(&self, open: &mut Open, request: &Request<'_>) -> Result<Answer, Error> {
        let (method, body) = match request.body {
            Some(body) => (Method::POST, Bytes::copy_from_slice(body)),
            None => (Method::GET, Bytes::new()),
        };
        let mut built = hyper::Request::builder()
            .method(method)
            .uri(&self.place.path)
            .header(HOST, self.place.shown())
            .header(USER_AGENT, concat!("pawang/", env!("CARGO_PKG_VERSION")));
        for (name, value) in request.headers {
            built = built.header(*name, *value);
        }
        let request = built
            .body(Full::new(body))
            .map_err(|error| broken(&error))?;
        let Open { sender, connection } = open;
        let mut answer = pin!(answer(sender, request));
        let mut running = true;
        poll_fn(|context| {
            if let Poll::Ready(result) = answer.as_mut().poll(context) {
                return Poll::Ready(result);
            }
            if running {
                // Its error, if any, comes out of the answer as well.
                running = connection.as_mut().poll(context).is_pending();
            }
            answer.as_mut().poll(context)
        })
        .await
    }
}

async fn handshake<S>(stream: S) -> Result<Open, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let opened = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = opened.map_err(|error| broken(&error))?;
    Ok(Open {
        sender,
        connection: Box::pin(async {
            // Whoever waits for an answer is told.
            let _ended = connection.await;
        }),
    })
}

async fn answer(
    sender: &mut SendRequest<Full<Bytes>>,
    request: hyper::Request<Full<Bytes>>,
) -> Result<Answer, Error> {
    sender.ready().await.map_err(|error| broken(&error))?;
    let response = sender.send_request(request).await;
    let response = response.map_err(|error| broken(&error))?;
    let header = |name| {
        Some(
            response
                .headers()
                .get(name)?
                .to_str()
                .ok()?
                .trim()
                .to_owned(),
        )
    };
    let retry_after = header(RETRY_AFTER).and_then(|after| after.parse().ok());
    let location = header(LOCATION);
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await;
    // The status says what to do; a text that cannot be read changes nothing.
    let body = body.map_or(Vec::new(), |body| body.to_bytes().to_vec());
    Ok(Answer {
        status,
        body: String::from_utf8_lossy(&body).into_owned(),
        retry_after: retry_after.map(Duration::from_secs),
        location,
    })
}

fn broken(error: &dyn std::error::Error) -> Error {
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

/// Returns the header for a name and its password.
pub fn basic(user_and_password: &str) -> String {
    format!("Basic {}", base64(user_and_password.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_authentication_is_base64() {
        for (plain, expected) in [
            ("Aladdin:open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ("a:b", "Basic YTpi"),
            ("a:", "Basic YTo="),
            ("ü:", "Basic w7w6"),
        ] {
            assert_eq!(basic(plain), expected);
        }
    }
}
