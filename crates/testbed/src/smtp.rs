//! A mail server: Debian's aiosmtpd, which takes every mail into a folder.

use std::path::PathBuf;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

use crate::cluster::free_port;
use crate::guard::Guard;
use crate::owner;
use crate::until::until;

const PROGRAM: &str = include_str!("smtp.py");
const PYTHON: &str = "/usr/bin/python3";

/// A mail server on the loopback interface; it stops and removes itself on drop, and also when the process is killed.
///
/// It greylists `grey@...` once, and knows no user `nobody@...`.
pub struct MailServer {
    guard: Guard,
    port: u16,
    spool: PathBuf,
}

impl MailServer {
    /// Who may send mail where TLS is spoken, and the password.
    pub const USER: [&str; 2] = ["pawang", "mail-secret"];

    /// Tells whether aiosmtpd is installed.
    ///
    /// # Panics
    ///
    /// When it is not and `$PAWANG_REQUIRE_PG` is 1.
    pub fn installed() -> bool {
        let words = [PYTHON, "-c", "import aiosmtpd"];
        let found = owner::output(owner::command("/usr/bin/env").args(words));
        let found = found.status.success();
        assert!(
            found || !crate::version::required(),
            "aiosmtpd is not installed (hint: apt-get install python3-aiosmtpd)"
        );
        found
    }

    /// Starts a server and waits until it greets: `tls` is `none`, `starttls` or `tls`, with certificate and key in PEM.
    pub async fn start(tls: &str, certificate: &str, key: &str) -> MailServer {
        let mut guard = Guard::new("KILL");
        let port = free_port();
        let directory = guard.directory().to_owned();
        let spool = directory.join("spool");
        owner::create_directory(&spool);
        for (name, text) in [
            ("smtp.py", PROGRAM),
            ("cert.pem", certificate),
            ("key.pem", key),
        ] {
            owner::write(&directory.join(name), text);
        }
        let [user, password] = MailServer::USER;
        let program = directory.join("smtp.py").to_string_lossy().into_owned();
        let directory = directory.to_string_lossy().into_owned();
        let port_text = port.to_string();
        guard.start(&[
            PYTHON, &program, &directory, &port_text, tls, user, password,
        ]);
        let server = MailServer { guard, port, spool };
        until("the mail server answers", async || {
            let connected = TcpStream::connect(("127.0.0.1", port)).await;
            assert!(server.guard.alive(), "{}", server.guard.log_tail());
            match connected {
                Ok(_) if tls == "tls" => true,
                Ok(mut stream) => {
                    let greeting = timeout(Duration::from_secs(5), stream.read_u8()).await;
                    matches!(greeting, Ok(Ok(b'2')))
                }
                Err(_) => false,
            }
        })
        .await;
        server
    }

    /// Returns its port on `localhost`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the mails that it took, the oldest first.
    ///
    /// # Panics
    ///
    /// When its folder cannot be read.
    pub fn mails(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.spool).expect("the spool is there");
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "eml"));
        paths.sort();
        let read = |path: &PathBuf| std::fs::read(path).expect("a mail can be read");
        let texts = paths.iter().map(read);
        texts
            .map(|mail| String::from_utf8_lossy(&mail).into_owned())
            .collect()
    }
}
