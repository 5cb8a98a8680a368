//! Patroni's REST API: one GET request per question, bounded in time and size.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, HOST, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::target::{RootCertificate, Ssl, SslMode};
use crate::{Error, tls};

const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
const PORT: u16 = 8008;

/// Gets a JSON document, such as `get("http://db-1:8008", "/cluster", ..)`; the system's root certificates are trusted.
pub async fn get(url: &str, path: &str, timeout: Duration) -> Result<serde_json::Value, Error> {
    get_trusting(url, path, &RootCertificate::System, timeout).await
}

/// Gets a JSON document from a server with a certificate of the given authority.
pub async fn get_trusting(
    url: &str,
    path: &str,
    root: &RootCertificate,
    timeout: Duration,
) -> Result<serde_json::Value, Error> {
    let place = Place::parse(url, path)?;
    match tokio::time::timeout(timeout, fetch(&place, root)).await {
        Ok(result) => result,
        Err(_) => Err(place.problem(format!("no answer within {} s", timeout.as_secs_f32()))),
    }
}

/// An address, taken apart.
struct Place {
    secure: bool,
    host: String,
    port: u16,
    path: String,
}

impl Place {
    fn parse(url: &str, path: &str) -> Result<Place, Error> {
        // The URL itself may carry credentials, so that no message repeats it.
        let wrong = |problem: &str| Error::Parameter {
            name: "patroni url".to_owned(),
            problem: problem.to_owned(),
        };
        let uri: Uri = url
            .parse()
            .map_err(|_| wrong("it is no URL such as http://db-1:8008"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("it must begin with http:// or https://")),
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| wrong("it names no host"))?.to_owned();
        let base = uri.path().trim_end_matches('/');
        Ok(Place {
            secure,
            host,
            port: uri.port_u16().unwrap_or(PORT),
            path: format!("{base}/{}", path.trim_start_matches('/')),
        })
    }

    fn shown(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}:{}{}", self.host, self.port, self.path)
    }

    fn problem(&self, problem: impl Into<String>) -> Error {
        Error::Http {
            url: self.shown(),
            problem: problem.into(),
        }
    }
}

async fn fetch(place: &Place, root: &RootCertificate) -> Result<serde_json::Value, Error> {
    let name = place.host.trim_matches(['[', ']']).to_owned();
    let stream = TcpStream::connect((name.as_str(), place.port))
        .await
        .map_err(|error| place.problem(error.to_string()))?;
    if !place.secure {
        return ask(place, stream).await;
    }
    let ssl = Ssl {
        mode: SslMode::VerifyFull,
        root: root.clone(),
        ..Ssl::default()
    };
    let connector = tls::connector(&ssl, &place.shown())?;
    match tls::handshake(&connector, &name, stream).await {
        Ok(stream) => ask(place, stream).await,
        Err(error) => Err(match tls::problem(&error, &name) {
            Some(problem) => Error::Tls {
                address: place.shown(),
                problem,
            },
            None => place.problem(error.to_string()),
        }),
    }
}

async fn ask<S>(place: &Place, stream: S) -> Result<serde_json::Value, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| place.problem(chain(&error));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let request = Request::get(&place.path)
        .header(HOST, format!("{}:{}", place.host, place.port))
        .header(USER_AGENT, "pawang")
        .header(ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())
        .map_err(|error| place.problem(error.to_string()))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX)
            .collect()
            .await;
        let body = body.map_err(|error| place.problem(error.to_string()))?;
        // Patroni says 503 when a member is not what the path asks for, and still tells everything.
        if status != StatusCode::OK && status != StatusCode::SERVICE_UNAVAILABLE {
            return Err(place.problem(format!("it answered with HTTP status {status}")));
        }
        serde_json::from_slice(&body.to_bytes())
            .map_err(|error| place.problem(format!("the answer is no JSON: {error}")))
    };
    let mut answer = pin!(answer);
    let mut connection = pin!(connection);
    let mut running = true;
    poll_fn(|cx| {
        if let Poll::Ready(result) = answer.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        if running {
            // Its error, if any, comes out of the answer as well.
            running = connection.as_mut().poll(cx).is_pending();
        }
        answer.as_mut().poll(cx)
    })
    .await
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
