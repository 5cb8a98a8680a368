//! A process is killed at every call to the store, before and after its effect: whatever is left, a commit means that all of
//! its parts are there, and the next run goes on.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryFutureExt};
use jiff::{SignedDuration, Timestamp};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart,
};
use pawang_backup::repository::{
    BackupKind, Commit, FORMAT, Keys, MANIFEST, Mode, Object, Pages, PartSettings, Position,
    ServerFacts,
};
use pawang_backup::retention::{Policy, expire};
use pawang_backup::wal::Timeline;
use pawang_backup::{BackupId, Repository};
use pawang_core::Lsn;

use crate::parts::{CLUSTER, backup_id, noise, read_part, write_part};
use crate::seal::Desk;

/// When the process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// Before the call has any effect.
    Before,
    /// After its effect, so that only the answer is lost.
    After,
    /// After half of an object was written under its name, as no store that keeps its promises does.
    Half,
    /// The call fails, and all later ones work: no kill, but a passing fault.
    Once,
}

/// A store that fails at one call; calls are counted from 1, and none fails at 0.
#[derive(Clone)]
struct Faulty {
    inner: Arc<dyn ObjectStore>,
    at: usize,
    moment: Moment,
    calls: Arc<AtomicUsize>,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at call {}", self.moment, self.at)
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

fn killed() -> Error {
    Error::Generic {
        store: "faulty",
        source: "killed".into(),
    }
}

impl Faulty {
    fn over(inner: Arc<dyn ObjectStore>, at: usize, moment: Moment) -> Faulty {
        let calls = Arc::default();
        Faulty {
            inner,
            at,
            moment,
            calls,
        }
    }

    async fn call<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let dead = self.at > 0 && number > self.at && self.moment != Moment::Once;
        let early = matches!(self.moment, Moment::Before | Moment::Once);
        if dead || (number == self.at && early) {
            return Err(killed());
        }
        let done = work.await;
        if number == self.at {
            Err(killed())
        } else {
            done
        }
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, at: &Path, what: PutPayload, how: PutOptions) -> Result<PutResult> {
        let mut what = what;
        let next = self.calls.load(Ordering::SeqCst) + 1;
        if self.moment == Moment::Half && next == self.at {
            let whole = bytes::Bytes::from(what);
            what = whole.slice(..whole.len() / 2).into();
        }
        self.call(self.inner.put_opts(at, what, how)).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.call(self.inner.put_multipart_opts(at, how)).await?;
        let store = self.clone();
        Ok(Box::new(FaultyUpload { inner, store }))
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        self.call(self.inner.get_opts(at, how)).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |path: Result<Path>| {
            let store = store.clone();
            async move {
                let path = path?;
                store.call(store.inner.delete(&path)).await?;
                Ok(path)
            }
        };
        paths.then(delete).boxed()
    }

    fn list(&self, folder: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.inner.list(folder);
        let store = self.clone();
        let begun = async move { store.call(async { Ok(listed) }).await };
        begun.try_flatten_stream().boxed()
    }

    async fn list_with_delimiter(&self, folder: Option<&Path>) -> Result<ListResult> {
        self.call(self.inner.list_with_delimiter(folder)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.call(self.inner.copy_opts(from, to, how)).await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    store: Faulty,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, what: PutPayload) -> UploadPart {
        let put = self.inner.put_part(what);
        let store = self.store.clone();
        Box::pin(async move { store.call(put).await })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.store.call(self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.store.call(self.inner.abort()).await
    }
}

pub(crate) fn commit_of(
    id: BackupId,
    number: u64,
    parent: Option<BackupId>,
    parts: Vec<pawang_backup::repository::Part>,
    manifest: Object,
) -> Commit {
    let at = |lsn| Position {
        timeline: Timeline(1),
        lsn: Lsn(lsn),
    };
    let segment = 16 << 20;
    let began: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
    let began = began + SignedDuration::from_hours(24 * i64::try_from(number).unwrap());
    Commit {
        format: FORMAT,
        backup: id,
        cluster: CLUSTER,
        server: ServerFacts {
            instance: "dwh-1".to_owned(),
            version: 170_002,
            segment_bytes: segment,
            block_bytes: 8192,
            data_checksums: true,
            standby: false,
            data_bytes: 1,
        },
        mode: Mode::Protocol,
        kind: if parent.is_some() {
            BackupKind::Incremental
        } else {
            BackupKind::Full
        },
        parent,
        started_at: began,
        ended_at: began,
        start: at(number * u64::from(segment) * 10 + 40),
        stop: at(number * u64::from(segment) * 10 + 4000),
        parts,
        tablespaces: Vec::new(),
        manifest,
        pages: Pages::default(),
        relation_files: None,
        recipients: Vec::new(),
        tool: "pawang".to_owned(),
    }
}

/// Takes a backup of noise: a part of several pieces, a small one, a manifest, a commit.
pub(crate) async fn take(
    repository: &Repository,
    number: u8,
    parent: Option<u8>,
) -> std::result::Result<Commit, pawang_backup::Error> {
    use std::io::Write;
    let id = backup_id(number);
    let settings = PartSettings::default;
    let large = vec![noise(u64::from(number), 200_000)];
    let parts = vec![
        write_part(repository, &id, 0, large, settings()).await?,
        write_part(repository, &id, 1, vec![noise(7, 1000)], settings()).await?,
    ];
    let path = CLUSTER.part(&id, MANIFEST);
    let mut writer = repository.object_writer(&path, None)?;
    let written = tokio::task::spawn_blocking(move || {
        writer.write_all(b"{}").unwrap();
        writer.finish()
    });
    let manifest = written.await.unwrap()?;
    let parent = parent.map(backup_id);
    let commit = Commit {
        recipients: repository.recipients(),
        ..commit_of(id, u64::from(number), parent, parts, manifest)
    };
    repository.commit_backup(&commit).await?;
    Ok(commit)
}

/// What must always hold: each commit's objects are there, byte for byte, and so is what it stands on.
async fn prove_commits(folder: &FilePath, context: &str) -> Vec<Commit> {
    prove_commits_of(Repository::directory(folder).unwrap(), context).await
}

async fn prove_commits_of(repository: Repository, context: &str) -> Vec<Commit> {
    let (commits, _) = repository.readable_backups(&CLUSTER).await.unwrap();
    for commit in &commits {
        for part in &commit.parts {
            let read = read_part(&repository, &commit.backup, part).await;
            assert!(
                read.is_ok(),
                "{context}: {} {}: {read:?}",
                commit.backup,
                part.name
            );
        }
        let manifest = commit.manifest_path();
        assert!(
            repository.read(&manifest).await.unwrap().is_some(),
            "{context}"
        );
        if let Some(parent) = &commit.parent {
            let there = commits.iter().any(|other| other.backup == *parent);
            assert!(there, "{context}: {} lost {parent}", commit.backup);
        }
    }
    commits
}

/// Makes a folder in memory where there is one: what counts here is the order of calls, not the disk.
fn scratch() -> tempfile::TempDir {
    let memory = tempfile::tempdir_in("/dev/shm");
    memory.or_else(|_| tempfile::tempdir()).unwrap()
}

fn faulty(folder: &FilePath, at: usize, moment: Moment) -> (Repository, Arc<AtomicUsize>) {
    let whole = Repository::directory(folder).unwrap();
    let store = Faulty::over(Arc::clone(whole.store()), at, moment);
    let calls = Arc::clone(&store.calls);
    let repository = Repository::over(Arc::new(store), "faulty");
    (repository.with_pieces_of(64 << 10), calls)
}

/// Sets all files back, as if time had passed by the store's clock.
fn age(folder: &FilePath, by: Duration) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            age(&path, by);
        } else {
            let file = File::options().write(true).open(&path).unwrap();
            let modified = file.metadata().unwrap().modified().unwrap();
            file.set_modified(modified - by).unwrap();
        }
    }
}

/// Copies a folder with the times of its files.
fn copy(from: &FilePath, to: &FilePath) {
    for entry in std::fs::read_dir(from).unwrap() {
        let from = entry.unwrap().path();
        let to = to.join(from.file_name().unwrap());
        if from.is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
            let modified = from.metadata().unwrap().modified().unwrap();
            let file = File::options().write(true).open(&to).unwrap();
            file.set_modified(modified).unwrap();
        }
    }
}

fn files(folder: &FilePath) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return found;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn a_backup_is_killed_at_every_call() {
    let sealed = Desk::new().keys;
    // Sealing changes nothing in the calls.
    let calls = backup_calls(&Keys::default()).await;
    assert_eq!(backup_calls(&sealed).await, calls);
    for keys in [Keys::default(), sealed] {
        killed_backups(&keys, calls).await;
    }
}

async fn backup_calls(keys: &Keys) -> usize {
    let folder = scratch();
    let (repository, calls) = faulty(folder.path(), 0, Moment::Before);
    let repository = repository.with_keys(keys.clone());
    take(&repository, 1, None).await.unwrap();
    let calls = calls.load(Ordering::SeqCst);
    assert!(calls >= 10, "{calls}");
    calls
}

async fn killed_backups(keys: &Keys, calls: usize) {
    let open = |folder: &tempfile::TempDir| {
        let repository = Repository::directory(folder.path()).unwrap();
        repository.with_keys(keys.clone())
    };
    for moment in [Moment::Before, Moment::After, Moment::Half, Moment::Once] {
        for at in 1..=calls {
            let folder = scratch();
            let (repository, _) = faulty(folder.path(), at, moment);
            let repository = repository.with_keys(keys.clone());
            let taken = take(&repository, 1, None).await;
            let context = format!("{moment:?} {at} of {calls}, {keys:?}");
            let commits = prove_commits_of(open(&folder), &context).await;
            // A commit whose answer got lost exists; one that was told to be written does.
            assert!(taken.is_err() || commits.len() == 1, "{context}");
            take(&open(&folder), 2, None).await.unwrap();
            let after = prove_commits_of(open(&folder), &context).await;
            assert_eq!(after.len(), commits.len() + 1, "{context}");
        }
    }
}

#[tokio::test]
async fn a_commit_needs_its_parts() {
    let folder = scratch();
    let repository = Repository::directory(folder.path()).unwrap();
    let commit = take(&repository, 1, None).await.unwrap();
    // Written again, as after a lost answer.
    repository.commit_backup(&commit).await.unwrap();
    let other = Commit {
        tool: "another".to_owned(),
        ..commit.clone()
    };
    assert!(repository.commit_backup(&other).await.is_err());
    let mut missing = commit.clone();
    missing.backup = backup_id(9);
    let error = repository.commit_backup(&missing).await.unwrap_err();
    let detail = error.report().detail.unwrap();
    assert!(detail.contains("is not there"), "{detail}");
    let mut larger = commit.clone();
    larger.parts[0].bytes += 1;
    let error = repository.commit_backup(&larger).await.unwrap_err();
    assert!(error.report().detail.unwrap().contains("instead of"));
    let orphan = Commit {
        kind: BackupKind::Incremental,
        parent: Some(backup_id(9)),
        ..commit
    };
    let error = repository.commit_backup(&orphan).await.unwrap_err();
    assert!(error.report().detail.unwrap().contains("does not exist"));
}

/// Keeps only the newest; tombs lie for a second.
fn strict() -> Policy {
    Policy {
        keep_fulls: Some(1),
        grace: SignedDuration::from_secs(1),
        ..Policy::default()
    }
}

/// Two chains, the first of three with its tombs laid and old enough, and WAL from before the first to behind the last.
async fn history(folder: &FilePath) {
    let repository = Repository::directory(folder).unwrap();
    for (number, parent) in [
        (1, None),
        (2, Some(1)),
        (3, Some(2)),
        (5, None),
        (6, Some(5)),
    ] {
        take(&repository, number, parent).await.unwrap();
    }
    for number in (0..70).step_by(5) {
        let name = pawang_backup::wal::SegmentName::numbered(Timeline(1), number, 16 << 20);
        let path = CLUSTER.segment(&name, 16 << 20);
        repository.create(&path, "wal".into()).await.unwrap();
    }
    let outcome = expire(&repository, &CLUSTER, &strict(), Timestamp::now(), false)
        .await
        .unwrap();
    assert_eq!(outcome.deleted.backups, [], "tombs come first");
    // What a writer left that was killed.
    let killed = folder.join(CLUSTER.backup(&backup_id(8)));
    std::fs::create_dir(&killed).unwrap();
    std::fs::write(killed.join("part-00000.tar.zst#1"), "half").unwrap();
    age(folder, Duration::from_secs(3 * 24 * 3600));
}

#[tokio::test]
async fn expiry_is_killed_at_every_call() {
    let whole = scratch();
    history(whole.path()).await;
    let folder = scratch();
    copy(whole.path(), folder.path());
    let (repository, calls) = faulty(folder.path(), 0, Moment::Before);
    let outcome = expire(&repository, &CLUSTER, &strict(), Timestamp::now(), false)
        .await
        .unwrap();
    assert_eq!(outcome.deleted.backups.len(), 3);
    // Those before the start of backup 5, which is in segment 50, and behind 0 and 5, which no tomb needed.
    assert_eq!(outcome.deleted.wal_objects, 8);
    let left = files(folder.path());
    let calls = calls.load(Ordering::SeqCst);
    assert!(calls > 40, "{calls}");
    let mut expected = relative(&left, first_root(&left));
    // A store that is not known as a directory has no unfinished files.
    expected.retain(|path| !path.contains('#'));
    let cases = [Moment::Before, Moment::After, Moment::Once]
        .into_iter()
        .flat_map(|moment| (1..=calls).map(move |at| (at, moment)));
    let runs = cases.map(|(at, moment)| killed_expiry(whole.path(), at, moment, &expected));
    // Most of the time is spent waiting for the disk.
    futures_util::stream::iter(runs)
        .buffer_unordered(8)
        .collect::<()>()
        .await;
}

/// Kills one expiry; the next run, after the lease ran out and what is left is old, ends where an undisturbed one does.
async fn killed_expiry(whole: &FilePath, at: usize, moment: Moment, expected: &BTreeSet<String>) {
    let folder = scratch();
    copy(whole, folder.path());
    let (repository, _) = faulty(folder.path(), at, moment);
    let _told = expire(&repository, &CLUSTER, &strict(), Timestamp::now(), false).await;
    let context = format!("{moment:?} {at}");
    let commits = prove_commits(folder.path(), &context).await;
    for kept in [5, 6] {
        let there = commits.iter().any(|one| one.backup == backup_id(kept));
        assert!(there, "{context}");
    }
    age(folder.path(), Duration::from_secs(3 * 24 * 3600));
    let repository = Repository::directory(folder.path()).unwrap();
    let again = expire(&repository, &CLUSTER, &strict(), Timestamp::now(), false).await;
    let again = again.unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(again.problems, Vec::<String>::new(), "{context}");
    let commits = prove_commits(folder.path(), &context).await;
    assert_eq!(commits.len(), 2, "{context}");
    let root = folder.path().display().to_string();
    assert_eq!(
        relative(&files(folder.path()), &root),
        *expected,
        "{context}"
    );
}

/// Returns paths below a root, without leases.
fn relative(paths: &BTreeSet<String>, root: &str) -> BTreeSet<String> {
    let own = paths.iter().map(|path| path.replace(root, ""));
    own.filter(|path| !path.contains("/lease/")).collect()
}

/// Returns the part of the paths before the clusters.
fn first_root(paths: &BTreeSet<String>) -> &str {
    let first = paths.first().expect("something is left");
    first
        .split_once("/cluster/")
        .expect("all lies in clusters")
        .0
}
