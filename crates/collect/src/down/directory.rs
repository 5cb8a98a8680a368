//! The data directory: where it is, what it looks like, and what became of its postmaster.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pawang_core::{Control, DataDirectory, PidFile};
use pawang_postgres::control_file;

use super::{DownRequest, configuration};
use crate::host::{read, user_name};

/// What every cluster has since PostgreSQL 10.
const ENTRIES: [&str; 9] = [
    "PG_VERSION",
    "base",
    "global",
    "global/pg_control",
    "pg_wal",
    "pg_xact",
    "pg_multixact",
    "pg_tblspc",
    "pg_subtrans",
];
const DEBIAN_CONFIGURATION: &str = "/etc/postgresql";
const DEBIAN_DATA: &str = "/var/lib/postgresql";
/// Where Debian's servers have their sockets when nothing else is set.
const DEBIAN_SOCKETS: &str = "/var/run/postgresql";
const DEFAULT_PORT: u16 = 5432;

/// A cluster that may be the one that was asked for.
pub(super) struct Place {
    /// Its data directory.
    pub(super) data: PathBuf,
    /// Its `postgresql.conf`.
    pub(super) configuration: PathBuf,
    /// `15/main` in Debian's layout.
    pub(super) debian: Option<String>,
    found_by: String,
}

/// Finds the cluster behind the addresses, best clue first.
pub(super) fn locate(request: &DownRequest) -> Option<Place> {
    let mut places: Vec<Place> = Vec::new();
    for path in &request.data_directories {
        places.push(place(path.clone(), "the configuration or an earlier run"));
    }
    // What was named is not replaced by another cluster that happens to have the same port.
    if places.is_empty() {
        for (host, port) in &request.addresses {
            let lock = Path::new(host).join(format!(".s.PGSQL.{port}.lock"));
            let text = read(&lock).unwrap_or_default();
            let line = text.lines().nth(1).map(PathBuf::from);
            places.extend(line.map(|path| place(path, "the lock file of the socket")));
        }
        places.extend(debian(&request.addresses));
    }
    let known = places.iter().position(|place| place.data.exists());
    (!places.is_empty()).then(|| places.swap_remove(known.unwrap_or(0)))
}

fn place(data: PathBuf, found_by: &str) -> Place {
    let beside = data.join("postgresql.conf");
    let name = data
        .strip_prefix(DEBIAN_DATA)
        .ok()
        .map(|name| name.to_string_lossy().into_owned());
    let apart = name.as_ref().map(|name| {
        Path::new(DEBIAN_CONFIGURATION)
            .join(name)
            .join("postgresql.conf")
    });
    let configuration = match apart {
        Some(apart) if !beside.exists() => apart,
        _ => beside,
    };
    Place {
        data,
        configuration,
        debian: name,
        found_by: found_by.to_owned(),
    }
}

/// Debian's clusters that would listen where was asked.
fn debian(addresses: &[(String, u16)]) -> Vec<Place> {
    let mut places = Vec::new();
    for version in entries(Path::new(DEBIAN_CONFIGURATION)) {
        for cluster in entries(&version) {
            let path = cluster.join("postgresql.conf");
            let settings = configuration::settings(&path);
            let find = |name: &str| settings.get(name).map(|setting| setting.value.as_str());
            let Some(port) = listens(find, addresses) else {
                continue;
            };
            let Some(data) = find("data_directory") else {
                continue;
            };
            let name = cluster.strip_prefix(DEBIAN_CONFIGURATION);
            places.push(Place {
                data: PathBuf::from(data),
                configuration: path,
                debian: name.ok().map(|name| name.to_string_lossy().into_owned()),
                found_by: format!("port {port} in \"{}\"", cluster.display()),
            });
        }
    }
    places
}

/// Returns the port of a server with these settings if it is one that listens at one of the addresses: two servers may
/// have the same port in different folders of sockets.
fn listens<'a>(find: impl Fn(&str) -> Option<&'a str>, addresses: &[(String, u16)]) -> Option<u16> {
    let port = find("port").map_or(Some(DEFAULT_PORT), |port| port.parse().ok())?;
    let folders = find("unix_socket_directories").unwrap_or(DEBIAN_SOCKETS);
    let real = |folder: &str| fs::canonicalize(folder).unwrap_or_else(|_| PathBuf::from(folder));
    let has = |(host, asked): &(String, u16)| {
        let there = if host.starts_with('/') {
            let mut folders = folders.split(',').map(str::trim);
            folders.any(|folder| real(folder) == real(host))
        } else {
            host.is_empty() || find("listen_addresses").is_none_or(|list| !list.trim().is_empty())
        };
        *asked == port && there
    };
    addresses.iter().any(has).then_some(port)
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    paths
}

/// Describes the data directory as it lies on disk.
pub(super) fn look(place: &Place) -> DataDirectory {
    let mut seen = DataDirectory {
        path: place.data.clone(),
        found_by: place.found_by.clone(),
        ..DataDirectory::default()
    };
    let users = crate::host::users();
    match fs::metadata(&place.data) {
        Ok(metadata) => {
            seen.exists = true;
            seen.mode = Some(metadata.mode() & 0o7777);
            seen.owner = Some(user_name(&users, metadata.uid()));
        }
        Err(error) => {
            seen.exists = error.kind() != io::ErrorKind::NotFound;
            seen.unreadable = seen.exists.then(|| error.to_string());
            return seen;
        }
    }
    if let Err(error) = fs::read_dir(&place.data) {
        seen.unreadable = Some(error.to_string());
        return seen;
    }
    seen.owner_inside = fs::metadata(place.data.join("PG_VERSION"))
        .ok()
        .map(|metadata| user_name(&users, metadata.uid()));
    let missing = |entry: &&str| {
        let seen = fs::metadata(place.data.join(entry));
        seen.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    seen.missing = ENTRIES
        .iter()
        .copied()
        .filter(missing)
        .map(|e| (*e).to_owned())
        .collect();
    let version = read(&place.data.join("PG_VERSION")).unwrap_or_default();
    seen.version = version.trim().parse().ok();
    seen.standby = place.data.join("standby.signal").exists();
    seen.pid_file = pid_file(&place.data);
    if !seen
        .missing
        .iter()
        .any(|entry| entry == "global/pg_control")
    {
        match control_file::read(&place.data) {
            Ok(file) => {
                seen.control = Some(Control {
                    state: file.state.as_str().to_owned(),
                    major: file.major,
                    written_at: file.written_at,
                    checkpoint_at: file.checkpoint_at,
                });
            }
            Err(error) => seen.control_problem = Some(error.line()),
        }
    }
    seen
}

fn pid_file(data: &Path) -> Option<PidFile> {
    let text = read(&data.join("postmaster.pid")).ok()?;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    // A standalone backend writes its number with a minus sign.
    let pid: i64 = lines.first()?.parse::<i64>().ok()?.abs();
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let stat = read(&proc.join("stat")).ok();
    let state = stat
        .as_deref()
        .and_then(|stat| stat.rsplit_once(") ")?.1.chars().next());
    let process = read(&proc.join("comm"))
        .ok()
        .map(|name| name.trim().to_owned());
    // A zombie has ended; only its parent has not yet asked how.
    let alive = state.is_some_and(|state| !matches!(state, 'Z' | 'X'));
    let postgres = alive && process.as_deref().is_some_and(is_postgres);
    Some(PidFile {
        pid,
        port: lines.get(3).and_then(|port| port.parse().ok()),
        status: lines.get(7).map(|status| (*status).to_owned()),
        alive,
        postgres,
        suspended: state.is_some_and(|state| matches!(state, 'T' | 't')),
        startup: postgres.then(|| startup(pid)).flatten(),
        process: process.filter(|_| alive),
    })
}

/// Says whether a process of that name is a PostgreSQL server.
pub(super) fn is_postgres(name: &str) -> bool {
    name.starts_with("postgres") || name == "postmaster"
}

/// Returns what the startup process of a postmaster says in its title that it is doing.
fn startup(postmaster: i64) -> Option<String> {
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let name = entry.file_name();
        if !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let title = read(&entry.path().join("cmdline")).unwrap_or_default();
        let title = title.replace('\0', " ");
        let Some((_, doing)) = title.split_once("startup") else {
            continue;
        };
        let stat = read(&entry.path().join("stat")).unwrap_or_default();
        let parent = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        if parent == Some(postmaster) {
            return Some(doing.trim().to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_found_by_port_and_folder_of_sockets() {
        let elsewhere = tempfile::tempdir().unwrap();
        let elsewhere = elsewhere.path().to_str().unwrap();
        let listens_at = |settings: &[(&str, &'static str)], host: &str, port: u16| {
            let find = |name: &str| {
                let found = settings.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| *value)
            };
            listens(find, &[(host.to_owned(), port)])
        };
        let closed = [("port", "5433"), ("listen_addresses", "")];
        assert_eq!(listens_at(&[], DEBIAN_SOCKETS, 5432), Some(5432));
        assert_eq!(listens_at(&[], "/var/run/postgresql/", 5432), Some(5432));
        assert_eq!(listens_at(&[], elsewhere, 5432), None);
        assert_eq!(listens_at(&[], "127.0.0.1", 5432), Some(5432));
        assert_eq!(listens_at(&[], "127.0.0.1", 5433), None);
        assert_eq!(listens_at(&closed, "localhost", 5433), None);
        assert_eq!(listens_at(&closed, "", 5433), Some(5433));
        let two = [("unix_socket_directories", "/none, /tmp")];
        assert_eq!(listens_at(&two, "/tmp", 5432), Some(5432));
        assert_eq!(listens_at(&[("port", "many")], "/tmp", 5432), None);
    }
}
