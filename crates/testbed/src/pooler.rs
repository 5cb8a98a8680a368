//! PgBouncer in front of a cluster.

use std::path::Path;

use tokio::time::{Duration, Instant, sleep};
use tokio_postgres::Client;

use crate::cluster::{Cluster, socket_url};
use crate::guard::Guard;
use crate::until::DEADLINE;
use crate::{owner, session};

/// Names only the socket: each pooler has a directory of its own and does not listen on TCP.
const PORT: u16 = 6432;
const POLL: Duration = Duration::from_millis(10);

/// A running PgBouncer that stops and removes itself on drop, and also when the process is killed.
pub struct Pooler {
    guard: Guard,
}

impl Pooler {
    /// Tells whether PgBouncer is installed.
    ///
    /// # Panics
    ///
    /// When it is not and `$PAWANG_REQUIRE_PG` is 1.
    pub fn installed() -> bool {
        let found = owner::output(owner::command("/usr/bin/env").args(["pgbouncer", "--version"]))
            .status
            .success();
        assert!(
            found || !crate::version::required(),
            "PgBouncer is not installed (hint: apt-get install pgbouncer)"
        );
        found
    }

    /// Starts PgBouncer for every database of `cluster` with trust; "postgres" is its admin and "monitor" may read.
    ///
    /// `extra_ini` is appended to the section `[pgbouncer]`, and may open others.
    pub async fn start(cluster: &Cluster, extra_ini: &str) -> Pooler {
        // PgBouncer's meaning of its gentler signals changed in 1.23, and it has no children or shared memory.
        let mut guard = Guard::new("KILL");
        let directory = guard.directory();
        let file = |name: &str| directory.join(name).to_string_lossy().into_owned();
        let [ini, users] = ["pgbouncer.ini", "users.txt"].map(file);
        owner::write(Path::new(&users), "\"postgres\" \"\"\n\"monitor\" \"\"\n");
        let text = format!(
            "[databases]\n* = host={server} port={server_port}\n\
             [pgbouncer]\nlisten_addr =\nlisten_port = {PORT}\nunix_socket_dir = {own}\n\
             auth_type = trust\nauth_file = {users}\nadmin_users = postgres\nstats_users = monitor\n\
             {extra_ini}\n",
            server = cluster.socket_directory().display(),
            server_port = cluster.port(),
            own = directory.display(),
        );
        owner::write(Path::new(&ini), &text);
        guard.start(&["pgbouncer", &ini]);
        let pooler = Pooler { guard };
        pooler.ready().await;
        pooler
    }

    /// Returns the admin's URL of a database over the Unix socket; the console is database "pgbouncer".
    pub fn url(&self, database: &str) -> String {
        self.url_as("postgres", database)
    }

    /// Returns another role's URL; "monitor" may only read in the console.
    pub fn url_as(&self, user: &str, database: &str) -> String {
        socket_url(self.socket_directory(), PORT, user, database)
    }

    /// Returns the directory that the Unix socket is in.
    pub fn socket_directory(&self) -> &Path {
        self.guard.directory()
    }

    /// Returns the port, which only names the socket.
    pub fn port(&self) -> u16 {
        PORT
    }

    /// Opens a session of "postgres" through the pooler, which ends when the client is dropped.
    ///
    /// # Panics
    ///
    /// With PgBouncer's message on an error.
    pub async fn connect(&self, database: &str) -> Client {
        session::open(self.socket_directory(), PORT, "postgres", database)
            .await
            .unwrap_or_else(|error| panic!("{}", session::explain(&error)))
            .0
    }

    /// Runs a command of the console and returns its rows as text.
    ///
    /// # Panics
    ///
    /// With PgBouncer's message on an error.
    pub async fn console(&self, command: &str) -> Vec<Vec<Option<String>>> {
        session::once(self.socket_directory(), PORT, "pgbouncer", command).await
    }

    async fn ready(&self) {
        let deadline = Instant::now() + DEADLINE;
        while let Err(error) =
            session::try_once(self.socket_directory(), PORT, "pgbouncer", "SHOW VERSION").await
        {
            assert!(
                self.guard.alive() && Instant::now() < deadline,
                "PgBouncer does not accept connections: {}\n{}",
                session::explain(&error),
                self.guard.log_tail()
            );
            sleep(POLL).await;
        }
    }
}
