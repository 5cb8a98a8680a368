//! An HTTP server that records what it is asked and answers as it is told: also badly, or not at all.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::request::{self, Request};
use crate::until::until;

/// How one request is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// With a status and a body.
    Status(u16, String),
    /// With a status and one header besides.
    Header(u16, String),
    /// Never.
    Hang,
    /// The connection is closed.
    Close,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Method and path.
    pub line: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Heard {
    /// Returns a header, or nothing.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns the body as JSON.
    ///
    /// # Panics
    ///
    /// When it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("the body is JSON")
    }
}

#[derive(Default)]
struct Shared {
    heard: Vec<Heard>,
    replies: VecDeque<Reply>,
}

/// An HTTP server on the loopback interface, which ends on drop.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Starts it; each request takes one of the replies, and those after them get status 200.
    ///
    /// # Panics
    ///
    /// When the loopback interface has no free port.
    pub async fn start(replies: Vec<Reply>) -> Receiver {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.expect("the loopback interface has a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Mutex::new(Shared {
            replies: replies.into(),
            ..Shared::default()
        }));
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Receiver {
            address,
            shared,
            task,
        }
    }

    /// Returns an address of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns all that it was asked.
    pub fn heard(&self) -> Vec<Heard> {
        lock(&self.shared).heard.clone()
    }

    /// Waits until it was asked so often, and returns all of it.
    pub async fn wait(&self, count: usize) -> Vec<Heard> {
        until("the receiver is asked", async || {
            self.heard().len() >= count
        })
        .await;
        self.heard()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Mutex<Shared>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Mutex<Shared>>) {
    while let Some(request) = request::read(&mut stream).await {
        let Request {
            line,
            headers,
            body,
        } = request;
        let body = String::from_utf8_lossy(&body).into_owned();
        let heard = Heard {
            line,
            headers,
            body,
        };
        let reply = {
            let mut shared = lock(&shared);
            shared.heard.push(heard);
            shared.replies.pop_front()
        };
        let (status, header, body) = match reply {
            None => (200, String::new(), "ok".to_owned()),
            Some(Reply::Status(status, body)) => (status, String::new(), body),
            Some(Reply::Header(status, header)) => (status, format!("{header}\r\n"), String::new()),
            Some(Reply::Hang) => std::future::pending().await,
            Some(Reply::Close) => return,
        };
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status} Words\r\n{header}Content-Length: {length}\r\n\r\n{body}");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
