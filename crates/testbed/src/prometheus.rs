//! Debian's Prometheus, its promtool and its postgres_exporter.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::cluster::{Cluster, free_port};
use crate::guard::Guard;
use crate::owner;
use crate::until::DEADLINE;

const POLL: Duration = Duration::from_millis(20);
const REQUEST: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// What Debian's package brings along: queries on tables and statements.
const EXPORTER_QUERIES: &str = "/usr/share/doc/prometheus-postgres-exporter/examples/queries.yaml";

/// A Prometheus that receives remote-write; it stops and removes itself on drop, and also when the process is killed.
pub struct Prometheus {
    guard: Guard,
    port: u16,
}

/// A postgres_exporter beside a cluster; it stops on drop, and also when the process is killed.
pub struct PostgresExporter {
    guard: Guard,
    port: u16,
}

impl Prometheus {
    /// Tells whether Prometheus is installed.
    ///
    /// # Panics
    ///
    /// When it is not and `$PAWANG_REQUIRE_PG` is 1.
    pub fn installed() -> bool {
        ["prometheus", "promtool"]
            .iter()
            .all(|program| installed(program, "prometheus"))
    }

    /// Starts Prometheus with an empty store and nothing to scrape, and waits until it is ready.
    pub async fn start() -> Prometheus {
        let mut prometheus = Prometheus {
            // Its store is thrown away, so it need not be closed.
            guard: Guard::new("KILL"),
            port: free_port(),
        };
        let file = prometheus.guard.directory().join("prometheus.yml");
        owner::write(&file, "global: {}\n");
        prometheus.start_again().await;
        prometheus
    }

    /// Starts it again after [`kill`](Prometheus::kill), at the same address and with the same store.
    pub async fn start_again(&mut self) {
        let directory = self.guard.directory().to_string_lossy().into_owned();
        self.guard.start(&[
            "prometheus",
            &format!("--config.file={directory}/prometheus.yml"),
            &format!("--storage.tsdb.path={directory}/tsdb"),
            &format!("--web.listen-address=127.0.0.1:{}", self.port),
            "--web.enable-remote-write-receiver",
            "--log.level=warn",
        ]);
        ready(&self.guard, self.port, "/-/ready").await;
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.guard.kill();
    }

    /// Returns the address of its receiver.
    pub fn write_url(&self) -> String {
        format!("http://127.0.0.1:{}/api/v1/write", self.port)
    }

    /// Asks its HTTP API, such as `get("/api/v1/query?query=up")`; returns status and body.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let answer = get(self.port, path).await;
        answer.unwrap_or_else(|| panic!("Prometheus does not answer\n{}", self.guard.log_tail()))
    }

    /// Returns the end of its log.
    pub fn log_tail(&self) -> String {
        self.guard.log_tail()
    }
}

impl PostgresExporter {
    /// Tells whether postgres_exporter is installed.
    ///
    /// # Panics
    ///
    /// When it is not and `$PAWANG_REQUIRE_PG` is 1.
    pub fn installed() -> bool {
        let program = "prometheus-postgres-exporter";
        installed(program, program)
    }

    /// Starts postgres_exporter as superuser in one database, with the queries that Debian ships as examples where
    /// they are installed, and waits until it answers.
    pub async fn start(cluster: &Cluster, database: &str) -> PostgresExporter {
        let mut guard = Guard::new("KILL");
        let port = free_port();
        let source = format!(
            "DATA_SOURCE_NAME=postgresql:///{database}?host={}&port={}&user=postgres&sslmode=disable",
            cluster.socket_directory().display(),
            cluster.port(),
        );
        let listen = format!("--web.listen-address=127.0.0.1:{port}");
        let queries = format!("--extend.query-path={EXPORTER_QUERIES}");
        let mut words = vec![
            "/usr/bin/env",
            &source,
            "prometheus-postgres-exporter",
            &listen,
        ];
        if Path::new(EXPORTER_QUERIES).is_file() {
            words.push(&queries);
        }
        guard.start(&words);
        ready(&guard, port, "/").await;
        PostgresExporter { guard, port }
    }

    /// Returns what it says of the cluster.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    pub async fn metrics(&self) -> String {
        match get(self.port, "/metrics").await {
            Some((200, body)) => body,
            other => panic!("{other:?}\n{}", self.guard.log_tail()),
        }
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        let server = self.guard.server().expect("it runs");
        server.as_raw_nonzero().get().unsigned_abs()
    }
}

/// Runs `promtool` with these words and this text on its standard input; the error is what it says.
pub fn promtool(words: &[&str], input: &str) -> Result<String, String> {
    let mut child = owner::command("/usr/bin/env")
        .arg("promtool")
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("could not start promtool: {error}"));
    let mut stdin = child.stdin.take().expect("it was asked for");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            // promtool that ends early says why by itself.
            let _written = stdin.write_all(input.as_bytes());
        });
        child.wait_with_output().expect("promtool is our child")
    });
    let [said, complained] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    let said = format!("{said}{complained}");
    if output.status.success() {
        Ok(said)
    } else {
        Err(said)
    }
}

pub(crate) fn installed(program: &str, package: &str) -> bool {
    let found = owner::output(owner::command("/usr/bin/env").args([program, "--version"]))
        .status
        .success();
    assert!(
        found || !crate::version::required(),
        "{program} is not installed (hint: apt-get install {package})"
    );
    found
}

pub(crate) async fn ready(guard: &Guard, port: u16, path: &str) {
    let deadline = Instant::now() + DEADLINE;
    while !matches!(get(port, path).await, Some((200, _))) {
        assert!(
            guard.alive() && Instant::now() < deadline,
            "it does not answer\n{}",
            guard.log_tail()
        );
        sleep(POLL).await;
    }
}

/// HTTP/1.0, so that the answer is neither chunked nor compressed and ends with the connection.
pub(crate) async fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let answer = timeout(REQUEST, async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream
            .take(ANSWER_BYTES_MAX)
            .read_to_end(&mut answer)
            .await
            .ok()?;
        Some(answer)
    });
    let answer = answer.await.ok()??;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
