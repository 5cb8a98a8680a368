//! One connection to a remote store: HTTP/1.1, plain or by TLS, kept open between requests.
//!
//! Nothing runs while nobody asks: the connection moves only within [`Client::post`].

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Error;

/// How long one request may take, from the connection to the end of the answer.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
/// So much of an answer is read; it is only shown to people.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
const VERSION: &str = "x-prometheus-remote-write-version";

/// Where a store is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    secure: bool,
    host: String,
    port: u16,
    path: String,
    /// Name and password that the address itself carries.
    pub(crate) user_info: Option<String>,
}

/// What a store answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The first line of the body.
    pub(crate) text: String,
    pub(crate) retry_after: Option<Duration>,
}

/// One connection, opened when it is needed.
pub(crate) struct Client {
    address: Address,
    open: Option<Open>,
}

/// How to get to a store.
struct Address {
    place: Place,
    tls: Option<Arc<ClientConfig>>,
}

struct Open {
    sender: SendRequest<Full<Bytes>>,
    connection: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Place {
    /// Takes an address apart.
    pub(crate) fn parse(name: &str, url: &str) -> Result<Place, Error> {
        let wrong = |problem| Error::Url {
            name: name.to_owned(),
            problem,
        };
        let uri: Uri = url.trim().parse().map_err(|_| wrong("it is no address"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("it must begin with http:// or https://")),
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| wrong("it names no host"))?.to_owned();
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        Ok(Place {
            secure,
            host,
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            path: path.to_owned(),
            user_info: authority.rsplit_once('@').map(|(user, _)| decode(user)),
        })
    }

    /// Returns host and port.
    pub(crate) fn shown(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl Client {
    pub(crate) fn new(place: Place) -> Client {
        let tls = place.secure.then(tls);
        Client {
            address: Address { place, tls },
            open: None,
        }
    }

    /// Sends one request; the error is why no answer came, in words.
    pub(crate) async fn post(
        &mut self,
        body: &[u8],
        authorization: Option<&str>,
    ) -> Result<Answer, String> {
        // A store may have closed a connection that was idle; that is no trouble, unless a new one goes the same way.
        let kept = self.open.take();
        let within = tokio::time::timeout(TIMEOUT, async {
            if let Some(mut open) = kept
                && let Ok(answer) = self.address.ask(&mut open, body, authorization).await
            {
                return Ok((answer, open));
            }
            let mut open = self.address.connect().await?;
            let answer = self.address.ask(&mut open, body, authorization).await?;
            Ok((answer, open))
        });
        match within.await {
            Ok(Ok((answer, open))) => {
                self.open = (!open.sender.is_closed()).then_some(open);
                Ok(answer)
            }
            Ok(Err(problem)) => Err(problem),
            Err(_) => Err(format!("no answer within {} s", TIMEOUT.as_secs())),
        }
    }
}

impl Address {
    async fn connect(&self) -> Result<Open, String> {
        let host = self.place.host.trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, self.place.port))
            .await
            .map_err(|error| error.to_string())?;
        let Some(tls) = &self.tls else {
            return handshake(stream).await;
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream);
        handshake(stream.await.map_err(|error| error.to_string())?).await
    }

    async fn ask(
        &self,
        open: &mut Open,
        body: &[u8],
        authorization: Option<&str>,
    ) -> Result<Answer, String> {
        let mut request = Request::post(&self.place.path)
            .header(HOST, self.place.shown())
            .header(USER_AGENT, concat!("pawang/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_ENCODING, "snappy")
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(VERSION, "0.1.0");
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let body = Full::new(Bytes::copy_from_slice(body));
        let request = request.body(body).map_err(|error| error.to_string())?;
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

async fn handshake<S>(stream: S) -> Result<Open, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let opened = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = opened.map_err(|error| chain(&error))?;
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
    request: Request<Full<Bytes>>,
) -> Result<Answer, String> {
    sender.ready().await.map_err(|error| chain(&error))?;
    let response = sender.send_request(request).await;
    let response = response.map_err(|error| chain(&error))?;
    let retry_after = response.headers().get(RETRY_AFTER);
    let retry_after = retry_after.and_then(|after| after.to_str().ok()?.trim().parse().ok());
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await;
    // The status says what to do; a text that cannot be read changes nothing.
    let text = body.map_or(Vec::new(), |body| body.to_bytes().to_vec());
    let text = String::from_utf8_lossy(&text);
    Ok(Answer {
        status,
        text: text.lines().next().unwrap_or_default().trim().to_owned(),
        retry_after: retry_after.map(Duration::from_secs),
    })
}

fn tls() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::warn!("a root certificate of the system is ignored: {error}");
    }
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the ciphers of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// Returns the header for a name and its password.
pub(crate) fn basic(user_and_password: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut header = "Basic ".to_owned();
    for bytes in user_and_password.as_bytes().chunks(3) {
        let byte = |place: usize| u32::from(bytes.get(place).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            header.push(if place > bytes.len() {
                '='
            } else {
                char::from(letter)
            });
        }
    }
    header
}

/// Undoes the percent encoding of an address.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match (first, more.get(..2).and_then(hex)) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
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

    #[test]
    fn addresses_are_taken_apart() {
        for (url, shown, path, user) in [
            (
                "http://p:9090/api/v1/write",
                "p:9090",
                "/api/v1/write",
                None,
            ),
            ("https://mimir", "mimir:443", "/", None),
            (
                "https://a%40b:c@mimir/push?x=1",
                "mimir:443",
                "/push?x=1",
                Some("a@b:c"),
            ),
            ("http://[::1]:9090/w", "[::1]:9090", "/w", None),
        ] {
            let place = Place::parse("x", url).unwrap();
            assert_eq!(place.shown(), shown);
            assert_eq!(place.path, path);
            assert_eq!(place.user_info.as_deref(), user);
        }
        for url in [
            "",
            "prometheus:9090",
            "ftp://x",
            "http://",
            "/api/v1/write",
            "http://a b",
        ] {
            assert!(Place::parse("x", url).is_err(), "{url}");
        }
    }
}
