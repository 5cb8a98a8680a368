//! The server itself: what every answer carries, what is refused, and how it ends.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pawang_web::tls_config;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::estate::{Estate, settings};
use crate::http::Client;

const SECURITY: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("x-frame-options", "DENY"),
    ("cache-control", "no-store"),
];

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let estate = Estate::new();
    let served = estate.serve(settings()).await;
    let client = Client::new(served.address);
    for path in [
        "/",
        "/findings",
        "/nothing",
        "/api/v1/nothing",
        "/api/v1/instances",
        "/healthz",
        "/metrics",
        "/assets/none.css",
    ] {
        let answer = client.get(path).await;
        for (name, value) in SECURITY {
            assert_eq!(answer.header(name), value, "{path} {name}");
        }
        assert!(answer.header("permissions-policy").contains("camera=()"));
        assert_eq!(answer.header("strict-transport-security"), "");
    }
    let answer = client.with("host", "evil.example").get("/").await;
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    served.stop().await;
}

#[tokio::test]
async fn a_name_of_somebody_else_is_refused_with_its_remedy() {
    let estate = Estate::new();
    let mut named = settings();
    named.hosts = vec!["pawang.example.org".to_owned()];
    let served = estate.serve(named).await;
    let client = Client::new(served.address);
    for (host, status) in [
        ("localhost", 200),
        ("127.0.0.1:1", 200),
        ("pawang.example.org", 200),
        ("evil.example.org", 421),
    ] {
        let answer = client.with("host", host).get("/api/v1/instances").await;
        assert_eq!(answer.status, status, "{host}");
    }
    let answer = client
        .with("host", "evil.example.org")
        .get("/api/v1/instances")
        .await;
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert!(answer.text().contains("serve.hosts"), "{}", answer.text());
}

#[tokio::test]
async fn malformed_requests_are_answered_and_forgotten() {
    let estate = Estate::new();
    let served = estate.serve(settings()).await;
    let client = Client::new(served.address);
    let head = |line: &str, more: &str| {
        format!("{line}\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n")
    };
    let long_path = format!("GET /{} HTTP/1.1", "a".repeat(1 << 20));
    let path = format!("GET /?q={} HTTP/1.1", "a".repeat(9_000));
    let parameters = format!("GET /?{} HTTP/1.1", "a=1&".repeat(2_000));
    let many = "x: y\r\n".repeat(1_000);
    let large = format!("x: {}\r\n", "y".repeat(100_000));
    let body = format!("Content-Length: {}\r\n", 1 << 30);
    for (request, status) in [
        ("nonsense\r\n\r\n".to_owned(), "400"),
        ("\0\0\0\0\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), "400"),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned(), "400"),
        (head("GET / HTTP/1.1", "Host: b\r\n"), "400"),
        (head("GET / HTTP/1.1", "a b: c\r\n"), "400"),
        (head("GET / HTTP/1.1", "Content-Length: -1\r\n"), "400"),
        (
            "GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(),
            "400",
        ),
        (head(&long_path, ""), "431"),
        (head(&path, ""), "414"),
        (head(&parameters, ""), "400"),
        (head("GET / HTTP/1.1", &many), "431"),
        (head("GET / HTTP/1.1", &large), "431"),
        (head("POST /sign-out HTTP/1.1", &body), "413"),
        (head("GET /%ff%fe HTTP/1.1", ""), "404"),
        (head("GET /instances/%ff%fe HTTP/1.1", ""), "400"),
        (head("GET /findings/%00 HTTP/1.1", ""), "404"),
        (head("GET /../../etc/passwd HTTP/1.1", ""), "404"),
        (head("GET /assets/..%2f..%2fetc HTTP/1.1", ""), "404"),
        (head("BREW / HTTP/1.1", ""), "405"),
        (head("GET /?from=%ff&to=x HTTP/1.1", ""), "400"),
    ] {
        let answer = client.raw(request.as_bytes()).await;
        let line = answer.lines().next().unwrap_or_default();
        let shown: String = request.chars().take(60).collect();
        assert!(
            line.starts_with(&format!("HTTP/1.1 {status}")),
            "{shown:?} is answered {line:?}"
        );
    }
    assert_eq!(client.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_their_order() {
    let estate = Estate::new();
    let served = estate.serve(settings()).await;
    let client = Client::new(served.address);
    let mut requests = String::new();
    for path in ["/healthz", "/nothing", "/healthz"] {
        requests.push_str(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    }
    requests.push_str("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answers = client.raw(requests.as_bytes()).await;
    let statuses: Vec<&str> = answers
        .match_indices("HTTP/1.1 ")
        .map(|(at, _)| &answers[at + 9..at + 12])
        .collect();
    assert_eq!(statuses, ["200", "404", "200", "200"]);
}

#[tokio::test]
async fn slow_and_idle_connections_are_closed() {
    let estate = Estate::new();
    let served = estate.serve(settings()).await;
    let mut slow = TcpStream::connect(served.address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: local")
        .await
        .unwrap();
    let mut idle = TcpStream::connect(served.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut piece = [0; 12];
    idle.read_exact(&mut piece).await.unwrap();
    assert_eq!(&piece, b"HTTP/1.1 200");
    // From here on time passes as fast as nobody has anything to do.
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).await.unwrap();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn pages_are_compressed_when_asked() {
    let estate = Estate::new();
    let served = estate.serve(settings()).await;
    let client = Client::new(served.address);
    let plain = client.get("/api/v1/checks").await;
    let small = client
        .with("accept-encoding", "gzip")
        .get("/api/v1/checks")
        .await;
    assert_eq!(small.header("content-encoding"), "gzip");
    assert!(small.body.len() * 2 < plain.body.len());
    let mut text = Vec::new();
    std::io::Read::read_to_end(
        &mut flate2::read::GzDecoder::new(&small.body[..]),
        &mut text,
    )
    .unwrap();
    assert_eq!(text, plain.body);
    assert_eq!(small.header("etag"), plain.header("etag"));
}

#[tokio::test]
async fn the_server_stops_while_somebody_is_connected() {
    let estate = Estate::new();
    let served = estate.serve(settings()).await;
    let mut events = TcpStream::connect(served.address).await.unwrap();
    events
        .write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut piece = [0; 12];
    events.read_exact(&mut piece).await.unwrap();
    let _idle = TcpStream::connect(served.address).await.unwrap();
    let address = served.address;
    served.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
    let mut rest = String::new();
    events.read_to_string(&mut rest).await.unwrap();
    assert!(
        rest.ends_with("0\r\n\r\n"),
        "the stream ends in order: {rest}"
    );
}

/// Writes a certificate for localhost and its key, and returns their paths.
fn certificate(directory: &Path) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (directory.join("server.crt"), directory.join("server.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (certificate, key)
}

#[tokio::test]
async fn tls_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(directory.path());
    let estate = Estate::new();
    let tls = tls_config(&certificate, &key).unwrap();
    let served = estate.serve_with(settings(), Some(tls)).await;
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&certificate).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(served.address).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let plain = Client::new(served.address)
        .raw(b"GET / HTTP/1.1\r\n\r\n")
        .await;
    assert!(!plain.contains("HTTP/1.1"), "{plain}");
}

#[test]
fn wrong_certificates_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(directory.path());
    let empty = directory.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    let other = tempfile::tempdir().unwrap();
    let (_, other_key) = self::certificate(other.path());
    let gone = directory.path().join("gone");
    for (certificate, key, said) in [
        (&gone, &key, "could not read"),
        (&certificate, &gone, "could not read"),
        (&empty, &key, "there is no certificate in"),
        (&certificate, &empty, "could not read"),
        (&certificate, &other_key, "cannot use the key"),
    ] {
        let report = tls_config(certificate, key).unwrap_err().report();
        assert!(report.primary.starts_with(said), "{report}");
        assert!(report.hint.is_some_and(|hint| hint.contains("serve.tls")));
    }
}
