//! Somebody in between, with a certificate of their own: channel binding keeps them out, and nothing else does.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use pawang_postgres::{Error, Session, Target};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

use crate::environment;
use crate::tls::{Authority, install, server};

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const BUFFER_BYTES: usize = 64 * 1024;
/// How long one side is listened to before it is the other's turn.
const TURN: Duration = Duration::from_millis(5);

/// Ends the client's TLS and begins a new one to the server.
fn sit_between(
    client: TcpStream,
    port: u16,
    server: Arc<ServerConfig>,
    own: Arc<ClientConfig>,
) -> std::io::Result<()> {
    let mut client = client;
    let mut request = [0; 8];
    client.read_exact(&mut request)?;
    client.write_all(b"S")?;
    let mut behind = TcpStream::connect(("127.0.0.1", port))?;
    behind.write_all(&SSL_REQUEST)?;
    behind.read_exact(&mut [0])?;
    let session = ServerConnection::new(server).map_err(std::io::Error::other)?;
    let mut client = StreamOwned::new(session, client);
    let name = "localhost".try_into().map_err(std::io::Error::other)?;
    let session = ClientConnection::new(own, name).map_err(std::io::Error::other)?;
    let mut behind = StreamOwned::new(session, behind);
    // A handshake takes as long as it takes: only afterwards does nobody wait for more than a turn.
    client.conn.complete_io(&mut client.sock)?;
    behind.conn.complete_io(&mut behind.sock)?;
    client.sock.set_read_timeout(Some(TURN))?;
    behind.sock.set_read_timeout(Some(TURN))?;
    loop {
        if !pass_on(&mut client, &mut behind)? || !pass_on(&mut behind, &mut client)? {
            return Ok(());
        }
    }
}

/// Passes on what has arrived within one turn; returns whether the connection lives.
fn pass_on(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<bool> {
    let mut buffer = vec![0; BUFFER_BYTES];
    match from.read(&mut buffer) {
        Ok(0) => Ok(false),
        Ok(count) => {
            to.write_all(&buffer[..count])?;
            to.flush()?;
            Ok(true)
        }
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
    }
}

/// Starts somebody in between and returns their port.
fn start(port: u16, trusted: &Authority) -> u16 {
    let stranger = Authority::new("another authority");
    let [certificate, key] = stranger.issue(&["localhost"], |_| {});
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(trusted.root()).unwrap())
        .unwrap();
    let own = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (server, own) = (Arc::new(server), Arc::new(own));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let between = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // How each conversation ends is what the client is asked.
            let _ = sit_between(client, port, Arc::clone(&server), Arc::clone(&own));
        }
    });
    between
}

#[tokio::test]
async fn channel_binding_keeps_somebody_in_between_out() {
    let cluster = server().await;
    let authority = Authority::new("right authority");
    install(
        &cluster,
        &authority,
        &authority.issue(&["localhost"], |_| {}),
    )
    .await;
    let between = start(cluster.port(), &authority);
    let outcome = async |binding: &str, mode: &str| {
        let text = format!(
            "host=localhost hostaddr=127.0.0.1 port={between} user=scram dbname=postgres password=right
            channel_binding={binding} sslmode={mode} sslrootcert={}",
            if mode == "require" { String::new() } else { authority.root().display().to_string() }
        );
        Session::connect(&Target::parse(&text, &environment()).unwrap(), "test").await
    };
    for binding in ["require", "prefer"] {
        let error = outcome(binding, "require").await.err().unwrap();
        assert!(
            matches!(&error, Error::Refused { sqlstate, .. } if sqlstate == "28000"),
            "{error}"
        );
    }
    let error = outcome("disable", "verify-ca").await.err().unwrap();
    assert!(matches!(error, Error::Tls { .. }), "{error}");
    let unprotected = outcome("disable", "require").await;
    assert!(unprotected.is_ok(), "without both, nobody notices");
}
