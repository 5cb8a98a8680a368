//! The operating system under a local server: `/proc`, `/sys` and `statvfs`, without any privilege of root.

mod cgroup;
mod files;
mod filesystem;
mod kernel;
mod log;
mod process;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use pawang_core::{Blind, Cost, Facts, Missing, Server, Sighting, Snapshot, Timestamp, Value};

use crate::Collector;

pub(crate) use filesystem::{space, user_name};
pub use log::{LogFiles, log_files};

/// No file of `/proc` or `/sys` that matters here is longer.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// One row by column name.
pub(crate) type Fields = BTreeMap<&'static str, Value>;
type Rows = Result<Vec<Fields>, Missing>;

/// What is known of the host before it is looked at.
#[derive(Clone, Debug, Default)]
pub struct HostRequest {
    /// The data directory, from the configuration or from an earlier run.
    pub data_directory: Option<PathBuf>,
    /// `$PGDATA`: only a guess, for a server that lets nobody in.
    pub environment_data_directory: Option<PathBuf>,
    /// The directory of the server log, likewise.
    pub log_directory: Option<PathBuf>,
    /// The folder of archived WAL, where a maintenance policy names one.
    pub archive_directory: Option<PathBuf>,
    /// Where the machine's root directory is mounted, when Pawang runs in a container of its own.
    pub root: Option<PathBuf>,
}

/// A machine that can be looked at.
struct Host<'a> {
    root: &'a Path,
    data: Option<PathBuf>,
    log: Option<PathBuf>,
    archive: Option<PathBuf>,
    tablespaces: Vec<(String, PathBuf)>,
    /// A child of the postmaster, when the server named one.
    child: Option<i64>,
    wrote: log::Writing,
}

/// What the server has told that helps to look at its host, in this round or an earlier one.
#[derive(Clone, Default)]
pub(crate) struct Told {
    /// What it says about itself, when it answers.
    pub(crate) server: Option<Server>,
    /// Whether it was on this machine when it last answered.
    pub(crate) was_local: bool,
    /// Its places: collector `host-paths`.
    pub(crate) paths: Option<Arc<Snapshot>>,
}

/// Reads the wanted host collectors, or says why they cannot be read here.
pub(crate) fn observe(
    request: &HostRequest,
    told: &Told,
    wanted: &[Collector],
    now: Timestamp,
) -> Vec<Sighting> {
    let host = locate(request, told);
    let look = |collector: &Collector| {
        let started = Instant::now();
        let seen = match &host {
            Ok(host) => rows(host, &collector.name, now),
            Err(blind) => Err(blind.clone().into()),
        };
        Sighting {
            collector: collector.name.clone(),
            database: None,
            seen: seen.map(|rows| snapshot(collector, rows, now, started).into()),
        }
    };
    wanted.iter().map(look).collect()
}

/// Builds a snapshot out of named fields; columns that were not read are NULL.
pub(crate) fn snapshot(
    collector: &Collector,
    rows: Vec<Fields>,
    at: Timestamp,
    started: Instant,
) -> Snapshot {
    let columns = collector.header.columns.clone();
    let arrange = |mut row: Fields| {
        columns
            .iter()
            .map(|column| row.remove(column.name.as_str()).unwrap_or_default())
            .collect()
    };
    let rows: Vec<Vec<Value>> = rows.into_iter().map(arrange).collect();
    Snapshot {
        collector: collector.name.clone(),
        database: None,
        at,
        epoch: None,
        cost: Cost {
            elapsed: started.elapsed(),
            rows: rows.len(),
        },
        columns,
        rows,
    }
}

fn locate<'a>(request: &'a HostRequest, told: &Told) -> Result<Host<'a>, Blind> {
    let root = request.root.as_deref().unwrap_or(Path::new("/"));
    let paths = told.paths.as_deref().map(Paths::of).unwrap_or_default();
    let server = told.server.as_ref();
    let directory = server.and_then(|server| server.data_directory.clone());
    let configured = request.data_directory.clone();
    let exists = |path: &Path| under(root, path).exists();
    let local = match server {
        Some(server) => server.local,
        None => told.was_local || configured.as_deref().is_some_and(exists),
    };
    if !local {
        return Err(Blind::NotLocal {
            what: "the host".to_owned(),
        });
    }
    Ok(Host {
        root,
        data: paths.data.or(directory.map(PathBuf::from)).or(configured),
        log: paths.log.or_else(|| request.log_directory.clone()),
        archive: request.archive_directory.clone(),
        tablespaces: paths.tablespaces,
        child: paths.child,
        wrote: paths.wrote,
    })
}

/// Returns the directory of the server log, when the server told it in this run.
pub fn log_directory(facts: &Facts) -> Option<PathBuf> {
    let snapshot = facts.snapshot("host-paths", None).ok()?;
    Paths::of(snapshot).log
}

/// Returns the data directory that the collector `host-paths` found.
pub(crate) fn data_directory(paths: &Snapshot) -> Option<PathBuf> {
    Paths::of(paths).data
}

/// What the server itself says about its places, by the collector `host-paths`.
#[derive(Default)]
struct Paths {
    data: Option<PathBuf>,
    log: Option<PathBuf>,
    tablespaces: Vec<(String, PathBuf)>,
    child: Option<i64>,
    wrote: log::Writing,
}

impl Paths {
    fn of(snapshot: &Snapshot) -> Paths {
        let mut paths = Paths::default();
        for row in snapshot.rows() {
            let path = row.text("path").map(PathBuf::from);
            match (row.text("purpose"), path) {
                (Some("data"), path) => paths.data = path,
                (Some("log"), path) => paths.log = path,
                (Some("tablespace"), Some(path)) => {
                    let name = row.text("name").unwrap_or_default().to_owned();
                    paths.tablespaces.push((name, path));
                }
                (Some("process"), _) => paths.child = row.int("pid"),
                (Some("setting"), _) => {
                    let value = row.text("value").unwrap_or_default();
                    paths
                        .wrote
                        .tell(row.text("name").unwrap_or_default(), value);
                }
                _ => {}
            }
        }
        if let Some(data) = &paths.data {
            paths.log = paths.log.map(|log| data.join(log));
            for (_, path) in &mut paths.tablespaces {
                *path = data.join(&*path);
            }
        }
        paths
    }
}

fn rows(host: &Host<'_>, name: &str, now: Timestamp) -> Rows {
    match name {
        "host-filesystem" => filesystem::filesystems(host),
        "host-disk" => filesystem::disks(host),
        "host-directory" => filesystem::directory(host),
        "host-cpu" => kernel::cpu(host),
        "host-load" => kernel::load(host),
        "host-memory" => kernel::memory(host),
        "host-pressure" => kernel::pressure(host),
        "host-paging" => kernel::paging(host),
        "host-kernel" => kernel::settings(host),
        "host-network" => kernel::network(host),
        "host-tcp" => kernel::tcp(host),
        "host-log" => log::severities(host, now),
        "host-log-events" => log::events(host, now),
        "host-log-files" => files::logs(host),
        "host-temporary-files" => files::temporary(host),
        "host-archive-files" => files::archive(host),
        "host-cgroup" => cgroup::limits(host),
        "host-process" => process::processes(host),
        _ => Err(Blind::Failed {
            what: format!("collector \"{name}\" of scope host is not one that this version reads"),
        }
        .into()),
    }
}

/// Returns an absolute path of the machine as it is seen from here.
fn under(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

impl Host<'_> {
    fn path(&self, path: &str) -> PathBuf {
        under(self.root, Path::new(path))
    }

    /// Reads a small file of the kernel's.
    fn read(&self, path: &str) -> Result<String, Missing> {
        read(&self.path(path)).map_err(|error| missing(path, &error))
    }

    /// Reads a number of the kernel's, if it is there.
    fn number(&self, path: &str) -> Option<i64> {
        read(&self.path(path)).ok()?.trim().parse().ok()
    }

    fn data(&self) -> Result<&Path, Missing> {
        let none = || Blind::NotConfigured {
            key: "data_directory".to_owned(),
            what: "the server does not tell its data directory".to_owned(),
        };
        self.data.as_deref().ok_or_else(|| none().into())
    }

    /// Returns the postmaster's process id: from its file, else as the parent of a process that the server named.
    fn postmaster(&self) -> Option<i64> {
        let file = self.data.as_ref().map(|data| data.join("postmaster.pid"));
        let from_file = file.and_then(|file| {
            let text = read(&under(self.root, &file)).ok()?;
            text.lines().next()?.trim().parse().ok()
        });
        from_file.or_else(|| {
            let stat = read(&self.path(&format!("/proc/{}/stat", self.child?))).ok()?;
            process::stat(&stat).map(|stat| stat.parent)
        })
    }
}

/// Reads a file up to a bound that no file of interest reaches.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A file that this kernel does not have asks no question; one that may not be read does.
fn missing(path: &str, error: &io::Error) -> Missing {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::Unsupported => {
            Missing::NotApplicable(format!("this kernel has no {path}"))
        }
        io::ErrorKind::PermissionDenied => denied(path).into(),
        _ => Blind::Failed {
            what: format!("could not read \"{path}\": {error}"),
        }
        .into(),
    }
}

fn denied(path: &str) -> Blind {
    Blind::NoPrivilege {
        what: format!("reading \"{path}\" as this operating-system user"),
        grant: "run pawang as the user that owns the server: sudo -u postgres pawang check"
            .to_owned(),
    }
}

/// Reads the file with the names of the users.
pub(crate) fn users() -> String {
    read(Path::new("/etc/passwd")).unwrap_or_default()
}

fn text(value: impl Into<Box<str>>) -> Value {
    Value::Text(value.into())
}

fn whole(value: u64) -> Value {
    i64::try_from(value).map_or(Value::Null, Value::Int)
}
