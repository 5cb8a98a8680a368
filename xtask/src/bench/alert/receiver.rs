//! A webhook that takes everything, and notes when it came.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A message as it came.
#[derive(Clone)]
pub(super) struct Received {
    pub(super) at: SystemTime,
    pub(super) body: Value,
}

impl Received {
    /// Returns how many alerts it tells of, those that are only counted too.
    pub(super) fn alerts(&self) -> usize {
        let told = self.body["alerts"].as_array().map_or(0, Vec::len);
        let counted = self.body["truncatedAlerts"].as_u64().unwrap_or(0);
        told + usize::try_from(counted).unwrap_or(usize::MAX)
    }
}

/// A webhook; it listens as long as the task runs.
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    /// Begins to listen.
    pub(super) fn start() -> Result<Receiver, String> {
        let wrong = |error: std::io::Error| format!("could not listen: {error}");
        let listener = TcpListener::bind("127.0.0.1:0").map_err(wrong)?;
        let receiver = Receiver {
            address: listener.local_addr().map_err(wrong)?,
            received: Arc::default(),
        };
        let received = Arc::clone(&receiver.received);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let received = Arc::clone(&received);
                std::thread::spawn(move || {
                    // Whoever breaks off has sent nothing.
                    let _ = take(&stream, &received);
                });
            }
        });
        Ok(receiver)
    }

    /// Returns what came so far.
    pub(super) fn received(&self) -> Vec<Received> {
        let received = self.received.lock();
        received.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until what came is enough, and returns it.
    pub(super) async fn wait(
        &self,
        most: Duration,
        enough: impl Fn(&[Received]) -> bool,
    ) -> Result<Vec<Received>, String> {
        let begin = Instant::now();
        loop {
            let received = self.received();
            if enough(&received) {
                return Ok(received);
            }
            if begin.elapsed() > most {
                let alerts: usize = received.iter().map(Received::alerts).sum();
                return Err(format!(
                    "only {} messages with {alerts} alerts came in {} s",
                    received.len(),
                    most.as_secs()
                ));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn take(stream: &TcpStream, received: &Mutex<Vec<Received>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let at = SystemTime::now();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let mut kept = received.lock().unwrap_or_else(PoisonError::into_inner);
    kept.push(Received { at, body });
    drop(kept);
    let mut stream = stream;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}
