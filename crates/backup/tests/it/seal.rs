//! Encrypted repositories: everything works with the key, nothing without it, and no damage or exchange goes unnoticed.

use std::fs;
use std::num::NonZeroU64;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use jiff::SignedDuration;
use pawang_backup::drill::Scratch;
use pawang_backup::repository::{
    BackupKind, Identity, Keys, Marker, Rate, RepositorySettings, State,
};
use pawang_backup::restore::{self, RestorePlan, Source, Target};
use pawang_backup::take::{Progress, Reading, TakeRequest, Wanted, take};
use pawang_backup::verify::{Depth, Pace, verify};
use pawang_backup::wal::reread::{self, RereadSettings};
use pawang_backup::wal::status::status;
use pawang_backup::wal::{
    Content, GetSettings, Got, Listing, SegmentName, Stored, get, store_segment,
};
use pawang_backup::{ClusterId, Commit, Error, Repository};
use pawang_core::{Kind, Lsn};
use pawang_testbed::{Setup, Version, age_installed, versions};
use tempfile::TempDir;

use crate::push::{Written, written};
use crate::take::Bed;
use crate::verify::{looked, settings};
use crate::world::{World, all, asked, now};

const SEGMENT: u32 = 1 << 20;
const ROWS: [&str; 1] = ["CREATE TABLE fact AS SELECT generate_series(1, 1000) AS number"];

/// A pair of keys, and its file.
pub(crate) struct Desk {
    _folder: TempDir,
    pub(crate) file: PathBuf,
    pub(crate) keys: Keys,
}

impl Desk {
    pub(crate) fn new() -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("main.identity");
        let identity = Identity::generate().unwrap();
        fs::write(&file, identity.file_text(now()).reveal()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let recipients = [identity.recipient().to_string()];
        let keys = Keys::load(&recipients, Some(&file)).unwrap();
        assert_eq!(keys.identities.len(), 1, "{keys:?}");
        Desk {
            _folder: folder,
            file,
            keys,
        }
    }

    /// What a server has that only takes backups.
    fn writer(&self) -> Keys {
        Keys {
            recipients: self.keys.recipients.clone(),
            ..Keys::default()
        }
    }

    /// What somebody has who only reads.
    fn reader(&self) -> Keys {
        Keys::load(&[], Some(&self.file)).unwrap()
    }
}

fn locked<T: std::fmt::Debug>(result: Result<T, Error>, words: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Sealed { .. }), "{error:?}");
    let report = error.report();
    assert_eq!(report.kind, Kind::Target);
    assert!(
        report.to_string().contains(words),
        "{words:?} is missing in {report}"
    );
    assert!(report.hint.is_some(), "{report}");
}

fn objects(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(objects(&path)),
            false => found.push(path),
        }
    }
    found
}

/// Which files of a cluster are not sealed and should be.
fn clear(folder: &Path) -> Vec<String> {
    let clear = objects(folder).into_iter();
    let clear = clear.filter(|path| path.extension().is_none_or(|end| end != "age"));
    let clear = clear.filter(|path| !path.parent().unwrap().ends_with("lease"));
    let names = clear.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
    names
        .filter(|name| name != "COMMIT.json" && !name.ends_with(".history"))
        .collect()
}

#[tokio::test]
async fn a_sealed_backup_is_restored_with_the_key_and_refused_without() {
    let desk = Desk::new();
    let other = Desk::new();
    for version in all() {
        let world = World::sealed(version, &desk.keys).await;
        world.many("postgres", &ROWS).await;
        let commit = world.backup().await;
        assert_eq!(commit.recipients, [desk.keys.recipients[0].to_string()]);
        world
            .many("postgres", &["INSERT INTO fact VALUES (1001)"])
            .await;
        world.archive().await;
        world.store_live_tail().await;
        assert_eq!(clear(&world.folder.join("cluster")), Vec::<String>::new());
        let without = world.repository.clone().with_keys(desk.writer());
        locked(
            planned(&without, &world.id).await,
            "no identity_file is named",
        );
        let wrong = world.repository.clone().with_keys(other.reader());
        locked(planned(&wrong, &world.id).await, "sealed for");
        // A backup that is looked at from afar needs no key.
        status(&without, &world.id).await.unwrap();
        let hashed = verify(
            &without,
            &world.id,
            &commit.backup,
            &settings(Depth::Hashed),
        )
        .await
        .unwrap()
        .unwrap();
        assert_eq!((hashed.state, hashed.problems), (State::Hashed, Vec::new()));
        locked(
            verify(&without, &world.id, &commit.backup, &settings(Depth::Pages)).await,
            "identity_file",
        );
        if !age_installed() {
            return;
        }
        let plan = world.plan(Target::Latest).await;
        let place = world.scratch("sealed");
        let owner = place.owner;
        let mut scratch = Scratch::new(place).await.unwrap();
        let key = world.cluster.socket_directory().join("key");
        fs::copy(&desk.file, &key).unwrap();
        if let Some(owner) = owner {
            chown(&key, Some(owner.user), Some(owner.group)).unwrap();
        }
        let mut options = world.options(&scratch.data());
        options.restore_command = format!(
            "f=$(find {} -name \"%f.zst.age\"); test -n \"$f\" || exit 1; age -d -i {} \"$f\" | zstd -dcq > %p || exit 200",
            world.folder.join(world.id.wal()).display(),
            key.display()
        );
        pawang_backup::restore::run(&world.repository, &plan, &options, now())
            .await
            .unwrap();
        scratch.start(Duration::from_secs(60)).await.unwrap();
        assert_eq!(
            asked(&scratch, "SELECT count(*) FROM public.fact").await,
            1001
        );
        scratch.remove().await;
    }
}

/// Plans a restore of the newest state.
async fn planned(repository: &Repository, cluster: &ClusterId) -> Result<RestorePlan, Error> {
    let source = Source::read(repository, cluster).await?;
    let wanted = restore::Wanted {
        target: Target::Latest,
        inclusive: true,
        timeline: None,
        backup: None,
    };
    source.plan(repository, &wanted).await
}

/// A sealed archive of a real server's WAL.
struct Archive {
    written: Written,
    folder: TempDir,
    target: TempDir,
    desk: Desk,
}

impl Archive {
    async fn new() -> Archive {
        Archive {
            written: written(&Setup::default()).await,
            folder: tempfile::tempdir().unwrap(),
            target: tempfile::tempdir().unwrap(),
            desk: Desk::new(),
        }
    }

    fn open(&self, keys: &Keys) -> Repository {
        let repository = Repository::directory(self.folder.path()).unwrap();
        repository.with_keys(keys.clone())
    }

    fn object(&self, place: usize) -> PathBuf {
        let path = self
            .written
            .cluster
            .segment(&self.written.segments[place].0, SEGMENT);
        self.folder.path().join(format!("{path}.age"))
    }

    async fn store(
        &self,
        keys: &Keys,
        place: usize,
        content: Vec<u8>,
        level: i32,
    ) -> Result<Stored, Error> {
        let (name, _) = &self.written.segments[place];
        let content = Content::Bytes(content.into());
        store_segment(
            &self.open(keys),
            &self.written.cluster,
            name,
            content,
            level,
        )
        .await
    }

    fn content(&self, place: usize) -> Vec<u8> {
        fs::read(&self.written.segments[place].1).unwrap()
    }

    async fn get(&self, keys: &Keys, place: usize) -> Result<Got, Error> {
        got(
            &[self.open(keys)],
            &self.written.cluster,
            &self.written.segments[place].0,
            self.target.path(),
        )
        .await
    }
}

async fn got(
    repositories: &[Repository],
    cluster: &ClusterId,
    name: &SegmentName,
    folder: &Path,
) -> Result<Got, Error> {
    let settings = GetSettings {
        segment_bytes: SEGMENT,
        prefetch: 0,
        spool: folder.join("spool"),
    };
    get(
        repositories,
        cluster,
        &name.to_string(),
        &folder.join("RECOVERYXLOG"),
        &settings,
    )
    .await
}

#[tokio::test]
async fn wal_is_stored_once_by_a_server_that_cannot_read_it() {
    let archive = Archive::new().await;
    let writer = archive.desk.writer();
    let content = archive.content(5);
    // The first one is from before the repository was encrypted.
    let clear = Keys::default();
    assert_eq!(
        archive
            .store(&clear, 4, archive.content(4), 1)
            .await
            .unwrap(),
        Stored::New
    );
    assert_eq!(
        archive
            .store(&writer, 4, archive.content(4), 5)
            .await
            .unwrap(),
        Stored::Same
    );
    let mut foreign = archive.content(4);
    *foreign.last_mut().unwrap() ^= 1;
    let refused = archive.store(&writer, 4, foreign, 1).await;
    assert!(
        matches!(refused, Err(Error::Conflict { .. })),
        "{refused:?}"
    );
    for (level, stored) in [(1, Stored::New), (1, Stored::Same), (5, Stored::Same)] {
        assert_eq!(
            archive
                .store(&writer, 5, content.clone(), level)
                .await
                .unwrap(),
            stored
        );
    }
    let mut other = content.clone();
    *other.last_mut().unwrap() ^= 1;
    for _ in 0..2 {
        let refused = archive.store(&writer, 5, other.clone(), 1).await;
        let Err(Error::Conflict { kept, .. }) = refused else {
            panic!("{refused:?}");
        };
        assert!(
            archive.folder.path().join(format!("{kept}.age")).exists(),
            "{kept}"
        );
    }
    // What is stored and rotten is not taken for the same.
    let mut rotten = fs::read(archive.object(5)).unwrap();
    *rotten.last_mut().unwrap() ^= 1;
    fs::write(archive.object(5), rotten).unwrap();
    let refused = archive.store(&writer, 5, content, 1).await;
    assert!(
        matches!(refused, Err(Error::Conflict { .. })),
        "{refused:?}"
    );
    // Both are given to whoever has the key.
    assert_eq!(
        archive.get(&archive.desk.reader(), 4).await.unwrap(),
        Got::Delivered
    );
}

#[tokio::test]
async fn wal_that_cannot_be_opened_is_never_the_end_of_the_archive() {
    let archive = Archive::new().await;
    let last = archive.written.segments.len() - 1;
    for place in 0..=last {
        archive
            .store(&archive.desk.writer(), place, archive.content(place), 1)
            .await
            .unwrap();
    }
    let reader = archive.desk.reader();
    assert_eq!(archive.get(&reader, 5).await.unwrap(), Got::Delivered);
    let target = archive.target.path().join("RECOVERYXLOG");
    assert_eq!(fs::read(&target).unwrap(), archive.content(5));
    locked(archive.get(&Keys::default(), 5).await, "identity_file");
    locked(
        archive.get(&archive.desk.writer(), last).await,
        "identity_file",
    );
    locked(
        archive.get(&Desk::new().reader(), 5).await,
        "sealed for others",
    );
    let missing = Keys::load(&[], Some(Path::new("/nowhere/main.identity"))).unwrap();
    locked(archive.get(&missing, 5).await, "/nowhere/main.identity");
    // After the rotation of a key the old objects are read with the old one, and the new with the new.
    let next = Desk::new();
    fs::remove_file(archive.object(6)).unwrap();
    archive
        .store(&next.writer(), 6, archive.content(6), 1)
        .await
        .unwrap();
    let both = Keys {
        identities: [reader.identities.clone(), next.reader().identities].concat(),
        ..Keys::default()
    };
    for place in [5, 6] {
        assert_eq!(archive.get(&both, place).await.unwrap(), Got::Delivered);
    }
    locked(archive.get(&reader, 6).await, "sealed for others");
    // An end is proven with a key as without encryption.
    let (name, _) = archive.written.segments[last];
    let repositories = [archive.open(&reader)];
    let behind = name.next(SEGMENT);
    let cluster = &archive.written.cluster;
    let behind = got(&repositories, cluster, &behind, archive.target.path());
    assert_eq!(behind.await.unwrap(), Got::End);
}

#[tokio::test]
async fn damage_and_exchange_are_told() {
    let archive = Archive::new().await;
    let writer = archive.desk.writer();
    for place in [4, 5] {
        archive
            .store(&writer, place, archive.content(place), 1)
            .await
            .unwrap();
    }
    let reader = archive.desk.reader();
    let sealed = fs::read(archive.object(5)).unwrap();
    let headed = sealed.windows(4).position(|four| four == b"--- ").unwrap();
    let damaged = |place: usize| {
        let mut bytes = sealed.clone();
        bytes[place] ^= 0x20;
        bytes
    };
    let newer = [
        b"age-encryption.org/v2",
        &sealed[b"age-encryption.org/v1".len()..],
    ]
    .concat();
    for (bytes, words) in [
        (
            fs::read(archive.object(4)).unwrap(),
            "objects were exchanged",
        ),
        (
            sealed[..sealed.len() - 1].to_vec(),
            "is not what was sealed",
        ),
        (sealed[..headed].to_vec(), "header is damaged"),
        (sealed[..headed + 50].to_vec(), "cut off"),
        (damaged(sealed.len() - 1), "is not what was sealed"),
        (damaged(headed + 100), "chunk 1 is not what was sealed"),
        (damaged(headed + 10), "header is damaged"),
        (newer, "age-encryption.org/v2"),
        (archive.content(5), "header is damaged"),
    ] {
        fs::write(archive.object(5), bytes).unwrap();
        locked(archive.get(&reader, 5).await, words);
    }
    // Another copy is as good.
    let second = tempfile::tempdir().unwrap();
    let whole = Repository::directory(second.path())
        .unwrap()
        .with_keys(archive.desk.keys.clone());
    let (name, _) = &archive.written.segments[5];
    let content = Content::Bytes(archive.content(5).into());
    store_segment(&whole, &archive.written.cluster, name, content, 1)
        .await
        .unwrap();
    let repositories = [archive.open(&reader), whole];
    let got = got(
        &repositories,
        &archive.written.cluster,
        name,
        archive.target.path(),
    );
    assert_eq!(got.await.unwrap(), Got::Delivered);
}

#[tokio::test]
async fn nothing_is_written_in_the_clear_where_the_marker_says_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("repository").display().to_string();
    let desk = Desk::new();
    let with = |keys: Keys| RepositorySettings {
        keys,
        ..RepositorySettings::default()
    };
    let made = Repository::setup(&place, &with(desk.keys.clone()), now(), [7; 10])
        .await
        .unwrap();
    let marker: Marker = made.marker().await.unwrap().unwrap();
    assert_eq!(marker.recipients, [desk.keys.recipients[0].to_string()]);
    let archive = Archive::new().await;
    let (name, path) = &archive.written.segments[5];
    let store = async |keys: Keys| {
        let repository = Repository::open(&place, &with(keys)).await.unwrap();
        let content = Content::File(path.clone());
        store_segment(&repository, &archive.written.cluster, name, content, 1).await
    };
    let refused = store(Keys::default()).await.unwrap_err().report();
    assert_eq!(refused.kind, Kind::Refused);
    assert!(refused.to_string().contains("recipients"), "{refused}");
    assert!(
        store(desk.reader()).await.is_err(),
        "who only reads does not write"
    );
    assert_eq!(store(desk.writer()).await.unwrap(), Stored::New);
    let reader = Repository::open(&place, &with(desk.reader()))
        .await
        .unwrap();
    assert!(reader.object_writer("cluster/7-18/x", None).is_err());
    let readers = [reader];
    let cluster = &archive.written.cluster;
    let got = got(&readers, cluster, name, archive.target.path());
    assert_eq!(got.await.unwrap(), Got::Delivered);
}

/// A backup that is taken over the replication protocol, with its parts streamed.
#[tokio::test]
async fn backups_are_taken_without_a_key_and_increments_with_one() {
    let desk = Desk::new();
    let escrow = Desk::new();
    let mut bed = Bed::new(&Setup {
        version: Some(Version(18)),
        settings: &[("summarize_wal", "on")],
        ..Setup::default()
    })
    .await;
    let recipients = [desk.keys.recipients.clone(), escrow.keys.recipients.clone()].concat();
    let writer = Keys {
        recipients: recipients.clone(),
        ..Keys::default()
    };
    bed.repository = bed.repository.clone().with_keys(writer);
    let table =
        "CREATE TABLE t AS SELECT g AS a, md5(g::text) AS b FROM generate_series(1, 50000) AS g";
    bed.cluster.sql("postgres", table).await;
    let full = bed.take().await;
    assert_eq!(full.recipients.len(), 2);
    assert_eq!(
        clear(&bed.folder.path().join("cluster")),
        Vec::<String>::new()
    );
    let second = full_instead(&bed).await;
    // The escrow key alone is enough to read, and to stand on it.
    let identities = escrow.reader().identities;
    let keys = Keys {
        recipients,
        identities,
        ..Keys::default()
    };
    bed.repository = bed.repository.clone().with_keys(keys);
    bed.cluster
        .sql("postgres", "UPDATE t SET b = 'x' WHERE a < 100")
        .await;
    let request = wanted(&bed, Wanted::Incremental);
    let third = take(request, &mut |_| {}).await.unwrap();
    assert_eq!(
        (third.kind, third.parent.as_ref()),
        (BackupKind::Incremental, Some(&second.backup))
    );
    for commit in [&full, &second, &third] {
        let proof = looked(&bed, commit, Depth::Pages).await;
        assert_eq!(
            (proof.state, proof.problems),
            (State::PageVerified, Vec::new())
        );
    }
    exchanged(&bed, &full, &second).await;
    reads_manifest(&bed, &third, &desk);
}

fn wanted(bed: &Bed, wanted: Wanted) -> TakeRequest {
    TakeRequest {
        wanted,
        ..bed.request()
    }
}

/// Takes a full backup where nobody can hand the manifest of the one before to the server.
async fn full_instead(bed: &Bed) -> Commit {
    let refused = take(wanted(bed, Wanted::Incremental), &mut |_| {})
        .await
        .unwrap_err()
        .report();
    assert!(refused.to_string().contains("identity_file"), "{refused}");
    let mut notes = Vec::new();
    let mut note = |progress| {
        if let Progress::Note(note) = progress {
            notes.push(note);
        }
    };
    let second = take(wanted(bed, Wanted::Auto), &mut note).await.unwrap();
    assert_eq!(second.kind, BackupKind::Full);
    assert!(
        notes.iter().any(|note| note.contains("identity_file")),
        "{notes:?}"
    );
    second
}

/// The key of the other recipient opens the manifest for the stock program.
fn reads_manifest(bed: &Bed, commit: &Commit, desk: &Desk) {
    if age_installed() {
        let manifest = bed.folder.path().join(commit.manifest_path());
        let opened = Command::new("age")
            .arg("-d")
            .arg("-i")
            .arg(&desk.file)
            .arg(manifest)
            .output()
            .unwrap();
        let text = String::from_utf8(opened.stdout).unwrap();
        assert!(
            text.contains("PostgreSQL-Backup-Manifest-Version"),
            "{text:.80}"
        );
    }
}

/// A part of another backup of the same server in the place of one's own is seen.
async fn exchanged(bed: &Bed, first: &Commit, second: &Commit) {
    let part = |commit: &Commit| {
        let part = &commit.parts[0];
        bed.folder
            .path()
            .join(commit.cluster.part(&commit.backup, &part.name))
    };
    let kept = fs::read(part(first)).unwrap();
    fs::copy(part(second), part(first)).unwrap();
    for depth in [Depth::Hashed, Depth::Pages] {
        let proof = looked(bed, first, depth).await;
        assert_eq!(proof.problems.len(), 1, "{:?}", proof.problems);
    }
    // Also where the size is the same: one changed byte in the middle.
    let mut rotten = kept.clone();
    let middle = rotten.len() / 2;
    rotten[middle] ^= 1;
    fs::write(part(first), rotten).unwrap();
    for (depth, words) in [
        (Depth::Hashed, "SHA-256"),
        (Depth::Pages, "is not what was sealed"),
    ] {
        let proof = looked(bed, first, depth).await;
        assert!(proof.problems[0].contains(words), "{:?}", proof.problems);
    }
    fs::write(part(first), kept).unwrap();
}

#[tokio::test]
async fn stock_age_reads_what_is_sealed_and_its_files_are_read() {
    if !age_installed() {
        return;
    }
    let archive = Archive::new().await;
    archive
        .store(&archive.desk.writer(), 5, archive.content(5), 1)
        .await
        .unwrap();
    let file = &archive.desk.file;
    let recipient = Command::new("age-keygen")
        .arg("-y")
        .arg(file)
        .output()
        .unwrap();
    let recipient = String::from_utf8(recipient.stdout).unwrap();
    assert_eq!(
        recipient.trim(),
        archive.desk.keys.recipients[0].to_string()
    );
    let opened = Command::new("age")
        .arg("-d")
        .arg("-i")
        .arg(file)
        .arg(archive.object(5))
        .output()
        .unwrap();
    assert_eq!(
        zstd::decode_all(&opened.stdout[..]).unwrap(),
        archive.content(5)
    );
    // What a person sealed with the stock program, with keys of the stock program, is read.
    let made = archive.target.path().join("made");
    let plain = archive.target.path().join("plain");
    assert!(
        Command::new("age-keygen")
            .arg("-o")
            .arg(&made)
            .output()
            .unwrap()
            .status
            .success()
    );
    fs::write(
        &plain,
        zstd::encode_all(&archive.content(5)[..], 1).unwrap(),
    )
    .unwrap();
    let their = Keys::load(&[], Some(&made)).unwrap();
    let own = their.identities[0].recipient().to_string();
    let sealed = Command::new("age")
        .args(["-r", &own, "-o"])
        .arg(archive.object(5))
        .arg(&plain)
        .output()
        .unwrap();
    assert!(sealed.status.success());
    assert_eq!(archive.get(&their, 5).await.unwrap(), Got::Delivered);
    assert_eq!(
        fs::read(archive.target.path().join("RECOVERYXLOG")).unwrap(),
        archive.content(5)
    );
}

#[tokio::test]
async fn files_that_are_read_straight_are_sealed_and_stood_on() {
    let desk = Desk::new();
    let mut bed = Bed::read_by(Version(15), Reading::Local).await;
    bed.repository = bed.repository.clone().with_keys(desk.keys.clone());
    let table =
        "CREATE TABLE t AS SELECT g AS a, md5(g::text) AS b FROM generate_series(1, 50000) AS g";
    bed.cluster.sql("postgres", table).await;
    let full = bed.take().await;
    assert_eq!(
        clear(&bed.folder.path().join("cluster")),
        Vec::<String>::new()
    );
    let change = "UPDATE t SET b = 'x' WHERE a < 100";
    bed.cluster.sql("postgres", change).await;
    let request = wanted(&bed, Wanted::Incremental);
    let second = take(request, &mut |_| {}).await.unwrap();
    assert_eq!(second.parent.as_ref(), Some(&full.backup));
    for commit in [&full, &second] {
        let proof = looked(&bed, commit, Depth::Pages).await;
        assert_eq!(proof.problems, Vec::<String>::new());
    }
    bed.repository = bed.repository.clone().with_keys(desk.writer());
    full_instead(&bed).await;
}

#[tokio::test]
async fn sealed_wal_that_rots_is_found_with_a_key_and_without() {
    let desk = Desk::new();
    let world = World::sealed(versions()[0], &desk.keys).await;
    world.backup().await;
    world.archive().await;
    let segments = Listing::read(&world.repository, &world.id).await.unwrap();
    let segments: Vec<_> = segments.segments.into_keys().collect();
    assert!(segments.len() > 1, "{segments:?}");
    let turn = async |keys: Keys, looks: usize| {
        let left = AtomicUsize::new(looks);
        let spend = move || {
            let spent = left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
            spent.is_ok()
        };
        let pace = Pace {
            rate: Rate::new(NonZeroU64::new(1 << 40).unwrap()),
            go_on: Box::new(spend),
        };
        let settings = RereadSettings {
            every: SignedDuration::ZERO,
            pace: &pace,
            tool: "pawang test".to_owned(),
            clock: now,
        };
        let repository = world.repository.clone().with_keys(keys);
        reread::turn(&repository, &world.id, &settings)
            .await
            .unwrap()
    };
    assert_eq!(turn(desk.writer(), 0).await, None, "it was told to end");
    for keys in [desk.reader(), desk.writer()] {
        let read = turn(keys, 1).await.unwrap();
        assert!(read.bytes > 0 && read.wrong.is_empty(), "{read:?}");
    }
    let rotten = segments[1];
    let path = format!("{}.age", world.id.segment(&rotten, SEGMENT));
    let path = world.folder.join(path);
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 100;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(modified).unwrap();
    for keys in [desk.reader(), desk.writer()] {
        let mut found = None;
        for _ in &segments {
            found = turn(keys.clone(), 1).await;
        }
        let found = found.unwrap();
        let names: Vec<&String> = found.wrong.keys().collect();
        assert_eq!(names, [&rotten.to_string()], "{found:?}");
    }
    // What no server will get is no way to a target.
    let within = Target::Lsn(Lsn(rotten.end(SEGMENT).0 - 1));
    let refused = world.try_plan(within).await.unwrap_err().report();
    assert_eq!(refused.kind, Kind::Refused, "{refused}");
    let told = format!("segment {rotten}: ");
    assert!(refused.detail.unwrap().contains(&told), "{told}");
}
