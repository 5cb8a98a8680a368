//! Where a repository is: a directory, or a bucket of an S3-compatible store; and the marker that makes the place one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use object_store::aws::AmazonS3Builder;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use pawang_core::{Kind, Report, Secret};
use serde::{Deserialize, Serialize};

use super::connector::Connector;
use super::uploads::Uploads;
use super::{BackupId, FORMAT, Keys, Repository};
use crate::Error;
use crate::owner::Owner;

/// The object that makes a place a repository.
pub const MARKER: &str = "pawang-repository.json";
/// The object that tells a person without Pawang what to do.
pub const README: &str = "README.md";
const README_TEXT: &str = include_str!("README.md");

/// How long a request is tried again when nothing else is said.
const TRY_AGAIN_FOR: Duration = Duration::from_secs(60);
const TRIES_MAX: usize = 10;
const BACKOFF: BackoffConfig = BackoffConfig {
    init_backoff: Duration::from_millis(100),
    max_backoff: Duration::from_secs(10),
    base: 2.0,
};
/// S3 wants pieces of at least 5 MiB, and at most 10 000 of them.
const S3_PIECE_BYTES: usize = 8 << 20;

/// How a place is reached, besides its name.
#[derive(Clone, Debug, Default)]
pub struct RepositorySettings {
    /// The address of an S3-compatible store; without it Amazon's.
    pub endpoint: Option<String>,
    /// The region, `us-east-1` when it is not given.
    pub region: Option<String>,
    /// Whether the bucket is part of the path rather than of the host; by default it is where there is an endpoint.
    pub path_style: Option<bool>,
    /// The access key; without it the machine's own role is asked for one.
    pub access_key: Option<String>,
    /// The secret of the access key.
    pub secret_key: Option<Secret<String>>,
    /// The token of temporary keys.
    pub session_token: Option<Secret<String>>,
    /// Whether the store may be asked without TLS.
    pub allow_http: bool,
    /// A file of certificates that are trusted besides those of the system.
    pub certificates: Option<PathBuf>,
    /// How long a request is tried again; a minute when it is not given.
    pub try_again_for: Option<Duration>,
    /// How long one answer may take; two minutes when it is not given.
    pub answer_within: Option<Duration>,
    /// For whom data is sealed, and who reads it.
    pub keys: Keys,
}

/// The marker of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The number of the format.
    pub format: u32,
    /// The repository's own name, which two copies share.
    pub repository: BackupId,
    /// When it was set up.
    pub created_at: Timestamp,
    /// The recipients for whom it was set up, where it is encrypted; later objects may be for others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Directory(&'a Path),
    S3 { bucket: &'a str, prefix: &'a str },
}

impl Repository {
    /// Opens a repository: `/path`, `file:///path`, or `s3://bucket/prefix`.
    ///
    /// # Errors
    /// The place is none, cannot be reached, is no repository, or is one of a newer format.
    pub async fn open(place: &str, settings: &RepositorySettings) -> Result<Repository, Error> {
        let detail = match parse(place)? {
            Place::Directory(folder) if !folder.exists() => {
                "there is no such directory; a disk may not be mounted".to_owned()
            }
            _ => {
                let repository = Repository::reach(place, settings)?;
                if let Some(marker) = repository.marker().await? {
                    return Ok(repository.marked(&marker));
                }
                format!("it has no \"{MARKER}\"; a disk may not be mounted")
            }
        };
        let primary = format!("\"{place}\" is no repository");
        let report = Report::new(Kind::Target, primary)
            .with_detail(detail)
            .with_hint(format!("pawang backup setup --repo {place}"));
        Err(Error::Refused(Box::new(report)))
    }

    /// Makes a place a repository, or opens the one that is there. The random bits name a new one.
    ///
    /// # Errors
    /// The place cannot be reached or written, holds something else, or is a repository of a newer format.
    pub async fn setup(
        place: &str,
        settings: &RepositorySettings,
        now: Timestamp,
        random: [u8; 10],
    ) -> Result<Repository, Error> {
        if let Place::Directory(folder) = parse(place)? {
            make_folder(folder)?;
        }
        let repository = Repository::reach(place, settings)?;
        if let Some(marker) = repository.marker().await? {
            return Ok(repository.marked(&marker));
        }
        if let Some(other) = repository.any().await? {
            let report = Report::new(Kind::Refused, format!("\"{place}\" is not empty"))
                .with_detail(format!("it holds \"{other}\", which is of no repository"))
                .with_hint("pawang backup setup --repo with an empty directory or another prefix");
            return Err(Error::Refused(Box::new(report)));
        }
        let marker = Marker {
            format: FORMAT,
            repository: BackupId::new(now, random),
            created_at: now,
            recipients: repository.recipients(),
        };
        // The marker comes last: what has none is no repository yet, and is set up again.
        repository.create(README, README_TEXT.into()).await?;
        repository.create_json(MARKER, &marker).await?;
        Ok(repository.marked(&marker))
    }

    fn marked(self, marker: &Marker) -> Repository {
        Repository {
            marked: true,
            sealed: !marker.recipients.is_empty(),
            ..self
        }
    }

    /// Reads the marker; `None` when the place has none.
    ///
    /// # Errors
    /// The store could not say, or the marker is of a newer format.
    pub async fn marker(&self) -> Result<Option<Marker>, Error> {
        let Some(bytes) = self.read_unmarked(MARKER).await? else {
            return Ok(None);
        };
        self.parse_json(MARKER, &bytes).map(Some)
    }

    fn reach(place: &str, settings: &RepositorySettings) -> Result<Repository, Error> {
        let repository = match parse(place)? {
            Place::Directory(folder) => Repository::directory(folder)?,
            Place::S3 { bucket, prefix } => {
                let bucket = s3(bucket, settings, place)?;
                let uploads = Uploads::new(bucket.clone(), &connector(settings), prefix);
                let uploads = uploads.map_err(|source| cannot_open(place, source))?;
                let store: Arc<dyn ObjectStore> = if prefix.is_empty() {
                    Arc::new(bucket)
                } else {
                    Arc::new(PrefixStore::new(bucket, prefix))
                };
                Repository {
                    uploads: Some(Arc::new(uploads)),
                    ..Repository::over(store, place).with_pieces_of(S3_PIECE_BYTES)
                }
            }
        };
        Ok(repository.with_keys(settings.keys.clone()))
    }
}

/// Returns the directory that a place names; `None` when it is a bucket, or no place.
pub fn directory(place: &str) -> Option<&Path> {
    match parse(place).ok()? {
        Place::Directory(folder) => Some(folder),
        Place::S3 { .. } => None,
    }
}

fn parse(place: &str) -> Result<Place<'_>, Error> {
    if let Some(rest) = place.strip_prefix("s3://") {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if !bucket.is_empty() {
            let prefix = prefix.trim_matches('/');
            return Ok(Place::S3 { bucket, prefix });
        }
    }
    let folder = Path::new(place.strip_prefix("file://").unwrap_or(place));
    if folder.is_absolute() {
        return Ok(Place::Directory(folder));
    }
    let report = Report::new(
        Kind::Usage,
        format!("cannot read \"{place}\" as the place of a repository"),
    )
    .with_detail("it is /path, file:///path or s3://bucket/prefix")
    .with_hint("pawang backup setup --repo /srv/backup");
    Err(Error::Refused(Box::new(report)))
}

/// Makes a folder; one that is empty and root's is given to the user who runs servers.
fn make_folder(folder: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    let failed = |doing, source| Error::File {
        doing,
        path: folder.to_owned(),
        source,
    };
    let owner = Owner::of(folder);
    let mut builder = std::fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(folder);
    made.map_err(|source| failed("create", source))?;
    let mut entries = std::fs::read_dir(folder).map_err(|source| failed("list", source))?;
    match owner {
        // A link to a folder is not given: what it leads to is.
        Some(owner) if Owner::named(folder).is_none() && entries.next().is_none() => {
            let given = folder.canonicalize().and_then(|real| owner.give(&real));
            given.map_err(|source| failed("give away", source))
        }
        _ => Ok(()),
    }
}

fn s3(
    bucket: &str,
    settings: &RepositorySettings,
    place: &str,
) -> Result<object_store::aws::AmazonS3, Error> {
    let plain = |endpoint: &str| endpoint.starts_with("http://");
    if !settings.allow_http && settings.endpoint.as_deref().is_some_and(plain) {
        let primary = format!("the endpoint of repository {place} has no TLS");
        let report = Report::new(Kind::Usage, primary)
            .with_detail("whoever listens could read the backups, and the sessions that write them")
            .with_hint("pawang config explain backup: set allow_http where the way to it is safe");
        return Err(Error::Refused(Box::new(report)));
    }
    let path_style = settings.path_style.unwrap_or(settings.endpoint.is_some());
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_virtual_hosted_style_request(!path_style)
        .with_allow_http(settings.allow_http)
        .with_http_connector(connector(settings))
        // Not every compatible store knows how to delete many at once.
        .with_disable_bulk_delete(true)
        .with_retry(RetryConfig {
            backoff: BACKOFF,
            max_retries: TRIES_MAX,
            retry_timeout: settings.try_again_for.unwrap_or(TRY_AGAIN_FOR),
        });
    if let Some(region) = &settings.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(if path_style {
            endpoint.clone()
        } else {
            endpoint.replacen("://", &format!("://{bucket}."), 1)
        });
    }
    if let Some(key) = &settings.access_key {
        builder = builder.with_access_key_id(key);
    }
    if let Some(secret) = &settings.secret_key {
        builder = builder.with_secret_access_key(secret.reveal());
    }
    if let Some(token) = &settings.session_token {
        builder = builder.with_token(token.reveal());
    }
    builder.build().map_err(|source| cannot_open(place, source))
}

fn connector(settings: &RepositorySettings) -> Connector {
    Connector {
        certificates: settings.certificates.clone(),
        answer: settings.answer_within,
    }
}

fn cannot_open(place: &str, source: object_store::Error) -> Error {
    Error::Storage {
        doing: "open",
        object: String::new(),
        place: place.to_owned(),
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_directories_or_buckets() {
        let directory = |path| Place::Directory(Path::new(path));
        let s3 = |bucket, prefix| Place::S3 { bucket, prefix };
        for (place, expected) in [
            ("/srv/backup", directory("/srv/backup")),
            ("file:///srv/backup", directory("/srv/backup")),
            ("s3://b", s3("b", "")),
            ("s3://b/", s3("b", "")),
            ("s3://b/a/c/", s3("b", "a/c")),
        ] {
            assert_eq!(parse(place).unwrap(), expected, "{place}");
        }
        for place in ["", "backup", "s3://", "s3:///x", "https://b", "file://srv"] {
            assert!(parse(place).is_err(), "{place}");
        }
    }

    #[test]
    fn a_folder_behind_a_link_is_given_itself() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        make_folder(&link).unwrap();
        assert_eq!(Owner::named(&real), Owner::of(&real));
    }

    #[test]
    fn a_store_without_tls_is_refused_unless_allowed() {
        let mut settings = RepositorySettings {
            endpoint: Some("http://127.0.0.1:9".to_owned()),
            ..RepositorySettings::default()
        };
        assert!(matches!(
            s3("b", &settings, "s3://b"),
            Err(Error::Refused(_))
        ));
        settings.allow_http = true;
        settings.access_key = Some("key".to_owned());
        settings.secret_key = Some(Secret::new("hidden".to_owned()));
        let store = s3("b", &settings, "s3://b").unwrap();
        assert!(!format!("{settings:?} {store}").contains("hidden"));
    }
}
