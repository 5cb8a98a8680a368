//! The WAL receiver against real servers: nothing that the server was told is ever missing.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use pawang_backup::wal::receive::{Ended, Progress, ReceiveOptions, SPOOL_BYTES_MAX, receive};
use pawang_backup::wal::{Listing, SegmentName, Timeline, gap};
use pawang_backup::{ClusterId, Error, Repository};
use pawang_core::{Kind, Lsn};
use pawang_postgres::{Environment, Target};
use pawang_testbed::{Cluster, Setup, Version, until, versions};
use tokio::sync::watch;

/// The test bed's clusters have small segments.
const SEGMENT_BYTES: u32 = 1 << 20;
const FLUSHED: &str = "SELECT pg_current_wal_flush_lsn()";
/// Names the server, spool and repository of the process that is killed.
const VICTIM: &str = "PAWANG_TEST_RECEIVER";

/// A place with a spool and a repository.
struct Place {
    folder: tempfile::TempDir,
    repository: Repository,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let repository = folder.path().join("repository");
        std::fs::create_dir(&repository).unwrap();
        Place {
            repository: Repository::directory(&repository).unwrap(),
            folder,
        }
    }

    fn spool(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    fn options(&self, url: &str) -> ReceiveOptions {
        options(url, self.repository.clone(), self.spool())
    }
}

fn options(url: &str, repository: Repository, spool: PathBuf) -> ReceiveOptions {
    let environment = Environment {
        os_user: "nobody".to_owned(),
        ..Environment::default()
    };
    ReceiveOptions {
        target: Target::parse(url, &environment).unwrap(),
        repositories: vec![repository],
        slot: Some("pawang".to_owned()),
        spool,
        spool_bytes_max: SPOOL_BYTES_MAX,
        live_every: Some(Duration::from_millis(200)),
        allow_standby: false,
        cluster: None,
        clock: Timestamp::default,
    }
}

/// What a receiver told.
#[derive(Default)]
struct Told(Mutex<Vec<Progress>>);

impl Told {
    fn any(&self, wanted: impl Fn(&Progress) -> bool) -> bool {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.iter().any(wanted)
    }

    fn flushed(&self, position: Lsn) -> bool {
        self.any(|progress| matches!(progress, Progress::Flushed { position: to, .. } if *to >= position))
    }

    fn stored(&self) -> usize {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.iter()
            .filter(|progress| matches!(progress, Progress::Stored { .. }))
            .count()
    }
}

/// Runs a receiver while `work` goes on, and stops it then.
async fn during(
    options: &ReceiveOptions,
    work: impl AsyncFnOnce(&Told),
) -> (Result<Ended, Error>, Vec<Progress>) {
    let told = &Told::default();
    let (stop, stopped) = watch::channel(false);
    let observe = |progress: Progress| told.0.lock().unwrap().push(progress);
    let mut receiving = pin!(receive(options, stopped, &observe));
    let ended = tokio::select! {
        ended = &mut receiving => ended,
        () = work(told) => {
            stop.send_replace(true);
            receiving.await
        }
    };
    let told = std::mem::take(&mut *told.0.lock().unwrap());
    (ended, told)
}

async fn position(cluster: &Cluster, sql: &str) -> Lsn {
    let rows = cluster.sql("postgres", sql).await;
    rows[0][0].as_deref().unwrap().parse().unwrap()
}

async fn write(cluster: &Cluster) -> Lsn {
    let sql = "CREATE TABLE IF NOT EXISTS t (i int, pad text); INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 10000) AS i";
    cluster.sql("postgres", sql).await;
    position(cluster, FLUSHED).await
}

fn cluster_id(progress: &[Progress]) -> ClusterId {
    let started = progress.iter().find_map(|progress| match progress {
        Progress::Started { cluster, .. } => Some(*cluster),
        _ => None,
    });
    started.expect("it has started")
}

/// Returns everything that is kept of each segment: from the repository, then from the spool.
async fn kept(place: &Place, cluster: &ClusterId) -> BTreeMap<SegmentName, Vec<u8>> {
    let mut kept: BTreeMap<SegmentName, Vec<u8>> = BTreeMap::new();
    let mut add = |name: SegmentName, from: usize, bytes: &[u8]| {
        let segment = kept.entry(name).or_default();
        if segment.len() < from + bytes.len() && from <= segment.len() {
            segment.truncate(from);
            segment.extend_from_slice(bytes);
        }
    };
    let listing = Listing::read(&place.repository, cluster).await.unwrap();
    let read = async |path: String| {
        let frame = place.repository.read(&path).await.unwrap().unwrap();
        let mut bytes = Vec::new();
        zstd::Decoder::new(&frame[..])
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        bytes
    };
    for name in listing.segments.keys() {
        add(*name, 0, &read(cluster.segment(name, SEGMENT_BYTES)).await);
    }
    for (name, pieces) in &listing.pieces {
        for piece in pieces {
            let bytes = read(cluster.live(name, piece.from, piece.to)).await;
            assert_eq!(bytes.len(), (piece.to - piece.from) as usize);
            add(*name, piece.from as usize, &bytes);
        }
    }
    let Ok(folder) = std::fs::read_dir(place.spool().join(cluster.to_string())) else {
        return kept;
    };
    for entry in folder {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if let Ok(name) = name.trim_end_matches(".partial").parse() {
            add(name, 0, &std::fs::read(&path).unwrap());
        }
    }
    kept
}

/// Asserts that all WAL between two positions is kept, and is the server's own.
async fn is_kept(place: &Place, server: &Cluster, cluster: &ClusterId, from: Lsn, to: Lsn) {
    let kept = kept(place, cluster).await;
    let mut name = SegmentName::holding(Timeline(1), from, SEGMENT_BYTES);
    while name.start(SEGMENT_BYTES) < to {
        let path = server
            .data_directory()
            .join("pg_wal")
            .join(name.to_string());
        let own = std::fs::read(&path).unwrap();
        let wanted = to
            .bytes_since(name.start(SEGMENT_BYTES))
            .min(u64::from(SEGMENT_BYTES));
        let wanted = usize::try_from(wanted).unwrap();
        let here = kept.get(&name).map(Vec::as_slice).unwrap_or_default();
        assert!(
            here.len() >= wanted,
            "{name}: {} of {wanted} bytes are kept",
            here.len()
        );
        assert!(
            here[..wanted] == own[..wanted],
            "{name} is not what the server has"
        );
        name = name.next(SEGMENT_BYTES);
    }
}

async fn start(settings: &[(&str, &str)]) -> Vec<Cluster> {
    let mut clusters = Vec::new();
    for version in versions() {
        let setup = Setup {
            version: Some(version),
            settings,
            ..Setup::default()
        };
        clusters.push(Cluster::start(&setup).await);
    }
    clusters
}

#[tokio::test]
async fn wal_is_durable_here_and_soon_there() {
    for server in start(&[("wal_keep_size", "1GB")]).await {
        let place = Place::new();
        let options = place.options(&server.url("postgres"));
        let mut end = Lsn(0);
        let (ended, progress) = during(&options, async |told: &Told| {
            until("it streams", async || told.any(|p| matches!(p, Progress::Started { .. }))).await;
            write(&server).await;
            end = write(&server).await;
            until("all is durable", async || told.flushed(end)).await;
            let confirmed = "SELECT flush_lsn FROM pg_stat_replication WHERE application_name = 'pawang:wal stream'";
            until("the server knows", async || position(&server, confirmed).await >= end).await;
            until("a piece is stored", async || {
                told.any(|p| matches!(p, Progress::Live { position } if *position >= end))
            })
            .await;
        })
        .await;
        let ended = ended.unwrap();
        assert!(ended.flushed >= end && ended.waiting == 0, "{ended:?}");
        let cluster = cluster_id(&progress);
        let Some(Progress::Started { position: from, .. }) = progress.first() else {
            panic!("it tells where it begins first: {:?}", progress.first());
        };
        is_kept(&place, &server, &cluster, *from, end).await;
        // Even without the spool: everything is in the repository, once.
        std::fs::remove_dir_all(place.spool()).unwrap();
        is_kept(&place, &server, &cluster, *from, end).await;
        let listing = Listing::read(&place.repository, &cluster).await.unwrap();
        assert!(listing.segments.len() >= 2);
        assert!(
            listing
                .pieces
                .keys()
                .all(|name| !listing.segments.contains_key(name))
        );

        // Another run goes on without a spool.
        let (ended, progress) = during(&options, async |told: &Told| {
            end = write(&server).await;
            until("all is durable", async || told.flushed(end)).await;
        })
        .await;
        assert!(ended.unwrap().flushed >= end);
        assert!(
            !progress
                .iter()
                .any(|p| matches!(p, Progress::Gap(_) | Progress::Diverged { .. }))
        );
        is_kept(&place, &server, &cluster, *from, end).await;
    }
}

#[tokio::test]
async fn a_failover_is_followed() {
    for server in start(&[("wal_keep_size", "1GB")]).await {
        let mut server = server;
        let standby = server.standby("second").await;
        let place = Place::new();
        let both = format!(
            "host={},{} user=postgres dbname=postgres target_session_attrs=primary",
            server.socket_directory().display(),
            standby.socket_directory().display()
        );
        let options = place.options(&both);
        let (ended, progress) = during(&options, async |told: &Told| {
            let end = write(&server).await;
            until("all is durable", async || told.flushed(end)).await;
            let replayed = "SELECT pg_last_wal_receive_lsn()";
            until("the standby has it", async || {
                position(&standby, replayed).await >= end
            })
            .await;
            server.kill();
            std::future::pending().await
        })
        .await;
        let error = ended.unwrap_err();
        assert!(matches!(error, Error::Server(_)), "{error}");
        let cluster = cluster_id(&progress);
        standby.sql("postgres", "SELECT pg_promote()").await;
        let mut end = Lsn(0);
        let (ended, progress) = during(&options, async |told: &Told| {
            end = write(&standby).await;
            until("all is durable", async || told.flushed(end)).await;
        })
        .await;
        let ended = ended.unwrap();
        assert_eq!(ended.timeline, Timeline(2), "{progress:?}");
        assert!(
            !progress
                .iter()
                .any(|p| matches!(p, Progress::Gap(_) | Progress::Diverged { .. }))
        );
        let listing = Listing::read(&place.repository, &cluster).await.unwrap();
        assert!(listing.histories.contains(&Timeline(2)));
        let file = place
            .repository
            .read(&cluster.history(Timeline(2)))
            .await
            .unwrap()
            .unwrap();
        let text = String::from_utf8_lossy(&file);
        let history = pawang_backup::wal::History::parse(Timeline(2), &text).unwrap();
        let coverage = listing.coverage(SEGMENT_BYTES);
        let from = coverage.intervals(Timeline(1))[0].from;
        assert_eq!(coverage.holes(from, end, &history), [], "{coverage:?}");

        // The old primary comes back and is none any more.
        server.start_again().await;
        let old = place.options(&server.url("postgres"));
        let (ended, _) = during(&old, async |_| ()).await;
        let report = ended.unwrap_err().report();
        assert_eq!(report.kind, Kind::Refused, "{report}");
        assert!(report.primary.contains("timeline"), "{report}");
    }
}

#[tokio::test]
async fn two_promotions_while_it_was_away() {
    for server in start(&[("wal_keep_size", "1GB")]).await {
        let mut first = server;
        let mut second = first.standby("second").await;
        let third = second.standby("third").await;
        let place = Place::new();
        let options = place.options(&first.url("postgres"));
        let mut held = Lsn(0);
        let (ended, progress) = during(&options, async |told: &Told| {
            held = write(&first).await;
            until("all is durable", async || told.flushed(held)).await;
        })
        .await;
        ended.unwrap();
        let cluster = cluster_id(&progress);
        let received = "SELECT pg_last_wal_receive_lsn()";
        until("the standby has it", async || {
            position(&third, received).await >= held
        })
        .await;
        first.kill();
        second.sql("postgres", "SELECT pg_promote()").await;
        let end = write(&second).await;
        until("the standby follows", async || {
            position(&third, received).await >= end
        })
        .await;
        second.kill();
        third.sql("postgres", "SELECT pg_promote()").await;
        let mut end = Lsn(0);
        let options = place.options(&third.url("postgres"));
        let (ended, progress) = during(&options, async |told: &Told| {
            end = write(&third).await;
            until("all is durable", async || told.flushed(end)).await;
        })
        .await;
        assert_eq!(ended.unwrap().timeline, Timeline(3), "{progress:?}");
        let listing = Listing::read(&place.repository, &cluster).await.unwrap();
        let path = cluster.history(Timeline(3));
        let file = place.repository.read(&path).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&file);
        let history = pawang_backup::wal::History::parse(Timeline(3), &text).unwrap();
        assert_eq!(history.switches.len(), 2);
        let coverage = listing.coverage(SEGMENT_BYTES);
        let from = coverage.intervals(Timeline(1))[0].from;
        assert_eq!(coverage.holes(from, end, &history), [], "{coverage:?}");
    }
}

/// Receives until a table that is written meanwhile is durable; returns where that ends, and what was told.
async fn received(options: &ReceiveOptions, server: &Cluster) -> (Lsn, Vec<Progress>) {
    let mut end = Lsn(0);
    let (ended, progress) = during(options, async |told: &Told| {
        until("it streams", async || {
            told.any(|p| matches!(p, Progress::Started { .. }))
        })
        .await;
        end = write(server).await;
        until("all is durable", async || told.flushed(end)).await;
    })
    .await;
    ended.unwrap();
    (end, progress)
}

#[tokio::test]
async fn a_hole_is_written_down() {
    for server in start(&[]).await {
        let place = Place::new();
        let options = place.options(&server.url("postgres"));
        let (before, progress) = received(&options, &server).await;
        let cluster = cluster_id(&progress);
        server
            .sql("postgres", "SELECT pg_drop_replication_slot('pawang')")
            .await;
        for _ in 0..12 {
            let turn = "CREATE TABLE gone (); DROP TABLE gone; SELECT pg_switch_wal(); CHECKPOINT";
            server.sql("postgres", turn).await;
        }
        let (end, progress) = received(&options, &server).await;
        let told = progress.iter().find_map(|progress| match progress {
            Progress::Gap(gap) => Some(gap.clone()),
            _ => None,
        });
        let told = told.expect("the hole is told");
        assert!(
            told.from >= before && told.to > told.from && told.to <= end,
            "{told:?}"
        );
        assert!(told.cause.contains("removed"), "{told:?}");
        let recorded = gap::gaps(&place.repository, &cluster).await.unwrap();
        assert_eq!(recorded, std::slice::from_ref(&told));
        // The record is of what is missing, no more and no less.
        let listing = Listing::read(&place.repository, &cluster).await.unwrap();
        let history = pawang_backup::wal::History::without_ancestors(Timeline(1));
        let coverage = listing.coverage(SEGMENT_BYTES);
        let from = coverage.intervals(Timeline(1))[0].from;
        let holes = coverage.holes(from, end, &history);
        assert_eq!(holes.len(), 1, "{holes:?}");
        assert_eq!((holes[0].from, holes[0].to), (told.from, told.to));
    }
}

#[tokio::test]
async fn a_slot_that_the_server_gave_up_is_a_hole() {
    for server in start(&[]).await {
        let place = Place::new();
        let options = place.options(&server.url("postgres"));
        let (before, progress) = received(&options, &server).await;
        let cluster = cluster_id(&progress);
        // Because it keeps too much or, where the server can say so, because nobody came for too long.
        let (setting, value) = match server.version() >= Version(18) {
            true => ("idle_replication_slot_timeout", "1s"),
            false => ("max_slot_wal_keep_size", "1MB"),
        };
        server.set(setting, Some(value)).await;
        until("the slot is lost", async || {
            let turn = "CREATE TABLE gone (); DROP TABLE gone; SELECT pg_switch_wal(); CHECKPOINT";
            server.sql("postgres", turn).await;
            let status = "SELECT wal_status FROM pg_replication_slots";
            server.sql("postgres", status).await[0][0].as_deref() == Some("lost")
        })
        .await;
        let (end, progress) = received(&options, &server).await;
        let told = progress.iter().any(|p| matches!(p, Progress::Gap(_)));
        assert!(told, "{progress:?}");
        let recorded = gap::gaps(&place.repository, &cluster).await.unwrap();
        assert_eq!(recorded.len(), 1);
        assert!(recorded[0].from >= before && recorded[0].to <= end);
    }
}

#[tokio::test]
async fn who_must_not_be_received_from() {
    let server = Cluster::start(&Setup::default()).await;
    let place = Place::new();
    let options = place.options(&server.url("postgres"));
    let (ended, progress) = during(&options, async |told: &Told| {
        let end = write(&server).await;
        until("all is durable", async || told.flushed(end)).await;
        // A second one would confirm what the first one has not written.
        let error = receive(&options, watch::channel(false).1, &|_| ())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("another receiver"), "{error}");
    })
    .await;
    ended.unwrap();
    let refused = async |options: &ReceiveOptions| {
        let report = during(options, async |_| ()).await.0.unwrap_err().report();
        assert_eq!(report.kind, Kind::Refused, "{report}");
        assert!(report.hint.is_some(), "{report}");
        report.primary
    };
    // Clusters of one version are copies of each other in the test bed.
    let other = Setup {
        version: versions().last().copied(),
        ..Setup::default()
    };
    let other = Cluster::start(&other).await;
    let primary = refused(&place.options(&other.url("postgres"))).await;
    assert!(primary.contains("holds WAL of cluster"), "{primary}");
    let mut expected = Place::new().options(&other.url("postgres"));
    expected.cluster = Some(cluster_id(&progress));
    let primary = refused(&expected).await;
    assert!(primary.contains("is expected"), "{primary}");
    let mut nowhere = Place::new().options(&server.url("postgres"));
    nowhere.repositories.clear();
    let primary = refused(&nowhere).await;
    assert!(primary.contains("no repository"), "{primary}");
    let standby = server.standby("second").await;
    let primary = refused(&place.options(&standby.url("postgres"))).await;
    assert!(primary.contains("is a standby"), "{primary}");
    let mut allowed = Place::new().options(&standby.url("postgres"));
    allowed.allow_standby = true;
    let (ended, _) = during(&allowed, async |told: &Told| {
        until("it streams", async || {
            told.any(|p| matches!(p, Progress::Started { .. }))
        })
        .await;
        let end = write(&server).await;
        until("all is durable", async || told.flushed(end)).await;
    })
    .await;
    ended.unwrap();
}

#[tokio::test]
async fn another_story_and_a_repository_that_is_away() {
    let server = Cluster::start(&Setup::default()).await;
    let place = Place::new();
    let mut options = place.options(&server.url("postgres"));
    options.live_every = None;
    let (ended, progress) = during(&options, async |told: &Told| {
        let end = write(&server).await;
        until("all is durable", async || told.flushed(end)).await;
    })
    .await;
    ended.unwrap();
    let folder = place.spool().join(cluster_id(&progress).to_string());
    let partial = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let partial = partial
        .filter(|path| path.extension().is_some())
        .last()
        .unwrap();
    let mut bytes = std::fs::read(&partial).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 0xff;
    std::fs::write(&partial, &bytes).unwrap();
    let repository = place.folder.path().join("repository");
    let away = place.folder.path().join("away");
    let (ended, progress) = during(&options, async |told: &Told| {
        until("it streams", async || {
            told.any(|p| matches!(p, Progress::Started { .. }))
        })
        .await;
        std::fs::rename(&repository, &away).unwrap();
        std::fs::write(&repository, "not a folder").unwrap();
        let end = write(&server).await;
        until("it complains", async || {
            told.any(|p| matches!(p, Progress::Trouble { .. }))
        })
        .await;
        until("it goes on", async || told.flushed(end)).await;
        std::fs::remove_file(&repository).unwrap();
        std::fs::rename(&away, &repository).unwrap();
        let stored = told.stored();
        until("it stores what waited", async || told.stored() > stored).await;
    })
    .await;
    ended.unwrap();
    let kept = progress.iter().find_map(|progress| match progress {
        Progress::Diverged { kept, .. } => Some(kept.clone()),
        _ => None,
    });
    assert_eq!(
        std::fs::read(kept.expect("the difference is told")).unwrap(),
        bytes
    );
}

/// Returns how many bytes of WAL are in the spool.
fn spooled(place: &Place) -> u64 {
    let folders = std::fs::read_dir(place.spool()).into_iter().flatten();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    // One may be on its way into the repository, and gone.
    files
        .filter_map(|file| file.unwrap().metadata().ok())
        .map(|found| found.len())
        .sum()
}

#[tokio::test]
async fn the_spool_has_a_bound_and_the_server_keeps_the_rest() {
    const BOUND: u64 = 3 * SEGMENT_BYTES as u64;
    /// The segment that grows, and what may come at once.
    const MORE: u64 = SEGMENT_BYTES as u64 + (4 << 20);
    let server = Cluster::start(&Setup {
        settings: &[("wal_keep_size", "1GB")],
        ..Setup::default()
    })
    .await;
    let place = Place::new();
    let mut options = place.options(&server.url("postgres"));
    options.spool_bytes_max = BOUND;
    let from = position(&server, FLUSHED).await;
    let repository = place.folder.path().join("repository");
    let away = place.folder.path().join("away");
    let mut end = Lsn(0);
    let (ended, progress) = during(&options, async |told: &Told| {
        until("it streams", async || {
            told.any(|p| matches!(p, Progress::Started { .. }))
        })
        .await;
        std::fs::rename(&repository, &away).unwrap();
        std::fs::write(&repository, "not a folder").unwrap();
        for _ in 0..20 {
            end = write(&server).await;
            assert!(spooled(&place) <= BOUND + MORE, "{}", spooled(&place));
        }
        assert!(end.bytes_since(from) > 2 * (BOUND + MORE));
        until("the spool is full", async || spooled(&place) >= BOUND).await;
        let kept = "SELECT (flush_lsn < pg_current_wal_flush_lsn())::text, wal_status FROM pg_stat_replication, pg_replication_slots";
        let rows = server.sql("postgres", kept).await;
        assert_eq!(rows[0][0].as_deref(), Some("true"));
        assert!(!told.flushed(end) && spooled(&place) <= BOUND + MORE);
        std::fs::remove_file(&repository).unwrap();
        std::fs::rename(&away, &repository).unwrap();
        until("all of it is durable", async || told.flushed(end)).await;
    })
    .await;
    ended.unwrap();
    let wrong = |p: &Progress| matches!(p, Progress::Gap(_) | Progress::Diverged { .. });
    assert!(!progress.iter().any(wrong), "{progress:?}");
    is_kept(&place, &server, &cluster_id(&progress), from, end).await;
}

/// The process that is killed: a receiver until then; nothing when tests run.
#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "the test that starts it tells it where to work"
)]
async fn victim() {
    let Ok(place) = std::env::var(VICTIM) else {
        return;
    };
    let [url, spool, repository]: [&str; 3] =
        place.split('\n').collect::<Vec<_>>().try_into().unwrap();
    let repository = Repository::directory(Path::new(repository)).unwrap();
    let options = options(url, repository, PathBuf::from(spool));
    let (_stop, stopped) = watch::channel(false);
    receive(&options, stopped, &|_| ()).await.unwrap();
}

pub(crate) struct Victim(Child);

impl Victim {
    #[expect(
        clippy::disallowed_methods,
        reason = "a receiver in a process of its own, to be killed"
    )]
    pub(crate) fn start(url: &str, spool: &Path, repository: &Path) -> Victim {
        let told = [
            url.to_owned(),
            spool.display().to_string(),
            repository.display().to_string(),
        ];
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["receive::victim", "--exact", "--nocapture"])
            .env(VICTIM, told.join("\n"))
            .spawn()
            .unwrap();
        Victim(child)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // It may have lost its server, and be over.
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

/// Invariant I2: whatever the server saw confirmed is kept, byte for byte, whenever the receiver is killed.
#[tokio::test]
async fn what_was_confirmed_survives_a_kill() {
    const CONFIRMED: &str = "SELECT coalesce(max(flush_lsn), '0/0') FROM pg_stat_replication WHERE application_name = 'pawang:wal stream'";
    for server in start(&[("wal_keep_size", "1GB")]).await {
        let place = Place::new();
        let from = position(&server, "SELECT redo_lsn FROM pg_control_checkpoint()").await;
        let identifier = server
            .sql(
                "postgres",
                "SELECT system_identifier FROM pg_control_system()",
            )
            .await;
        let cluster = ClusterId {
            system_identifier: identifier[0][0].as_deref().unwrap().parse().unwrap(),
            major: server.version().0,
        };
        let mut confirmed = from;
        server
            .sql("postgres", "CREATE TABLE t (i int, pad text)")
            .await;
        for round in 0..6u64 {
            let folder = place.folder.path().join("repository");
            let victim = Victim::start(&server.url("postgres"), &place.spool(), &folder);
            let mut samples = 0;
            // Kills fall into every part of a segment, since rounds write unlike amounts.
            while samples < 3 + round * 4 {
                let rows = 200 + 700 * round;
                let insert = format!(
                    "INSERT INTO t SELECT i, repeat('x', 200) FROM generate_series(1, {rows}) AS i"
                );
                server.sql("postgres", &insert).await;
                let seen = position(&server, CONFIRMED).await;
                samples += u64::from(seen > confirmed);
                confirmed = confirmed.max(seen);
            }
            drop(victim);
            // The next one is refused for as long as the server believes in this one.
            until("the slot is free again", async || {
                let taken = "SELECT FROM pg_replication_slots WHERE active";
                server.sql("postgres", taken).await.is_empty()
            })
            .await;
            let from = Lsn(from.0 / u64::from(SEGMENT_BYTES) * u64::from(SEGMENT_BYTES));
            is_kept(&place, &server, &cluster, from, confirmed).await;
        }
        let listing = Listing::read(&place.repository, &cluster).await.unwrap();
        assert!(!listing.segments.is_empty() && listing.conflicts.is_empty());
    }
}
