//! One connection, opened when it is needed and kept open between requests.
//!
//! Nothing runs while nobody asks: the connection moves only within [`Client::ask`].

use std::future::{Future, poll_fn};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::Method;
use hyper::body::{Bytes, Incoming};
use hyper::header::{HOST, LOCATION, RETRY_AFTER, USER_AGENT};
use rustls::ClientConfig;

use crate::base64::base64;
use crate::connection::{Open, broken};
use crate::{Error, Place, tls};

/// What Pawang calls itself.
pub(crate) const AGENT: &str = concat!("pawang/", env!("CARGO_PKG_VERSION"));
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
    open: Option<Open<Full<Bytes>>>,
}

/// How to get there; apart from the connection, which only one task at a time may touch.
struct Address {
    place: Place,
    tls: Option<Arc<ClientConfig>>,
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
    async fn connect(&self) -> Result<Open<Full<Bytes>>, Error> {
        Open::connect(&self.place.host, self.place.port, self.tls.as_ref()).await
    }

    async fn ask(
        &self,
        open: &mut Open<Full<Bytes>>,
        request: &Request<'_>,
    ) -> Result<Answer, Error> {
        let (method, body) = match request.body {
            Some(body) => (Method::POST, Bytes::copy_from_slice(body)),
            None => (Method::GET, Bytes::new()),
        };
        let mut built = hyper::Request::builder()
            .method(method)
            .uri(&self.place.path)
            .header(HOST, self.place.shown())
            .header(USER_AGENT, AGENT);
        for (name, value) in request.headers {
            built = built.header(*name, *value);
        }
        let request = built
            .body(Full::new(body))
            .map_err(|error| broken(&error))?;
        let response = open.send(request).await?;
        answer(open, response).await
    }
}

async fn answer(
    open: &mut Open<Full<Bytes>>,
    response: hyper::Response<Incoming>,
) -> Result<Answer, Error> {
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
    let mut collected = pin!(Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect());
    let body = poll_fn(|context| {
        open.poll_moving(context);
        collected.as_mut().poll(context)
    });
    // The status says what to do; a text that cannot be read changes nothing.
    let body = body
        .await
        .map_or(Vec::new(), |body| body.to_bytes().to_vec());
    Ok(Answer {
        status,
        body: String::from_utf8_lossy(&body).into_owned(),
        retry_after: retry_after.map(Duration::from_secs),
        location,
    })
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
