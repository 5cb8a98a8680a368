//! Backups of servers that work meanwhile, unpacked with stock tools: what was acknowledged before the end is there.
#![expect(
    clippy::disallowed_methods,
    reason = "stock tools and the clock of a test"
)]

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use pawang_backup::repository::{BackupKind, Held, LeaseFacts, MANIFEST};
use pawang_backup::take::{LANES, Owner, Progress, Reading, THREADS, TakeRequest, Wanted, take};
use pawang_backup::wal::Listing;
use pawang_backup::{BackupId, Commit, Error, Repository};
use pawang_core::{ByteSize, Kind, Lsn, Report};
use pawang_postgres::{Environment, Target};
use pawang_testbed::{Client, Cluster, Setup, Version, until, versions};

/// Clients that write while a backup is taken.
pub(crate) const WRITERS: usize = 4;

pub(crate) struct Bed {
    pub(crate) cluster: Cluster,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) repository: Repository,
    /// How files are read.
    pub(crate) reading: Reading,
}

impl Bed {
    pub(crate) async fn new(setup: &Setup<'_>) -> Bed {
        let folder = tempfile::tempdir().unwrap();
        Bed {
            cluster: Cluster::start(setup).await,
            repository: Repository::directory(folder.path()).unwrap(),
            folder,
            reading: Reading::Protocol,
        }
    }

    /// A cluster of a version whose files are read in a way.
    pub(crate) async fn read_by(version: Version, reading: Reading) -> Bed {
        let bed = Bed {
            reading,
            ..Bed::new(&on(version)).await
        };
        if reading == Reading::Lanes {
            bed.grant().await;
        }
        bed
    }

    pub(crate) fn request(&self) -> TakeRequest {
        self.request_of(&self.cluster)
    }

    /// Asks for a backup of this cluster or a standby of it, over SQL by a role that may nothing else.
    pub(crate) fn request_of(&self, cluster: &Cluster) -> TakeRequest {
        let url = match self.reading {
            Reading::Lanes => cluster.url_as(READER, "postgres"),
            _ => cluster.url("postgres"),
        };
        TakeRequest {
            reading: self.reading,
            ..request_to(&url, &self.repository)
        }
    }

    /// Makes the role that reads files over SQL.
    pub(crate) async fn grant(&self) {
        grant_reading(&self.cluster).await;
    }

    pub(crate) async fn take(&self) -> Commit {
        take(self.request(), &mut |_| {}).await.unwrap()
    }

    /// Unpacks a backup with stock tools, and puts the WAL that it needs where a server without archive looks for it.
    pub(crate) async fn unpack(&self, commit: &Commit, into: &Path) -> PathBuf {
        let data = into.join("data");
        fs::create_dir_all(&data).unwrap();
        let folder = self
            .folder
            .path()
            .join(commit.cluster.backup(&commit.backup));
        for part in &commit.parts {
            let target = match part.tablespace {
                None => data.clone(),
                Some(oid) => into.join(format!("tablespace-{oid}")),
            };
            fs::create_dir_all(&target).unwrap();
            let mut zstd = Command::new("zstd")
                .arg("-dc")
                .arg(folder.join(&part.name))
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let archive = zstd.stdout.take().unwrap();
            let tar = Command::new("tar")
                .args(["-x", "-C"])
                .arg(&target)
                .stdin(archive)
                .status()
                .unwrap();
            assert!(tar.success() && zstd.wait().unwrap().success());
        }
        fs::copy(folder.join(MANIFEST), data.join(MANIFEST)).unwrap();
        self.unpack_wal(commit, &data.join("pg_wal")).await;
        data
    }

    async fn unpack_wal(&self, commit: &Commit, wal: &Path) {
        let bytes = commit.server.segment_bytes;
        let listing = Listing::read(&self.repository, &commit.cluster)
            .await
            .unwrap();
        let whole = |object: String| {
            let file = fs::File::open(self.folder.path().join(object)).unwrap();
            zstd::decode_all(file).unwrap()
        };
        for name in listing.segments.keys() {
            fs::write(
                wal.join(name.to_string()),
                whole(commit.cluster.segment(name, bytes)),
            )
            .unwrap();
        }
        for (name, pieces) in &listing.pieces {
            let mut segment = vec![0; bytes as usize];
            for piece in pieces {
                let content = whole(commit.cluster.live(name, piece.from, piece.to));
                segment[piece.from as usize..piece.to as usize].copy_from_slice(&content);
            }
            fs::write(wal.join(name.to_string()), segment).unwrap();
        }
    }
}

/// The role that may read files over SQL, and neither replicate nor anything else.
pub(crate) const READER: &str = "reader";

/// Makes that role, as the documentation says.
pub(crate) async fn grant_reading(cluster: &Cluster) {
    let backup = match cluster.version() >= Version(15) {
        true => "pg_backup_start(text, boolean), pg_backup_stop(boolean)",
        false => "pg_start_backup(text, boolean, boolean), pg_stop_backup(boolean, boolean)",
    };
    let sql = format!(
        "CREATE ROLE {READER} LOGIN; GRANT EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean),
        pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), {backup} TO {READER}"
    );
    cluster.sql("postgres", &sql).await;
}

pub(crate) fn request(cluster: &Cluster, repository: &Repository) -> TakeRequest {
    request_to(&cluster.url("postgres"), repository)
}

pub(crate) fn request_to(url: &str, repository: &Repository) -> TakeRequest {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    TakeRequest {
        target: target(url),
        instance: "dwh-1".to_owned(),
        repository: repository.clone(),
        backup: BackupId::new(Timestamp::now(), [number as u8; 10]),
        owner: Owner {
            word: format!("test{number}-{}", std::process::id()),
            host: "here".to_owned(),
            pid: std::process::id(),
        },
        wanted: Wanted::Full,
        reading: Reading::Protocol,
        new_identity: false,
        checkpoint_fast: true,
        rate_max: None,
        store_rate: None,
        lanes: LANES,
        threads: THREADS,
        wal_wait: Duration::from_secs(2),
        tool: "pawang test".to_owned(),
        clock: Timestamp::now,
    }
}

pub(crate) fn target(url: &str) -> Target {
    Target::parse(url, &Environment::default()).unwrap()
}

pub(crate) fn on(version: Version) -> Setup<'static> {
    Setup {
        version: Some(version),
        ..Setup::default()
    }
}

pub(crate) const TPC_B: &str = "
    CREATE TABLE accounts AS SELECT g AS aid, 0::int8 AS balance, repeat('x', 84) AS filler FROM generate_series(1, 20000) AS g;
    ALTER TABLE accounts ADD PRIMARY KEY (aid);
    CREATE TABLE tellers AS SELECT g AS tid, 0::int8 AS balance FROM generate_series(1, 10) AS g;
    CREATE TABLE history (aid int, tid int, delta int, at timestamptz);";
pub(crate) const SUMS: &str =
    "SELECT (SELECT sum(balance) FROM accounts), (SELECT sum(balance) FROM tellers),
    (SELECT sum(delta) FROM history), (SELECT count(*) FROM history)";

/// Writes until it is told to stop; returns how many transactions were acknowledged.
pub(crate) async fn write_until(client: Client, stop: &AtomicBool, seed: u32) -> u64 {
    let (mut done, mut state) = (0, seed);
    while !stop.load(Ordering::Relaxed) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (aid, tid, delta) = (
            state % 20_000 + 1,
            state % 10 + 1,
            i64::from(state % 1000) - 500,
        );
        let transaction = format!(
            "BEGIN; UPDATE accounts SET balance = balance + {delta} WHERE aid = {aid};
            UPDATE tellers SET balance = balance + {delta} WHERE tid = {tid};
            INSERT INTO history VALUES ({aid}, {tid}, {delta}, now()); COMMIT"
        );
        client.batch_execute(&transaction).await.unwrap();
        done += 1;
    }
    done
}

#[tokio::test]
async fn a_backup_under_load_is_whole() {
    under_load(&versions(), Reading::Protocol).await;
}

pub(crate) async fn under_load(versions: &[Version], reading: Reading) {
    for version in versions.iter().copied() {
        let bed = Bed::read_by(version, reading).await;
        bed.cluster.sql("postgres", TPC_B).await;
        let stop = AtomicBool::new(false);
        let mut writers = Vec::new();
        for seed in 0..WRITERS {
            let client = bed.cluster.connect("postgres").await;
            writers.push(write_until(client, &stop, seed as u32));
        }
        let mut said = Vec::new();
        let backup = async {
            let mut observe = |progress| said.push(progress);
            let commit = take(bed.request(), &mut observe).await;
            stop.store(true, Ordering::Relaxed);
            commit.unwrap()
        };
        let (commit, done) = tokio::join!(backup, futures_util::future::join_all(writers));
        assert!(done.iter().sum::<u64>() > 0);
        assert_eq!(commit.kind, BackupKind::Full);
        assert_eq!(commit.pages.wrong, 0, "{:?}", commit.pages);
        assert!(commit.pages.checked > 2000 && commit.server.data_checksums);
        assert!(
            said.contains(&Progress::Wal {
                stop: commit.stop.lsn,
                fetching: true
            }),
            "{said:?}"
        );
        let kept = bed.repository.backups(&commit.cluster).await.unwrap();
        assert_eq!(kept, std::slice::from_ref(&commit));
        let slots = bed
            .cluster
            .sql("postgres", "SELECT slot_name FROM pg_replication_slots")
            .await;
        assert!(slots.is_empty(), "{slots:?}");
        let into = tempfile::tempdir().unwrap();
        let data = bed.unpack(&commit, into.path()).await;
        verify_by_stock_tool(&bed.cluster, &data);
        let restored = bed.cluster.start_from(&data, &[]).await;
        let sums = restored.sql("postgres", SUMS).await;
        let [accounts, tellers, history, count] = &sums[0][..] else {
            panic!("{sums:?}");
        };
        assert!(accounts == tellers && tellers == history, "{sums:?}");
        let count: u64 = count.as_ref().unwrap().parse().unwrap();
        assert!(count <= done.iter().sum());
    }
}

/// `pg_verifybackup` has the last word where it is installed.
pub(crate) fn verify_by_stock_tool(cluster: &Cluster, data: &Path) {
    let program = cluster.bin_directory().join("pg_verifybackup");
    if program.exists() {
        let output = Command::new(program)
            .args(["-n", "-e"])
            .arg(data)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
    }
}

#[tokio::test]
async fn a_corrupt_page_is_named_and_the_backup_is_kept() {
    corrupt_page(&versions(), Reading::Protocol).await;
}

pub(crate) async fn corrupt_page(versions: &[Version], reading: Reading) {
    for version in versions.iter().copied() {
        let bed = Bed::read_by(version, reading).await;
        let sql = "CREATE SCHEMA dw; CREATE TABLE dw.\"Fact\" WITH (autovacuum_enabled = off) AS SELECT g, repeat('x', 500) FROM generate_series(1, 2000) AS g;
            CHECKPOINT; SELECT pg_relation_filepath('dw.\"Fact\"')";
        let path = bed.cluster.sql("postgres", sql).await[0][0]
            .clone()
            .unwrap();
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(bed.cluster.data_directory().join(&path))
            .unwrap();
        let at = SeekFrom::Start(7 * 8192 + 5000);
        let mut byte = [0];
        file.seek(at).unwrap();
        file.read_exact(&mut byte).unwrap();
        file.seek(at).unwrap();
        file.write_all(&[byte[0] ^ 1]).unwrap();
        let commit = bed.take().await;
        assert_eq!(commit.pages.wrong, 1, "{:?}", commit.pages);
        let [bad] = &commit.pages.bad[..] else {
            panic!("{:?}", commit.pages);
        };
        assert_eq!((bad.file.as_str(), bad.block), (path.as_str(), 7));
        assert_eq!(bad.relation.as_deref(), Some("postgres.dw.\"Fact\""));
        assert!(
            bad.problem.starts_with("its checksum is ") && !bad.problem.contains("torn"),
            "{}",
            bad.problem
        );
    }
}

const WEIRD: &str = "da'ta \"\u{e9}";

/// Makes tablespaces, one of them in place where that is possible, and a database of a hostile name that uses them.
async fn fill_tablespaces(cluster: &Cluster) {
    let outside = cluster.folder("out side");
    let create = format!(
        "CREATE TABLESPACE \"we\"\"ird\" LOCATION '{}'",
        outside.display()
    );
    cluster.sql("postgres", &create).await;
    let mut space = "\"we\"\"ird\"";
    if cluster.version().0 >= 16 {
        cluster.set("allow_in_place_tablespaces", Some("on")).await;
        cluster
            .sql("postgres", "CREATE TABLESPACE inside LOCATION ''")
            .await;
        space = "inside";
    }
    let create = format!("CREATE DATABASE \"{}\"", WEIRD.replace('"', "\"\""));
    cluster.sql("postgres", &create).await;
    let sql = format!(
        "CREATE TABLE t TABLESPACE \"we\"\"ird\" AS SELECT g FROM generate_series(1, 5000) AS g;
        CREATE TABLE u TABLESPACE {space} AS SELECT g FROM generate_series(1, 7000) AS g;
        CREATE UNLOGGED TABLE gone AS SELECT g FROM generate_series(1, 9000) AS g; CHECKPOINT;"
    );
    cluster.sql(WEIRD, &sql).await;
}

#[tokio::test]
async fn tablespaces_and_hostile_names_come_whole() {
    tablespaces(&versions(), Reading::Protocol).await;
}

pub(crate) async fn tablespaces(versions: &[Version], reading: Reading) {
    for version in versions.iter().copied() {
        let bed = Bed::read_by(version, reading).await;
        fill_tablespaces(&bed.cluster).await;
        let unlogged = bed
            .cluster
            .sql(WEIRD, "SELECT pg_relation_filepath('gone')")
            .await;
        let hostile = std::ffi::OsStr::from_bytes(b"base/ha\nck.tmp.\xff");
        fs::write(bed.cluster.data_directory().join(hostile), "mine").unwrap();
        open_to_all(&bed.cluster.data_directory().join(hostile));
        let commit = bed.take().await;
        assert_eq!(commit.pages.wrong, 0, "{:?}", commit.pages);
        let in_place = usize::from(version.0 >= 16);
        assert_eq!(commit.tablespaces.len(), 1 + in_place);
        let into = tempfile::tempdir().unwrap();
        let data = bed.unpack(&commit, into.path()).await;
        assert_eq!(fs::read(data.join(hostile)).unwrap(), b"mine");
        let unlogged = unlogged[0][0].clone().unwrap();
        assert!(!data.join(&unlogged).exists() && data.join(format!("{unlogged}_init")).exists());
        // By hand, as the documentation says: tablespaces go where the map then points to.
        let mut map = String::new();
        for space in &commit.tablespaces {
            let there = into.path().join(format!("tablespace-{}", space.oid));
            if Path::new(&space.location).is_absolute() {
                map.push_str(&format!("{} {}\n", space.oid, there.display()));
            } else {
                fs::remove_dir_all(data.join(&space.location)).ok();
                fs::rename(there, data.join(&space.location)).unwrap();
            }
        }
        fs::write(data.join("tablespace_map"), map).unwrap();
        open_to_all(into.path());
        let settings = [("allow_in_place_tablespaces", "on")];
        let restored = bed.cluster.start_from(&data, &settings[..in_place]).await;
        let sql = "SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM u), (SELECT count(*) FROM gone)";
        let counts = restored.sql(WEIRD, sql).await;
        let texts: Vec<&str> = counts[0]
            .iter()
            .map(|text| text.as_deref().unwrap())
            .collect();
        assert_eq!(texts, ["5000", "7000", "0"]);
    }
}

#[tokio::test]
async fn what_a_server_would_leave_out_is_refused() {
    for version in versions().into_iter().filter(|version| version.0 == 15) {
        let bed = Bed::new(&on(version)).await;
        bed.cluster
            .set("allow_in_place_tablespaces", Some("on"))
            .await;
        bed.cluster
            .sql("postgres", "CREATE TABLESPACE inside LOCATION ''")
            .await;
        let report = take(bed.request(), &mut |_| {}).await.unwrap_err().report();
        assert!(
            report.kind == Kind::Refused && report.primary.contains("\"inside\""),
            "{report}"
        );
    }
}

/// The server may run as another user than the test.
fn open_to_all(folder: &Path) {
    let status = Command::new("chmod")
        .args(["-R", "a+rwX"])
        .arg(folder)
        .status();
    assert!(status.unwrap().success());
}

#[tokio::test]
async fn what_cannot_become_a_backup_is_refused() {
    let setup = Setup {
        settings: &[("wal_level", "minimal"), ("max_wal_senders", "0")],
        ..Setup::default()
    };
    let bed = Bed::new(&setup).await;
    let error = take(bed.request(), &mut |_| {}).await.unwrap_err();
    assert!(
        matches!(error.report().kind, Kind::Target | Kind::Refused),
        "{error:?}"
    );
    let nothing = bed.repository.list("").await.unwrap();
    assert_eq!(nothing, []);
    let bed = Bed::new(&Setup::default()).await;
    let monitor = bed.cluster.monitor().await;
    let mut denied = bed.request();
    denied.target = target(&bed.cluster.url_as(&monitor, "postgres"));
    let report = take(denied, &mut |_| {}).await.unwrap_err().report();
    assert_eq!(report.kind, Kind::Target, "{report}");
    assert!(report.to_string().contains("REPLICATION"), "{report}");
    let first = bed.take().await;
    let facts = LeaseFacts::new("backup", "somebody", 600, Timestamp::now());
    let held = bed
        .repository
        .take_lease(&first.cluster, facts)
        .await
        .unwrap();
    assert!(matches!(held, Held::Ours(_)));
    let report = take(bed.request(), &mut |_| {}).await.unwrap_err().report();
    assert!(
        report.kind == Kind::Refused && report.primary.contains("already"),
        "{report}"
    );
    // Another cluster under the same name is refused, and nothing is written for it.
    let all = versions();
    let [_, .., newest] = all[..] else { return };
    let other = Cluster::start(&on(newest)).await;
    let mut new = request(&other, &bed.repository);
    let report = take(new.clone(), &mut |_| {}).await.unwrap_err().report();
    assert!(
        report.kind == Kind::Refused && report.to_string().contains("--new-identity"),
        "{report}"
    );
    assert_eq!(bed.repository.clusters().await.unwrap(), [first.cluster]);
    new.new_identity = true;
    take(new, &mut |_| {}).await.unwrap();
}

/// Begins a backup, and has something done as soon as files come; nothing of it goes on before that is done, however long it takes.
pub(crate) async fn halted(
    request: TakeRequest,
    done: impl AsyncFnOnce(Lsn),
) -> Result<Commit, Error> {
    let (begun, begin) = tokio::sync::oneshot::channel();
    let (mut begun, mut began) = (Some(begun), Lsn(0));
    let mut observe = |progress| match progress {
        Progress::Started { start, .. } => began = start,
        Progress::Came(ByteSize(1..)) => {
            begun.take().map(|begun| begun.send(began));
        }
        _ => {}
    };
    let mut taking = std::pin::pin!(take(request, &mut observe));
    let start = tokio::select! {
        taken = &mut taking => return taken,
        start = begin => start.unwrap(),
    };
    done(start).await;
    taking.await
}

#[tokio::test]
async fn a_standby_is_as_good_a_source_until_it_is_promoted() {
    standby(&versions(), Reading::Protocol).await;
}

pub(crate) async fn standby(versions: &[Version], reading: Reading) {
    for version in versions.iter().copied() {
        let primary = Bed::read_by(version, reading).await;
        primary.cluster.sql("postgres", TPC_B).await;
        let standby = primary.cluster.standby("standby").await;
        let of_standby = || primary.request_of(&standby);
        let commit = take(of_standby(), &mut |_| {}).await.unwrap();
        assert!(commit.server.standby && commit.pages.wrong == 0);
        let into = tempfile::tempdir().unwrap();
        let data = primary.unpack(&commit, into.path()).await;
        let restored = primary.cluster.start_from(&data, &[]).await;
        let count = restored
            .sql("postgres", "SELECT count(*) FROM accounts")
            .await;
        assert_eq!(count[0][0].as_deref(), Some("20000"));
        let mut slow = of_standby();
        slow.rate_max = Some(ByteSize(8 << 20));
        let taken = halted(slow, async |_| {
            standby.sql("postgres", "SELECT pg_promote()").await;
        })
        .await;
        let report = taken.unwrap_err().report();
        assert!(report.to_string().contains("promoted"), "{report}");
        assert_eq!(
            primary
                .repository
                .backups(&commit.cluster)
                .await
                .unwrap()
                .len(),
            1
        );
    }
}

#[tokio::test]
async fn a_backup_that_was_killed_does_not_stand_in_the_way() {
    killed(Reading::Protocol).await;
}

pub(crate) async fn killed(reading: Reading) {
    let mut bed = Bed::new(&Setup::default()).await;
    bed.reading = reading;
    bed.grant().await;
    bed.cluster.sql("postgres", TPC_B).await;
    let mut slow = bed.request();
    slow.rate_max = Some(ByteSize(4 << 20));
    // A process that has ended, as far as this one can tell: the number is beyond what Linux gives.
    slow.owner.pid = 4_194_305;
    let killed = slow.backup.clone();
    let (begun, begin) = tokio::sync::oneshot::channel();
    let mut begun = Some(begun);
    let mut observe = |progress| {
        if matches!(progress, Progress::Came(_)) {
            begun.take().map(|begun| begun.send(()));
        }
    };
    tokio::select! {
        taken = take(slow, &mut observe) => panic!("{taken:?}"),
        begun = begin => begun.unwrap(),
    }
    let cluster = bed.repository.clusters().await.unwrap()[0];
    assert_eq!(bed.repository.backups(&cluster).await.unwrap(), []);
    // What a part leaves that was written before the kill.
    let left = cluster.part(&killed, "part-00000.tar.zst");
    bed.repository.create(&left, "half".into()).await.unwrap();
    let mut said = Vec::new();
    let mut observe = |progress| said.push(progress);
    let commit = take(bed.request(), &mut observe).await.unwrap();
    let told = said
        .iter()
        .any(|said| matches!(said, Progress::Note(note) if note.contains(killed.as_str())));
    assert!(told, "{said:?}");
    assert_eq!(bed.repository.backups(&cluster).await.unwrap(), [commit]);
}

/// Puts the changed blocks of an incremental backup over the files of the backup that it stands on.
fn combine(parent: &Path, increment: &Path) {
    for folder in ["base", "global"].map(|name| increment.join(name)) {
        for path in files(&folder) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let Some(name) = name.strip_prefix("INCREMENTAL.") else {
                continue;
            };
            let changed = fs::read(&path).unwrap();
            let word =
                |at: usize| u32::from_le_bytes(changed[at..at + 4].try_into().unwrap()) as usize;
            let (count, left) = (word(4), word(8));
            let head = match count {
                0 => 12,
                count => (12 + 4 * count).next_multiple_of(8192),
            };
            let older = path.strip_prefix(increment).unwrap().with_file_name(name);
            let mut blocks = fs::read(parent.join(older)).unwrap_or_default();
            let last = (0..count)
                .map(|place| word(12 + 4 * place) + 1)
                .max()
                .unwrap_or(0);
            blocks.resize(left.max(last) * 8192, 0);
            for place in 0..count {
                let at = word(12 + 4 * place) * 8192;
                let from = head + place * 8192;
                blocks[at..at + 8192].copy_from_slice(&changed[from..from + 8192]);
            }
            fs::write(path.with_file_name(name), blocks).unwrap();
            fs::remove_file(path).unwrap();
        }
    }
    let label = fs::read_to_string(increment.join("backup_label")).unwrap();
    let kept = label
        .lines()
        .filter(|line| !line.starts_with("INCREMENTAL FROM"));
    let kept: String = kept.map(|line| format!("{line}\n")).collect();
    fs::write(increment.join("backup_label"), kept).unwrap();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

pub(crate) async fn take_as(bed: &Bed, wanted: Wanted) -> (Result<Commit, Report>, Vec<String>) {
    let mut notes = Vec::new();
    let mut request = bed.request();
    request.wanted = wanted;
    let mut observe = |progress| {
        if let Progress::Note(note) = progress {
            notes.push(note);
        }
    };
    let taken = take(request, &mut observe).await;
    (taken.map_err(|error| error.report()), notes)
}

#[tokio::test]
async fn an_incremental_backup_stands_on_the_one_before() {
    for version in versions().into_iter().filter(|version| version.0 >= 17) {
        let setup = Setup {
            settings: &[("summarize_wal", "on")],
            ..on(version)
        };
        let bed = Bed::new(&setup).await;
        bed.cluster.sql("postgres", TPC_B).await;
        let (full, notes) = take_as(&bed, Wanted::Auto).await;
        let full = full.unwrap();
        assert!(
            full.kind == BackupKind::Full && notes[0].contains("none to stand on"),
            "{notes:?}"
        );
        let change = "UPDATE accounts SET balance = 7 WHERE aid % 500 = 0; DELETE FROM tellers WHERE tid = 3;
            CREATE TABLE fresh AS SELECT g FROM generate_series(1, 3000) AS g";
        bed.cluster.sql("postgres", change).await;
        let (increment, notes) = take_as(&bed, Wanted::Incremental).await;
        let increment = increment.unwrap();
        assert_eq!(notes, [] as [&str; 0]);
        assert_eq!(
            (increment.kind, increment.parent.as_ref()),
            (BackupKind::Incremental, Some(&full.backup))
        );
        assert!(increment.pages.checked < full.pages.checked / 2 && increment.pages.wrong == 0);
        assert!(increment.pages.checked > 20, "{:?}", increment.pages);
        let into = tempfile::tempdir().unwrap();
        let older = bed.unpack(&full, &into.path().join("full")).await;
        let data = bed.unpack(&increment, &into.path().join("increment")).await;
        combine(&older, &data);
        let restored = bed.cluster.start_from(&data, &[]).await;
        let sql = "SELECT sum(balance), count(*), (SELECT count(*) FROM tellers), (SELECT count(*) FROM fresh) FROM accounts";
        let sums = restored.sql("postgres", sql).await;
        let texts: Vec<&str> = sums[0]
            .iter()
            .map(|text| text.as_deref().unwrap())
            .collect();
        assert_eq!(texts, ["280", "20000", "9", "3000"]);
        let (third, _) = take_as(&bed, Wanted::Auto).await;
        assert_eq!(third.unwrap().parent, Some(increment.backup));
        // Summaries that are gone make it a full one, which is told; who wants nothing else is refused.
        bed.cluster.set("summarize_wal", Some("off")).await;
        let (refused, _) = take_as(&bed, Wanted::Incremental).await;
        assert_eq!(refused.unwrap_err().kind, Kind::Refused);
        until("nobody summarizes any more", async || {
            let summarizer = "SELECT FROM pg_stat_activity WHERE backend_type = 'walsummarizer'";
            bed.cluster.sql("postgres", summarizer).await.is_empty()
        })
        .await;
        for file in files(&bed.cluster.data_directory().join("pg_wal/summaries")) {
            fs::remove_file(file).unwrap();
        }
        let (fourth, notes) = take_as(&bed, Wanted::Auto).await;
        assert_eq!(fourth.unwrap().kind, BackupKind::Full);
        assert!(notes[0].contains("\"summarize_wal\" is off"), "{notes:?}");
    }
}
