//! WAL goes back to PostgreSQL: `restore_command`, which never says that the archive ends where it does not (invariant I5).
//!
//! A file is given only after its frame, its header and every record in it were found whole: PostgreSQL takes a record that is
//! wrong for the end of the archive, and then takes new writes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::StreamExt;
use pawang_core::{Kind, Lsn, Report};

use super::catalogue::Catalogue;
use super::frame::unpack;
use super::listing::Piece;
use super::{Ending, SegmentName, Timeline, WalFile, Walked, Walker};
use crate::Error;
use crate::repository::{ClusterId, Repository};

/// So many segments are fetched at once.
const LANES: usize = 4;
/// How often a listing is read that changes while it is used.
const LISTINGS_MAX: usize = 3;
/// What a file is called until it is whole.
const UNFINISHED: &str = "pawang";

/// How WAL is got back.
#[derive(Clone, Debug)]
pub struct GetSettings {
    /// Bytes of a segment, as `pg_control` says.
    pub segment_bytes: u32,
    /// How many of the following segments are fetched too, into `spool`.
    pub prefetch: usize,
    /// A folder on the file system of the target.
    pub spool: PathBuf,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    /// The file is there.
    Delivered,
    /// The segment is there as far as it was written: what follows in it are zeros, and the archive ends with it.
    Tail {
        /// The position up to which it was written.
        end: Lsn,
    },
    /// The archive provably ends before it, or has no such timeline.
    End,
}

/// Gets a file of WAL, for PostgreSQL to replay.
///
/// # Errors
/// It could not be got, and that does not prove that the archive ends there.
pub async fn get(
    repositories: &[Repository],
    cluster: &ClusterId,
    name: &str,
    target: &Path,
    settings: &GetSettings,
) -> Result<Got, Error> {
    let file = WalFile::parse(name).ok_or_else(|| no_name(name))?;
    if repositories.is_empty() {
        return Err(refused(name, "no repository is named"));
    }
    match file {
        WalFile::Segment(name) => segment(repositories, cluster, &name, target, settings).await,
        WalFile::History(timeline) => {
            let object = cluster.history(timeline);
            if plain(repositories, &object, target).await? {
                return Ok(Got::Delivered);
            }
            no_history(repositories, cluster, timeline, settings.segment_bytes).await
        }
        WalFile::BackupHistory(segment, file) => {
            let object = cluster.backup_history(segment.timeline, &file);
            match plain(repositories, &object, target).await? {
                true => Ok(Got::Delivered),
                false => Err(refused(name, "no repository has it")),
            }
        }
        WalFile::Partial(_) => Err(refused(name, "recovery never asks for such a file")),
    }
}

/// Gives a text as it is; `false` when no repository has it.
async fn plain(repositories: &[Repository], object: &str, target: &Path) -> Result<bool, Error> {
    let mut failed = None;
    for repository in repositories {
        match repository.read_data(object).await {
            Ok(Some(bytes)) => {
                return install(target, |file| file.write_all(&bytes)).map(|()| true);
            }
            Ok(None) => {}
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(false), Err)
}

/// A timeline that nothing speaks of does not exist; one without history but with later ones is missing.
async fn no_history(
    repositories: &[Repository],
    cluster: &ClusterId,
    timeline: Timeline,
    segment_bytes: u32,
) -> Result<Got, Error> {
    let catalogue = catalogue(repositories, cluster, segment_bytes).await?;
    let newest = catalogue.newest_timeline();
    // The first timeline of a cluster has no history.
    if timeline == Timeline(1) || newest.is_some_and(|newest| newest < timeline) {
        return Ok(Got::End);
    }
    let newest = newest.map_or(0, |newest| newest.0);
    Err(refused(
        &format!("{timeline}.history"),
        &format!("it is missing, and timeline {newest} is known"),
    ))
}

/// Reads what all repositories say together.
async fn catalogue(
    repositories: &[Repository],
    cluster: &ClusterId,
    segment_bytes: u32,
) -> Result<Catalogue, Error> {
    let mut all = Catalogue {
        segment_bytes,
        ..Catalogue::default()
    };
    for repository in repositories {
        let catalogue = Catalogue::read(repository, cluster, segment_bytes).await?;
        if catalogue.listing.is_empty() {
            let report = Report::new(
                Kind::Target,
                format!("repository {} has no WAL of {cluster}", repository.place()),
            );
            let detail = "it may be the wrong place, or the storage may not be mounted";
            return Err(Error::Refused(Box::new(
                report.with_detail(detail).with_hint("pawang wal status"),
            )));
        }
        all.merge(catalogue);
    }
    Ok(all)
}

async fn segment(
    repositories: &[Repository],
    cluster: &ClusterId,
    name: &SegmentName,
    target: &Path,
    settings: &GetSettings,
) -> Result<Got, Error> {
    let spooled = settings.spool.join(name.to_string());
    if settings.prefetch > 0 && deliver_spooled(cluster, name, &spooled, target, settings).await? {
        return Ok(Got::Delivered);
    }
    if fetch(repositories, cluster, name, target, settings.segment_bytes).await? {
        if settings.prefetch > 0 {
            prefetch(repositories, cluster, name, settings).await;
        }
        return Ok(Got::Delivered);
    }
    let start = name.start(settings.segment_bytes);
    for _ in 0..LISTINGS_MAX {
        let catalogue = catalogue(repositories, cluster, settings.segment_bytes).await?;
        let bytes = settings.segment_bytes;
        if catalogue.listing.segments.contains_key(name) {
            // It came in this moment, by a server that still works.
            if fetch(repositories, cluster, name, target, bytes).await? {
                return Ok(Got::Delivered);
            }
            continue;
        }
        match tail(repositories, cluster, name, target, &catalogue).await? {
            Tail::Given(end) => return Ok(Got::Tail { end }),
            Tail::Changed => continue,
            Tail::None => {}
        }
        return match catalogue.beyond(name.timeline, start) {
            None => Ok(Got::End),
            Some(why) => Err(refused(&name.to_string(), &format!("it is missing: {why}"))),
        };
    }
    Err(refused(
        &name.to_string(),
        "it is listed, and cannot be read",
    ))
}

/// What there is of the segment that was being written when the archive ended.
enum Tail {
    /// It was given up to this position.
    Given(Lsn),
    /// Something that was listed is not there any more: the segment is whole by now.
    Changed,
    None,
}

/// Fetches a whole segment from the first repository that has it whole; `false` when none has it at all.
async fn fetch(
    repositories: &[Repository],
    cluster: &ClusterId,
    name: &SegmentName,
    target: &Path,
    segment_bytes: u32,
) -> Result<bool, Error> {
    let object = cluster.segment(name, segment_bytes);
    let mut failed = None;
    for repository in repositories {
        let got = match repository.read_data(&object).await {
            Ok(None) => continue,
            Ok(Some(frame)) => {
                let segment = Whole {
                    cluster: *cluster,
                    name: *name,
                    segment_bytes,
                };
                let place = repository.place().to_owned();
                segment.install(frame, &object, place, target).await
            }
            Err(error) => Err(error),
        };
        match got {
            Ok(()) => return Ok(true),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(false), Err)
}

/// A whole segment that is asked for.
#[derive(Clone, Copy)]
struct Whole {
    cluster: ClusterId,
    name: SegmentName,
    segment_bytes: u32,
}

impl Whole {
    async fn install(
        self,
        frame: Bytes,
        object: &str,
        place: String,
        target: &Path,
    ) -> Result<(), Error> {
        let (object, target) = (object.to_owned(), target.to_owned());
        let unpacked = tokio::task::spawn_blocking(move || {
            let mut problem = None;
            let written = install(&target, |file| {
                let mut walker = Walker::new(self.name.timeline);
                let write = |bytes: &[u8]| {
                    walker.feed(bytes);
                    file.write_all(bytes)
                };
                let judged = match unpack(&frame, u64::from(self.segment_bytes), write) {
                    Ok(_) => self.judge(walker.finish()),
                    Err(error) => Err(error.to_string()),
                };
                judged.map_err(|told| {
                    problem = Some(told);
                    io::Error::from(io::ErrorKind::InvalidData)
                })
            });
            match problem {
                Some(problem) => Err(Error::Format {
                    object,
                    place,
                    problem,
                }),
                None => written,
            }
        });
        unpacked.await.expect("the decompression does not panic")
    }

    fn judge(&self, walked: Result<Walked, String>) -> Result<(), String> {
        judge(&self.cluster, &self.name, self.segment_bytes, &walked?)
    }
}

/// Says why a server must not get a segment.
pub(super) fn judge(
    cluster: &ClusterId,
    name: &SegmentName,
    segment_bytes: u32,
    walked: &Walked,
) -> Result<(), String> {
    walked.header.check(cluster, name)?;
    if walked.header.segment_bytes != segment_bytes {
        return Err(format!(
            "it is of a cluster with segments of {} bytes",
            walked.header.segment_bytes
        ));
    }
    match &walked.ending {
        Ending::Whole | Ending::Switched => Ok(()),
        Ending::Cut { at } => Err(format!("it ends at {at}")),
        Ending::Stopped { at, problem } => Err(format!("at {at}: {problem}")),
    }
}

/// Checks a file that should be a whole segment of the cluster, as `restore_command` left it.
///
/// # Errors
/// It cannot be read, or it is not that segment; the text says why.
pub fn check_file(
    cluster: &ClusterId,
    name: &SegmentName,
    segment_bytes: u32,
    path: &Path,
) -> Result<(), String> {
    let whole = Whole {
        cluster: *cluster,
        name: *name,
        segment_bytes,
    };
    let read = || -> io::Result<Walker> {
        let mut file = File::open(path)?;
        let mut walker = Walker::new(name.timeline);
        let mut chunk = vec![0; 1 << 18];
        let mut seen = 0;
        loop {
            let read = io::Read::read(&mut file, &mut chunk)?;
            seen += read as u64;
            if read == 0 || seen > u64::from(segment_bytes) {
                let right = seen == u64::from(segment_bytes);
                let told = || io::Error::other(format!("it has not {segment_bytes} bytes"));
                return right.then_some(walker).ok_or_else(told);
            }
            walker.feed(&chunk[..read]);
        }
    };
    let walker = read().map_err(|error| error.to_string())?;
    whole.judge(walker.finish())
}

async fn deliver_spooled(
    cluster: &ClusterId,
    name: &SegmentName,
    spooled: &Path,
    target: &Path,
    settings: &GetSettings,
) -> Result<bool, Error> {
    if !spooled.exists() {
        return Ok(false);
    }
    let (cluster, name, bytes) = (*cluster, *name, settings.segment_bytes);
    let path = spooled.to_owned();
    let check = move || check_file(&cluster, &name, bytes, &path);
    let checked = tokio::task::spawn_blocking(check).await;
    if checked.expect("the walk does not panic").is_err() {
        // It is of another cluster, or of a machine that lost its power: it is fetched again.
        fs::remove_file(spooled).map_err(|source| local("delete", spooled, source))?;
        return Ok(false);
    }
    fs::rename(spooled, target).map_err(|source| local("rename", spooled, source))?;
    sync_folder(target)?;
    Ok(true)
}

/// Fetches the following segments into the spool, as far as they are there. What goes wrong here goes wrong again, and is
/// told, when the segment itself is asked for.
async fn prefetch(
    repositories: &[Repository],
    cluster: &ClusterId,
    name: &SegmentName,
    settings: &GetSettings,
) {
    if sweep(name, settings).is_err() {
        return;
    }
    let mut following = Vec::with_capacity(settings.prefetch);
    let mut next = name.next(settings.segment_bytes);
    for _ in 0..settings.prefetch {
        following.push(next);
        next = next.next(settings.segment_bytes);
    }
    let lanes = following.into_iter().map(|name| async move {
        let spooled = settings.spool.join(name.to_string());
        if spooled.exists() {
            return true;
        }
        let fetched = fetch(
            repositories,
            cluster,
            &name,
            &spooled,
            settings.segment_bytes,
        );
        matches!(fetched.await, Ok(true))
    });
    let mut fetched = futures_util::stream::iter(lanes).buffered(LANES);
    // Behind the first that is not there are none, as a rule: each miss is a question to the store.
    while let Some(true) = fetched.next().await {}
}

/// Creates the spool, and deletes from it what will not be asked for any more.
fn sweep(name: &SegmentName, settings: &GetSettings) -> io::Result<()> {
    fs::create_dir_all(&settings.spool)?;
    let bytes = settings.segment_bytes;
    let from = name.number(bytes);
    let to = from + settings.prefetch as u64;
    for entry in fs::read_dir(&settings.spool)? {
        let path = entry?.path();
        let spooled = path.file_name().and_then(|name| name.to_str());
        let spooled = spooled.and_then(|name| name.parse::<SegmentName>().ok());
        let wanted = spooled.is_some_and(|spooled| {
            spooled.timeline == name.timeline && (from..=to).contains(&spooled.number(bytes))
        });
        if !wanted {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Gives the segment that was being written when the archive ended, as far as it was written.
async fn tail(
    repositories: &[Repository],
    cluster: &ClusterId,
    name: &SegmentName,
    target: &Path,
    catalogue: &Catalogue,
) -> Result<Tail, Error> {
    let mut best: Option<(Lsn, Vec<u8>)> = None;
    for repository in repositories {
        let found = [
            pieces(repository, cluster, name, catalogue).await?,
            partial(repository, cluster, name, catalogue).await?,
        ];
        for (end, bytes) in found.into_iter().flatten() {
            if best.as_ref().is_none_or(|(best, _)| *best < end) {
                best = Some((end, bytes));
            }
        }
    }
    let Some((end, bytes)) = best else {
        let listed = catalogue.listing.pieces.contains_key(name);
        return Ok(if listed { Tail::Changed } else { Tail::None });
    };
    if let Some(why) = catalogue.beyond(name.timeline, end) {
        let (reach, hole) = catalogue.listing.contiguous_pieces(name);
        let reach = name.start(catalogue.segment_bytes).0 + u64::from(reach);
        if !hole && reach > end.0 {
            return Ok(Tail::Changed);
        }
        let told = format!("it is there up to {end} only: {why}");
        return Err(refused(&name.to_string(), &told));
    }
    install(target, |file| {
        file.write_all(&bytes)?;
        file.set_len(u64::from(catalogue.segment_bytes))
    })?;
    Ok(Tail::Given(end))
}

/// Puts the pieces of a segment together; returns the position up to which they reach.
pub(super) async fn pieces(
    repository: &Repository,
    cluster: &ClusterId,
    name: &SegmentName,
    catalogue: &Catalogue,
) -> Result<Option<(Lsn, Vec<u8>)>, Error> {
    let Some(pieces) = catalogue.listing.pieces.get(name) else {
        return Ok(None);
    };
    let bytes_max = catalogue.segment_bytes;
    let mut whole: Vec<u8> = Vec::new();
    for Piece { from, to } in pieces {
        if *to > bytes_max || *from as usize > whole.len() {
            break;
        }
        let object = cluster.live(name, *from, *to);
        let Some(frame) = repository.read_data(&object).await? else {
            // Another repository has it, or the segment was sealed in this moment.
            continue;
        };
        let mut piece = Vec::new();
        let keep = |bytes: &[u8]| {
            piece.extend_from_slice(bytes);
            Ok(())
        };
        let unpacked = unpack(&frame, u64::from(to - from), keep);
        let wrong = match unpacked {
            Ok(bytes) if bytes == u64::from(to - from) => None,
            Ok(bytes) => Some(format!("it has {bytes} bytes")),
            Err(error) => Some(error.to_string()),
        };
        if let Some(problem) = wrong {
            return Err(damaged(repository, object, problem));
        }
        let known = (whole.len() - *from as usize).min(piece.len());
        whole.extend_from_slice(&piece[known..]);
    }
    let object = format!("{}/{name}", cluster.live_folder(name.timeline));
    let wrong = |problem| damaged(repository, object, problem);
    let walked = Walker::walk(name.timeline, &whole);
    let walked = walked.and_then(|walked| walked.header.check(cluster, name).map(|()| walked));
    match walked {
        Err(_) if whole.is_empty() => Ok(None),
        Err(problem) => Err(wrong(problem)),
        Ok(walked) => match walked.ending {
            Ending::Stopped { at, problem } => Err(wrong(format!("at {at}: {problem}"))),
            _ => {
                let end = Lsn(walked.header.position.0 + whole.len() as u64);
                Ok(Some((end, whole)))
            }
        },
    }
}

/// Reads the segment that a promoted server archived of the timeline that it left.
async fn partial(
    repository: &Repository,
    cluster: &ClusterId,
    name: &SegmentName,
    catalogue: &Catalogue,
) -> Result<Option<(Lsn, Vec<u8>)>, Error> {
    if !catalogue.listing.partials.contains(name) {
        return Ok(None);
    }
    let object = cluster.partial(name, catalogue.segment_bytes);
    let Some(frame) = repository.read_data(&object).await? else {
        return Ok(None);
    };
    let mut whole = Vec::new();
    let keep = |bytes: &[u8]| {
        whole.extend_from_slice(bytes);
        Ok(())
    };
    let unpacked = unpack(&frame, u64::from(catalogue.segment_bytes), keep);
    unpacked.map_err(|error| damaged(repository, object.clone(), error.to_string()))?;
    let walked = Walker::walk(name.timeline, &whole);
    let walked = walked.and_then(|walked| walked.header.check(cluster, name).map(|()| walked));
    let walked = walked.map_err(|problem| damaged(repository, object, problem))?;
    Ok(Some((walked.end, whole)))
}

fn damaged(repository: &Repository, object: String, problem: String) -> Error {
    Error::Format {
        object,
        place: repository.place().to_owned(),
        problem,
    }
}

/// Writes a file beside its target, makes it durable, and gives it its name; nobody ever reads half of it.
fn install(target: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), Error> {
    let mut unfinished = target.as_os_str().to_owned();
    unfinished.push(".");
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);
    let written = || -> io::Result<()> {
        let mut file = File::create(&unfinished)?;
        write(&mut file)?;
        file.sync_all()?;
        fs::rename(&unfinished, target)
    };
    if let Err(source) = written() {
        // It may not even have been created.
        let _gone = fs::remove_file(&unfinished);
        return Err(local("write", target, source));
    }
    sync_folder(target)
}

fn sync_folder(target: &Path) -> Result<(), Error> {
    let folder = target.parent().filter(|path| !path.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| local("write", folder, source))
}

fn local(doing: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File {
        doing,
        path: path.to_owned(),
        source,
    }
}

fn no_name(name: &str) -> Error {
    refused(name, "that is no name of a file of WAL")
}

fn refused(name: &str, why: &str) -> Error {
    let report = Report::new(
        Kind::Target,
        format!("could not get \"{name}\" from the archive"),
    );
    Error::Refused(Box::new(
        report.with_detail(why).with_hint("pawang wal gaps"),
    ))
}
