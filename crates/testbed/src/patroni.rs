//! Patroni with its built-in Raft store, so that no other service is needed.

use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::{free_port, socket_url};
use crate::guard::Guard;
use crate::owner;
use crate::session::{self, Rows};
use crate::template;
use crate::until::until;
use crate::version::{Installation, installations};

/// Short times, so that tests need not wait; `retry_timeout` is what a leader on a busy machine survives.
const DYNAMIC: &str = r#"{"ttl": 20, "loop_wait": 1, "retry_timeout": 6, "postgresql": {"parameters": {"max_connections": 50}}}"#;
/// Below this many bytes nothing of Patroni's answers is cut off.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// A running Patroni with its PostgreSQL server, which both go away on drop, and also when the process is killed.
pub struct PatroniNode {
    guard: Guard,
    installation: &'static Installation,
    data: PathBuf,
    rest_port: u16,
    raft_port: u16,
    port: u16,
}

impl PatroniNode {
    /// Tells whether Patroni, its Raft library and a server with client tools are installed.
    ///
    /// # Panics
    ///
    /// When they are not and `$PAWANG_REQUIRE_PG` is 1.
    pub fn installed() -> bool {
        let raft = owner::output(owner::command("/usr/bin/env").args([
            "/usr/bin/python3",
            "-c",
            "import patroni, pysyncobj",
        ]));
        let found = raft.status.success() && with_tools().is_some();
        assert!(
            found || !crate::version::required(),
            "Patroni is not installed (hint: apt-get install patroni python3-pysyncobj postgresql)"
        );
        found
    }

    /// Starts the first node of a Patroni cluster and waits until it leads.
    pub async fn start(name: &str) -> PatroniNode {
        let mut node = PatroniNode::prepare();
        let template = template::of(node.installation, 1);
        owner::copy(&template, &node.data);
        // Patroni takes its dynamic configuration from here when it adopts a cluster that it did not create.
        owner::write(&node.data.join("patroni.dynamic.json"), DYNAMIC);
        node.run(name, None);
        node.answers("leads", "/primary").await;
        node
    }

    /// Starts a replica of this node's cluster and waits until it streams.
    pub async fn replica(&self, name: &str) -> PatroniNode {
        let mut node = PatroniNode::prepare();
        node.run(name, Some(self.raft_port));
        node.answers("replicates", "/replica").await;
        until("the replica streams", async || {
            let receiver = "SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming'";
            !node.sql("postgres", receiver).await.is_empty()
        })
        .await;
        node
    }

    /// Returns the address of the REST API, without a slash at the end.
    pub fn rest_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.rest_port)
    }

    /// Returns the superuser's URL of a database over the Unix socket.
    pub fn url(&self, database: &str) -> String {
        socket_url(self.guard.directory(), self.port, "postgres", database)
    }

    /// Returns the data directory of the server.
    pub fn data_directory(&self) -> &Path {
        &self.data
    }

    /// Runs statements as superuser and returns the rows of the last one as text.
    ///
    /// # Panics
    ///
    /// With the server's message on an error.
    pub async fn sql(&self, database: &str, sql: &str) -> Rows {
        session::once(self.guard.directory(), self.port, database, sql).await
    }

    /// Sends a request to the REST API and returns status code and body; `None` when nobody answers.
    pub async fn rest(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.rest_port))
            .await
            .ok()?;
        let request = format!(
            "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream
            .take(ANSWER_BYTES_MAX)
            .read_to_string(&mut answer)
            .await
            .ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    fn prepare() -> PatroniNode {
        // PostgreSQL outlives a Patroni that is killed; the guard stops it after that.
        let guard = Guard::new("KILL");
        PatroniNode {
            installation: with_tools().expect("the caller has asked whether it is installed"),
            data: guard.directory().join("data"),
            guard,
            rest_port: free_port(),
            raft_port: free_port(),
            port: free_port(),
        }
    }

    fn run(&mut self, name: &str, partner: Option<u16>) {
        let partner = partner
            .map(|port| format!("\"127.0.0.1:{port}\""))
            .unwrap_or_default();
        let directory = self.guard.directory().to_string_lossy();
        let raft = format!("{directory}/raft");
        owner::create_directory(Path::new(&raft));
        // JSON is YAML, and needs no care about indentation.
        let text = format!(
            r#"{{"scope": "pawang", "name": "{name}",
"restapi": {{"listen": "127.0.0.1:{rest}", "connect_address": "127.0.0.1:{rest}"}},
"raft": {{"data_dir": "{raft}", "self_addr": "127.0.0.1:{raft_port}", "partner_addrs": [{partner}]}},
"postgresql": {{"listen": "127.0.0.1:{port}", "connect_address": "127.0.0.1:{port}", "use_unix_socket": true,
"data_dir": "{directory}/data", "bin_dir": "{bin}", "pgpass": "{directory}/pgpass",
"authentication": {{"superuser": {{"username": "postgres"}}, "replication": {{"username": "postgres"}}}},
"pg_hba": ["local all all trust", "host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"],
"parameters": {{"unix_socket_directories": "{directory}", "fsync": "off", "dynamic_shared_memory_type": "mmap",
"wal_retrieve_retry_interval": "100ms"}}}}}}"#,
            rest = self.rest_port,
            raft_port = self.raft_port,
            port = self.port,
            bin = self.installation.bin.display(),
        );
        let file = format!("{directory}/patroni.yml");
        owner::write(Path::new(&file), &text);
        self.guard.start(&["patroni", &file]);
    }

    async fn answers(&self, what: &str, path: &str) {
        until(&format!("Patroni {what}"), async || {
            assert!(
                self.guard.alive(),
                "Patroni has ended\n{}",
                self.guard.log_tail()
            );
            matches!(self.rest("GET", path, "").await, Some((200, _)))
        })
        .await;
    }
}

/// Patroni calls pg_controldata, which only whole packages have.
fn with_tools() -> Option<&'static Installation> {
    installations()
        .iter()
        .rfind(|found| found.bin.join("pg_controldata").exists())
}
