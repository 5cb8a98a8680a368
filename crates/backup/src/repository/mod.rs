//! Where backups and WAL are kept: format v1 over a local directory or an S3-compatible store.
//!
//! Objects are created once and never changed (fact 10 of immutability: an object lock costs nothing then).

mod commit;
mod connector;
mod data;
mod fetch;
mod frames;
mod layout;
mod lease;
mod mark;
mod part;
mod place;
mod proof;
mod rate;
pub(crate) mod seal;
pub(crate) mod trouble;
mod unfinished;
mod upload;
mod uploads;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use commit::{
    BackupKind, BadPage, Commit, FORMAT, MANIFEST, Mode, Object, Pages, Part, Position,
    ServerFacts, Tablespace,
};
pub use data::Digest;
pub use fetch::{DataReader, PartReader};
pub use layout::{BackupId, ClusterId, ParseBackupIdError};
pub use lease::{Held, Lease, LeaseFacts};
pub use mark::{Hold, Tomb};
pub use part::{LEVEL, ObjectWriter, PART_BYTES, PartSettings, PartWriter};
pub use place::{MARKER, Marker, README, RepositorySettings, directory};
pub use proof::{Phase, Proof, ProvenBy, Standing, State, rotten, standing};
pub use rate::Rate;
pub use seal::{Identity, Keys, ParseKeyError, Recipient, SealError};

use crate::Error;
use crate::owner::Owner;

/// So many commits are read at a time.
const READS_MAX: usize = 8;
/// Pieces in which parts are written: a directory takes any size.
const PIECE_BYTES: usize = 1 << 20;

/// An opened repository; cheap to clone.
#[derive(Clone, Debug)]
pub struct Repository {
    store: Arc<dyn ObjectStore>,
    place: Arc<str>,
    /// Where it is a bucket: what writers left there, which no listing shows.
    uploads: Option<Arc<uploads::Uploads>>,
    /// Where it is a directory: what is deleted must stay deleted after a crash.
    folder: Option<Arc<Path>>,
    /// To whom root gives what it writes below the folder.
    owner: Option<Owner>,
    piece_bytes: usize,
    /// Whether it was opened by its marker: then nothing is believed to be missing while the marker is.
    marked: bool,
    /// For whom data is sealed, and who reads it.
    keys: Arc<Keys>,
    /// Whether the marker names recipients: then nothing is written for everybody to read.
    sealed: bool,
}

/// An object as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// When the store took it, by the store's clock.
    pub modified: Timestamp,
}

/// What became of an object that is written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is written and durable.
    New,
    /// It was there with the same content.
    Same,
}

impl Repository {
    /// Opens a store under the name that people read; tests put faults between.
    pub fn over(store: Arc<dyn ObjectStore>, place: &str) -> Repository {
        Repository {
            store,
            place: Arc::from(place),
            uploads: None,
            folder: None,
            owner: None,
            piece_bytes: PIECE_BYTES,
            marked: false,
            keys: Arc::default(),
            sealed: false,
        }
    }

    /// Returns it with other keys.
    #[must_use]
    pub fn with_keys(self, keys: Keys) -> Repository {
        Repository {
            keys: Arc::new(keys),
            ..self
        }
    }

    /// Returns it with another size of the pieces in which parts are written.
    #[must_use]
    pub fn with_pieces_of(self, piece_bytes: usize) -> Repository {
        Repository {
            piece_bytes,
            ..self
        }
    }

    /// Opens a directory, which must exist. Whatever it says is written is synchronised, file and folder.
    ///
    /// # Errors
    /// It is no directory.
    pub fn directory(folder: &Path) -> Result<Repository, Error> {
        let place = folder.display().to_string();
        let store = object_store::local::LocalFileSystem::new_with_prefix(folder)
            .map_err(|source| Error::Storage {
                doing: "open",
                object: String::new(),
                place: place.clone(),
                source: Box::new(source),
            })?
            .with_fsync(true);
        Ok(Repository {
            folder: Some(Arc::from(folder)),
            owner: Owner::named(folder),
            ..Repository::over(Arc::new(store), &place)
        })
    }

    /// Returns where it is, without secrets.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Returns the store itself, for parts that are streamed.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Writes an object that must not exist yet. The same content twice is no mistake.
    ///
    /// # Errors
    /// It exists with other content, or the store refused.
    pub async fn create(&self, path: &str, bytes: Bytes) -> Result<Created, Error> {
        let options = PutOptions::from(PutMode::Create);
        let payload = PutPayload::from_bytes(bytes.clone());
        match self
            .store
            .put_opts(&ObjectPath::from(path), payload, options)
            .await
        {
            Ok(_) => self.given(path).map(|()| Created::New),
            Err(object_store::Error::AlreadyExists { .. }) => match self.read(path).await? {
                Some(there) if there == bytes => Ok(Created::Same),
                _ => Err(Error::Exists {
                    object: path.to_owned(),
                    place: self.place.to_string(),
                }),
            },
            Err(source) => Err(self.failed("write", path, source)),
        }
    }

    /// Gives what root has just written to the owner of the folder.
    pub(super) fn given(&self, path: &str) -> Result<(), Error> {
        let (Some(owner), Some(folder)) = (self.owner, &self.folder) else {
            return Ok(());
        };
        owner
            .give_below(folder, path)
            .map_err(|source| self.problem("give away", path, source.into()))
    }

    /// Writes an object in JSON that must not exist yet.
    ///
    /// # Errors
    /// It exists with other content, or the store refused.
    pub(crate) async fn create_json<T: Serialize>(
        &self,
        path: &str,
        value: &T,
    ) -> Result<Created, Error> {
        self.create(path, self.json(path, value)?).await
    }

    fn json<T: Serialize>(&self, path: &str, value: &T) -> Result<Bytes, Error> {
        let text = serde_json::to_vec_pretty(value);
        text.map(Bytes::from)
            .map_err(|error| self.wrong(path, error.to_string()))
    }

    /// Reads an object in JSON; `None` when the store says that it does not exist.
    ///
    /// # Errors
    /// The store could not say, or the object is of a newer format or no such object.
    pub(crate) async fn read_json<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Option<T>, Error> {
        match self.read(path).await? {
            Some(bytes) => self.parse_json(path, &bytes).map(Some),
            None => Ok(None),
        }
    }

    fn parse_json<T: DeserializeOwned>(&self, path: &str, bytes: &[u8]) -> Result<T, Error> {
        let wrong = |error: serde_json::Error| self.wrong(path, error.to_string());
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(wrong)?;
        let format = value.get("format").and_then(serde_json::Value::as_u64);
        if format != Some(u64::from(FORMAT)) {
            let found = format.map_or_else(|| "no number".to_owned(), |format| format.to_string());
            let problem = format!("its format is {found}, and this program reads {FORMAT}");
            return Err(self.wrong(path, problem));
        }
        serde_json::from_value(value).map_err(wrong)
    }

    /// Reads a whole object; `None` when the store says that it does not exist.
    ///
    /// # Errors
    /// The store could not say, or is gone: a bucket that was removed, a disk that is not mounted any more.
    pub async fn read(&self, path: &str) -> Result<Option<Bytes>, Error> {
        let found = self.read_unmarked(path).await?;
        if found.is_none() {
            self.still_there(path).await?;
        }
        Ok(found)
    }

    async fn read_unmarked(&self, path: &str) -> Result<Option<Bytes>, Error> {
        let got = match self.store.get(&ObjectPath::from(path)).await {
            Ok(got) => got,
            Err(source @ object_store::Error::NotFound { .. }) => {
                // A bucket that does not exist says the same of each of its objects.
                return match trouble::of(&source) {
                    Some(_) => Err(self.failed("read", path, source)),
                    None => Ok(None),
                };
            }
            Err(source) => return Err(self.failed("read", path, source)),
        };
        match got.bytes().await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(source) => Err(self.failed("read", path, source)),
        }
    }

    /// That something is missing is believed only while the repository itself is there: whoever replays WAL would take the
    /// empty folder of a disk that is not mounted for the end of the archive, and lose what follows.
    async fn still_there(&self, path: &str) -> Result<(), Error> {
        if !self.marked {
            return Ok(());
        }
        let marker = self.store.head(&ObjectPath::from(MARKER)).await;
        marker
            .map(drop)
            .map_err(|source| self.failed("look for", path, source))
    }

    /// Lists everything below a folder, in no order.
    ///
    /// # Errors
    /// The store could not say.
    pub async fn list(&self, folder: &str) -> Result<Vec<Entry>, Error> {
        let prefix = ObjectPath::from(folder);
        let entries: Vec<Entry> = self
            .store
            .list(Some(&prefix))
            .map_ok(|meta| Entry {
                path: meta.location.to_string(),
                bytes: meta.size,
                modified: timestamp(&meta),
            })
            .try_collect()
            .await
            .map_err(|source| self.failed("list", folder, source))?;
        // A disk may go while it is listed, so that it seems to end early.
        self.still_there(folder).await?;
        Ok(entries)
    }

    /// Deletes an object; that it is gone already is no mistake. It stays deleted after a crash.
    ///
    /// # Errors
    /// The store refused.
    pub async fn delete(&self, path: &str) -> Result<(), Error> {
        match self.store.delete(&ObjectPath::from(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(source) => return Err(self.failed("delete", path, source)),
        }
        let Some(root) = &self.folder else {
            return Ok(());
        };
        let file: PathBuf = root.join(path);
        let folder = file.parent().unwrap_or(root).to_owned();
        let synchronised =
            tokio::task::spawn_blocking(move || std::fs::File::open(folder)?.sync_all());
        match synchronised.await.map_err(std::io::Error::other).flatten() {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(self.problem("delete", path, error.into()))
            }
            _ => Ok(()),
        }
    }

    /// Removes a folder of a directory that has no object; one that has some stays, and a bucket has no folders.
    ///
    /// # Errors
    /// The operating system refuses.
    pub(crate) async fn remove_empty(&self, folder: &str) -> Result<(), Error> {
        let Some(root) = &self.folder else {
            return Ok(());
        };
        use std::io::ErrorKind::{DirectoryNotEmpty, NotFound};
        let path = root.join(folder);
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir(path));
        match removed.await.map_err(std::io::Error::other).flatten() {
            Err(error) if !matches!(error.kind(), NotFound | DirectoryNotEmpty) => {
                Err(self.problem("delete", folder, error.into()))
            }
            _ => Ok(()),
        }
    }

    /// Takes away what writers left below a folder and no listing shows: of a directory files that nobody wrote to since, and
    /// folders without content; of a bucket uploads that began before and are not in use. Returns how many there were.
    ///
    /// # Errors
    /// One could not be deleted, or the store could not say.
    pub(crate) async fn sweep_unfinished(
        &self,
        folder: &str,
        before: Timestamp,
        in_use: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<u64, Error> {
        if let Some(uploads) = &self.uploads {
            let swept = uploads.sweep(folder, before, in_use).await;
            return swept
                .map_err(|source| self.failed("end unfinished uploads of", folder, source));
        }
        let Some(root) = &self.folder else {
            return Ok(0);
        };
        let below = root.join(folder);
        let swept = tokio::task::spawn_blocking(move || unfinished::sweep(&below, before.into()));
        let swept = swept.await.map_err(std::io::Error::other).flatten();
        swept.map_err(|source| self.problem("sweep", folder, source.into()))
    }

    /// Lists the clusters that it knows.
    ///
    /// # Errors
    /// The store could not say.
    pub async fn clusters(&self) -> Result<Vec<ClusterId>, Error> {
        let folders = self.folders("cluster").await?;
        Ok(folders
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect())
    }

    /// Reads the commits of a cluster's backups, oldest stop position first; what has no commit is no backup.
    ///
    /// # Errors
    /// The store could not say, or a commit cannot be read.
    pub async fn backups(&self, cluster: &ClusterId) -> Result<Vec<Commit>, Error> {
        let (commits, damaged) = self.readable_backups(cluster).await?;
        let first = damaged.into_iter().next();
        first.map_or(Ok(commits), |(_, error)| Err(error))
    }

    /// Reads the commits that can be read, in the same order, and tells what is wrong with the others.
    ///
    /// Who restores needs what there is; who deletes must know all of it.
    ///
    /// # Errors
    /// The store could not say.
    pub async fn readable_backups(
        &self,
        cluster: &ClusterId,
    ) -> Result<(Vec<Commit>, Vec<(BackupId, Error)>), Error> {
        self.readable_backups_after(cluster, None).await
    }

    /// Does the same with those backups only that were begun after another one.
    ///
    /// # Errors
    /// The store could not say.
    pub(crate) async fn readable_backups_after(
        &self,
        cluster: &ClusterId,
        after: Option<&BackupId>,
    ) -> Result<(Vec<Commit>, Vec<(BackupId, Error)>), Error> {
        let folders = self.folders(&cluster.backups()).await?;
        let ids: Vec<BackupId> = folders
            .iter()
            .filter_map(|name| name.parse().ok())
            .filter(|id| after.is_none_or(|after| id > after))
            .collect();
        let reads: Vec<_> = ids
            .iter()
            .map(|id| async move { (id, self.commit(cluster, id).await) })
            .collect();
        let mut reads = stream::iter(reads).buffer_unordered(READS_MAX);
        let (mut commits, mut damaged) = (Vec::new(), Vec::new());
        while let Some((id, read)) = reads.next().await {
            match read {
                Ok(commit) => commits.extend(commit),
                Err(error @ Error::Format { .. }) => damaged.push((id.clone(), error)),
                Err(error) => return Err(error),
            }
        }
        commits.sort_by(|a, b| {
            let order = |commit: &Commit| (commit.stop.timeline, commit.stop.lsn);
            order(a)
                .cmp(&order(b))
                .then_with(|| a.backup.cmp(&b.backup))
        });
        Ok((commits, damaged))
    }

    /// Counts the bytes of everything in it, of all clusters.
    ///
    /// # Errors
    /// The store could not say.
    pub async fn bytes(&self) -> Result<u64, Error> {
        let entries = self.list("").await?;
        Ok(entries.iter().map(|entry| entry.bytes).sum())
    }

    /// Lists the names of a folder's folders.
    async fn folders(&self, folder: &str) -> Result<Vec<String>, Error> {
        let listed = self
            .store
            .list_with_delimiter(Some(&ObjectPath::from(folder)))
            .await
            .map_err(|source| self.failed("list", folder, source))?;
        self.still_there(folder).await?;
        let names = listed.common_prefixes.iter();
        Ok(names
            .filter_map(|path| Some(path.filename()?.to_owned()))
            .collect())
    }

    /// Reads a backup's commit; `None` when it has none.
    ///
    /// # Errors
    /// The store could not say, or the commit is of a newer format, of another cluster, or no commit.
    pub async fn commit(
        &self,
        cluster: &ClusterId,
        id: &BackupId,
    ) -> Result<Option<Commit>, Error> {
        let path = cluster.commit(id);
        let commit: Option<Commit> = self.read_json(&path).await?;
        match &commit {
            Some(other) if other.cluster != *cluster || other.backup != *id => {
                let problem = format!("it is of backup {} of {}", other.backup, other.cluster);
                Err(self.wrong(&path, problem))
            }
            _ => Ok(commit),
        }
    }

    /// Returns the path of any object; `None` when there is none.
    async fn any(&self) -> Result<Option<String>, Error> {
        let first = self.store.list(None).try_next().await;
        let first = first.map_err(|source| self.failed("list", "", source))?;
        Ok(first.map(|meta| meta.location.to_string()))
    }

    pub(crate) fn piece_bytes(&self) -> usize {
        self.piece_bytes
    }

    fn failed(&self, doing: &'static str, object: &str, source: object_store::Error) -> Error {
        self.problem(doing, object, Box::new(source))
    }

    pub(crate) fn problem(
        &self,
        doing: &'static str,
        object: &str,
        source: Box<dyn std::error::Error + Send + Sync>,
    ) -> Error {
        Error::Storage {
            doing,
            object: object.to_owned(),
            place: self.place.to_string(),
            source,
        }
    }

    pub(crate) fn wrong(&self, object: &str, problem: String) -> Error {
        Error::Format {
            object: object.to_owned(),
            place: self.place.to_string(),
            problem,
        }
    }
}

/// When the store took an object, by its clock.
fn timestamp(meta: &object_store::ObjectMeta) -> Timestamp {
    Timestamp::from_millisecond(meta.last_modified.timestamp_millis()).unwrap_or_default()
}
