//! Connections that are kept open between requests, with bodies that stream in both directions.
//!
//! Nothing runs while nobody asks or reads: each connection moves within the request, or the body, that it serves.

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::Uri;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{HOST, HeaderValue, USER_AGENT};
use rustls::ClientConfig;
use tokio::time::{Instant, Sleep};

use crate::client::AGENT;
use crate::connection::{Open, broken};
use crate::{Error, tls};

/// So many idle connections to one server are kept.
const IDLE_MAX: usize = 16;
/// A connection that was idle for longer is closed: servers close theirs, and a request must not meet that.
const IDLE_FOR: Duration = Duration::from_secs(15);

/// How long each step of a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until the connection is made, TLS included.
    pub connect: Duration,
    /// From the request to the head of the answer; a body that is sent is part of it.
    pub answer: Duration,
    /// Between two pieces of the answer's body.
    pub piece: Duration,
}

/// Connections to servers, shared by whoever has a clone.
pub struct Pool<B> {
    shared: Arc<Shared<B>>,
}

struct Shared<B> {
    tls: Arc<ClientConfig>,
    patience: Patience,
    idle: Mutex<HashMap<Origin, Vec<Idle<B>>>>,
}

/// Whom a connection reaches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

struct Idle<B> {
    open: Open<B>,
    since: Instant,
}

/// The body of an answer; at its end the connection goes back into the pool.
pub struct Flow<B> {
    body: Incoming,
    // The lock is never contended: it makes the body one that threads may share.
    open: Mutex<Option<Open<B>>>,
    origin: Origin,
    pool: Weak<Shared<B>>,
    patience: Duration,
    until: Pin<Box<Sleep>>,
    ended: bool,
}

impl<B> Clone for Pool<B> {
    fn clone(&self) -> Pool<B> {
        Pool {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<B> std::fmt::Debug for Pool<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("patience", &self.shared.patience)
            .finish_non_exhaustive()
    }
}

impl<B> std::fmt::Debug for Flow<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flow")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl<B> Pool<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Makes an empty pool that trusts the certificates of the system, and those of a file besides.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn new(patience: Patience, certificates: Option<&Path>) -> Result<Pool<B>, Error> {
        let tls = tls::client_config(tls::certificates(certificates)?);
        Ok(Pool {
            shared: Arc::new(Shared {
                tls,
                patience,
                idle: Mutex::default(),
            }),
        })
    }

    /// Asks once, with the address in full; nothing is tried again here.
    ///
    /// # Errors
    /// No answer came.
    pub async fn call(
        &self,
        mut request: hyper::Request<B>,
    ) -> Result<hyper::Response<Flow<B>>, Error> {
        let origin = Origin::of(request.uri())?;
        prepare(&mut request, &origin)?;
        let patience = self.shared.patience;
        let mut open = match self.shared.take(&origin) {
            Some(open) => open,
            None => self.connect(&origin).await?,
        };
        let answer = tokio::time::timeout(patience.answer, open.send(request));
        let response = answer.await.map_err(|_| Error::Timeout {
            after: patience.answer,
        })??;
        Ok(response.map(|body| Flow {
            body,
            open: Mutex::new(Some(open)),
            origin,
            pool: Arc::downgrade(&self.shared),
            patience: patience.piece,
            until: Box::pin(tokio::time::sleep(patience.piece)),
            ended: false,
        }))
    }

    async fn connect(&self, origin: &Origin) -> Result<Open<B>, Error> {
        let after = self.shared.patience.connect;
        let tls = origin.secure.then_some(&self.shared.tls);
        let connected = Open::connect(&origin.host, origin.port, tls);
        let connected = tokio::time::timeout(after, connected).await;
        connected.map_err(|_| Error::Timeout { after })?
    }
}

impl<B> Shared<B> {
    /// Takes a connection that is still good: one that the server closed meanwhile says so when it is moved.
    fn take(&self, origin: &Origin) -> Option<Open<B>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.get_mut(origin)?;
        while let Some(Idle { mut open, since }) = kept.pop() {
            let mut context = Context::from_waker(std::task::Waker::noop());
            if since.elapsed() < IDLE_FOR
                && open.poll_moving(&mut context)
                && open.sender.is_ready()
            {
                return Some(open);
            }
        }
        None
    }

    fn give_back(&self, origin: &Origin, open: Open<B>) {
        if open.sender.is_closed() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.entry(origin.clone()).or_default();
        kept.retain(|idle| idle.since.elapsed() < IDLE_FOR);
        if kept.len() < IDLE_MAX {
            let since = Instant::now();
            kept.push(Idle { open, since });
        }
    }
}

impl Origin {
    fn of(uri: &Uri) -> Result<Origin, Error> {
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => {
                return Err(Error::Address {
                    problem: "it must begin with http:// or https://",
                });
            }
        };
        let host = uri.host().filter(|host| !host.is_empty());
        Ok(Origin {
            secure,
            host: host
                .ok_or(Error::Address {
                    problem: "it names no host",
                })?
                .to_owned(),
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
        })
    }
}

/// Turns the full address into a path, as servers want it, and says who asks whom.
fn prepare<B>(request: &mut hyper::Request<B>, origin: &Origin) -> Result<(), Error> {
    let authority = request.uri().authority().map(|it| it.as_str().to_owned());
    let host = authority.unwrap_or_else(|| origin.host.clone());
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let path: Uri = path.parse().map_err(|error| broken(&error))?;
    *request.uri_mut() = path;
    let headers = request.headers_mut();
    if !headers.contains_key(HOST) {
        let host = HeaderValue::try_from(host).map_err(|error| broken(&error))?;
        headers.insert(HOST, host);
    }
    headers
        .entry(USER_AGENT)
        .or_insert(HeaderValue::from_static(AGENT));
    Ok(())
}

impl<B> Body for Flow<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let flow = self.get_mut();
        let open = flow.open.get_mut().unwrap_or_else(PoisonError::into_inner);
        // What is there is taken first: the connection may have ended behind it.
        let mut next = Pin::new(&mut flow.body).poll_frame(context);
        if next.is_pending()
            && let Some(open) = open
        {
            open.poll_moving(context);
            next = Pin::new(&mut flow.body).poll_frame(context);
        }
        if next.is_pending() {
            ready!(flow.until.as_mut().poll(context));
            let after = flow.patience;
            return Poll::Ready(Some(Err(Error::Timeout { after })));
        }
        match ready!(next) {
            Some(Ok(frame)) => {
                flow.until.as_mut().reset(Instant::now() + flow.patience);
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                *open = None;
                Poll::Ready(Some(Err(broken(&error))))
            }
            None => {
                flow.ended = true;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Flow<B> {
    fn drop(&mut self) {
        // A body that was not read to its end would be taken for the next answer.
        if !self.ended && !self.body.is_end_stream() {
            return;
        }
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let (Some(open), Some(pool)) = (open.take(), self.pool.upgrade()) {
            pool.give_back(&self.origin, open);
        }
    }
}
