//! Asks a server over HTTP/1.1, one connection per question, and takes the time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const WAIT_MAX: Duration = Duration::from_secs(60);

/// An answer.
pub(crate) struct Answer {
    /// The number of the status line.
    pub(crate) status: u16,
    /// Bytes of the body as they came over the wire.
    pub(crate) bytes: usize,
    /// The body, with chunks put together.
    pub(crate) body: Vec<u8>,
    /// From before the connection to the last byte.
    pub(crate) elapsed: Duration,
}

/// Asks for a path; `gzip` says whether the answer may be compressed.
pub(crate) fn get(address: SocketAddr, path: &str, gzip: bool) -> Result<Answer, String> {
    let wrong = |error: std::io::Error| format!("could not ask {address}{path}: {error}");
    let begin = Instant::now();
    let mut stream = TcpStream::connect(address).map_err(wrong)?;
    stream.set_read_timeout(Some(WAIT_MAX)).map_err(wrong)?;
    let encoding = if gzip {
        "Accept-Encoding: gzip\r\n"
    } else {
        ""
    };
    let question =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{encoding}Connection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).map_err(wrong)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(wrong)?;
    let elapsed = begin.elapsed();
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let split = split.ok_or_else(|| format!("{address}{path} answered without a head"))?;
    let head = String::from_utf8_lossy(&answer[..split]).to_ascii_lowercase();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let raw = answer.split_off(split + 4);
    let body = if head.contains("transfer-encoding: chunked") {
        joined(&raw)
    } else {
        raw.clone()
    };
    Ok(Answer {
        status: status.unwrap_or(0),
        bytes: raw.len(),
        body,
        elapsed,
    })
}

/// Puts the chunks of a body together.
fn joined(mut raw: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = raw.windows(2).position(|two| two == b"\r\n") {
        let size = String::from_utf8_lossy(&raw[..end]);
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16);
        let Ok(size @ 1..) = size else { break };
        let Some(chunk) = raw.get(end + 2..end + 2 + size) else {
            break;
        };
        body.extend_from_slice(chunk);
        raw = raw.get(end + 2 + size + 2..).unwrap_or_default();
    }
    body
}

/// Asks for a path from many clients at once, each of them so many times; returns all times, shortest first.
pub(crate) fn load(
    address: SocketAddr,
    path: &str,
    clients: usize,
    questions: usize,
) -> Result<Vec<Duration>, String> {
    let client = || -> Result<Vec<Duration>, String> {
        let mut times = Vec::with_capacity(questions);
        for _ in 0..questions {
            let answer = get(address, path, true)?;
            if answer.status != 200 {
                return Err(format!("{address}{path} answered {}", answer.status));
            }
            times.push(answer.elapsed);
        }
        Ok(times)
    };
    let mut times = Vec::new();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        for client in clients {
            let result = client.join().map_err(|_| "a client broke".to_owned())?;
            times.extend(result?);
        }
        Ok::<(), String>(())
    })?;
    times.sort();
    Ok(times)
}

/// Returns the time that so many percent of all are not above.
pub(crate) fn percentile(times: &[Duration], percent: usize) -> Duration {
    let place = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_put_together() {
        assert_eq!(
            joined(b"4\r\nwiki\r\n5;x=1\r\npedia\r\n0\r\n\r\n"),
            b"wikipedia"
        );
        assert_eq!(joined(b"0\r\n\r\n"), b"");
        assert_eq!(joined(b"ff\r\nshort"), b"");
    }

    #[test]
    fn percentiles_count_from_the_shortest() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Duration::from_millis(50));
        assert_eq!(percentile(&times, 99), Duration::from_millis(99));
        assert_eq!(percentile(&times[..1], 99), Duration::from_millis(1));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }
}
