//! The ledger: clients commit numbered rows while backups are taken, WAL is received, and everything else is killed; whatever
//! point is restored to, every row that was acknowledged before is there, and none that began after.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use pawang_backup::drill::Scratch;
use pawang_backup::repository::BackupKind;
use pawang_backup::restore::{self, Options, Source, Target};
use pawang_backup::take::{Wanted, take};
use pawang_core::Lsn;
use pawang_testbed::{Client, Cluster, Version, until, versions};

use crate::receive::Victim;
use crate::stock;
use crate::take::request;
use crate::world::{World, asked, now};

/// How many targets are restored on each version; another number for a long run.
const TARGETS: usize = 6;
const TARGETS_VARIABLE: &str = "PAWANG_LEDGER_TARGETS";
const CLIENTS: usize = 3;
/// Rows that all clients commit together while one thing goes on.
const ROWS: usize = 60;
/// Each client makes a restore point after so many rows.
const ROWS_PER_POINT: i64 = 4;
/// The first version that sends increments.
const INCREMENTS: Version = Version(17);
const NOW: &str = "SELECT pg_current_wal_insert_lsn()::text, \
                   to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";

/// A moment as the server sees it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    lsn: Lsn,
    at: Timestamp,
}

/// Something that a client did, between two moments.
#[derive(Clone, Debug)]
struct Done {
    number: i64,
    xid: u32,
    before: Seen,
    after: Seen,
}

/// What clients did, as they were told.
#[derive(Default)]
struct Ledger {
    next: AtomicI64,
    rows: Mutex<Vec<Done>>,
    points: Mutex<Vec<Done>>,
}

async fn seen(client: &Client) -> Option<Seen> {
    let row = client.query_one(NOW, &[]).await.ok()?;
    Some(Seen {
        lsn: row.get::<_, &str>(0).parse().unwrap(),
        at: row.get::<_, &str>(1).parse().unwrap(),
    })
}

impl Ledger {
    /// Commits rows while it is wanted, or until the server is gone; what was not acknowledged is not in the ledger.
    async fn client(&self, client: Client, wanted: impl Fn() -> bool) {
        while wanted() {
            if self.turn(&client).await.is_none() {
                return;
            }
        }
    }

    async fn turn(&self, client: &Client) -> Option<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let insert = format!(
            "INSERT INTO ledger VALUES ({number}, repeat('x', 500)) RETURNING pg_current_xact_id()::text"
        );
        let before = seen(client).await?;
        let row = client.query_one(&insert, &[]).await.ok()?;
        let done = Done {
            number,
            xid: row.get::<_, &str>(0).parse().unwrap(),
            before,
            after: seen(client).await?,
        };
        self.rows.lock().unwrap().push(done);
        if number % ROWS_PER_POINT == 0 {
            let before = seen(client).await?;
            let point = format!("SELECT pg_create_restore_point('point-{number}')");
            client.batch_execute(&point).await.ok()?;
            let after = seen(client).await?;
            let point = Done {
                number,
                xid: 0,
                before,
                after,
            };
            self.points.lock().unwrap().push(point);
        }
        Some(())
    }

    /// Lets all clients commit while something goes on, until both are done.
    async fn during(&self, server: &Cluster, work: impl Future<Output = ()>) {
        let rows = self.len() + ROWS;
        let working = AtomicBool::new(true);
        let wanted = || working.load(Ordering::Relaxed) || self.len() < rows;
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(self.client(server.connect("postgres").await, wanted));
        }
        let work = async {
            Box::pin(work).await;
            working.store(false, Ordering::Relaxed);
        };
        tokio::join!(futures_util::future::join_all(clients), work);
    }

    fn len(&self) -> usize {
        self.rows.lock().unwrap().len()
    }

    fn rows(&self) -> Vec<Done> {
        self.rows.lock().unwrap().clone()
    }
}

/// Which rows have to be there, and which must not.
struct Expected {
    target: Target,
    present: Vec<i64>,
    absent: Vec<i64>,
}

impl Expected {
    fn of(
        target: Target,
        rows: &[Done],
        is: impl Fn(&Done) -> bool,
        not: impl Fn(&Done) -> bool,
    ) -> Expected {
        let numbers = |wanted: &dyn Fn(&Done) -> bool| {
            let rows = rows.iter().filter(|row| wanted(row));
            rows.map(|row| row.number).collect()
        };
        Expected {
            target,
            present: numbers(&is),
            absent: numbers(&not),
        }
    }

    /// A target at a row or at a restore point, of one of four kinds.
    fn at(kind: usize, row: &Done, point: &Done, rows: &[Done]) -> Expected {
        let after = row.after;
        match kind % 4 {
            0 => Expected::of(
                Target::Lsn(after.lsn),
                rows,
                |other| other.after.lsn <= after.lsn,
                |other| other.before.lsn >= after.lsn,
            ),
            1 => Expected::of(
                Target::Time(after.at),
                rows,
                |other| other.after.at <= after.at,
                |other| other.before.at > after.at,
            ),
            2 => Expected::of(
                Target::Xid(row.xid),
                rows,
                |other| other.number == row.number || other.after.lsn <= row.before.lsn,
                |other| other.before.lsn >= after.lsn,
            ),
            _ => Expected::of(
                Target::Name(format!("point-{}", point.number)),
                rows,
                |other| other.after.lsn <= point.before.lsn,
                |other| other.before.lsn >= point.after.lsn,
            ),
        }
    }

    async fn judge(&self, scratch: &Scratch, context: &str) {
        let count = async |numbers: &[i64]| {
            let list: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            let sql = format!(
                "SELECT count(*) FROM public.ledger WHERE number = ANY ('{{{}}}')",
                list.join(",")
            );
            usize::try_from(asked(scratch, &sql).await).unwrap()
        };
        let present = count(&self.present).await;
        let absent = count(&self.absent).await;
        assert_eq!(
            (present, absent),
            (self.present.len(), 0),
            "{}, {context}\n{}",
            self.target,
            scratch.log_tail()
        );
    }
}

struct Scene {
    world: World,
    standby: Cluster,
    spool: PathBuf,
    ledger: Ledger,
}

impl Scene {
    async fn new(version: Version) -> Scene {
        let summarize = [("summarize_wal", "on")];
        let more = if version >= INCREMENTS {
            &summarize[..]
        } else {
            &[]
        };
        let world = World::with(version, more).await;
        let create = "CREATE TABLE ledger (number bigint PRIMARY KEY, filler text)";
        world.many("postgres", &[create]).await;
        let standby = world.cluster.standby("second").await;
        let spool = world.cluster.folder("spool");
        Scene {
            world,
            standby,
            spool,
            ledger: Ledger::default(),
        }
    }

    /// Receives WAL from whichever is the primary, in a process of its own.
    fn receiver(&self) -> Victim {
        let url = format!(
            "host={},{} user=postgres dbname=postgres target_session_attrs=primary",
            self.world.cluster.socket_directory().display(),
            self.standby.socket_directory().display()
        );
        Victim::start(&url, &self.spool, &self.world.folder)
    }

    async fn backup(&self, server: &Cluster, kind: BackupKind) {
        let mut request = request(server, &self.world.repository);
        request.wanted = match kind {
            BackupKind::Full => Wanted::Full,
            BackupKind::Incremental => Wanted::Incremental,
        };
        Box::pin(take(request, &mut |_| {})).await.unwrap();
    }

    /// The story: everything is killed once, and clients go on.
    async fn play(&mut self) {
        let increments = self.world.cluster.version() >= INCREMENTS;
        let mut receiver = self.receiver();
        let full = self.backup(&self.world.cluster, BackupKind::Full);
        self.ledger.during(&self.world.cluster, full).await;
        self.ledger
            .during(&self.world.cluster, async {
                let turn = "SELECT pg_switch_wal(); CHECKPOINT";
                self.world.many("postgres", &[turn]).await;
            })
            .await;
        // The receiver is killed, and a backup is taken while it is away.
        drop(receiver);
        let kind = match increments {
            true => BackupKind::Incremental,
            false => BackupKind::Full,
        };
        let second = self.backup(&self.world.cluster, kind);
        self.ledger.during(&self.world.cluster, second).await;
        receiver = self.receiver();
        self.crash().await;
        drop(receiver);
        receiver = self.receiver();
        let third = self.backup(&self.world.cluster, BackupKind::Full);
        self.ledger.during(&self.world.cluster, third).await;
        self.fail_over().await;
        drop(receiver);
        let _receiver = self.receiver();
        self.ledger.during(&self.standby, async {}).await;
        let fourth = self.backup(&self.standby, BackupKind::Full);
        self.ledger.during(&self.standby, fourth).await;
        self.ledger.during(&self.standby, async {}).await;
        // A commit behind the last target, so that its time has passed.
        self.standby
            .sql("postgres", "CREATE TABLE the_end ()")
            .await;
        let end = self
            .position(&self.standby, "SELECT pg_current_wal_flush_lsn()")
            .await;
        until("all of it is stored", async || {
            let (repository, id) = (&self.world.repository, &self.world.id);
            let source = Source::read(repository, id).await.unwrap();
            let newest = source.coverage.timelines().max().unwrap();
            let reach = source.coverage.intervals(newest).last().unwrap().to;
            source.histories.len() == 1 && reach >= end
        })
        .await;
    }

    async fn position(&self, server: &Cluster, sql: &str) -> Lsn {
        let rows = server.sql("postgres", sql).await;
        rows[0][0].as_deref().unwrap().parse().unwrap()
    }

    /// The server loses its power while clients commit.
    async fn crash(&mut self) {
        let rows = self.ledger.len() + ROWS / 2;
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let client = self.world.cluster.connect("postgres").await;
            clients.push(self.ledger.client(client, || true));
        }
        let clients = futures_util::future::join_all(clients);
        let (ledger, cluster) = (&self.ledger, &mut self.world.cluster);
        let kill = async {
            until("some are committed", async || ledger.len() >= rows).await;
            cluster.kill();
        };
        tokio::join!(clients, kill);
        self.world.cluster.start_again().await;
        self.world.cluster.streaming_to("second").await;
    }

    /// The primary is lost for ever, and the standby, which has all that was acknowledged, takes its place.
    async fn fail_over(&mut self) {
        let flushed = "SELECT pg_current_wal_flush_lsn()";
        let end = self.position(&self.world.cluster, flushed).await;
        until("the standby has it", async || {
            let received = "SELECT pg_last_wal_receive_lsn()";
            self.position(&self.standby, received).await >= end
        })
        .await;
        self.world.cluster.kill();
        self.standby.sql("postgres", "SELECT pg_promote()").await;
    }

    /// Restores to a target into a scratch server that runs, by the script of the repository's page.
    async fn recovered(&self, name: &str, target: &Target) -> (Scratch, String) {
        let plan = self.world.plan(target.clone()).await;
        let script = self.world.cluster.socket_directory().join("get-wal");
        let wal = self.world.folder.join(self.world.id.wal());
        let mut scratch = Scratch::new(self.world.scratch(name)).await.unwrap();
        let options = Options {
            restore_command: format!("{} {} %f %p {}", script.display(), wal.display(), 1 << 20),
            ..self.world.options(&scratch.data())
        };
        restore::run(&self.world.repository, &plan, &options, now())
            .await
            .unwrap();
        let started = scratch.start(Duration::from_secs(60)).await;
        started.unwrap_or_else(|error| panic!("{target}\n{plan}\n{}", error.report()));
        (scratch, plan.to_string())
    }
}

fn targets() -> usize {
    let told = std::env::var(TARGETS_VARIABLE).ok();
    told.map_or(TARGETS, |told| told.parse().unwrap())
}

#[tokio::test]
async fn whatever_is_killed_nothing_acknowledged_is_missing() {
    for version in versions() {
        let mut scene = Scene::new(version).await;
        Box::pin(scene.play()).await;
        let script = scene.world.cluster.socket_directory().join("get-wal");
        stock::write(&script, stock::blocks(stock::SECTION)[3]);
        let first = scene
            .world
            .repository
            .backups(&scene.world.id)
            .await
            .unwrap()[0]
            .stop
            .lsn;
        let rows = scene.ledger.rows();
        let points = scene.ledger.points.lock().unwrap().clone();
        let reachable = |all: &[Done]| -> Vec<Done> {
            let all = all.iter().filter(|done| done.before.lsn > first);
            all.cloned().collect()
        };
        let (near_rows, near_points) = (reachable(&rows), reachable(&points));
        let mut used: HashMap<String, usize> = HashMap::new();
        // A fixed walk, so that a failure is seen again.
        let mut random = 0x9E37_79B9_usize;
        for turn in 0..targets() {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let chosen = random >> 33;
            let row = &near_rows[chosen % near_rows.len()];
            let point = &near_points[chosen % near_points.len()];
            let expected = Expected::at(turn, row, point, &rows);
            let (scratch, plan) = scene
                .recovered(&format!("turn-{turn}"), &expected.target)
                .await;
            let context = format!("turn {turn} on {version}\n{plan}");
            expected.judge(&scratch, &context).await;
            let backup = plan
                .lines()
                .find(|line| line.starts_with("backup"))
                .unwrap();
            *used.entry(backup.to_owned()).or_default() += 1;
            scratch.remove().await;
        }
        assert!(used.len() > 1, "several backups are used: {used:?}");
    }
}
