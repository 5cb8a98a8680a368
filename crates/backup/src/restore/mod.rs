//! A cluster is restored: a plan that is refused before anything is touched, then the chain straight from the repository.
//!
//! A directory has no control file until everything else is durable, so half a restore never starts.

mod archive;
mod chain;
mod choice;
mod delta;
mod increment;
mod locate;
mod place;
mod plan;
mod settings;
mod source;
pub mod target;
mod tree;
mod unpack;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use pawang_core::{Kind, Lsn, Report};
use pawang_postgres::control_file;

pub use crate::owner::Owner;
pub use delta::Delta;
pub use locate::{Search, last_commit, locate};
pub use place::{Found, MARKER, Marker, SALVAGED, look};
pub use plan::{Known, Located, PassedOver, RestorePlan, Speed, Step, Wanted, plan};
pub use settings::Action;
pub use source::{REPLAY, Source, UNPACK};
pub use target::Target;
pub use tree::Tree;

use crate::Error;
use crate::repository::{Commit, LeaseFacts, Repository, Tablespace};
use crate::wal::SegmentName;
use chain::Chain;
use tree::failed;
use unpack::Unpacked;

/// So many parts are unpacked at the same time where nothing else is said.
pub const WORKERS: usize = 2;
/// The longest that backups are kept from being deleted for one restore.
const LEASE_SECONDS: u32 = 24 * 3_600;
/// A new data directory in the place of another grows under this name.
const WORK_SUFFIX: &str = ".restoring";

/// How a plan is carried out.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory that comes to be.
    pub into: PathBuf,
    /// Whether a stopped server's data directory that is there is moved aside.
    pub replace: bool,
    /// Whether what is there of a stopped server's data directory stays where it is right; the rest is changed in place.
    pub delta: bool,
    /// Folders of tablespaces, instead of those where they were.
    pub tablespaces: BTreeMap<u32, PathBuf>,
    /// What the server does at the target.
    pub action: Action,
    /// The command by which the server gets WAL.
    pub restore_command: String,
    /// How many parts are unpacked at the same time.
    pub workers: usize,
    /// A random word that is this restore's own: under it the backups are kept from being deleted meanwhile.
    pub word: String,
}

/// A destination that was looked at and may be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// What is there now.
    pub found: Found,
    /// Where the data directory grows; it takes the place of the old one at the end.
    pub tree: Tree,
    /// The room on the disk of the data directory.
    pub room_bytes: u64,
}

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The data directory.
    pub data: PathBuf,
    /// To whom it belongs, when it was given away.
    pub owner: Option<Owner>,
    /// Where the old data directory is.
    pub aside: Option<PathBuf>,
    /// WAL of the old data directory that the archive did not have.
    pub salvaged: Vec<SegmentName>,
    /// What could stay of a directory that was changed in place.
    pub delta: Option<Delta>,
    /// Files of the last backup.
    pub files: u64,
    /// Bytes written, of all backups of the chain.
    pub bytes: u64,
    /// How long fetching and unpacking took.
    pub unpacking: Duration,
    /// How long it took until everything was durable.
    pub syncing: Duration,
}

/// Looks at everything that a restore would write, and touches nothing.
///
/// # Errors
/// Something is in the way, or there is no room.
pub fn destination(plan: &RestorePlan, options: &Options) -> Result<Destination, Error> {
    let into = &options.into;
    let found = look(into, &plan.cluster)?;
    let mut data = into.clone();
    let mut grown = into.file_name().unwrap_or_default().to_owned();
    grown.push(WORK_SUFFIX);
    let grown = into.with_file_name(grown);
    if found == Found::Nothing {
        place::look_for_a_whole_one(into, &grown)?;
    }
    let in_place = options.delta && found != Found::Nothing;
    if in_place {
        refuse_rotten(plan, into)?;
        place::look_at_wal(into)?;
    } else if found == Found::Data {
        if !options.replace {
            let report = Report::new(
                Kind::Refused,
                format!(
                    "\"{}\" is the data directory of this cluster",
                    into.display()
                ),
            );
            return Err(Error::Refused(Box::new(report.with_hint(
                "--replace moves it aside when the restore is done, --delta changes it; or choose another with --into",
            ))));
        }
        place::look_for_a_mount(into)?;
        data = grown;
        // One of ours that was whole, but not moved yet, is begun anew: the old one is still in its place.
        if look(&data, &plan.cluster)? == Found::Data && place::read_marker(&data)?.is_none() {
            let what = format!("\"{}\" is a data directory", data.display());
            let away = format!("mv {0} {0}.kept", data.display());
            let report = Report::new(Kind::Refused, what).with_hint(away);
            return Err(Error::Refused(Box::new(report)));
        }
    }
    let unfinished = place::read_marker(&data)?.is_some();
    let mut tablespaces = BTreeMap::new();
    for tablespace in &plan.tablespaces {
        let folder = folder_of(tablespace, &data, options);
        let is_its_own = in_place && place::leads_to(&data, tablespace.oid, &folder);
        if !folder.starts_with(&data) && !is_its_own {
            place::look_at_tablespace(tablespace.oid, &folder, unfinished)?;
        }
        tablespaces.insert(tablespace.oid, folder);
    }
    if let Some(oid) = options
        .tablespaces
        .keys()
        .find(|oid| !tablespaces.contains_key(oid))
    {
        return Err(refused(format!("the backup has no tablespace {oid}")));
    }
    let tree = Tree {
        owner: Owner::of(into),
        data,
        tablespaces,
    };
    let room_bytes = place::look_for_room(&needed(plan, into, &tree, in_place))?;
    Ok(Destination {
        found,
        tree,
        room_bytes,
    })
}

/// A backup that is damaged would leave neither what it holds nor what is there.
fn refuse_rotten(plan: &RestorePlan, into: &Path) -> Result<(), Error> {
    let Some(PassedOver { backup, why }) = plan.rotten.first() else {
        return Ok(());
    };
    let report = Report::new(
        Kind::Refused,
        format!(
            "backup {backup} is not what was stored, so \"{}\" is not changed by it",
            into.display()
        ),
    );
    let report = report.with_detail(why.clone()).with_hint(
        "restore into an empty directory with --into, or choose another one with --backup",
    );
    Err(Error::Refused(Box::new(report)))
}

/// Returns how much room each directory needs beside what is there; that of the data comes first.
fn needed(plan: &RestorePlan, into: &Path, tree: &Tree, in_place: bool) -> Vec<(PathBuf, u64)> {
    let there = |root: &Path| match in_place {
        true => tree::bytes(root),
        false => 0,
    };
    let mut data_bytes = plan.data_bytes;
    let mut needed = Vec::new();
    for (oid, folder) in &tree.tablespaces {
        let bytes = plan.tablespace_bytes.get(oid).copied().unwrap_or(0);
        if !folder.starts_with(&tree.data) {
            data_bytes = data_bytes.saturating_sub(bytes);
            needed.push((folder.clone(), bytes.saturating_sub(there(folder))));
        }
    }
    let data_bytes = data_bytes.saturating_sub(there(&tree.data));
    needed.insert(0, (into.to_owned(), data_bytes));
    needed
}

/// Computes what can stay of the destination's files, and touches nothing.
///
/// # Errors
/// A backup is not there any more, or its manifest cannot be read.
pub async fn delta(
    repository: &Repository,
    plan: &RestorePlan,
    options: &Options,
    destination: &Destination,
) -> Result<Delta, Error> {
    let commits = commits(repository, plan).await?;
    delta::compare(repository, &commits, &destination.tree, options.workers).await
}

fn folder_of(tablespace: &Tablespace, data: &Path, options: &Options) -> PathBuf {
    match options.tablespaces.get(&tablespace.oid) {
        Some(folder) => folder.clone(),
        // One in place has a path within the data directory, which `join` keeps there.
        None => data.join(&tablespace.location),
    }
}

/// Restores; whatever it is stopped by, the next run begins anew and nothing else can be started meanwhile.
///
/// # Errors
/// The destination is refused, the repository cannot be read or is damaged, or the disk refuses.
pub async fn run(
    repository: &Repository,
    plan: &RestorePlan,
    options: &Options,
    now: Timestamp,
) -> Result<Restored, Error> {
    let destination = destination(plan, options)?;
    // A repository that can only be read can be restored from: nobody deletes there either.
    let lease = repository
        .share_lease(&plan.cluster, lease(plan, options, now))
        .await
        .ok();
    let restored = run_there(repository, plan, options, destination, now).await;
    if let Some(lease) = lease {
        // It runs out by itself.
        let _ = lease.release().await;
    }
    restored
}

fn lease(plan: &RestorePlan, options: &Options, now: Timestamp) -> LeaseFacts {
    LeaseFacts {
        doing: format!("restores to {}", plan.target),
        backups: plan.chain.iter().map(|step| step.backup.clone()).collect(),
        ..LeaseFacts::new("restore", &options.word, LEASE_SECONDS, now)
    }
}

async fn run_there(
    repository: &Repository,
    plan: &RestorePlan,
    options: &Options,
    destination: Destination,
    now: Timestamp,
) -> Result<Restored, Error> {
    let commits = commits(repository, plan).await?;
    for commit in &commits {
        repository.check_keys(commit)?;
    }
    let tree = Arc::new(destination.tree);
    let began = Instant::now();
    let in_place = options.delta && destination.found != Found::Nothing;
    let delta = match in_place {
        true => Some(delta::compare(repository, &commits, &tree, options.workers).await?),
        false => None,
    };
    let before = place::read_marker(&tree.data)?;
    let marker = Marker {
        cluster: plan.cluster,
        backup: plan.backup().clone(),
        began_at: now,
        in_place: in_place || before.is_some_and(|before| before.in_place),
    };
    let commit = commits.last().expect("a plan has a backup");
    let finish = Finish {
        plan,
        options,
        commit,
        tree: &tree,
        old: (destination.found == Found::Data && !in_place).then_some(options.into.as_path()),
        in_place: marker.in_place,
    };
    if in_place {
        finish.begin_in_place(&marker, destination.found == Found::Data)?;
    } else {
        begin(&tree, &marker)?;
    }
    let chain = Chain {
        repository,
        commits: &commits,
        tree: &tree,
        workers: options.workers,
    };
    let last = chain.unpack(delta.as_ref()).await?;
    let unpacking = began.elapsed();
    let began = Instant::now();
    let wanted = delta.as_ref().map(|delta| &delta.wanted);
    let files = wanted.map_or(last.files.len(), HashSet::len) as u64;
    let bytes = last.bytes;
    let salvaged = finish.write(last, wanted, commits.len() > 1)?;
    let aside = finish.swap(now)?;
    Ok(Restored {
        data: options.into.clone(),
        owner: tree.owner,
        aside,
        salvaged,
        delta,
        files,
        bytes,
        unpacking,
        syncing: began.elapsed(),
    })
}

/// Reads what the backups of a plan are made of.
async fn commits(repository: &Repository, plan: &RestorePlan) -> Result<Vec<Commit>, Error> {
    let mut commits = Vec::new();
    for step in &plan.chain {
        let commit = repository.commit(&plan.cluster, &step.backup).await?;
        let gone = || refused(format!("backup {} is not there any more", step.backup));
        commits.push(commit.ok_or_else(gone)?);
    }
    Ok(commits)
}

/// Makes the directories, with the mark that they are not finished, and removes what an earlier attempt left.
fn begin(tree: &Tree, marker: &Marker) -> Result<(), Error> {
    // Of a directory that was changed in place, this is the only copy.
    let kept: &[&str] = match marker.in_place {
        true => &[MARKER, SALVAGED],
        false => &[MARKER],
    };
    mark(tree, marker, |root| tree::empty_but(root, kept))
}

/// Makes the directories with the mark that they are not finished.
fn mark(
    tree: &Tree,
    marker: &Marker,
    empty: impl Fn(&Path) -> Result<(), Error>,
) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(marker).expect("a marker can be written");
    for root in tree.roots() {
        tree.make_folder(root)?;
        tree::close(root)?;
        // A folder of a tablespace in place is within the data directory, and marked with it.
        if root == tree.data || !root.starts_with(&tree.data) {
            empty(root)?;
            tree.put_file(&root.join(MARKER), &text)?;
        }
    }
    Ok(())
}

/// The last steps, in the order that lets a directory start only when all of it is there.
struct Finish<'a> {
    plan: &'a RestorePlan,
    options: &'a Options,
    commit: &'a Commit,
    tree: &'a Tree,
    /// The directory that is moved aside.
    old: Option<&'a Path>,
    /// Whether the directory itself is changed, or was by an attempt before.
    in_place: bool,
}

impl Finish<'_> {
    /// Marks a directory that is changed in place. Its WAL is safe before it cannot be started any more, and until then it can.
    fn begin_in_place(&self, marker: &Marker, startable: bool) -> Result<(), Error> {
        let tree = self.tree;
        if startable {
            place::refuse_running(&tree.data)?;
            // Asked before the mark says something else.
            let stale = place::is_stale(&tree.data)?;
            let text = serde_json::to_vec_pretty(marker).expect("a marker can be written");
            tree.put_file(&tree.data.join(MARKER), &text)?;
            if stale {
                place::forget_salvaged(&tree.data)?;
            }
            self.salvage(&tree.data)?;
            let control = tree.data.join("global/pg_control");
            std::fs::remove_file(&control).map_err(|source| failed("remove", &control, source))?;
            tree::sync_folder(&tree.data.join("global"))?;
        }
        mark(tree, marker, |_| Ok(()))?;
        place::empty_own_folders(&tree.data)
    }

    fn salvage(&self, old: &Path) -> Result<Vec<SegmentName>, Error> {
        let segment_bytes = self.commit.server.segment_bytes;
        place::salvage(old, self.tree, self.archived_to(), segment_bytes)
    }

    fn write(
        &self,
        mut last: Unpacked,
        kept: Option<&HashSet<PathBuf>>,
        chain: bool,
    ) -> Result<Vec<SegmentName>, Error> {
        let tree = self.tree;
        let data = |name: &str| tree.data.join(name);
        let missing = |name: &str| Error::Format {
            object: self.commit.cluster.backup(&self.commit.backup),
            place: "the backup".to_owned(),
            problem: format!("it has no \"{name}\""),
        };
        let control = last
            .control
            .take()
            .ok_or_else(|| missing("global/pg_control"))?;
        let label = last.label.take().ok_or_else(|| missing("backup_label"))?;
        self.check_identity(&control)?;
        if chain || kept.is_some() {
            let mut wanted = std::mem::take(&mut last.files);
            wanted.extend(kept.into_iter().flatten().cloned());
            wanted.extend(tree.roots().map(|root| root.join(MARKER)));
            wanted.extend(place::salvaged_files(&tree.data)?);
            let major = self.commit.cluster.major;
            tree.keep_only(&wanted, &format!("PG_{major}_"))?;
        }
        for (oid, folder) in &tree.tablespaces {
            if !folder.starts_with(&tree.data) {
                tree.link(&data("pg_tblspc").join(oid.to_string()), folder)?;
            }
        }
        for folder in ["pg_wal", "pg_wal/archive_status", "pg_tblspc"] {
            tree.make_folder(&data(folder))?;
        }
        let salvaged = match self.old {
            Some(old) => self.salvage(old)?,
            None if self.in_place => {
                let segment_bytes = self.commit.server.segment_bytes;
                place::salvaged(&tree.data, self.archived_to(), segment_bytes)?
            }
            None => Vec::new(),
        };
        self.configure(!salvaged.is_empty())?;
        tree.write_file(&data("backup_label"), &settings::label(&label))?;
        tree.write_file(&data("recovery.signal"), b"")?;
        tree.sync()?;
        tree.put_file(&data("global/pg_control"), &control)?;
        Ok(salvaged)
    }

    /// What is behind the end of the archive is taken from the old data directory; without an end, whatever it has.
    fn archived_to(&self) -> Lsn {
        match self.plan.target {
            Target::Latest => self.plan.replay_to,
            _ => self.plan.replay_to.max(self.plan.consistent_at),
        }
    }

    /// Refuses a control file that no server could start from, or that is of another one.
    fn check_identity(&self, control: &[u8]) -> Result<(), Error> {
        let wanted = self.plan.cluster.system_identifier;
        let problem = match control_file::parse(control) {
            Ok(file) if file.system_identifier == wanted => return Ok(()),
            Ok(file) => format!("is of system {}, not of {wanted}", file.system_identifier),
            Err(problem) => format!("cannot be used: {problem}"),
        };
        Err(Error::Format {
            object: self.commit.cluster.backup(&self.commit.backup),
            place: "the backup".to_owned(),
            problem: format!("its control file {problem}"),
        })
    }

    fn configure(&self, salvaged: bool) -> Result<(), Error> {
        let command = match salvaged {
            true => settings::salvaged_first(&self.options.restore_command),
            false => self.options.restore_command.clone(),
        };
        let tree = self.tree;
        let main = tree.data.join("postgresql.conf");
        if let Some(text) = read_text(&main)? {
            tree.write_file(&main, settings::silenced(&text).as_bytes())?;
        }
        let auto = tree.data.join("postgresql.auto.conf");
        let text = read_text(&auto)?.unwrap_or_default();
        let text = settings::auto_conf(&text, self.plan, &command, self.options.action)
            .map_err(|report| Error::Refused(Box::new(report)))?;
        tree.write_file(&auto, text.as_bytes())
    }

    /// Puts the new directory into the place of the old one, and takes the marks away.
    fn swap(&self, now: Timestamp) -> Result<Option<PathBuf>, Error> {
        let into = &self.options.into;
        let mut aside = None;
        if self.old.is_some() {
            aside = Some(place::move_aside(into, now)?);
            std::fs::rename(&self.tree.data, into)
                .map_err(|source| failed("move", &self.tree.data, source))?;
        }
        let tablespaces = self
            .tree
            .tablespaces
            .values()
            .filter(|folder| !folder.starts_with(&self.tree.data));
        for root in std::iter::once(into).chain(tablespaces) {
            let marker = root.join(MARKER);
            std::fs::remove_file(&marker).map_err(|source| failed("remove", &marker, source))?;
            tree::sync_folder(root)?;
        }
        tree::sync_folder(
            into.parent()
                .filter(|parent| !parent.as_os_str().is_empty())
                .unwrap_or(Path::new(".")),
        )?;
        Ok(aside)
    }
}

/// Reads a file of settings; what is no text in UTF-8 is left as it is only where it does not matter.
fn read_text(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed("read", path, source)),
    }
}

fn refused(primary: String) -> Error {
    Error::Refused(Box::new(Report::new(Kind::Refused, primary)))
}
