//! Objects that hold data: WAL, parts, manifests. Where the repository is encrypted they are sealed, under their name with `.age`
//! behind it; what only says where things are stays clear.

use std::path::Path;

use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::path::Path as ObjectPath;
use pawang_core::{Kind, Report};

use super::seal::{self, SUFFIX, SealError, Sealer};
use super::{Commit, Created, Repository};
use crate::Error;

/// Returns the SHA-256 of what an object with data means, from its bytes before they are sealed.
pub type Digest = fn(&[u8]) -> std::io::Result<[u8; 32]>;

impl Repository {
    /// Returns for whom it seals what is written, by their texts; nobody where it is not encrypted.
    pub fn recipients(&self) -> Vec<String> {
        self.keys
            .recipients
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// Returns where its identities are from, if it has any.
    pub fn identity_file(&self) -> Option<&Path> {
        self.keys.identity_file.as_deref()
    }

    /// Says whether what is written is sealed.
    pub(crate) fn seals(&self) -> bool {
        !self.keys.recipients.is_empty()
    }

    /// Returns the name under which an object with data is written.
    pub(crate) fn data_path(&self, path: &str) -> String {
        if self.seals() {
            format!("{path}{SUFFIX}")
        } else {
            path.to_owned()
        }
    }

    /// Returns how many bytes an object with data has when it was written at once.
    pub(crate) fn data_bytes(&self, path: &str, bytes: u64) -> u64 {
        if !self.seals() {
            return bytes;
        }
        // Where the sizes cannot be told, none is right, and the object is written again.
        seal::sealed_bytes(&self.keys.recipients, path, bytes).unwrap_or(0)
    }

    /// Makes what seals an object on its way, by the name under which it is written.
    pub(super) fn sealer(&self, path: &str) -> Result<Option<Sealer>, Error> {
        self.refuse_clear()?;
        let Some(path) = path.strip_suffix(SUFFIX).filter(|_| self.seals()) else {
            return Ok(None);
        };
        let sealer = Sealer::new(&self.keys.recipients, path);
        let sealer = sealer.map_err(|source| self.problem("seal", path, source.into()))?;
        Ok(Some(sealer))
    }

    /// Writes an object with data that must not exist yet, neither sealed nor clear. The same content twice is no mistake.
    ///
    /// # Errors
    /// It exists with other content, or the store refused.
    pub async fn create_data(
        &self,
        path: &str,
        bytes: Bytes,
        digest: Digest,
    ) -> Result<Created, Error> {
        self.refuse_clear()?;
        if !self.seals() {
            return self.create(path, bytes).await;
        }
        let failed = |source: std::io::Error| self.problem("seal", path, source.into());
        let recipients = self.keys.recipients.clone();
        let (name, content) = (path.to_owned(), bytes);
        let sealing = move || {
            let digest = digest(&content)?;
            seal::seal(&recipients, &name, &digest, &content).map(|sealed| (digest, sealed))
        };
        let (ours, sealed) = apart(sealing).await.map_err(failed)?;
        // It may be there from before the repository was encrypted.
        if let Some(there) = self.read(path).await? {
            let same = apart(move || digest(&there)).await;
            return match same.is_ok_and(|there| there == ours) {
                true => Ok(Created::Same),
                false => Err(self.exists(path)),
            };
        }
        let stored = self.data_path(path);
        match self.create(&stored, Bytes::from(sealed)).await {
            Err(Error::Exists { .. }) => {
                let there = self.read(&stored).await?;
                let name = path.to_owned();
                let same = move || Ok(there.is_some_and(|there| seal::same(&name, &ours, &there)));
                match apart(same).await.map_err(failed)? {
                    true => Ok(Created::Same),
                    false => Err(self.exists(&stored)),
                }
            }
            other => other,
        }
    }

    /// Reads an object with data, sealed or clear; `None` when the store says that neither exists.
    ///
    /// # Errors
    /// The store could not say, or it is sealed and cannot be opened.
    pub(crate) async fn read_data(&self, path: &str) -> Result<Option<Bytes>, Error> {
        let sealed = format!("{path}{SUFFIX}");
        let sealed_first = self.sealed || self.seals() || !self.keys.identities.is_empty();
        if !sealed_first && let Some(bytes) = self.read(path).await? {
            return Ok(Some(bytes));
        }
        if let Some(bytes) = self.read(&sealed).await? {
            let (keys, name) = (self.keys.clone(), path.to_owned());
            let opened = apart(move || seal::open(&keys, &name, &bytes)).await;
            return match opened {
                Ok(content) => Ok(Some(content.into())),
                Err(error) => Err(self.unopened(&sealed, error)),
            };
        }
        if sealed_first {
            return self.read(path).await;
        }
        Ok(None)
    }

    /// Checks that a backup can be read with the keys that are here, before anything is begun.
    ///
    /// # Errors
    /// It is sealed for others, or no identity is here.
    pub fn check_keys(&self, commit: &Commit) -> Result<(), Error> {
        if !commit.sealed() {
            return Ok(());
        }
        match self.keys.locked_for(&commit.recipients) {
            None => Ok(()),
            Some(source) => Err(self.locked(&commit.manifest_path(), source)),
        }
    }

    /// Checks that an identity is here for an object with data, before anything is begun.
    ///
    /// # Errors
    /// It is sealed, and none is here.
    pub(crate) fn check_identity(&self, path: &str) -> Result<(), Error> {
        match self.keys.locked() {
            Some(source) if path.ends_with(SUFFIX) => Err(self.locked(path, source)),
            _ => Ok(()),
        }
    }

    /// Returns the error of an object that could not be read: whether it is sealed and how, or what the store said.
    pub(crate) fn unopened(&self, path: &str, error: std::io::Error) -> Error {
        match SealError::of(&error).cloned() {
            Some(source) => self.locked(path, source),
            None => self.problem("read", path, error.into()),
        }
    }

    fn locked(&self, path: &str, source: SealError) -> Error {
        Error::Sealed {
            object: path.to_owned(),
            place: self.place.to_string(),
            identity_file: self.keys.identity_file.clone(),
            source,
        }
    }

    fn exists(&self, path: &str) -> Error {
        Error::Exists {
            object: path.to_owned(),
            place: self.place.to_string(),
        }
    }

    /// Nothing is written for everybody to read where the marker says that it is encrypted. Whoever can change the marker must
    /// not choose for whom is sealed either, so that its recipients are not simply taken.
    fn refuse_clear(&self) -> Result<(), Error> {
        if !self.sealed || self.seals() {
            return Ok(());
        }
        let what = format!(
            "repository {} is encrypted, and its entry names no recipients",
            self.place
        );
        let report = Report::new(Kind::Refused, what)
            .with_detail("nothing is written into it that everybody could read")
            .with_hint(format!(
                "put encryption = \"age\" and recipients = [...] into its [[repository]]; \"{}\" in it names those of its setup",
                super::MARKER
            ));
        Err(Error::Refused(Box::new(report)))
    }

    /// Says whether an object with data is there as it is written here, by its size; what cannot be asked is not.
    pub(crate) async fn holds_data(&self, path: &str, bytes: u64) -> bool {
        let stored = ObjectPath::from(self.data_path(path));
        let found = self.store.head(&stored).await;
        found.is_ok_and(|found| found.size == self.data_bytes(path, bytes))
    }
}

/// Works on a thread of its own, so that several go on at once.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.expect("sealing does not panic")
}
