//! A random tangle of sessions that wait for each other's locks, and what became of each of them.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

use crate::cluster::Cluster;
use crate::session;
use crate::until::until;

/// The database of the tangle's tables.
const DATABASE: &str = "tangle";
/// The role of its sessions: no superuser, since those are spared.
const USER: &str = "tangled";
const TABLES: [&str; 3] = ["a", "b", "c"];
const ROWS: u64 = 4;
const KEYS: u64 = 3;
const SETUP: [&str; 2] = [
    "CREATE ROLE tangled LOGIN",
    "CREATE DATABASE tangle OWNER tangled",
];

/// Random numbers by a seed, the same ones each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    /// Returns a statement that needs a lock.
    fn lock(&mut self) -> String {
        let table = TABLES[usize::try_from(self.roll(3)).unwrap_or(0)];
        let row = 1 + self.roll(ROWS);
        match self.roll(8) {
            0..=2 => format!("UPDATE {table} SET n = n + 1 WHERE id = {row}"),
            3 => format!("LOCK TABLE {table} IN SHARE MODE"),
            4 => format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"),
            5 => format!("ALTER TABLE {table} ALTER COLUMN n SET STATISTICS {row}"),
            6 => format!("SELECT count(*) FROM {table}"),
            _ => format!("SELECT pg_advisory_xact_lock({})", 1 + self.roll(KEYS)),
        }
    }
}

/// A session of the tangle.
struct Member {
    pid: i32,
    /// The end of what it runs; `None` for one that is idle.
    work: Option<JoinHandle<Result<(), Error>>>,
    client: std::sync::Arc<Client>,
    holder: bool,
}

/// What became of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It did what it wanted, or still can.
    Well,
    /// The server ended its transaction to break a deadlock.
    Deadlock,
    /// Its statement was cancelled by somebody.
    Cancelled,
    /// It was terminated by somebody.
    Terminated,
}

/// One session of a tangle, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tangled {
    /// Its process.
    pub pid: i32,
    /// Whether it made others wait and waited for nobody when the tangle was made.
    pub root: bool,
    /// What became of it.
    pub fate: Fate,
}

/// Sessions that wait for each other.
pub struct Tangle {
    members: Vec<Member>,
    roots: BTreeSet<i32>,
    waiting: usize,
}

impl Tangle {
    /// Makes role, database and tables; once for each cluster.
    pub async fn prepare(cluster: &Cluster) {
        for statement in SETUP {
            cluster.sql("postgres", statement).await;
        }
        for table in TABLES {
            let create = format!(
                "CREATE TABLE {table} (id int PRIMARY KEY, n int); INSERT INTO {table} SELECT g, 0 FROM generate_series(1, {ROWS}) AS g; \
                 ALTER TABLE {table} OWNER TO tangled"
            );
            cluster.sql(DATABASE, &create).await;
        }
    }

    /// Makes a tangle: some sessions that hold locks, idle or at work, and others that wait for them and for each other.
    pub async fn make(cluster: &Cluster, seed: u64) -> Tangle {
        let mut dice = Dice(seed);
        let mut members = Vec::new();
        for _ in 0..1 + dice.roll(3) {
            members.push(holder(cluster, &mut dice).await);
        }
        for _ in 0..2 + dice.roll(7) {
            members.push(waiter(cluster, &mut dice).await);
        }
        let mut waits = Waits::new();
        until("nobody goes on any more by himself", async || {
            waits = blocked(cluster).await;
            stands_still(&members, &waits)
        })
        .await;
        let blockers: BTreeSet<i32> = waits.values().flatten().copied().collect();
        let waiting: BTreeSet<i32> = waits.into_keys().collect();
        Tangle {
            roots: blockers.difference(&waiting).copied().collect(),
            waiting: waiting.len(),
            members,
        }
    }

    /// Returns how many sessions make others wait and wait for nobody.
    pub fn roots(&self) -> usize {
        self.roots.len()
    }

    /// Returns how many sessions wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Waits until everybody who waited has gone on, and returns what became of each session.
    ///
    /// # Panics
    ///
    /// When somebody still waits after the deadline.
    pub async fn fates(self, cluster: &Cluster) -> Vec<Tangled> {
        let mut fates = Vec::new();
        for member in self.members {
            let root = self.roots.contains(&member.pid);
            let result = match member.work {
                // A holder at work that nobody touched sleeps on; what it answers is no matter.
                Some(work) if member.holder && !ended(cluster, member.pid, &work).await => {
                    work.abort();
                    Ok(())
                }
                Some(work) => {
                    let mut work = work;
                    tokio::time::timeout(crate::until::DEADLINE, &mut work)
                        .await
                        .expect("everybody who waited goes on")
                        .expect("the work of a session does not panic")
                }
                None => member.client.batch_execute("SELECT 1").await,
            };
            fates.push(Tangled {
                pid: member.pid,
                root,
                fate: fate(result.as_ref().err(), member.client.is_closed()),
            });
        }
        // A session whose client has left sleeps on, with its locks.
        let end =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'tangled'";
        until("the sessions of the tangle have ended", async || {
            cluster.sql("postgres", end).await.is_empty()
        })
        .await;
        fates
    }
}

/// Whom each session waits for that waits.
type Waits = BTreeMap<i32, BTreeSet<i32>>;

async fn blocked(cluster: &Cluster) -> Waits {
    let sql = "SELECT a.pid, b.pid FROM pg_stat_activity AS a, unnest(pg_blocking_pids(a.pid)) AS b (pid) WHERE a.wait_event_type = 'Lock'";
    let pid = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<i32>().ok());
    let mut waits = Waits::new();
    for row in cluster.sql("postgres", sql).await {
        if let (Some(waiter), Some(blocker)) = (pid(&row[0]), pid(&row[1])) {
            waits.entry(waiter).or_default().insert(blocker);
        }
    }
    waits
}

/// Tells whether everybody at work waits, and nobody for himself by way of others: such a circle is the server's to break.
fn stands_still(members: &[Member], waits: &Waits) -> bool {
    let at_work = |member: &&Member| {
        let work = member.work.as_ref();
        !member.holder && work.is_some_and(|work| !work.is_finished())
    };
    let mut workers = members.iter().filter(at_work);
    if !workers.all(|member| waits.contains_key(&member.pid)) {
        return false;
    }
    let mut waits = waits.clone();
    // Whoever waits for nobody who waits is no part of a circle.
    loop {
        let ends = |(waiter, blockers): (&i32, &BTreeSet<i32>)| {
            let free = !blockers.iter().any(|blocker| waits.contains_key(blocker));
            free.then_some(*waiter)
        };
        let ends: Vec<i32> = waits.iter().filter_map(ends).collect();
        if ends.is_empty() {
            return waits.is_empty();
        }
        waits.retain(|waiter, _| !ends.contains(waiter));
    }
}

/// Waits until a holder's work has ended or its backend is seen to sleep on; returns whether the work has ended.
async fn ended(cluster: &Cluster, pid: i32, work: &JoinHandle<Result<(), Error>>) -> bool {
    let asleep =
        format!("SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'PgSleep'");
    until(
        "the holder sleeps on, or has heard of its end",
        async || work.is_finished() || !cluster.sql("postgres", &asleep).await.is_empty(),
    )
    .await;
    work.is_finished()
}

fn fate(error: Option<&Error>, closed: bool) -> Fate {
    match error {
        None => Fate::Well,
        Some(error) => match error.code() {
            Some(code) if *code == SqlState::T_R_DEADLOCK_DETECTED => Fate::Deadlock,
            Some(code) if *code == SqlState::QUERY_CANCELED => Fate::Cancelled,
            Some(code) if *code == SqlState::ADMIN_SHUTDOWN => Fate::Terminated,
            None if closed => Fate::Terminated,
            _ => panic!("{}", session::explain(error)),
        },
    }
}

async fn open(cluster: &Cluster) -> (Client, i32) {
    let client = cluster.connect_as(USER, DATABASE).await;
    let row = client.query_one("SELECT pg_backend_pid()", &[]).await;
    let pid = row.map_or_else(
        |error| panic!("{}", session::explain(&error)),
        |row| row.get(0),
    );
    (client, pid)
}

/// Takes a lock only if it is free.
async fn take(client: &Client, lock: &str) {
    let sql = format!("SAVEPOINT taken; SET LOCAL lock_timeout = '30ms'; {lock}");
    if client.batch_execute(&sql).await.is_err() {
        client
            .batch_execute("ROLLBACK TO taken")
            .await
            .unwrap_or_else(|error| panic!("{}", session::explain(&error)));
    }
    client
        .batch_execute("SET LOCAL lock_timeout = 0")
        .await
        .unwrap_or_else(|error| panic!("{}", session::explain(&error)));
}

/// Opens a session that holds locks and waits for nobody: idle in its transaction, at work, or idle with a lock of the session.
async fn holder(cluster: &Cluster, dice: &mut Dice) -> Member {
    let (client, pid) = open(cluster).await;
    let of_session = dice.roll(5) == 0;
    if of_session {
        let lock = format!("SELECT pg_try_advisory_lock({})", 1 + dice.roll(KEYS));
        client.batch_execute(&lock).await.expect("it is tried only");
    } else {
        client.batch_execute("BEGIN").await.expect("it is new");
        for _ in 0..1 + dice.roll(3) {
            take(&client, &dice.lock()).await;
        }
    }
    let client = std::sync::Arc::new(client);
    let works = dice.roll(3) == 0;
    let work = works.then(|| {
        let client = std::sync::Arc::clone(&client);
        tokio::spawn(async move { client.batch_execute("SELECT pg_sleep(600)").await })
    });
    if works {
        let asleep =
            format!("SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'PgSleep'");
        until("the holder is at work", async || {
            !cluster.sql("postgres", &asleep).await.is_empty()
        })
        .await;
    }
    Member {
        pid,
        work,
        client,
        holder: true,
    }
}

/// Opens a session that may hold a lock, then wants another, and commits as soon as it has it.
async fn waiter(cluster: &Cluster, dice: &mut Dice) -> Member {
    let (client, pid) = open(cluster).await;
    client.batch_execute("BEGIN").await.expect("it is new");
    if dice.roll(2) == 0 {
        take(&client, &dice.lock()).await;
    }
    let wanted = dice.lock();
    let client = std::sync::Arc::new(client);
    let worker = std::sync::Arc::clone(&client);
    let work = tokio::spawn(async move {
        let result = worker.batch_execute(&wanted).await;
        // After an error the transaction is over as well.
        let _ended = worker.batch_execute("COMMIT").await;
        result
    });
    let waits =
        format!("SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND wait_event_type = 'Lock'");
    until("it waits, or has what it wanted", async || {
        work.is_finished() || !cluster.sql("postgres", &waits).await.is_empty()
    })
    .await;
    Member {
        pid,
        work: Some(work),
        client,
        holder: false,
    }
}
