//! One PostgreSQL cluster in a directory of its own.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tokio::time::{Duration, Instant, sleep};
use tokio_postgres::Client;

use crate::guard::Guard;
use crate::session::{self, Rows};
use crate::until::{DEADLINE, until};
use crate::version::{self, Installation, Version};
use crate::{owner, template};

/// The port of clusters without TCP: each has a socket directory of its own, so all may share it.
const SOCKET_PORT: u16 = 5432;
const POLL: Duration = Duration::from_millis(10);
/// Durability is nothing to a cluster that dies with its test. Shared memory is in files so that it goes with the directory.
const DEFAULTS: [(&str, &str); 6] = [
    ("fsync", "off"),
    ("min_wal_size", "5MB"),
    ("max_wal_size", "64MB"),
    ("shared_buffers", "32MB"),
    ("dynamic_shared_memory_type", "mmap"),
    ("log_line_prefix", "%m [%p] %q%u@%d "),
];
/// The testbed's own sessions and standbys must get in whatever a test writes into `pg_hba.conf`.
const HBA: &str = "local all postgres trust\nlocal replication postgres trust\n";

/// What a cluster should be like.
#[derive(Default)]
pub struct Setup<'a> {
    /// Its version; the first of [`versions`](crate::versions) when not given.
    pub version: Option<Version>,
    /// Lines for `postgresql.conf`: name and value without quotes.
    pub settings: &'a [(&'a str, &'a str)],
    /// Lines for `pg_hba.conf` after those that let `postgres` in over the socket; trust for everybody when not given.
    pub hba: Option<&'a str>,
    /// Whether it listens on 127.0.0.1 too, on a free port.
    pub tcp: bool,
    /// Size of a WAL segment; 1 MB when not given.
    pub wal_segment_mb: Option<u32>,
}

/// How a server is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Waits until all clients have left.
    Smart,
    /// Throws clients out and writes a checkpoint.
    Fast,
    /// Quits without a checkpoint; the next start recovers.
    Immediate,
}

/// A running PostgreSQL server that stops and removes itself on drop, and also when the process is killed.
pub struct Cluster {
    pub(crate) guard: Guard,
    pub(crate) installation: &'static Installation,
    pub(crate) tcp: bool,
    port: u16,
    data: PathBuf,
    /// The folder of `postgresql.conf`.
    configuration: PathBuf,
    log: PathBuf,
}

impl Cluster {
    /// Starts a new cluster with superuser "postgres" and database "postgres", and waits until it accepts connections.
    pub async fn start(setup: &Setup<'_>) -> Cluster {
        let installation = version::find(setup.version);
        let template = template::of(installation, setup.wal_segment_mb.unwrap_or(1));
        let mut cluster = Cluster::prepare(installation, setup.tcp);
        owner::copy(&template, &cluster.data);
        if let Some(hba) = setup.hba {
            owner::write(&cluster.data.join("pg_hba.conf"), &format!("{HBA}{hba}\n"));
        }
        let settings: Vec<_> = DEFAULTS.iter().chain(setup.settings).copied().collect();
        cluster.configure(&settings);
        cluster.start_again().await;
        cluster
    }

    /// Starts a copy of this cluster, which must be stopped: the same data and settings in a directory of its own.
    ///
    /// # Panics
    ///
    /// When this cluster runs.
    pub async fn duplicate(&self) -> Cluster {
        assert!(!self.guard.alive(), "only a stopped cluster can be copied");
        let mut copy = Cluster::prepare(self.installation, self.tcp);
        owner::copy(&self.data, &copy.data);
        copy.configure(&[]);
        copy.start_again().await;
        copy
    }

    /// Starts a server of this one's version on a copy of a data directory that anybody made, such as a restored backup.
    ///
    /// Until it accepts connections it may recover, as a standby if the directory says so.
    pub async fn start_from(&self, data: &Path, settings: &[(&str, &str)]) -> Cluster {
        let mut cluster = Cluster::prepare(self.installation, self.tcp);
        owner::take_over(data, &cluster.data);
        cluster.configure(settings);
        cluster.start_again().await;
        cluster
    }

    /// Returns the superuser's URL of a database over the Unix socket.
    pub fn url(&self, database: &str) -> String {
        self.url_as("postgres", database)
    }

    /// Returns another role's URL of a database over the Unix socket.
    pub fn url_as(&self, user: &str, database: &str) -> String {
        socket_url(self.socket_directory(), self.port, user, database)
    }

    /// Returns the directory that the Unix socket is in.
    pub fn socket_directory(&self) -> &Path {
        self.guard.directory()
    }

    /// Creates a folder beside the data directory, such as `a/b`, that goes away with the cluster.
    ///
    /// Folders made by other means belong to whoever runs the tests, and the cluster's owner cannot empty them.
    pub fn folder(&self, name: &str) -> PathBuf {
        let mut path = self.socket_directory().to_owned();
        for part in Path::new(name).components() {
            path.push(part);
            if !path.exists() {
                owner::create_directory(&path);
            }
        }
        path
    }

    /// Returns the port; without TCP it only names the socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the data directory.
    pub fn data_directory(&self) -> &Path {
        &self.data
    }

    /// Returns the file that the server's stderr goes to, which is its log unless the settings say otherwise.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// Returns the directory of the server's programs.
    pub fn bin_directory(&self) -> &Path {
        &self.installation.bin
    }

    /// Returns the major version.
    pub fn version(&self) -> Version {
        self.installation.version
    }

    /// Returns the process id of the postmaster.
    ///
    /// # Panics
    ///
    /// When the server does not run.
    pub fn postmaster(&self) -> u32 {
        let server = self.guard.server().expect("the server runs");
        server.as_raw_nonzero().get().unsigned_abs()
    }

    /// Runs statements as superuser by the simple protocol and returns the rows of the last one as text.
    ///
    /// # Panics
    ///
    /// With the server's message on an error.
    pub async fn sql(&self, database: &str, sql: &str) -> Rows {
        session::once(self.socket_directory(), self.port, database, sql).await
    }

    /// Opens a superuser session, which ends when the client is dropped.
    pub async fn connect(&self, database: &str) -> Client {
        self.connect_as("postgres", database).await
    }

    /// Opens a session of another role, which ends when the client is dropped.
    pub async fn connect_as(&self, user: &str, database: &str) -> Client {
        session::open(self.socket_directory(), self.port, user, database)
            .await
            .unwrap_or_else(|error| panic!("{}", session::explain(&error)))
            .0
    }

    /// Opens a transaction, runs `sql` in it and leaves it open, so that its locks are held until the client is dropped.
    pub async fn hold(&self, database: &str, sql: &str) -> Client {
        let client = self.connect(database).await;
        client
            .batch_execute(&format!("BEGIN; {sql}"))
            .await
            .unwrap_or_else(|error| panic!("{}\n{sql}", session::explain(&error)));
        client
    }

    /// Creates the role "monitor", a member of `pg_monitor` that may log in, unless it is there; returns its name.
    pub async fn monitor(&self) -> String {
        let create = "DO $$ BEGIN CREATE ROLE monitor LOGIN IN ROLE pg_monitor; \
                      EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$";
        self.sql("postgres", create).await;
        "monitor".to_owned()
    }

    /// Changes a setting by ALTER SYSTEM and reloads; a value of `None` resets it.
    pub async fn set(&self, setting: &str, value: Option<&str>) {
        let change = match value {
            Some(value) => format!("SET {setting} = '{}'", value.replace('\'', "''")),
            None => format!("RESET {setting}"),
        };
        self.sql("postgres", &format!("ALTER SYSTEM {change}"))
            .await;
        self.reload().await;
    }

    /// Makes the server read its configuration again, and waits until it has.
    pub async fn reload(&self) {
        const LOADED: &str = "SELECT pg_conf_load_time()";
        let before = self.sql("postgres", LOADED).await;
        self.sql("postgres", "SELECT pg_reload_conf()").await;
        until("the configuration is loaded again", async || {
            self.sql("postgres", LOADED).await != before
        })
        .await;
    }

    /// Stops the server and waits until it has ended; a smart stop needs the clients to leave.
    pub async fn stop(&mut self, mode: Stop) {
        self.guard.signal(match mode {
            Stop::Smart => Signal::TERM,
            Stop::Fast => Signal::INT,
            Stop::Immediate => Signal::QUIT,
        });
        self.guard.ended().await;
    }

    /// Moves the configuration out of the data directory, into a folder of its own, as Debian has it; the server must be stopped.
    pub fn move_configuration(&mut self) -> &Path {
        let folder = self.folder("etc");
        for name in ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"] {
            fs::rename(self.data.join(name), folder.join(name)).expect("initdb wrote it");
        }
        let path = folder.join("postgresql.conf");
        let text = fs::read_to_string(&path).expect("it was moved");
        let data = format!("{text}data_directory = '{}'\n", self.data.display());
        owner::write(&path, &data);
        self.configuration = folder;
        &self.configuration
    }

    /// Starts the server after [`stop`](Cluster::stop) or [`kill`](Cluster::kill), and waits until it accepts connections.
    pub async fn start_again(&mut self) {
        let postgres = self.installation.bin.join("postgres");
        let [postgres, folder] =
            [&postgres, &self.configuration].map(|path| path.to_string_lossy());
        self.guard.start(&[&postgres, "-D", &folder]);
        self.ready().await;
    }

    /// Kills the server and all its processes at once, as a power failure does.
    pub fn kill(&mut self) {
        self.guard.kill();
    }

    /// Takes a directory and a port for a cluster whose data is still to come.
    pub(crate) fn prepare(installation: &'static Installation, tcp: bool) -> Cluster {
        let guard = Guard::new("QUIT");
        Cluster {
            data: guard.directory().join("data"),
            configuration: guard.directory().join("data"),
            log: guard.log_file(),
            port: if tcp { free_port() } else { SOCKET_PORT },
            guard,
            installation,
            tcp,
        }
    }

    /// Appends settings to `postgresql.conf`, with those that make the cluster its own; the last line of a name counts.
    pub(crate) fn configure(&self, settings: &[(&str, &str)]) {
        let path = self.data.join("postgresql.conf");
        let mut text = fs::read_to_string(&path).expect("initdb wrote postgresql.conf");
        let directory = self.socket_directory().to_string_lossy();
        let port = self.port.to_string();
        let own = [
            ("unix_socket_directories", directory.as_ref()),
            ("listen_addresses", if self.tcp { "127.0.0.1" } else { "" }),
            ("port", &port),
        ];
        for (name, value) in own.iter().chain(settings) {
            text.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
        }
        owner::write(&path, &text);
    }

    /// Starts the server, and waits until it accepts connections as no standby or has ended; returns the end of its log then.
    pub(crate) async fn start_or_end(&mut self) -> Option<String> {
        let postgres = self.installation.bin.join("postgres");
        let [postgres, data] = [&postgres, &self.data].map(|path| path.to_string_lossy());
        self.guard.start(&[&postgres, "-D", &data]);
        let deadline = Instant::now() + DEADLINE;
        while !self.accepts_connections() {
            if !self.guard.alive() {
                self.guard.ended().await;
                return Some(self.guard.log_tail());
            }
            assert!(
                Instant::now() < deadline,
                "the server does neither end nor accept connections\n{}",
                self.guard.log_tail()
            );
            sleep(POLL).await;
        }
        None
    }

    /// Waits by the status that the postmaster writes, because a refused connection is a line in the server's log.
    async fn ready(&self) {
        let deadline = Instant::now() + DEADLINE;
        while !self.accepts_connections() {
            assert!(
                self.guard.alive() && Instant::now() < deadline,
                "the server does not accept connections\n{}",
                self.guard.log_tail()
            );
            sleep(POLL).await;
        }
    }

    fn accepts_connections(&self) -> bool {
        let file = fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        let mut lines = file.lines();
        // A server that was killed leaves its file behind.
        lines.next() == Some(&self.postmaster().to_string())
            && lines.nth(6).is_some_and(|status| status.trim() == "ready")
    }
}

/// Returns a URL in the form of libpq for a Unix socket.
pub(crate) fn socket_url(directory: &Path, port: u16, user: &str, database: &str) -> String {
    format!(
        "postgresql:///{}?host={}&port={port}&user={}",
        percent(database),
        directory.display(),
        percent(user)
    )
}

/// Returns a loopback port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("the loopback interface has a free port")
        .port()
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
